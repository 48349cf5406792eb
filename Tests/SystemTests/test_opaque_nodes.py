"""Nodes that share a store make opaque numbers alike, or not at all."""

import threading

import grpc
import pytest

from http_client import ask
from programs import MariaDB, needs, run_mid, wait_until
from stubs import method, mid_pb2

pytestmark = needs("mariadbd", "mariadb")

KEYS = {"A": "000102030405060708090a0b0c0d0e0f", "B": "ff0102030405060708090a0b0c0d0e0f"}


def node(mid, mariadb, key="A", tags="invoices", **more):
    """A node of its own folder on the shared database, with the key named `key` in slot 0."""
    settings = {
        **mariadb.settings,
        "MID_OPAQUE_TAGS": tags,
        "MID_OPAQUE_KEYS": "0=env:KEY",
        "KEY": KEYS[key],
        **more,
    }
    return mid(store=mariadb.url, settings=settings)


def make_tags(mariadb, *tags):
    for tag in tags:
        made = run_mid("tag", "create", tag, "--store", mariadb.url, environment=mariadb.settings)
        assert made.returncode == 0, made.stderr


def opaque(server, tag="invoices", mode="segment"):
    """An id and its opaque number, or the name of the call's status and its message."""
    with server.channel() as channel:
        one = method(channel, "/mid.v1.IDService/GenerateID", mid_pb2.GenerateIDRequest, mid_pb2.GenerateIDResponse)
        try:
            reply = one(mid_pb2.GenerateIDRequest(mode=mode, tag=tag, format="opaque"), timeout=10)
            return reply.id, int(reply.text)
        except grpc.RpcError as error:
            return error.code().name, error.details()


def refused(server):
    """What a node says that does not start."""
    server.launch()
    assert server.process.process.wait(20) != 0
    said = server.process.output()
    assert all(key not in said for key in KEYS.values())
    return said


def facts(mariadb):
    return dict(mariadb.query("SELECT name, value FROM mid_facts"))


def test_nodes_with_other_settings_do_not_start_and_say_why(mid, mariadb):
    first = node(mid, mariadb).start()
    make_tags(mariadb, "invoices")
    ids = dict(opaque(first) for _ in range(20))
    assert len(set(ids.values())) == 20 and first.health("opaque") == "SERVING"
    assert first.metric("mid_ready", mode="opaque") == 1
    there = facts(mariadb)
    assert set(there) == {"opaque/slot_bits", "opaque/key/0", "opaque/tag/invoices"}
    assert all(key[:8] not in value for key in KEYS.values() for value in there.values())
    for settings, part in [
        ({"key": "B"}, "opaque.keys: slot 0 has another key than the nodes that share this store"),
        ({"MID_OPAQUE_SLOT_BITS": "3"}, "opaque.slot_bits: is 3, and the nodes that share this store make numbers with 4"),
        ({"tags": "invoices=53"}, "opaque.tags: tag 'invoices' has 53 bits, and the nodes"),
    ]:
        other = node(mid, mariadb, **settings)
        assert part in refused(other)
        doctor = run_mid("doctor", "--store", mariadb.url, environment=other.settings)
        assert doctor.returncode == 1 and part in doctor.stdout, doctor.stdout
        assert facts(mariadb) == there
    # Nothing stands in the way of a node once its settings are right, and one that has the same makes the same numbers.
    other = node(mid, mariadb, key="B")
    refused(other)
    other.settings["KEY"] = KEYS["A"]
    other.start()
    doctor = run_mid("doctor", "--store", mariadb.url, environment=other.settings).stdout
    assert "the store has the same" in doctor, doctor
    more = dict(opaque(other) for _ in range(20))
    assert not set(more) & set(ids) and not set(more.values()) & set(ids.values())
    answer = ask(first, f"/v1/decode/{list(more.values())[0]}?tag=invoices").json
    assert answer["id"] == str(list(more)[0])


@pytest.fixture
def own_mariadb(tmp_path):
    """A database that the test stops and starts."""
    server = MariaDB(tmp_path / "db").start()
    yield server
    server.kill()


