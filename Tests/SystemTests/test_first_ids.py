"""A fresh data folder, crashes and a clock that was set back: no id repeats."""

import re
import threading
import time

import grpc

from load import assert_increasing, assert_unique
from programs import run_mid, wait_until
from stubs import generate_id, make_id


def test_next_on_a_fresh_folder_prints_a_snowflake_id_and_segment_id_1(mid):
    server = mid().start()
    result = run_mid("next", "--server", server.address)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"Snowflake ID: [1-9]\d{15,18}\nSegment ID: 1\n", result.stdout)


def test_next_with_a_mode_prints_bare_ids_one_a_line(mid):
    server = mid().start()
    result = run_mid("next", "--server", server.address, "--mode", "segment", "-n", 5)
    assert (result.returncode, result.stdout) == (0, "1\n2\n3\n4\n5\n"), result.stderr
    result = run_mid("next", "--server", server.address, "--mode", "snowflake", "-n", 3)
    assert result.returncode == 0, result.stderr
    ids = [int(line) for line in result.stdout.splitlines()]
    assert len(ids) == 3
    assert_increasing(ids, "snowflake")


def test_next_asks_for_as_many_at_once_as_the_server_takes(mid):
    form = "x" * 64 + "{day}" + "y" * 47 + "{decimal:9}"
    server = mid(settings={"MID_TICKET_BATCH_MAX": "50", "MID_TEXT_FORMS": f"default={form}"}).start()
    for arguments, count in ((("--mode", "ticket"), 120), (("--mode", "segment", "--format", "tag"), 20_000)):
        result = run_mid("next", "--server", server.address, *arguments, "-n", count)
        assert result.returncode == 0, result.stderr
        lines = result.stdout.split()
        assert len(lines) == count == len(set(lines)) and int(lines[-1][-9:]) - int(lines[0][-9:]) == count - 1
    before = server.metric("mid_rpc_calls_total", code="INVALID_ARGUMENT")
    refused = run_mid("next", "--server", server.address, "--mode", "segment", "--format", "opaque", "-n", 20_000)
    assert refused.returncode == 1 and "no opaque numbers" in refused.stderr
    # Not size by size.
    assert server.metric("mid_rpc_calls_total", code="INVALID_ARGUMENT") == before + 2


def test_next_without_a_server_says_so_in_one_line(mid):
    result = run_mid("next", "--server", mid().address)
    assert result.returncode != 0
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_tags_made_by_hand_are_served_with_their_step_and_first_id(mid):
    server = mid()
    for arguments in (("create", "orders", "--step", 500, "--first", 7000), ("list",)):
        result = run_mid("tag", *arguments, "--store", server.store, folder=server.folder)
        assert result.returncode == 0, result.stderr
    assert re.search(r"orders\b.*\b500\b", result.stdout), result.stdout
    server.start()
    with server.channel() as channel:
        one = generate_id(channel)
        assert [one("segment", "orders", timeout=5) for _ in range(3)] == [7000, 7001, 7002]
        assert one("segment", timeout=5) == 1


class Traffic:
    """One caller per mode, one call after the other, until the server dies."""

    def __init__(self, server):
        self.ids = {"snowflake": [], "segment": []}
        self._threads = [threading.Thread(target=self._run, args=(server, mode)) for mode in self.ids]
        for thread in self._threads:
            thread.start()

    def _run(self, server, mode):
        with server.channel() as channel:
            one = make_id(channel)
            while True:
                try:
                    self.ids[mode].append(one(mode, timeout=30))
                except grpc.RpcError:
                    return

    def join(self):
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        return self.ids


def serves_snowflake(server):
    """Whether a call gets an id; where health said that it would, it must."""
    with server.channel() as channel:
        said = server.health("snowflake")
        try:
            return make_id(channel)("snowflake", timeout=1) > 0
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
            assert said != "SERVING", f"health says SERVING, the call says {error}"
            return False


def test_no_id_repeats_after_kill_9_in_mid_traffic_also_with_the_clock_set_back(mid, clock, scale):
    # Without a random start of the sequence, a server that forgot its bound would be sure to repeat itself.
    server = mid(settings={"MID_SNOWFLAKE_SEQUENCE_JITTER": "1"})
    everything = {"snowflake": [], "segment": []}
    slowest = 0.0
    traffic_began = 0.0
    # The clock before each start: as it is, 10 s back, or back to where the traffic before the crash began.
    starts = scale(["right", "10 s back", "relive", "right", "relive"], ["right", "10 s back", "relive", "relive"] * 5)
    for number, start in enumerate(starts):
        if start == "10 s back":
            clock.step(-10)
        elif start == "relive":
            clock.step(traffic_began - clock.now())
        begin = time.monotonic()
        # Until the clock is past the bound that the crashed run stored, snowflake says no: 10 s, the bound's 3 s, slack.
        server.start(ready=["segment"], **clock.environment)
        wait_until(lambda: serves_snowflake(server), 25, "a snowflake id after a crash", interval=0.1)
        slowest = max(slowest, time.monotonic() - begin)
        traffic_began = clock.now()
        traffic = Traffic(server)
        time.sleep(1)
        server.kill()
        ids = traffic.join()
        for mode, found in ids.items():
            assert len(found) > 100, f"only {len(found)} {mode} ids in round {number}"
            everything[mode].extend(found)
    assert_increasing(everything["segment"], "segment over all restarts")
    assert_unique(everything["segment"])
    assert_unique(everything["snowflake"])
    print(f"{len(starts)} crashes, {sum(map(len, everything.values()))} ids, slowest restart {slowest:.1f} s")


def test_a_clock_set_back_while_running_stops_a_fixed_worker_id_and_nothing_else(mid, clock):
    server = mid(arguments=["--worker-id", 1]).start(**clock.environment)
    with server.channel() as channel:
        one = make_id(channel)
        before = [one("snowflake", timeout=5) for _ in range(1000)]
        clock.step(-30)
        begin = time.monotonic()
        try:
            late = []
            while time.monotonic() < begin + 5:
                late.append(one("snowflake", timeout=0.5))
            raise AssertionError(f"{len(late)} snowflake ids in 5 s with the clock 30 s back")
        except grpc.RpcError as error:
            # The caller's own timer and the server's answer meet at the deadline.
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
        assert one("segment", timeout=5) > 0
        clock.step(30)
        after = [one("snowflake", timeout=5) for _ in range(1000)]
    assert_increasing(before + late + after, "snowflake")
