"""Worker ids that are leased: conflicts, frozen and killed servers, and clocks that are set back."""

import os
import shutil
import signal
import time

import grpc
import pytest

from load import assert_increasing, assert_unique
from programs import wait_until
from stubs import make_id

# A restart waits for the bound of the run before: 3 s, and what a busy machine needs.
RESTART = 5.0


def worker_of(number):
    """The worker id in a snowflake id of the default layout."""
    return number >> 12 & 1023


def ids(server, count=50):
    with server.channel() as channel:
        one = make_id(channel)
        return [one("snowflake", timeout=5) for _ in range(count)]


def first_id(server, seconds, begin):
    """The first id after `begin`, and how long it took. By calls: a node whose clock is off serves, and is not ready."""
    with server.channel() as channel:
        one = make_id(channel)

        def served():
            try:
                return one("snowflake", timeout=1)
            except grpc.RpcError as error:
                codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                assert error.code() in codes, error
                return None

        number = wait_until(served, seconds + 20, "snowflake")
    return number, time.monotonic() - begin


def test_without_a_worker_id_servers_on_one_store_take_different_ones(mid, mariadb):
    servers = [mid(store=mariadb.url, settings=mariadb.settings).start() for _ in range(3)]
    found = [ids(server) for server in servers]
    assert len({worker_of(numbers[0]) for numbers in found}) == 3
    assert_unique([number for numbers in found for number in numbers])
    for server in servers:
        assert server.metric("mid_snowflake_worker_id") == worker_of(found[servers.index(server)][0])
        assert server.metric("mid_snowflake_worker_term") == 1
        assert 500 < server.metric("mid_snowflake_lease_left_seconds") <= 600


def test_when_all_are_taken_the_error_says_by_whom(mid, mariadb):
    settings = {**mariadb.settings, "MID_WORKER_RANGE": "512..512"}
    first = mid(store=mariadb.url, settings=settings).start()
    assert worker_of(ids(first, 1)[0]) == 512
    second = mid(store=mariadb.url, settings=settings).start(ready=["segment"])
    with second.channel() as channel, pytest.raises(grpc.RpcError) as refusal:
        make_id(channel)("snowflake", timeout=5)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "all 1 worker ids from 512 to 512 are held" in refusal.value.details(), refusal.value.details()
    assert f"process {first.process.pid}" in refusal.value.details(), refusal.value.details()
    # Told once, however often it is tried.
    time.sleep(3)
    assert second.process.output().count("worker id not taken") == 1
    # A clean stop gives the id back.
    assert first.stop() == 0
    wait_until(lambda: second.health("snowflake") == "SERVING", 5, "the id that was given back")
    assert worker_of(ids(second, 1)[0]) == 512


def test_an_ordinal_without_a_number_in_the_hosts_name_is_told(mid):
    server = mid(arguments=["--worker-id", "ordinal"])
    name = os.uname().nodename.split(".")[0]
    if name[-1].isdigit():
        pytest.skip(f"the name of this host, {name}, ends with a number")
    assert server.launch().process.process.wait(20) == 2, server.process.output()
    assert f"'{name}" in server.process.output() and "does not end with a number" in server.process.output()


def test_a_server_frozen_past_its_lease_issues_nothing_under_an_id_that_another_has(mid, mariadb):
    settings = {
        **mariadb.settings,
        "MID_WORKER_RANGE": "7..8",
        "MID_SNOWFLAKE_LEASE": "10s",
        "MID_SNOWFLAKE_RENEW_INTERVAL": "3s",
    }
    frozen = mid(store=mariadb.url, settings=settings).start()
    before = ids(frozen)
    worker = worker_of(before[0])
    # The other id is taken too, so that the next one to come waits for that of the frozen server.
    settled = mid(store=mariadb.url, settings=settings).start()
    assert worker_of(ids(settled, 1)[0]) != worker
    with frozen.channel() as channel:
        one = make_id(channel)
        before.append(one("snowflake", timeout=5))
        frozen.process.signal(signal.SIGSTOP)
        try:
            heir = mid(store=mariadb.url, settings=settings).start(ready=["segment"])
            wait_until(lambda: heir.health("snowflake") == "SERVING", 40, "the frozen server's id")
            after = ids(heir)
            assert {worker_of(number) for number in after} == {worker}
        finally:
            frozen.process.signal(signal.SIGCONT)
        # All ids are taken, so it has none until another goes.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            with pytest.raises(grpc.RpcError) as refusal:
                one("snowflake", timeout=5)
            assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE, refusal.value
        assert settled.stop() == 0
        wait_until(lambda: frozen.health("snowflake") == "SERVING", 10, "another id for the server that was frozen")
        again = [one("snowflake", timeout=5) for _ in range(50)]
    assert worker_of(again[0]) != worker
    assert_unique(before + after + again)
    assert frozen.metric("mid_snowflake_worker_changes_total") == 1


def test_killed_and_restarted_on_its_folder_it_keeps_its_worker_id(mid, mariadb, scale):
    server = mid(store=mariadb.url, settings=mariadb.settings).start()
    found = ids(server)
    slowest = 0.0
    for _ in range(scale(4, 100)):
        server.kill()
        begin = time.monotonic()
        server.start(ready=["segment"])
        number, took = first_id(server, RESTART, begin)
        slowest = max(slowest, took)
        found += [number, *ids(server)]
    assert len({worker_of(number) for number in found}) == 1
    assert_increasing(found, "over all restarts")
    assert slowest < RESTART, f"{slowest:.1f} s to the first id"
    # On an empty folder another id, without a wait.
    server.kill()
    shutil.rmtree(f"{server.folder}/data")
    begin = time.monotonic()
    server.start(ready=["segment"])
    number, took = first_id(server, 2, begin)
    assert worker_of(number) != worker_of(found[0])
    assert took < 2, f"{took:.1f} s to the first id on an empty folder"
    print(f"slowest restart {slowest:.1f} s, on an empty folder {took:.1f} s")


def test_an_hour_back_between_two_runs_costs_the_worker_id_and_no_id_comes_twice(mid, mariadb, clock):
    settings = {**mariadb.settings, "MID_SNOWFLAKE_SEQUENCE_JITTER": "1"}
    server = mid(store=mariadb.url, settings=settings).start(**clock.environment)
    found = ids(server, 500)
    server.kill()
    clock.step(-3600)
    begin = time.monotonic()
    server.start(ready=["segment"], **clock.environment)
    number, took = first_id(server, 10, begin)
    assert took < 10, f"{took:.1f} s to the first id"
    assert worker_of(number) != worker_of(found[0])
    found += [number, *ids(server, 500)]
    # And once more while it runs.
    clock.step(-3600)
    begin = time.monotonic()
    number, took = first_id(server, 10, begin)
    assert took < 10, f"{took:.1f} s to the first id"
    found += [number, *ids(server, 500)]
    assert_unique(found)
    assert len({worker_of(number) for number in found}) == 3
