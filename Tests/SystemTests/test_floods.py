"""What one client can cost: each known flood against the real server, with a careful caller beside it.

The caller calls 250 times a second on a connection of its own and times each call from when it was due. Its p99 beside
a flood is held against its p99 beside the same bytes sent to a sink, so that what the attacker takes of the processors
is in both: at most twice that. In the short form, whose p99 is the second slowest of 175 calls, less than 100 ms is never
called a stall, as a busy machine takes that at will; the long form has no such floor. Both print what they measured, and
what the caller sees with nobody beside it.
"""

import os
import signal
import threading
import time

import pytest

import floods
from floods import ACK, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, Incoming, Worker, call, frame, mode
from programs import MidServer, run_mid, wait_until

RATE = 250
STALL = 0.1
# What the test of the measure itself takes for noise.
NOISE = 0.010
# Where a tag's step is 1 the store commits as fast as it can, which takes the machine's time and not the connection's.
STORE_BUSY = 0.003
ATTEMPTS = 3
MIB = 1 << 20
# Times that a test can wait for; what is counted and what is held stands at its defaults.
TIMES = {"MID_GRPC_FIRST_REQUEST_TIMEOUT": "1s", "MID_GRPC_STUCK_TIMEOUT": "1s"}

CALM = 11
FRAMES = "too many frames that carry no call forward"
RESETS = "too many streams that end by RST_STREAM"
LARGE_BLOCK = "a header block over 16384 bytes"
LARGE_LIST = "a header list over 16384 bytes"
NO_HPACK = "a header block that HPACK can't decode"
TRICKLE = "a frame or a header block did not come whole in time"


def p99(latencies):
    return sorted(latencies)[int(len(latencies) * 0.99)]


def is_untouched(alone, beside, floor):
    """Whether a p99 beside a flood is as good as one beside the sink."""
    return beside <= max(2 * alone, floor)


