"""What a server does when its clock is wrong or steps: NTP servers, the store and other nodes as witnesses."""

import signal
import time
import uuid

import grpc
import pytest

from clock import ShiftedClock
from load import assert_increasing, assert_unique
from programs import needs, wait_until
from stubs import make_id, method, mid_pb2


@pytest.fixture
def clocks(shim, tmp_path):
    """Makes clocks that can be moved one by one."""
    made = []

    def make(seconds=0.0):
        folder = tmp_path / f"clock{len(made)}"
        folder.mkdir()
        made.append(ShiftedClock(shim, str(folder), seconds))
        return made[-1]

    return make


def is_ready(server):
    return server.health("snowflake") == "SERVING"


def served(one):
    """An id, or None where there is none now."""
    try:
        return one("snowflake", timeout=1)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        return None


def steps(server, direction):
    return server.metric("mid_clock_steps_total", direction=direction)


def log_count(server, message):
    return server.process.output().count(f'"message":"{message}')


@needs("chronyd")
def test_by_ntp_a_wrong_clock_does_not_begin_and_begins_by_itself_once_it_is_right(mid, clocks, ntp_server):
    clock = clocks(90)
    address = ntp_server(clocks())
    server = mid(settings={"MID_CLOCK_NTP_SERVERS": address, "MID_CLOCK_NTP_INTERVAL": "1s"})
    server.start(ready=["segment"], **clock.environment)
    with server.channel() as channel:
        one = make_id(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            one("snowflake", timeout=5)
        assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
        details = refusal.value.details()
        assert "ms ahead of the NTP servers'; clock.max_offset allows 1s" in details, details
        assert one("segment", timeout=5) == 1
        assert not is_ready(server) and server.metric("mid_clock_trusted") == 0
        assert server.metric("mid_snowflake_worker_id") is None
        clock.set(0)
        wait_until(lambda: is_ready(server), 20, "a server whose clock is right")
        assert one("snowflake", timeout=5) > 0
    assert server.metric("mid_clock_trusted") == 1
    assert log_count(server, "worker id not taken") == 1
    assert steps(server, "backward") == 1 and steps(server, "forward") == 0


@needs("chronyd")
def test_a_step_while_it_runs_takes_the_readiness_at_once_and_costs_no_id(mid, clocks, ntp_server):
    clock = clocks()
    address = ntp_server(clocks())
    # A minute between questions: the step itself tells.
    server = mid(settings={"MID_CLOCK_NTP_SERVERS": address}).start(**clock.environment)
    with server.channel() as channel:
        one = make_id(channel)
        found = [one("snowflake", timeout=5) for _ in range(50)]
        clock.step(5)
        wait_until(lambda: not is_ready(server), 10, "a step that is noticed")
        # The bound, 3 s ahead, lies behind the clock until it is stored anew.
        wait_until(lambda: found.append(served(one)) or found[-1], 10, "ids after a step past the bound")
        found = [each for each in found if each] + [one("snowflake", timeout=5) for _ in range(50)]
        clock.step(-5)
        wait_until(lambda: server.metric("mid_clock_trusted") == 1, 10, "a clock that is right again")
        # The ids have come 5 s too far: another worker id goes on at the clock.
        wait_until(lambda: is_ready(server), 20, "ids again")
        found += [one("snowflake", timeout=5) for _ in range(50)]
    assert_unique(found)
    assert steps(server, "forward") == 1 and steps(server, "backward") == 1
    assert log_count(server, "the clock was stepped") == 2
    assert log_count(server, "the clock is off") == 1 and log_count(server, "the clock is right again") == 1


@needs("chronyd")
def test_one_ntp_server_that_lies_among_three_does_not_count_and_is_named(mid, clocks, ntp_server):
    liar = ntp_server(clocks(100))
    addresses = [ntp_server(clocks()), liar, ntp_server(clocks())]
    # Often, as an answer may come too late on a busy machine.
    often = {"MID_CLOCK_NTP_INTERVAL": "1s"}
    server = mid(settings={**often, "MID_CLOCK_NTP_SERVERS": ",".join(addresses)}).start()
    wait_until(lambda: server.metric("mid_ntp_falsetickers") == 1, 20, "the liar")
    assert abs(server.metric("mid_ntp_offset_seconds")) < 0.5
    lines = [line for line in server.process.output().splitlines() if "contradicts most others" in line]
    assert len(lines) == 1 and liar in lines[0], lines
    # Two that contradict each other count for nothing, and so does the clock's offset.
    other = mid(settings={**often, "MID_CLOCK_NTP_SERVERS": ",".join(addresses[:2])}).start()
    wait_until(lambda: log_count(other, "NTP servers contradict each other") == 1, 20, "that they contradict each other")
    assert other.metric("mid_ntp_offset_seconds") is None
    with other.channel() as channel:
        assert make_id(channel)("snowflake", timeout=5) > 0


def test_the_store_tells_a_node_whose_clock_is_wrong(mid, mariadb, clocks):
    settings = {**mariadb.settings, "MID_SNOWFLAKE_RENEW_INTERVAL": "1s"}
    right = mid(store=mariadb.url, settings=settings).start()
    clock = clocks(-30)
    wrong = mid(store=mariadb.url, settings=settings).start(ready=["segment"], **clock.environment)
    wait_until(lambda: wrong.metric("mid_clock_trusted") == 0, 30, "a clock that is found out")
    assert 29 < wrong.metric("mid_clock_store_offset_seconds") < 31
    assert not is_ready(wrong) and is_ready(right)
    assert abs(right.metric("mid_clock_store_offset_seconds")) < 0.5
    with wrong.channel() as channel:
        # It issues all the same: unique, and in order.
        assert_increasing([make_id(channel)("snowflake", timeout=5) for _ in range(20)], "ids of a wrong clock")
    clock.set(0)
    wait_until(lambda: is_ready(wrong), 30, "a clock that is right")


@pytest.mark.parametrize("seconds", [30, 1.5])
def test_a_store_whose_clock_is_wrong_takes_no_node_out_of_service(mid, mariadb, clocks, seconds):
    settings = {**mariadb.settings, "MID_SNOWFLAKE_RENEW_INTERVAL": "1s"}
    own = [clocks() for _ in range(3)]
    servers = [mid(store=mariadb.url, settings=settings).start(**clock.environment) for clock in own]
    # Seen from the nodes, the store goes back.
    for clock in own:
        clock.step(seconds)
    for server in servers:
        wait_until(lambda: log_count(server, "the store's clock is off") == 1, 30, "the store that is found out")  # noqa: B023
        wait_until(lambda: is_ready(server), 10, "readiness")  # noqa: B023
        assert abs(server.metric("mid_clock_store_offset_seconds") + seconds) < 0.5
        assert server.metric("mid_clock_store_trusted") == 0
        assert log_count(server, "the clock is off") == 0
    # Nor do those that stop take the readiness of the last one.
    for server in servers[1:]:
        assert server.stop() == 0
    time.sleep(6)
    assert is_ready(servers[0])
    for clock in own:
        clock.step(-seconds)
    wait_until(lambda: log_count(servers[0], "the store's clock is right again") == 1, 30, "the end of it")


def test_a_leap_second_set_back_is_bridged(mid, clocks):
    clock = clocks()
    server = mid().start(**clock.environment)
    with server.channel() as channel:
        one = make_id(channel)
        found = [one("snowflake", timeout=5) for _ in range(200)]
        clock.step(-1)
        begin = time.monotonic()
        found += [one("snowflake", timeout=0.9) for _ in range(200)]
        # Past the second, too.
        while time.monotonic() < begin + 1.2:
            found.append(one("snowflake", timeout=0.9))
    assert_increasing(found, "over the leap second")
    wait_until(lambda: steps(server, "backward") == 1, 10, "the step")
    assert server.metric("mid_snowflake_worker_changes_total") == 0


def test_frozen_past_the_folders_bound_and_not_past_the_lease_it_serves_at_once(mid):
    server = mid().start()
    with server.channel() as channel:
        one = make_id(channel)
        found = [one("snowflake", timeout=5)]
        server.process.signal(signal.SIGSTOP)
        time.sleep(4)
        server.process.signal(signal.SIGCONT)
        begin = time.monotonic()
        wait_until(lambda: found.append(served(one)) or found[-1], 10, "ids after a standstill")
        took = time.monotonic() - begin
        found = [each for each in found if each] + [one("snowflake", timeout=5) for _ in range(20)]
    assert_increasing(found, "over the standstill")
    assert took < 3, f"{took:.1f} s"
    assert server.metric("mid_snowflake_worker_changes_total") == 0


def test_before_the_epoch_and_past_the_end_calls_fail_and_say_why(mid, clocks):
    clock = clocks()
    server = mid().start(**clock.environment)
    epoch, end = 1_609_459_200, 1_609_459_200 + (1 << 41) / 1000
    with server.channel() as channel:
        one = make_id(channel)
        one("snowflake", timeout=5)
        clock.set(end + 10 - time.time())
        wait_until(lambda: not is_ready(server), 10, "the end of time")
        with pytest.raises(grpc.RpcError) as refusal:
            one("snowflake", timeout=1)
        assert refusal.value.code() == grpc.StatusCode.OUT_OF_RANGE, refusal.value
        assert "the layout's time ended at 2090-09-07T15:47:35.552Z" in refusal.value.details()
        clock.set(epoch - 10 - time.time())
        with pytest.raises(grpc.RpcError) as refusal:
            one("snowflake", timeout=1)
        assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "before the layout's epoch 2021-01-01T00:00:00.000Z" in refusal.value.details()
        assert not is_ready(server)
        assert one("segment", timeout=5) == 1
        clock.set(0)
        wait_until(lambda: is_ready(server), 30, "a clock that is right")
        one("snowflake", timeout=5)


def crockford(text):
    """The number that digits of Crockford's base 32 stand for."""
    number = 0
    for digit in text:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
    return number


# The time in an id, in seconds since 1970.
TEXT_TIMES = {
    "uuid7": lambda text: int(text.replace("-", "")[:12], 16) / 1000,
    "ulid": lambda text: crockford(text[:10]) / 1000,
    "objectid": lambda text: int(text[:8], 16),
    "uuid1": lambda text: (uuid.UUID(text).time - 0x01B21DD213814000) / 1e7,
}


def test_ids_that_are_texts_come_back_from_a_clock_that_was_an_hour_ahead(mid, clocks):
    clock = clocks()
    server = mid().start(**clock.environment)
    with server.channel() as channel:
        call = method(
            channel, "/mid.v1.IDService/GenerateID", mid_pb2.GenerateIDRequest, mid_pb2.GenerateIDResponse
        )
        texts = {mode: [] for mode in TEXT_TIMES}

        def ask(mode, count=50):
            found = [call(mid_pb2.GenerateIDRequest(mode=mode), timeout=5).text for _ in range(count)]
            texts[mode] += found
            return found

        for mode, seconds in TEXT_TIMES.items():
            before = ask(mode)
            clock.step(3600)
            ahead = ask(mode)
            assert abs(seconds(ahead[-1]) - clock.now()) < 5, mode
            clock.step(-3600)
            after = ask(mode)
            assert all(abs(seconds(text) - clock.now()) < 5 for text in after), mode
            if mode != "uuid1":
                assert before + ahead == sorted(before + ahead) and after == sorted(after), mode
                assert server.metric("mid_clock_returns_total", mode=mode) == 1
            # By less than 10 s it is no return, and the order holds.
            clock.step(-5)
            later = ask(mode)
            if mode != "uuid1":
                assert later == sorted(later) and later[0] > after[-1], mode
                assert server.metric("mid_clock_returns_total", mode=mode) == 1
            clock.step(5)
        for mode, found in texts.items():
            assert len(set(found)) == len(found) == 200, mode
    assert log_count(server, "ids follow the clock back") == 3