def test_without_the_store_what_it_has_said_goes_on_and_what_is_new_waits(mid, own_mariadb):
    server = node(mid, own_mariadb).start()
    make_tags(own_mariadb, "invoices", "parcels")
    inside, outside = opaque(server)
    assert server.stop() == 0
    own_mariadb.stop()
    # A fixed worker id is served without the store, so that there are ids to make numbers of.
    server.settings.update(MID_OPAQUE_TAGS="invoices,parcels", MID_WORKER_ID="1", MID_OPAQUE_SLOT_BITS="4")
    server.start(ready=("snowflake",))
    status, message = opaque(server, "parcels", "segment")
    assert status == "UNAVAILABLE" and "before the store has said" in message
    assert ask(server, "/v1/ids/segment?tag=parcels&format=opaque").status == 503
    assert server.health("opaque") == "NOT_SERVING" and server.health("snowflake") == "SERVING"
    reasons = ask(server, "/readyz").json["modes"]["opaque"]["reasons"]
    assert len(reasons) == 1 and reasons[0].endswith("alike: tag/parcels")
    # Of the tag that is known, only the ids are missing; its numbers are opened.
    status, message = opaque(server, "invoices", "segment")
    assert "before the store has said" not in message
    assert ask(server, f"/v1/decode/{outside}?tag=invoices").json["id"] == str(inside)
    own_mariadb.start()
    server.wait_for_health("opaque", "SERVING", 20)
    server.wait_for_health("segment", "SERVING", 20)
    for tag in ("invoices", "parcels"):
        assert isinstance(opaque(server, tag)[0], int)
    assert facts(own_mariadb)["opaque/tag/parcels"] == "63"


def test_confirmed_numbers_are_made_of_ids_without_the_store(mid, own_mariadb):
    settings = {"MID_OPAQUE_SLOT_BITS": "0", "MID_WORKER_ID": "1"}
    server = node(mid, own_mariadb, **settings).start()
    assert isinstance(opaque(server, mode="snowflake")[0], int)
    assert server.stop() == 0
    own_mariadb.stop()
    server.start(ready=("snowflake", "opaque"))
    pairs = dict(opaque(server, mode="snowflake") for _ in range(10))
    assert len(pairs) == 10 == len(set(pairs.values()))
    # A node that has never been told makes none, whatever its key.
    fresh = node(mid, own_mariadb, **{**settings, "MID_WORKER_ID": "2"}).start(ready=("snowflake",))
    assert opaque(fresh, mode="snowflake")[0] == "UNAVAILABLE"
    strange = node(mid, own_mariadb, key="B", **{**settings, "MID_WORKER_ID": "3"}).start(ready=("snowflake",))
    assert opaque(strange, mode="snowflake")[0] == "UNAVAILABLE"
    own_mariadb.start()
    fresh.wait_for_health("opaque", "SERVING", 20)
    assert isinstance(opaque(fresh, mode="snowflake")[0], int)
    # The one with another key finds out now: it goes on with all else, says so once, and makes none for good.
    wait_until(lambda: "opaque numbers are not made any more" in strange.process.errors(), 20, "it is found out")
    status, message = opaque(strange, mode="snowflake")
    assert status == "UNAVAILABLE" and "not those of the nodes that share its store" in message
    strange.wait_for_health("segment", "SERVING", 20)
    assert strange.health("") == "SERVING" and strange.health("opaque") == "NOT_SERVING"
    lines = [line for line in strange.logs() if line["message"] == "opaque numbers are not made any more"]
    assert len(lines) == 1 and lines[0]["level"] == "critical" and lines[0]["setting"] == "opaque.keys", lines
    assert strange.metric("mid_ready", mode="opaque") == 0
    assert isinstance(opaque(server, mode="snowflake")[0], int)


def test_an_older_file_is_put_to_the_store(mid, mariadb):
    server = node(mid, mariadb).start()
    assert server.stop() == 0
    path = f"{server.folder}/data/opaque.state"
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    older = [line for line in lines if line.split()[0] in ("#", "slot_bits", "key", "tag")]
    assert len(older) == 4 and len(lines) == 8
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([*older, "tag 53 gone"]) + "\n")
    mariadb.query("DROP TABLE mid_facts")
    server.start(ready=("snowflake", "segment", "opaque"))
    assert facts(mariadb)["opaque/tag/gone"] == "53" and len(facts(mariadb)) == 4


def test_of_two_nodes_that_start_at_once_with_other_keys_one_makes_numbers(mid, mariadb, scale):
    make_tags(mariadb, "invoices")
    outcomes = {"refused": 0, "served": 0, "silent": 0}
    for _ in range(scale(3, 20)):
        mariadb.query("DROP TABLE IF EXISTS mid_facts")
        nodes = [node(mid, mariadb, key=key) for key in KEYS]
        barrier = threading.Barrier(2)

        def launch(server):
            barrier.wait()
            server.launch()

        threads = [threading.Thread(target=launch, args=[server]) for server in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        def state(server):
            if not server.process.is_running:
                assert "slot 0 has another key" in server.process.output(), server.process.output()
                return "refused"
            if not server.has_greeted or server.health("segment") != "SERVING":
                return None
            if server.health("opaque") == "SERVING":
                return "served"
            return "silent" if "not made any more" in server.process.errors() else None

        for server in nodes:
            wait_until(lambda server=server: state(server), 20, "the node is up or down")
        states = [state(server) for server in nodes]
        assert states.count("served") == 1, states
        for server, found in zip(nodes, states):
            outcomes[found] += 1
            if found != "refused":
                assert isinstance(opaque(server)[0], int) == (found == "served")
                assert server.stop() == 0
    print(f"of two nodes with other keys at once: {outcomes}")