class Stage:
    """A server, an attacker, a careful caller, and a sink to compare with."""

    def __init__(self, folder, long, settings=None):
        self.server = MidServer(folder, settings={**TIMES, **(settings or {})}).start()
        created = run_mid("tag", "create", "tiny", "--step", 1, "--store", self.server.store)
        assert created.returncode == 0, created.stderr
        self.attacker, self.caller, self.sink = Worker(), Worker(), Worker()
        self.sink_port = self.sink.ask("sink").answer()
        self.seconds = 10.0 if long else 0.7
        self.floor = 0.0 if long else STALL
        self.calm = self.alone()
        # Beyond the 10 % that the long form allows: what an allocator keeps of a short attack.
        self.kept = 0 if long else 6 * MIB

    def stop(self):
        for worker in (self.attacker, self.caller, self.sink):
            worker.stop()
        self.server.kill()
        print(f"--- log of the server\n{self.server.process.output()[-5000:]}")

    def memory(self):
        """The server's resident memory in bytes."""
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self):
        """Seconds of CPU that the server has spent."""
        with open(f"/proc/{self.server.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ends(self):
        """How many connections the server has ended, by reason."""
        name = "mid_rpc_connections_ended_total"
        lines = [line for line in self.server.metrics_text().splitlines() if line.startswith(name + "{")]
        return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}

    def is_quiet(self):
        return self.server.metric("mid_rpc_connections") == 0 and self.server.metric("mid_rpc_held_bytes") == 0

    def settle(self):
        wait_until(self.is_quiet, 10, "no connection and no held byte is left")

    def rests(self):
        before = self.cpu()
        time.sleep(0.3)
        return self.cpu() - before <= 0.1

    def assert_rests(self):
        """A server that nobody calls does next to nothing; what it loads ahead for a burst it had is soon loaded."""
        wait_until(self.rests, 5, "the server does nothing where nobody calls")

    def alone(self):
        """The careful caller's p99 with nobody beside it."""
        self.caller.ask("careful", port=self.server.port, start=time.monotonic() + 0.1, seconds=1.0, rate=RATE)
        return p99(self.caller.answer()["latencies"])

    def run(self, flood, port, seconds, meanwhile=None, **options):
        """The careful caller beside one attack: what it saw, and what became of the attacker's connections."""
        start = time.monotonic() + 0.1
        self.caller.ask("careful", port=self.server.port, start=start, seconds=seconds, rate=RATE)
        self.attacker.ask("attack", flood=flood, port=port, start=start, seconds=seconds, **{"pace": 0.005, **options})
        if meanwhile:
            meanwhile(start)
        careful, outcomes = self.caller.answer(), self.attacker.answer()
        assert careful["errors"] == [], f"the careful caller beside {flood}"
        assert len(careful["latencies"]) == int(seconds * RATE)
        return p99(careful["latencies"]), outcomes

    def attack(self, flood, seconds=None, growth=32 * MIB, warm_up=0.2, floor=0.0, **options):
        """Holds the server to its promise and returns what became of the attacker's connections, and which ends moved.

        The attack runs once before, for `warm_up` seconds, so that what the allocator keeps is not taken for a leak.
        """
        seconds = max(self.seconds, seconds or 0.0)
        self.attacker.ask("attack", flood=flood, port=self.server.port, start=0, seconds=warm_up, **{"pace": 0.005, **options})
        self.attacker.answer()
        tries = []
        for _ in range(ATTEMPTS):
            alone, _ = self.run(flood, self.sink_port, seconds, **options)
            self.settle()
            before, ends = self.memory(), self.ends()
            peaks, done = [before], threading.Event()

            def watch():
                while not done.wait(0.02):
                    peaks.append(self.memory())  # noqa: B023

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                beside, outcomes = self.run(flood, self.server.port, seconds, **options)
            finally:
                done.set()
                watcher.join()
            self.settle()
            self.assert_rests()
            moved = {reason: count - ends.get(reason, 0) for reason, count in self.ends().items()}
            tries.append((alone, beside))
            print(
                f"{flood}: p99 {1000 * self.calm:.2f} ms alone, {1000 * alone:.2f} ms beside the sink, {1000 * beside:.2f} ms beside the flood; "
                f"memory {before / MIB:.1f} MiB, at most {max(peaks) / MIB:.1f}, then {self.memory() / MIB:.1f}; "
                f"{len(outcomes)} connections, {sum(each['sent'] for each in outcomes) / MIB:.1f} MiB sent, "
                f"{sum(each['received'] for each in outcomes) / MIB:.1f} received; ended {moved}"
            )
            assert max(peaks) <= before + growth, f"memory grew by {(max(peaks) - before) / MIB:.1f} MiB"
            wait_until(lambda: self.memory() <= 1.1 * before + self.kept, 10, "memory back to within 10 %")  # noqa: B023
            if is_untouched(alone, beside, max(self.floor, floor)):
                return outcomes, {reason: count for reason, count in moved.items() if count}
        raise AssertionError(f"p99 beside the sink and beside the flood, in seconds, {ATTEMPTS} times: {tries}")


@pytest.fixture(scope="module")
def stages(tmp_path_factory, request):
    """Stages by their settings, kept for the tests that can share them."""
    kept = []

    def make(settings=None):
        folder = tmp_path_factory.mktemp("stage") / "mid"
        kept.append(Stage(folder, request.config.getoption("--long"), settings))
        return kept[-1]

    yield make
    for stage in kept:
        stage.stop()


@pytest.fixture(scope="module")
def stage(stages):
    return stages()


def ended(outcomes):
    return [each for each in outcomes if each["ended"]]


