"""`mid doctor` and `mid worker` on the real program: healthy, and with what goes wrong in operation."""

import contextlib
import json
import os
import re
import socket
import threading
import time

import pytest

from certificates import Certificates
from load import assert_unique
from programs import free_port, run_mid, wait_until
from stubs import make_id


def doctor(server, *arguments, code=None, **environment):
    """Runs the doctor with the server's own configuration; its findings by check, the worst of each."""
    result = run_mid(
        "doctor",
        "--json",
        "--store",
        server.store,
        "--grpc",
        server.address,
        "--metrics",
        f"127.0.0.1:{server.metrics_port}",
        "--http",
        f"127.0.0.1:{server.http_port}",
        *server.arguments,
        *arguments,
        environment={**server.settings, **environment},
        folder=server.folder,
    )
    assert result.stderr == "", result.stderr
    report = json.loads(result.stdout)
    levels = ["ok", "warn", "fail"]
    worst = max((finding["level"] for finding in report["findings"]), key=levels.index)
    assert report["result"] == worst
    assert result.returncode == (1 if worst == "fail" else 0), result.stdout
    assert code is None or result.returncode == code, result.stdout
    found = {}
    for finding in report["findings"]:
        assert (finding["advice"] is None) == (finding["level"] == "ok"), finding
        known = found.get(finding["check"])
        if known is None or levels.index(known["level"]) < levels.index(finding["level"]):
            found[finding["check"]] = finding
    print(json.dumps(report, indent=1))
    return found


def levels(found):
    # Whether the kernel's clock is synchronised is the machine's matter.
    return {check: finding["level"] for check, finding in found.items() if check != "clock.kernel"}


def ids(server, count=50):
    with server.channel() as channel:
        one = make_id(channel)
        return [one("snowflake", timeout=5) for _ in range(count)]


def files(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def worker(*arguments, store, settings=None, folder=None):
    return run_mid("worker", *arguments, "--store", store, environment=settings, folder=folder)


@pytest.fixture(params=["sqlite", "mariadb"])
def place(request):
    """The options of a server on either store."""
    if request.param == "sqlite":
        return {}
    mariadb = request.getfixturevalue("mariadb")
    return {"store": mariadb.url, "settings": mariadb.settings}


def test_before_the_first_start_nothing_fails_and_nothing_is_made(mid, place):
    server = mid(**place)
    found = doctor(server, code=0)
    assert found["store"]["level"] == "warn" and "mid serve makes" in found["store"]["advice"]
    assert found["folder"]["level"] == "warn"
    assert all(found[check]["level"] == "ok" for check in ("grpc", "http", "http.tinyid", "metrics"))
    assert files(server.folder) == []


def test_before_the_first_start_no_table_is_made(mid, mariadb):
    doctor(mid(store=mariadb.url, settings=mariadb.settings), code=0)
    assert mariadb.query("SHOW TABLES") == []


def test_beside_a_server_all_is_well_and_the_server_goes_on(mid, place):
    server = mid(**place)
    server.settings["MID_HTTP_TINYID_ADDRESS"] = f"127.0.0.1:{free_port()}"
    server.start()
    before = ids(server)
    found = doctor(server, code=0)
    assert set(levels(found).values()) == {"ok"}, found
    assert "a server is running on this folder" in found["folder"]["found"]
    assert "this data folder holds 0" in found["worker"]["found"]
    assert "snowflake serves, segment serves" in found["grpc"]["found"]
    for check in ("http", "http.tinyid", "metrics"):
        assert "a mid is serving" in found[check]["found"]
    assert "no mid is" not in json.dumps(found)
    text = run_mid("doctor", "--store", server.store, environment=server.settings, folder=server.folder)
    assert re.search(r"^ok    store  ", text.stdout, re.MULTILINE), text.stdout
    assert_unique(before + ids(server))
    assert server.stop() == 0
    seen = files(server.folder)
    found = doctor(server, code=0)
    assert set(levels(found).values()) == {"ok"}, found
    assert "no server is running" in found["folder"]["found"]
    assert "is free" in found["grpc"]["found"]
    assert files(server.folder) == seen


def test_many_looks_do_not_keep_a_server_from_starting(mid):
    server = mid().start()
    done = threading.Event()

    def look():
        while not done.is_set():
            doctor(server)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(4):
            assert server.stop() == 0
            server.start()
    finally:
        done.set()
        thread.join(60)


def test_a_database_that_is_down_is_told(mid, mariadb):
    server = mid(store=mariadb.url, settings={"MID_STORE_PASSWORD": "hunter2"})
    mariadb.kill()
    found = doctor(server, code=1)
    assert found["store"]["level"] == "fail" and str(mariadb.port) in found["store"]["found"]
    assert "hunter2" not in json.dumps(found)
    assert found["grpc"]["level"] == "ok"


def test_a_wrong_password_is_told(mid, mariadb):
    server = mid(store=mariadb.url, settings={"MID_STORE_PASSWORD": "hunter2"})
    found = doctor(server, code=1)
    assert "the login was refused" in found["store"]["found"]
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize("listens", ["silent", "http"])
def test_a_port_that_something_else_has_is_told(mid, program, listens):
    server = mid()
    tinyid = free_port()
    server.settings["MID_HTTP_TINYID_ADDRESS"] = f"127.0.0.1:{tinyid}"
    ports = {"grpc": server.port, "http": server.http_port, "http.tinyid": tinyid, "metrics": server.metrics_port}
    with contextlib.ExitStack() as stack:
        for port in ports.values():
            if listens == "http":
                program("python3", "-m", "http.server", port, "--bind", "127.0.0.1")
                wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 10, "a web server")
            else:
                listener = stack.enter_context(socket.socket())
                listener.bind(("127.0.0.1", port))
                listener.listen()
        found = doctor(server, code=1)
    for check in ports:
        assert f"set {check}.address" in found[check]["advice"]
        assert found[check]["level"] == "fail" and "in use, and no mid answers there" in found[check]["found"], found[check]


