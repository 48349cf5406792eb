"""Segments from several databases: one is killed, hangs, comes back, and joins, while servers give out ids."""

import json
import os
import signal
import subprocess
import time

import grpc
import pytest

from load import Load, assert_increasing, assert_unique
from programs import BINARY, MARIADB_PASSWORD, MariaDB, clean_environment, run_mid, wait_until
from stubs import generate_id

PASSWORD = {"MID_STORE_PASSWORD": MARIADB_PASSWORD}


@pytest.fixture
def databases(tmp_path):
    """Starts private MariaDBs and ends them after the test, whatever state they are in."""
    started = []

    def start(count):
        new = [MariaDB(tmp_path / f"db{len(started) + index}") for index in range(count)]
        started.extend(new)
        return [each.start() for each in new]

    yield start
    for each in started:
        if os.path.exists(f"{each.folder}/pid"):
            each.kill()


def pid(database):
    with open(f"{database.folder}/pid", encoding="utf-8") as file:
        return int(file.read())


def urls(databases):
    return ",".join(each.url for each in databases)


def create(tag, environment, step=1000):
    result = run_mid("tag", "create", tag, "--step", step, environment={**PASSWORD, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout


def nodes(mid, settings, count=2):
    """Servers that keep their worker ids in files of their own, so that no database but the segments' is in the game."""
    servers = [
        mid(settings={**PASSWORD, "MID_LOG_LEVEL": "info", **settings}, arguments=["--worker-id", number + 1])
        for number in range(count)
    ]
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_for_health("segment", "SERVING", 30)
    return servers


def judge(callers, what):
    """No failed call, each connection's ids increase, none twice on any. Returns how many."""
    assert [caller.errors[:3] for caller in callers if caller.errors] == [], what
    for number, caller in enumerate(callers):
        assert_increasing(caller.ids, f"{what}, connection {number}")
    ids = [each for caller in callers for each in caller.ids]
    assert_unique(ids)
    return len(ids)


def is_up(server, database):
    name = database.url.split("@")[1].split("?")[0]
    return server.metric("mid_segment_database_up", database=name)


def longest_pause(callers):
    """The longest time between two answers on one connection."""
    return max(b - a for caller in callers for a, b in zip(caller.times, caller.times[1:]))


@pytest.mark.parametrize("trouble", ["killed", "hanging"])
def test_two_stripes_one_down_and_back_under_load(mid, databases, tmp_path, trouble, scale):
    two = databases(2)
    settings = {
        "MID_SEGMENT_STRIPES": urls(two),
        "MID_SEGMENT_TARGET": "1s",
        "MID_SEGMENT_OUTAGE": "0s",
        # A database that serves none of a node's tags is noticed when the list is read.
        "MID_SEGMENT_TAG_REFRESH": "1s",
    }
    create("small", settings, step=200)
    create("default", settings, step=1000)
    servers = nodes(mid, settings)
    seconds = scale(24.0, 90.0)
    addresses = [server.address for server in servers]
    loads = [
        Load(tmp_path, addresses, "segment", 8, tag=tag, seconds=seconds, deadline=5, stop_at_error=False, processes=1)
        for tag in ("small", "")
    ]
    bench = subprocess.Popen(
        [BINARY, "bench", "--server", servers[0].address, "--mode", "segment", "--tag", "small", "--rate", "500"]
        + ["--duration", str(int(seconds)), "-c", "4", "--json"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        changes = []
        # Each database in turn, so that it is sure that the one that serves is hit.
        for database in two:
            time.sleep(seconds / 12)
            if trouble == "killed":
                database.kill()
            else:
                os.kill(pid(database), signal.SIGSTOP)
            wait_until(lambda: all(is_up(each, database) == 0 for each in servers), 10, "the database counts as down")
            time.sleep(seconds / 12)
            back = time.monotonic()
            if trouble == "killed":
                database.start()
            else:
                os.kill(pid(database), signal.SIGCONT)
            wait_until(lambda: all(is_up(each, database) == 1 for each in servers), 20, "the database counts as up again")
            changes.append(time.monotonic() - back)
        callers = [caller for load in loads for caller in load.callers()]
        output, errors = bench.communicate(timeout=60)
    finally:
        for load in loads:
            load.stop()
        bench.kill()
        for database in two:
            if trouble == "hanging":
                os.kill(pid(database), signal.SIGCONT)
    small, default = callers[:8], callers[8:]
    total = judge(small, "small") + judge(default, "default")
    report = json.loads(output)
    assert report["errors"] == 0 and report["id_checks"]["good"], (report, errors)
    by_database = [sum(1 for caller in small for each in caller.ids if each % 2 == remainder) for remainder in (0, 1)]
    assert min(by_database) > 0, by_database
    print(
        f"{trouble}: {total} ids of callers and {report['ids']} of the bench, no failed call, none twice; "
        f"longest pause on a connection {longest_pause(callers) * 1000:.0f} ms; "
        f"ids of small by database {by_database}; up again after {[round(each, 1) for each in changes]} s"
    )


def test_a_server_starts_beside_a_database_that_is_down(mid, databases):
    two = databases(2)
    settings = {"MID_SEGMENT_STRIPES": urls(two)}
    create("default", settings)
    for database in two:
        database.kill()
        (server,) = nodes(mid, settings, count=1)
        with server.channel() as channel:
            ids = [generate_id(channel)("segment", timeout=5) for _ in range(50)]
        assert_increasing(ids, "ids")
        assert {each % 2 for each in ids} == {1 - two.index(database)}
        database.start()
        wait_until(lambda: is_up(server, database) == 1, 20, "the database counts as up")
        assert server.stop() == 0


def restripe(old, new, *options, name="--all"):
    return run_mid(
        "tag",
        "restripe",
        name,
        "--from",
        urls(old),
        "--stripes",
        urls(new),
        *options,
        environment=PASSWORD,
        timeout=60,
    )


def rows(database, tag):
    """max_id, delta and remainder of a tag's row."""
    return [int(each) for each in database.query(f"SELECT max_id, delta, remainder FROM mid_stripes WHERE biz_tag = '{tag}'")[0]]


def test_a_third_database_joins_while_two_servers_give_out_ids(mid, databases, tmp_path, scale):
    three = databases(3)
    two = three[:2]
    settings = {"MID_SEGMENT_STRIPES": urls(two), "MID_SEGMENT_TARGET": "1s", "MID_SEGMENT_OUTAGE": "0s"}
    create("small", settings, step=200)
    create("default", settings, step=1000)
    servers = nodes(mid, settings)
    addresses = [server.address for server in servers]
    seconds = scale(16.0, 60.0)
    loads = [
        Load(tmp_path, addresses, "segment", 8, tag=tag, seconds=seconds, deadline=5, stop_at_error=False, processes=1)
        for tag in ("small", "")
    ]
    try:
        time.sleep(seconds / 5)
        preview = restripe(two, three, "--dry-run")
        assert preview.returncode == 0, preview.stderr
        assert "tag small: would go from 2 to 3 databases" in preview.stdout and "no row; then remainder 2 by 3" in preview.stdout
        assert rows(two[0], "small")[1:] == [2, 0]
        assert three[2].query("SHOW TABLES") == [], "a look makes no table"
        # A database that does not answer: refused before anything is changed.
        three[2].kill()
        refused = restripe(two, three)
        assert refused.returncode == 1 and "nothing was changed" in refused.stderr, refused
        assert rows(two[0], "small")[1:] == [2, 0] and rows(two[1], "small")[1:] == [2, 1]
        three[2].start()
        # The old layout not named, and not to be seen from one of its databases.
        half = run_mid("tag", "restripe", "small", "--stripes", two[0].url, environment=PASSWORD)
        assert half.returncode == 1 and "with --from" in half.stderr, half
        # A run that is killed somewhere leaves rows that the next one takes on.
        interrupted = subprocess.Popen(
            [BINARY, "tag", "restripe", "--all", "--from", urls(two), "--stripes", urls(three)],
            env=clean_environment(PASSWORD),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: rows(two[0], "default")[1] == 0 or interrupted.poll() is not None, 20, "a row is closed", 0.002)
        finally:
            interrupted.kill()
            interrupted.wait()
        left = [rows(each, "default")[1:] for each in two]
        begin = time.monotonic()
        done = restripe(two, three)
        took = time.monotonic() - begin
        assert done.returncode == 0, done.stderr
        for number, database in enumerate(three):
            for tag in ("small", "default"):
                assert rows(database, tag)[1:] == [3, number]
        again = restripe(two, three)
        assert again.returncode == 0 and "already over 3 databases as wanted" in again.stdout
        callers = [caller for load in loads for caller in load.callers()]
    finally:
        for load in loads:
            load.stop()
    total = judge(callers[:8], "small") + judge(callers[8:], "default")
    # The nodes follow, with the list that they have.
    followed = [server for server in servers if any(line["message"] == "layout changed" for line in server.logs())]
    assert followed == servers
    # With the new list they go on above all that they had.
    for server in servers:
        assert server.stop() == 0
        server.start(ready=("segment",), MID_SEGMENT_STRIPES=urls(three))
    after = Load(tmp_path, addresses, "segment", 8, tag="small", count=500, seconds=30, processes=1).callers()
    judge(after, "small on three")
    assert_unique([each for caller in callers[:8] + after for each in caller.ids])
    for address in addresses:
        highest = max(each for caller in callers[:8] if caller.address == address for each in caller.ids)
        assert all(caller.ids[0] > highest for caller in after if caller.address == address)
    print(
        f"{total} ids while the layout went from 2 to 3, no failed call, none twice; the run took {took * 1000:.0f} ms, "
        f"the interrupted one had left delta and remainder {left}; longest pause on a connection "
        f"{longest_pause(callers) * 1000:.0f} ms"
    )


def test_a_stripe_that_lost_commits_is_left_out_and_said_to_be(mid, databases):
    two = databases(2)
    settings = {"MID_SEGMENT_STRIPES": urls(two), "MID_SEGMENT_TARGET": "1s", "MID_SEGMENT_OUTAGE": "0s"}
    create("small", settings, step=10)
    (server,) = nodes(mid, settings, count=1)

    def left_out(database):
        return server.metric("mid_segment_tags_left_out", database=database.url.split("@")[1].split("?")[0])

    with server.channel() as channel:
        call = generate_id(channel)

        def take_until(is_enough):
            for _ in range(2000):
                ids.append(call("segment", "small", timeout=5))
                if is_enough(ids[-1] % 2):
                    return
            raise AssertionError("it is never enough")

        ids = [call("segment", "small", timeout=5)]
        home = ids[0] % 2
        lost, other = two[home], two[1 - home]
        assert left_out(lost) == 0
        lost.query("UPDATE mid_stripes SET max_id = 0 WHERE biz_tag = 'small'")
        take_until(lambda remainder: remainder != home)
        assert left_out(lost) == 1 and left_out(other) == 0 and is_up(server, lost) == 1
        (line,) = [each for each in server.logs() if each["message"] == "segment database left out"]
        assert line["level"] == "error" and line["tag"] == "small" and line["database"] in lost.url and "lost commits" in line["error"]
        past = max(ids) + 1000
        advance = run_mid("tag", "advance", "small", "--past", past, environment={**PASSWORD, **settings})
        assert advance.returncode == 0, advance.stderr
        server.process.signal(signal.SIGHUP)
        wait_until(lambda: left_out(lost) == 0, 10, "nothing is left out")
        other.kill()
        take_until(lambda remainder: remainder == home)
        # The rows that were moved, where one database is away: the other's all the same.
        half = run_mid("tag", "advance", "small", "--past", past + 5000, environment={**PASSWORD, **settings})
        assert half.returncode == 1 and half.stdout.startswith("tag small: next id"), half
        assert "give the command again" in half.stderr and rows(lost, "small")[0] >= past + 5000
        other.start()
    assert_increasing(ids, "ids")
    assert ids[-1] > past


def test_a_tag_goes_back_to_one_database(mid, databases):
    two = databases(2)
    both, one = {"MID_SEGMENT_STRIPES": urls(two)}, {"MID_SEGMENT_STRIPES": urls(two[:1])}
    create("default", both, step=10)
    (server,) = nodes(mid, both, count=1)

    def take(count):
        with server.channel() as channel:
            return [generate_id(channel)("segment", timeout=5) for _ in range(count)]

    ids = take(50)
    done = restripe(two, two[:1], "--past", 5000, name="default")
    assert done.returncode == 0 and "over 1 database now, was 2" in done.stdout, done
    assert rows(two[0], "default")[1:] == [1, 0]
    two[1].kill()
    ids += take(200)
    assert server.stop() == 0
    server.start(ready=("segment",), **one)
    ids += take(50)
    assert_increasing(ids, "ids")
    after = [each for each in ids if each > 5000]
    assert len(after) >= 50 and {each % 2 for each in after} == {0, 1}
    listed = run_mid("tag", "list", environment={**PASSWORD, **one})
    assert listed.returncode == 0 and " all " in listed.stdout, listed
    assert server.stop() == 0
    two[1].start()


def status_of(server, tag, timeout=1.0):
    """The name of a call's gRPC status and how long it took."""
    begin = time.monotonic()
    with server.channel() as channel:
        try:
            generate_id(channel)("segment", tag, timeout=timeout)
            return "OK", time.monotonic() - begin
        except grpc.RpcError as error:
            return error.code().name, time.monotonic() - begin


def test_one_of_two_shards_down_takes_its_own_tags_only(mid, databases, tmp_path, scale):
    two = databases(2)
    settings = {
        "MID_SEGMENT_SHARDS": ",".join(f"{name}={each.url}" for name, each in zip("ab", two)),
        "MID_SEGMENT_PINS": "default=a,here=a,there=b,later=b",
        "MID_SEGMENT_TARGET": "1s",
        "MID_SEGMENT_OUTAGE": "0s",
    }
    for tag in ("here", "there"):
        create(tag, settings, step=100)
    listed = run_mid("tag", "list", environment={**PASSWORD, **settings})
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[:3] for line in listed.stdout.splitlines() if line.startswith("there")] == [["there", "b", "all"]]
    servers = nodes(mid, settings)
    seconds = scale(12.0, 60.0)
    load = Load(
        tmp_path, [server.address for server in servers], "segment", 8, tag="here", seconds=seconds, deadline=2, processes=1
    )
    try:
        for server in servers:
            assert status_of(server, "there", 5)[0] == "OK"
        two[1].kill()
        for server in servers:
            # What is cached is served first.
            with server.channel() as channel:
                call, served = generate_id(channel), 0
                with pytest.raises(grpc.RpcError) as failure:
                    for served in range(100_000):
                        call("segment", "there", timeout=1)
            assert failure.value.code() == grpc.StatusCode.UNAVAILABLE and served > 0
            status, took = status_of(server, "there")
            assert status == "UNAVAILABLE" and took < 1.5, (status, took)
            # Not known to be absent, and known to be.
            assert status_of(server, "later")[0] == "UNAVAILABLE"
            assert status_of(server, "never", 5)[0] in ("UNAVAILABLE", "NOT_FOUND")
            assert server.health("segment") == "SERVING"
        two[1].start()
        for server in servers:
            wait_until(lambda: status_of(server, "there")[0] == "OK", 20, "the tag is served again")
            wait_until(lambda: status_of(server, "later")[0] == "NOT_FOUND", 20, "the tag is known not to be there")
        callers = load.callers()
    finally:
        load.stop()
    total = judge(callers, "here")
    print(f"{total} ids of the other database's tag, no failed call; longest pause {longest_pause(callers) * 1000:.0f} ms")