@pytest.mark.parametrize(
    ("flood", "code", "text"),
    [
        ("rapid_reset", CALM, RESETS),
        ("reset_of_waiting_calls", CALM, RESETS),
        ("provoked_window_update_of_zero", CALM, RESETS),
        ("provoked_window_overflow", CALM, RESETS),
        ("provoked_malformed_priority", CALM, RESETS),
        ("provoked_data_after_the_end", CALM, RESETS),
        ("provoked_malformed_heads", CALM, RESETS),
        ("provoked_overlong_messages", CALM, RESETS),
        ("continuation_of_one_byte", CALM, LARGE_BLOCK),
        ("continuation_of_nothing", CALM, LARGE_BLOCK),
        ("continuation_of_whole_frames", CALM, LARGE_BLOCK),
        ("ping", CALM, "too_many_pings"),
        ("ping_ack", CALM, FRAMES),
        ("settings", CALM, FRAMES),
        ("settings_full", CALM, FRAMES),
        ("settings_that_move_every_window", CALM, FRAMES),
        ("empty_data", CALM, FRAMES),
        ("padded_empty_data", CALM, FRAMES),
        ("priority", CALM, FRAMES),
        ("window_update", CALM, FRAMES),
        ("window_byte_by_byte", CALM, FRAMES),
        ("unknown_frames", CALM, FRAMES),
        ("header_list_bomb", CALM, LARGE_LIST),
        ("table_evictions", CALM, FRAMES),
        ("table_size_updates", CALM, FRAMES),
        ("table_size_past_the_setting", 9, NO_HPACK),
        ("table_huge_integers", 9, NO_HPACK),
        ("connection_window_overflow", 3, "the connection's window past 2^31-1"),
        ("data_past_the_window", 3, "DATA past the connection's window"),
        ("huge_batches", CALM, FRAMES),
        ("rapid_reset_of_streams", CALM, RESETS),
        ("empty_data_on_a_stream", CALM, FRAMES),
    ],
)
def test_a_flood_ends_its_own_connections_and_no_other_notices(stage, flood, code, text):
    outcomes, moved = stage.attack(flood, floor=STORE_BUSY if flood == "huge_batches" else 0.0)
    over = ended(outcomes)
    assert over, f"none of {len(outcomes)} connections was ended"
    assert {str(each["goaway"]) for each in over} == {str([code, text])}
    reason = "flood" if code == CALM else "protocol_error"
    # One that is ended as the attack ends may not have heard of it.
    assert set(moved) == {reason} and len(over) <= moved[reason] <= len(outcomes)


@pytest.mark.parametrize("flood", ["unknown_methods", "snowflake_batches", "messages_of_a_stream"])
def test_calls_that_are_answered_in_vain_are_no_flood_and_touch_no_other(stage, flood):
    # As dear to the client as to the server: one status or one bounded reply for each request.
    outcomes, moved = stage.attack(flood)
    assert all(each["received"] < each["sent"] for each in outcomes)
    assert set(moved) <= {"flood"}


@pytest.mark.parametrize("flood", ["zero_window", "zero_window_of_streams"])
def test_replies_that_no_window_lets_leave_are_given_up_in_time(stage, flood):
    outcomes, moved = stage.attack(flood, seconds=2.2, connections=5, most=5)
    assert (ended(outcomes), moved) == ([], {})
    # CANCEL for each of the 900 calls of each connection.
    assert [each["kinds"].get("3:8") for each in outcomes] == [900] * 5


@pytest.mark.parametrize("flood", ["unread_replies", "unread_messages"])
def test_a_peer_that_reads_nothing_is_not_read_from_and_closed_in_time(stage, flood):
    outcomes, moved = stage.attack(flood, seconds=5.0, connections=1, most=1, pace=0.02, reads=False)
    # Its socket takes some megabytes; then nothing more is read from it either, and it is closed a second later.
    assert set(moved) == {"stuck"} and moved["stuck"] >= 1
    assert len(ended(outcomes)) >= 1
    assert all(each["sent"] < 16 * MIB for each in outcomes)


@pytest.mark.parametrize("flood", ["silence", "preface_that_trickles", "preface_alone"])
def test_connections_that_do_not_begin_are_closed_in_time(stage, flood):
    outcomes, moved = stage.attack(flood, seconds=2.0, connections=50, most=50, pace=0.05, greets=False)
    over = ended(outcomes)
    assert len(over) >= 50 and set(moved) == {"handshake"} and moved["handshake"] >= len(over)
    # The time, half of it again as the times are looked at that often, and what a busy machine adds.
    assert all(0.9 <= each["seconds"] <= 6 for each in over), over


