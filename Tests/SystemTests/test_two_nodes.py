"""Two servers on one MariaDB and one table: what both give out together is what counts."""

import re
import shutil
import time

import grpc
import pytest

from load import Load, assert_disjoint, assert_increasing, assert_unique
from programs import run_mid, wait_until
from rawhttp2 import RawConnection
from stubs import generate_batch, generate_id, make_id, mid_pb2

CALLERS = 50
# A server's answer at the deadline has to cross two processes on a busy machine.
DEADLINE_SLACK = 2.0


@pytest.fixture
def two(mid, mariadb):
    """Two servers with worker ids 1 and 2."""
    servers = [
        mid(store=mariadb.url, arguments=["--worker-id", number], settings=mariadb.settings) for number in (1, 2)
    ]
    for server in servers:
        server.launch()
    for server in servers:
        for mode in ("snowflake", "segment"):
            server.wait_for_health(mode, "SERVING", 20)
    return servers


@pytest.mark.parametrize("mode", ["segment", "snowflake"])
def test_single_calls_of_50_callers_give_distinct_increasing_ids(two, mode, tmp_path, scale):
    total = scale(20_000, 2_000_000)
    begin = time.monotonic()
    callers = Load(
        tmp_path,
        [server.address for server in two],
        mode,
        CALLERS,
        count=total // CALLERS,
        seconds=scale(60, 1500),
        deadline=10,
    ).callers()
    seconds = time.monotonic() - begin
    assert [caller.errors for caller in callers if caller.errors] == []
    for number, caller in enumerate(callers):
        assert_increasing(caller.ids, f"{mode}, connection {number}")
    ids = [each for caller in callers for each in caller.ids]
    assert_unique(ids)
    assert len(ids) == total, f"{len(ids)} of {total} ids in the time there was"
    print(f"{len(ids)} {mode} ids by single calls in {seconds:.0f} s")


@pytest.mark.parametrize("mode", ["segment", "snowflake"])
def test_batches_of_50_callers_do_not_overlap(two, mode, tmp_path, scale):
    batches, size = scale((20, 2000), (40, 2500))
    callers = Load(
        tmp_path, [server.address for server in two], mode, CALLERS, count=batches, batch=size, seconds=60, deadline=20
    ).callers()
    assert [caller.errors for caller in callers if caller.errors] == []
    ranges = []
    for number, caller in enumerate(callers):
        assert sum(count for _, _, count in caller.ranges) == batches * size
        assert_increasing([start for start, _, _ in caller.ranges], f"{mode}, connection {number}")
        ranges.extend(caller.ranges)
    assert_disjoint(ranges)


def knows(server, tag):
    with server.channel() as channel:
        try:
            return generate_id(channel)("segment", tag, timeout=2) > 0
        except grpc.RpcError:
            return False


def answer_when_dry(server, tag):
    """The server's own verdict at a deadline of 0.5 s, and how long it took, by a client without a timer of its own."""
    with RawConnection(server.port) as connection:
        sent = time.monotonic()
        response = connection.call(
            "/mid.v1.IDService/GenerateID",
            mid_pb2.GenerateIDRequest(mode="segment", tag=tag).SerializeToString(),
            extra=[("grpc-timeout", "500m")],
        )
        return response.grpc_status, response.ended_at - sent


def test_a_database_killed_under_load_costs_no_id_and_no_call_its_deadline(two, mariadb, tmp_path, scale):
    outage, deadline = scale(5.0, 20.0), 1.0
    # Small segments, so that the servers run dry within the outage.
    result = run_mid(
        "tag",
        "create",
        "small",
        "--step",
        1000,
        "--store",
        mariadb.url,
        environment=mariadb.settings,
        folder=two[0].folder,
    )
    assert result.returncode == 0, result.stderr
    # What a server holds of a tag that nobody asks for is still there when the database is gone, however fast the rest is.
    result = run_mid(
        "tag", "create", "quiet", "--step", 100, "--store", mariadb.url, environment=mariadb.settings, folder=two[0].folder
    )
    assert result.returncode == 0, result.stderr
    for server in two:
        wait_until(lambda: knows(server, "small"), 10, "the new tag on a server that runs")
        wait_until(lambda: knows(server, "quiet"), 10, "the quiet tag on a server that runs")
    addresses = [server.address for server in two]
    load = Load(
        tmp_path, addresses, "segment", 20, tag="small", seconds=2 + outage + 15, deadline=deadline, stop_at_error=False
    )
    snowflakes = Load(
        tmp_path,
        addresses,
        "snowflake",
        2,
        seconds=2 + outage + 15,
        deadline=deadline,
        stop_at_error=False,
        processes=1,
    )
    drained, kept = [], []
    try:
        time.sleep(3)
        mariadb.kill()
        killed = time.monotonic()
        # What is cached goes quickly in batches; the single callers see the last of it and then the drought.
        channels = [server.channel() for server in two]
        time.sleep(0.3)
        for channel in channels:
            one = generate_id(channel)
            kept.append([one("segment", "quiet", timeout=deadline) for _ in range(50)])
            batch = generate_batch(channel)
            with pytest.raises(Exception, match="UNAVAILABLE|DEADLINE_EXCEEDED"):
                for _ in range(100_000):
                    drained.extend(batch("segment", 500, "small", timeout=deadline))
        dry = time.monotonic()
        assert dry < killed + outage - 1, f"the servers still had ids {dry - killed:.1f} s after the database was gone"
        for server in two:
            status, took = answer_when_dry(server, "small")
            assert status == 14, status
            assert took < 0.5 + DEADLINE_SLACK, f"answered after {took:.3f} s, with a deadline of 0.5 s"
        time.sleep(max(0.0, killed + outage - time.monotonic()))
        mariadb.start()
        restarted = time.monotonic()
        for channel in channels:
            channel.close()
    finally:
        callers = load.callers()
        snowflake_callers = snowflakes.callers()

    ids = [each for caller in callers for each in caller.ids]
    times = [each for caller in callers for each in caller.times]
    errors = [each for caller in callers for each in caller.errors]
    cached = sum(1 for each in times if killed + 0.1 < each < dry)
    for number, ids_kept in enumerate(kept):
        assert_increasing(ids_kept, f"server {number}, from what it held")
    assert_unique([each for ids_kept in kept for each in ids_kept])
    assert errors, "no call failed while the database was away"
    statuses = {status for status, _, _, _ in errors}
    assert statuses <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}, statuses
    longest = max(seconds for _, seconds, _, _ in errors)
    assert longest < deadline + DEADLINE_SLACK, f"a call took {longest:.2f} s with a deadline of {deadline} s"
    last_error = max(ended for _, _, ended, _ in errors)
    assert last_error < restarted + 8, f"calls still failed {last_error - restarted:.1f} s after the database was back"
    assert sum(1 for each in times if each > restarted + 8) > 100, "no service after the database was back"
    for number, caller in enumerate(callers):
        assert_increasing(caller.ids, f"connection {number}")
    assert_unique(ids + [start + stride * n for start, stride, count in drained for n in range(count)])
    # Snowflake with a worker id and a bound for ten minutes does not notice.
    assert [caller.errors for caller in snowflake_callers if caller.errors] == []
    assert_unique([each for caller in snowflake_callers for each in caller.ids])
    print(
        f"outage {outage:.0f} s: {cached} single ids and {sum(each[2] for each in drained)} in batches from the cache, "
        f"{len(errors)} failed calls ({', '.join(sorted(statuses))}), the longest {longest * 1000:.0f} ms, "
        f"the last {last_error - restarted:+.1f} s from the database's return"
    )