def test_an_address_of_another_machine_is_told(mid):
    found = doctor(mid(), "--grpc", "192.0.2.1:50051", code=1)
    assert "no address of this machine" in found["grpc"]["found"]


def test_a_server_with_tls_is_known_by_its_folder_and_its_certificate_is_looked_at(mid, tmp_path):
    certificates = Certificates(tmp_path)
    server = mid(settings=certificates.settings()).start(ready=[])
    wait_until(lambda: "in use" in doctor(server)["grpc"]["found"], 20, "the server")
    found = doctor(server)
    for check in ("grpc", "http"):
        assert "in use, by the server that is running" in found[check]["found"]
    # It is good for another ten days.
    assert found["tls"]["level"] == "warn" and "localhost, 127.0.0.1" in found["tls"]["found"]
    assert server.stop() == 0
    assert "is free" in doctor(server)["grpc"]["found"]
    found = doctor(server, code=1, MID_GRPC_TLS_KEY=str(tmp_path / "none.key"))
    assert found["tls"]["level"] == "fail" and "none.key" in found["tls"]["found"]
    found = doctor(server, code=1, **certificates.settings("expired"))
    assert "has ended" in found["tls"]["found"]


def test_a_clock_an_hour_off_is_told_by_the_stores(mid, mariadb, clock):
    server = mid(store=mariadb.url, settings=mariadb.settings).start()
    ids(server, 1)
    for hours, word in ((-1, "behind"), (1, "ahead of")):
        clock.set(3600 * hours)
        found = doctor(server, code=1, **clock.environment)
        assert found["clock.store"]["level"] == "fail", found
        assert re.match(rf"(1h|59m59s|1h\S*) {word} the store's clock", found["clock.store"]["found"])
    clock.set(-3600)
    found = doctor(server, code=1, **clock.environment)
    assert found["worker.bounds"]["level"] == "warn" and found["folder"]["level"] == "warn"


def test_a_clock_set_back_by_an_hour_is_told_by_the_stored_bounds(mid, clock):
    server = mid(arguments=["--worker-id", 5]).start()
    ids(server, 1)
    assert server.stop() == 0
    clock.set(-3600)
    found = doctor(server, code=1, **clock.environment)
    assert found["worker.bounds"]["level"] == "fail" and found["folder"]["level"] == "fail"
    assert "set back" in found["folder"]["found"]
    clock.set(-40 * 366 * 86400)
    assert "before the layout's epoch" in doctor(server, code=1, **clock.environment)["layout"]["found"]
    clock.set(66 * 365 * 86400)
    assert doctor(server, **clock.environment)["layout"]["level"] in ("warn", "fail")


def test_an_ntp_server_that_does_not_answer_is_told(mid):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        found = doctor(mid(), code=0, MID_CLOCK_NTP_SERVERS=address)
    assert found["clock.ntp"]["level"] == "warn" and address in found["clock.ntp"]["found"]


def test_a_fixed_worker_id_that_another_holds_is_told(mid, place):
    first = mid(**place, arguments=["--worker-id", 7]).start()
    second = mid(**{**place, "store": first.store}, arguments=["--worker-id", 7])
    found = doctor(second, code=1)
    assert f"process {first.process.pid}" in found["worker"]["found"], found["worker"]
    assert "worker.id" in found["worker"]["advice"]
    assert doctor(first, code=0)["worker"]["level"] == "ok"


def test_a_used_up_range_of_worker_ids_is_told(mid, place):
    settings = {**place.get("settings", {}), "MID_WORKER_RANGE": "3..3"}
    first = mid(store=place.get("store"), settings=settings).start()
    found = doctor(mid(store=first.store, settings=settings), code=1)
    assert "worker ids 3 to 3: 1 held" in found["worker"]["found"]


