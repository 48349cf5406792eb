"""A Galera cluster of three nodes that all take writes, and semi-synchronous replication."""

import time

import grpc
import pytest

from galera import Galera, needs_galera
from load import assert_increasing, assert_unique
from programs import MARIADB_PASSWORD, MariaDB, needs, run_mid, wait_until
from stubs import generate_batch
from together import at_once

TAG = "orders"


@pytest.fixture
def galera(tmp_path):
    cluster = Galera(tmp_path / "galera")
    try:
        yield cluster.start()
    finally:
        cluster.kill()


def take_until(server, end, size, deadline=5):
    """Ids from a server by batches until `end`, and the seconds in which each answer came; refused calls are tried again."""
    ids, answers, failures = [], [], []
    with server.channel() as channel:
        batch = generate_batch(channel)
        while time.monotonic() < end:
            try:
                for start, stride, count in batch("segment", size, TAG, timeout=deadline):
                    ids.extend(range(start, start + stride * count, stride))
                answers.append(time.monotonic())
            except grpc.RpcError as error:
                failures.append(f"{error.code().name}: {error.details()}")
                time.sleep(0.05)
    return ids, answers, failures


@needs_galera
def test_three_galera_nodes_that_all_take_writes_give_distinct_ids_also_when_one_dies(galera, mid):
    # Loads of the table's step, and none ahead, so that the nodes meet at the row.
    environment = {**galera.settings, "MID_SEGMENT_MAX_LOAD": "1", "MID_SEGMENT_OUTAGE": "0s"}
    servers = []
    for node in galera.nodes:
        # The worker ids are none of this test's business, and three nodes that begin at once want the same ones.
        server = mid(store=node.url, arguments=["--worker-id", len(servers)], settings=environment)
        server.launch()
        server.wait_for_health("segment", "SERVING", 30)
        servers.append(server)
    result = run_mid("tag", "create", TAG, "--step", 10, "--store", galera.nodes[0].url, environment=environment)
    assert result.returncode == 0, result.stderr
    for server in servers:
        wait_until(lambda: take_until(server, time.monotonic() + 0.1, 1)[0], 10, "the new tag on a node that runs")
    # Small loads, so that all three write the one row all the time. A node that loses again and again has its turn when the
    # others are done, so nobody needs to be refused.
    begin = time.monotonic()
    results = at_once(*(lambda each=each: take_until(each, begin + 6, 10, deadline=20) for each in servers))
    for number, (ids, _, _) in enumerate(results):
        assert len(ids) > 100, f"node {number + 1} gave {len(ids)} ids"
        assert_increasing(ids, f"node {number + 1}")
        print(f"node {number + 1}: {len(ids)} ids while all write")
    before = [each for ids, _, _ in results for each in ids]
    assert_unique(before)
    taken_back = sum(node.taken_back for node in galera.nodes)
    assert taken_back > 0, "the cluster took no statement back: the nodes did not meet"
    # What the cluster takes back is sent again, unseen by callers.
    assert [failure for _, _, failures in results for failure in failures] == []
    # The cluster goes on without the one that dies, after the seconds in which it is missed.
    killed = time.monotonic()
    galera.nodes[0].kill()
    after = at_once(*(lambda each=each: take_until(each, killed + 18, 10) for each in servers[1:]))
    everything = before + [each for ids, _, _ in after for each in ids]
    assert_unique(everything)
    # Missed for 3 s; a connection that was busy is given up after 5 s, and a load that was refused tried again within 2 s.
    for number, (_, answers, failures) in enumerate(after):
        again = [each - killed for each in answers if each > killed + 10]
        assert len(again) > 10, f"node {number + 2} gave {len(again)} answers from 10 s after the death on: {failures}"
        assert all(each.startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED")) for each in failures), failures
        gaps = [after - before for before, after in zip(answers, answers[1:])]
        print(f"node {number + 2}: {len(failures)} calls failed, at most {max(gaps):.1f} s without an answer")
    print(f"{len(everything)} ids, {taken_back} statements taken back by the cluster")


@needs_galera
def test_a_database_node_that_comes_back_has_what_it_missed(galera):
    one, two, three = galera.nodes
    one.query("CREATE TABLE told (number INT PRIMARY KEY)")
    for node, empty, how in ((three, False, "IST"), (two, True, "SST")):
        node.kill()
        one.query(f"INSERT INTO told VALUES ({node.number})")
        assert node.start(empty=empty) == how
        assert [str(node.number)] in node.query("SELECT number FROM told")
    assert two.query("SELECT number FROM told ORDER BY number") == [["2"], ["3"]]


@pytest.fixture
def replicated(tmp_path, monkeypatch):
    """A primary and a replica that acknowledges, semi-synchronously."""
    common = "--log-bin=binlog --binlog-format=ROW --sync-binlog=0 --innodb-flush-log-at-trx-commit=0"
    options = {
        "primary": "--server-id=1 --rpl-semi-sync-master-enabled=ON --rpl-semi-sync-master-timeout=500",
        "replica": "--server-id=2 --rpl-semi-sync-slave-enabled=ON",
    }
    servers = []
    try:
        for name, own in options.items():
            monkeypatch.setenv("MID_TEST_MYSQL_OPTIONS", f"{common} {own}")
            servers.append(MariaDB(tmp_path / name))
            servers[-1].start()
        primary, replica = servers
        replica.query(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='mid', "
            f"MASTER_PASSWORD='{MARIADB_PASSWORD}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE"
        )
        wait_until(lambda: status(primary, "Rpl_semi_sync_master_clients") == "1", 20, "the replica is connected")
        wait_until(lambda: status(primary, "Rpl_semi_sync_master_status") == "ON", 20, "commits wait for the replica")
        yield primary, replica
    finally:
        for server in servers:
            if server.is_running:
                server.kill()


def status(server, name):
    return server.query(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1]


@needs("mariadbd")
def test_a_silent_fall_back_to_asynchronous_replication_is_seen(replicated, mid):
    primary, replica = replicated
    strict = mid(
        store=primary.url,
        arguments=["--worker-id", "1"],
        settings={**primary.settings, "MID_STORE_REQUIRE_SEMI_SYNC": "on"},
    )
    lenient = mid(store=primary.url, arguments=["--worker-id", "2"], settings=primary.settings)
    for server in (strict, lenient):
        server.launch()
        server.wait_for_health("segment", "SERVING", 20)
        wait_until(lambda: server.metric("mid_store_semi_sync") == 1, 10, "the gauge shows that commits wait")
    replica.query("STOP SLAVE")
    # The next write waits in vain; from then on none waits.
    result = run_mid("tag", "create", TAG, "--store", primary.url, environment=primary.settings)
    assert result.returncode == 0, result.stderr
    wait_until(lambda: status(primary, "Rpl_semi_sync_master_status") == "OFF", 10, "the primary no longer waits")
    strict.wait_for_health("segment", "NOT_SERVING", 15)
    for server in (strict, lenient):
        wait_until(lambda: server.metric("mid_store_semi_sync") == 0, 15, "the gauge shows that commits don't wait")
    lenient.wait_for_health("segment", "SERVING", 1)
    strict.wait_for_health("snowflake", "SERVING", 1)
    replica.query("START SLAVE")
    strict.wait_for_health("segment", "SERVING", 30)
    wait_until(lambda: strict.metric("mid_store_semi_sync") == 1, 10, "the gauge shows that commits wait again")
    log = strict.process.output()
    assert log.count("semi-synchronous replication is off") == 1, "told once a change"
    assert log.count("semi-synchronous replication is on") == 1, "told once a change"


@needs_galera
def test_of_galera_nodes_with_other_keys_at_once_one_makes_opaque_numbers(galera, mid, scale):
    keys = [f"{number:032x}" for number in (1, 2, 3)]
    for _ in range(scale(2, 10)):
        galera.nodes[0].query("DROP TABLE IF EXISTS mid_facts")
        servers = [
            mid(
                store=node.url,
                arguments=["--worker-id", number],
                settings={
                    **galera.settings,
                    "MID_OPAQUE_TAGS": TAG,
                    "MID_OPAQUE_KEYS": "0=env:KEY",
                    "KEY": keys[number],
                },
            )
            for number, node in enumerate(galera.nodes)
        ]
        at_once(*(each.launch for each in servers))

        def state(server):
            if not server.process.is_running:
                assert "slot 0 has another key" in server.process.output(), server.process.output()
                return "refused"
            if server.health("opaque") == "SERVING":
                return "served"
            return "silent" if "not made any more" in server.process.errors() else None

        for server in servers:
            wait_until(lambda: state(server), 60, "the node is up or down")
        states = [state(server) for server in servers]
        print(f"three nodes with other keys: {states}")
        assert states.count("served") == 1, states
        rows = [node.query("SELECT name, value FROM mid_facts ORDER BY name") for node in galera.nodes]
        assert len(rows[0]) == 3 and rows[0] == rows[1] == rows[2]
        for server, found in zip(servers, states):
            if found != "refused":
                assert server.stop() == 0