def test_a_worker_id_that_another_server_holds_is_refused(mid, mariadb):
    first = mid(store=mariadb.url, arguments=["--worker-id", 1], settings=mariadb.settings).start()
    second = mid(store=mariadb.url, arguments=["--worker-id", 1], settings=mariadb.settings).launch()

    def told():
        return not second.process.is_running or second.health("segment") == "SERVING"

    wait_until(told, 20, "the second server's word")
    # It serves segments, and says who holds the id to whoever asks for another.
    assert second.process.is_running, second.process.output()
    assert second.health("snowflake") == "NOT_SERVING", second.process.output()
    with second.channel() as channel, pytest.raises(grpc.RpcError) as refusal:
        make_id(channel)("snowflake", timeout=5)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "worker id 1 is held by" in refusal.value.details(), refusal.value.details()
    with first.channel() as channel:
        assert make_id(channel)("snowflake", timeout=5) > 0


def test_a_copy_of_a_running_servers_folder_is_refused_its_worker_id(mid, mariadb):
    first = mid(store=mariadb.url, arguments=["--worker-id", 1], settings=mariadb.settings).start()
    second = mid(store=mariadb.url, arguments=["--worker-id", 1], settings=mariadb.settings)
    shutil.copytree(f"{first.folder}/data", f"{second.folder}/data")
    second.start(ready=["segment"])
    assert second.health("snowflake") == "NOT_SERVING", second.process.output()
    with second.channel() as channel, pytest.raises(grpc.RpcError) as refusal:
        make_id(channel)("snowflake", timeout=5)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "worker id 1 is held by" in refusal.value.details(), refusal.value.details()
    with first.channel() as channel:
        assert make_id(channel)("snowflake", timeout=5) > 0


def definition(mariadb):
    """The table as it was made, without the counter that rows move."""
    [[_, sql]] = mariadb.query("SHOW CREATE TABLE id_segments")
    return re.sub(r" AUTO_INCREMENT=\d+", "", sql)


def test_the_step_of_the_table_is_honoured(mid, mariadb):
    # The table as the original's own SQL makes it, with a row of its own.
    mariadb.query("""
        CREATE TABLE id_segments (
          id INT AUTO_INCREMENT PRIMARY KEY,
          biz_tag VARCHAR(50) NOT NULL UNIQUE,
          max_id BIGINT NOT NULL DEFAULT 0,
          step INT NOT NULL DEFAULT 10000,
          created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
          updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
        );
        INSERT INTO id_segments (biz_tag, max_id, step) VALUES ('default', 41000, 10000), ('seven', 100, 7)
        """)
    before = definition(mariadb)
    server = mid(store=mariadb.url, arguments=["--worker-id", 1], settings=mariadb.settings).start()
    with server.channel() as channel:
        one = generate_id(channel)
        assert make_id(channel)("segment", timeout=5) == 41001
        assert one("segment", "seven", timeout=5) == 101
        [[taken]] = mariadb.query("SELECT max_id FROM id_segments WHERE biz_tag = 'seven'")
        # One load of 7, and the next one where the standby has been filled by then.
        assert int(taken) in (107, 114, 121), taken
        assert [one("segment", "seven", timeout=5) for _ in range(30)] == list(range(102, 132))
    assert definition(mariadb) == before
    assert server.stop() == 0