def test_tags_near_the_end_of_their_numbers_are_told(mid, place):
    server = mid(**place).start()
    environment = place.get("settings")
    for name, first in (("script", 2**53 + 5), ("nearly", 9 * 10**18)):
        made = run_mid("tag", "create", name, "--first", first, "--store", server.store, environment=environment)
        assert made.returncode == 0, made.stderr
    found = doctor(server, code=0)
    assert found["tags"]["level"] == "warn"


def test_a_broken_configuration_is_exit_code_2(mid):
    result = run_mid("doctor", "--worker-id", "banana", environment={"MID_NO_SUCH": "1"}, folder=mid().folder)
    assert result.returncode == 2 and result.stdout == ""
    assert "banana" in result.stderr and "MID_NO_SUCH" in result.stderr


# Worker ids by hand


def rows(**options):
    listed = worker("list", "--json", **options)
    assert listed.returncode == 0, listed.stderr
    return json.loads(listed.stdout)


def test_worker_list_shows_held_and_given_back(mid, place):
    server = mid(**place).start()
    options = {"store": server.store, "settings": place.get("settings")}
    last = ids(server)[-1]
    [row] = rows(**options)
    assert row["state"] == "held" and f"process {server.process.pid}" in row["owner"]
    assert 500_000 < int(row["lease_left_ms"]) <= 600_000
    assert row["last_tick"] is None and int(row["bound_ms"]) > time.time() * 1000
    assert server.stop() == 0
    [row] = rows(**options)
    assert (row["state"], row["lease"], row["expires_at"]) == ("free", "given_back", None)
    epoch = 1_609_459_200_000
    assert int(row["last_tick_ms"]) == (last >> 22) + epoch
    table = worker("list", **options)
    assert "given back" in table.stdout and row["last_tick"] in table.stdout


def test_worker_list_without_a_store_says_so_and_makes_none(tmp_path):
    for arguments in (["list"], ["release", 1]):
        result = worker(*arguments, store=f"sqlite:{tmp_path}/deeper/mid.db")
        assert result.returncode == 1 and "there is no store at" in result.stderr
    assert files(tmp_path) == []


def test_a_forced_release_lets_another_node_in_and_no_id_repeats(mid, mariadb):
    """The holder lives, and is frozen out only at its next renewal; the heir issues above the bound that stood there."""
    settings = {
        **mariadb.settings,
        "MID_WORKER_RANGE": "7..7",
        "MID_SNOWFLAKE_LEASE": "10s",
        "MID_SNOWFLAKE_RENEW_INTERVAL": "3s",
        "MID_SNOWFLAKE_SEQUENCE_JITTER": "1",
    }
    options = {"store": mariadb.url, "settings": mariadb.settings}
    first = mid(store=mariadb.url, settings=settings).start()
    before = ids(first)
    second = mid(store=mariadb.url, settings=settings).start(ready=["segment"])
    refused = worker("release", 7, **options)
    assert refused.returncode == 1 and f"process {first.process.pid}" in refused.stderr, refused.stderr
    assert "--force" in refused.stderr and rows(**options)[0]["state"] == "held"
    found, stop = {0: list(before), 1: []}, threading.Event()

    def call(index, server):
        with server.channel() as channel:
            one = make_id(channel)
            while not stop.is_set():
                try:
                    found[index].append(one("snowflake", timeout=1))
                except Exception:
                    time.sleep(0.01)

    threads = [threading.Thread(target=call, args=(index, server)) for index, server in enumerate((first, second))]
    for thread in threads:
        thread.start()
    try:

        def is_taken():
            """Frees the id until the other node is the one that gets it."""
            row = rows(**options)[0]
            if f"process {first.process.pid}" not in row["owner"]:
                return True
            if row["state"] == "held":
                released = worker("release", 7, "--force", **options)
                assert released.returncode == 0, released.stderr
                assert "released worker id 7" in released.stdout
            time.sleep(0.1)
            return False

        wait_until(is_taken, 60, "the other node")
        wait_until(lambda: found[1], 30, "ids of the other node")
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert {number >> 12 & 1023 for number in found[0] + found[1]} == {7}
    assert_unique(found[0] + found[1])
    assert min(found[1]) > max(found[0]), "an id of the next holder lies below one of the first"
    assert "was released by an operator" in first.process.output() or "held by" in first.process.output()


def test_releasing_what_was_never_held_or_is_no_number_is_refused(mid, place):
    server = mid(**place).start()
    options = {"store": server.store, "settings": place.get("settings")}
    never = worker("release", 9, "--force", **options)
    assert never.returncode == 1 and "no node ever held worker id 9" in never.stderr
    assert worker("release", "x", **options).returncode == 64
    assert worker("release", "--", -1, **options).returncode == 64
    assert worker("release", **options).returncode == 64
    assert server.stop() == 0
    free = worker("release", 0, **options)
    assert free.returncode == 0 and "is free already" in free.stdout
    assert rows(**options)[0]["lease"] == "given_back"