@pytest.mark.parametrize("flood", ["rests_of_messages", "rests_of_replies"])
def test_what_is_left_of_long_messages_does_not_keep_their_memory(stage, flood):
    held = []

    def watch(_):
        wait_until(lambda: stage.server.metric("mid_rpc_held_bytes") >= 900, 10, "a byte of each call is held")
        held.extend([stage.server.metric("mid_rpc_held_bytes"), stage.memory()])

    stage.run(flood, stage.server.port, 0.2, connections=1, most=1)
    stage.settle()
    before = stage.memory()
    _, outcomes = stage.run(
        flood, stage.server.port, 8.0, connections=1, most=1, pace=0.002, meanwhile=watch
    )
    grown = held[1] - before
    print(f"{flood}: {held[0] / 1024:.0f} KiB are held and told, memory grew by {grown / MIB:.1f} MiB")
    # 50 MiB of messages or more, of which a byte each is left.
    assert outcomes[0]["sent"] + outcomes[0]["received"] > 45 * MIB
    assert held[0] <= 2 * MIB and grown <= 16 * MIB
    stage.settle()


def test_a_connection_that_is_ended_while_its_output_is_large_costs_nothing_more(stage):
    start, waited = time.monotonic() + 0.1, {}

    def watch(_):
        time.sleep(max(0.0, start + 0.3 - time.monotonic()))
        before = stage.cpu()
        time.sleep(0.5)
        waited["cpu"] = stage.cpu() - before

    stage.attacker.ask("attack", flood="pause_and_break", port=stage.server.port, start=start, seconds=0.25, pace=0.05)
    watch(start)
    outcome = stage.attacker.answer()[0]
    assert outcome["goaway"] == [6, "a frame of 16385 bytes; at most 16384 are taken"], outcome
    assert waited["cpu"] <= 0.1, waited
    stage.settle()


def test_streams_that_want_one_place_are_served_like_others(stage):
    outcomes, moved = stage.attack("colliding_streams", connections=4, most=4)
    assert (ended(outcomes), moved) == ([], {})


@pytest.mark.parametrize("flood", ["frame_that_trickles", "header_block_that_trickles"])
def test_connections_that_trickle_a_frame_are_ended_in_time(stage, flood):
    outcomes, moved = stage.attack(flood, seconds=2.2, connections=50, most=50, pace=0.1)
    over = ended(outcomes)
    assert len(over) >= 50 and set(moved) == {"stuck"} and moved["stuck"] >= len(over)
    assert {str(each["goaway"]) for each in over} == {str([CALM, TRICKLE])}


@pytest.mark.parametrize("flood", ["message_that_trickles", "stream_message_that_trickles"])
def test_a_message_that_trickles_is_refused_in_time(stage, flood):
    outcomes, moved = stage.attack(flood, seconds=2.2, connections=50, most=50, pace=0.1)
    assert (ended(outcomes), moved) == ([], {})
    # A status, and RST_STREAM with NO_ERROR for what is still to come of the request.
    assert [(each["kinds"].get("1"), each["kinds"].get("3:0")) for each in outcomes] == [(1, 1)] * 50


@pytest.mark.parametrize("flood", ["half_sent_requests", "half_sent_messages"])
def test_what_all_connections_hold_together_is_bounded(stages, flood):
    stage = stages({"MID_GRPC_MAX_MEMORY_BYTES": str(8 * MIB), "MID_GRPC_MAX_CONNECTIONS": "200"})
    outcomes, moved = stage.attack(flood, connections=30, most=30, growth=40 * MIB, warm_up=0.7)
    over = ended(outcomes)
    assert len(over) >= 10 and set(moved) == {"memory"} and moved["memory"] >= len(over)
    text = "the server's memory for half-sent requests and unread answers is used up"
    assert {str(each["goaway"]) for each in over} == {str([CALM, text])}


def test_connections_past_the_limit_are_closed_as_they_come(stages):
    stage = stages({"MID_GRPC_MAX_CONNECTIONS": "50"})
    outcomes, moved = stage.attack("silence", connections=100, most=200)
    over = ended(outcomes)
    assert set(moved) == {"connection_limit"} and 51 <= len(over) <= moved["connection_limit"]
    # The careful caller has one of the 50. The last ones may not have been accepted yet as the attack ended.
    assert 49 <= len(outcomes) - moved["connection_limit"] <= 52


def test_idle_connections_take_little_memory_each(stages, scale):
    count, most = scale(1000, 10_000), scale(2000, 2000)
    # The attacker opens all of them before it says the first word.
    stage = stages({"MID_GRPC_MAX_CONNECTIONS": "20000", "MID_GRPC_FIRST_REQUEST_TIMEOUT": "60s"})
    stage.run("silence", stage.sink_port, 0.5)
    stage.settle()
    # Opening them takes the attacker a millisecond or so each.
    seconds = count / 500 + 1.5
    after = []
    for _ in range(2):
        before = stage.memory()
        held = []

        def watch(start):
            wait_until(lambda: stage.server.metric("mid_rpc_connections") == count + 1, seconds + 3, "all are open")
            held.append(stage.memory())  # noqa: B023

        _, outcomes = stage.run(
            "silence", stage.server.port, seconds, meanwhile=watch, connections=count, most=most, pace=0.01
        )
        assert len(outcomes) == count and ended(outcomes) == []
        stage.settle()
        after.append(stage.memory())
        print(f"{count} idle connections: {(held[0] - before) / count / 1024:.1f} KiB each, with what they left before")
        # What a fresh server takes once counts less where there are more.
        assert held[0] - before <= count * scale(12, 10) * 1024
    assert after[1] <= 1.1 * after[0] + stage.kept


def read_until(connection, incoming, done, seconds=10):
    """Reads frames until one of them is what `done` asks for; all that came before are returned."""
    connection.settimeout(seconds)
    seen = []
    while True:
        data = connection.recv(65536)
        assert data, f"closed after {seen}"
        for each in incoming.take(data):
            assert each[0] != GOAWAY, each
            seen.append(each)
        if any(done(*each) for each in seen):
            return seen


@pytest.fixture
def connection(request):
    """Opens greeted connections and closes them after the test."""
    opened = []

    def make(port):
        opened.append(floods.socket.create_connection(("127.0.0.1", port), timeout=10))
        opened[-1].sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, ACK) + floods.WIDE)
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_a_ping_for_each_of_10000_calls_passes(stage, connection):
    # As grpc-go does: it measures the bandwidth with a PING for the reply it has just read.
    socket, incoming = connection(stage.server.port), Incoming()
    ends = stage.ends()
    for stream in range(1, 20_001, 2):
        socket.sendall(call(stream, mode("segment")))
        read_until(socket, incoming, lambda kind, flags, number, _: kind == HEADERS and flags & END_STREAM)
        socket.sendall(frame(PING, 0, 0, stream.to_bytes(8, "big")))
    socket.sendall(frame(PING, 0, 0, b"the last"))
    read_until(socket, incoming, lambda kind, flags, _, payload: kind == PING and payload == b"the last")
    assert stage.ends() == ends


def test_keepalive_pings_without_a_call_pass_and_too_many_do_not(stages, connection):
    # A fortieth of the real times: 4 s is the least, clients wait 10 s.
    stage = stages({"MID_GRPC_PING_MIN_INTERVAL": "100ms"})
    socket, incoming = connection(stage.server.port), Incoming()
    for _ in range(10):
        socket.sendall(frame(PING, 0, 0, bytes(8)))
        read_until(socket, incoming, lambda kind, flags, *_: kind == PING and flags & ACK)
        time.sleep(0.25)
    assert stage.ends() == {}
    with pytest.raises(AssertionError, match="too_many_pings"):
        for _ in range(10):
            socket.sendall(frame(PING, 0, 0, bytes(8)))
            read_until(socket, incoming, lambda kind, flags, *_: kind == PING and flags & ACK)
    assert stage.ends() == {"flood": 1}


def test_a_server_that_stands_still_is_seen(stage):
    def stop_for_a_while(start):
        time.sleep(max(0.0, start + 0.2 - time.monotonic()))
        stage.server.process.signal(signal.SIGSTOP)
        time.sleep(0.2)
        stage.server.process.signal(signal.SIGCONT)

    for _ in range(ATTEMPTS):
        alone, _ = stage.run("rapid_reset", stage.sink_port, 0.7)
        beside, _ = stage.run("rapid_reset", stage.server.port, 0.7, meanwhile=stop_for_a_while)
        if not is_untouched(alone, beside, NOISE):
            return
    raise AssertionError(f"200 ms without an answer went unseen: {alone}, {beside}")
