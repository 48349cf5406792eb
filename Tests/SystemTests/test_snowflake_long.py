"""Worker leases over many restarts, a frozen process, a long outage of the store, and beside Leaf's own generator."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections import namedtuple

import grpc
import pytest

import leaf
from load import Load, assert_increasing, assert_unique
from programs import wait_until
from stubs import generate_batch, id_pb2, make_id, method

# A restart waits for the bound of the run before: 3 s, and what a busy machine needs.
RESTART = 5.0
EMPTY_FOLDER = 1.0
CLOCK_BACK = 10.0


def worker_of(number):
    """The worker id in a snowflake id of the default layout, and of Leaf's."""
    return number >> 12 & 1023


def expand(ranges):
    return [number for start, stride, count in ranges for number in range(start, start + stride * count, stride)]


def first_id(server, begin, seconds):
    """The first id that a server gives, and how long after `begin`: asked for as soon as it can be connected to."""
    errors = []
    while time.monotonic() < begin + seconds + 20:
        with server.channel(**{"grpc.initial_reconnect_backoff_ms": 100}) as channel:
            try:
                return make_id(channel)("snowflake", timeout=5), time.monotonic() - begin
            except grpc.RpcError as error:
                errors.append((time.monotonic() - begin, error.code().name, error.details()))
        time.sleep(0.01)
    raise AssertionError(f"no id within {seconds + 20:.0f} s: {errors[-1:]}\n{server.process.output()}")


class Restarts:
    """A server that is killed and started again and again, and all ids it gave."""

    def __init__(self, server, clock):
        self.server = server
        self.clock = clock
        self.ids = []
        server.start(ready=["snowflake"], **clock.environment)
        self.take()

    @property
    def worker(self):
        return worker_of(self.ids[-1])

    def take(self):
        with self.server.channel() as channel:
            one, batch = make_id(channel), generate_batch(channel)
            self.ids += [one("snowflake", timeout=5) for _ in range(20)]
            # More than one tick holds: the ids run ahead of the clock.
            self.ids += expand(batch("snowflake", 10_000, timeout=5))

    def again(self, seconds, between=lambda: None):
        """Kills, starts, and returns how long it took until the first id came; fails after `seconds`."""
        self.server.kill()
        between()
        begin = time.monotonic()
        self.server.launch(**self.clock.environment)
        number, took = first_id(self.server, begin, seconds)
        assert took < seconds, f"{took:.1f} s to the first id\n{self.server.process.output()}"
        self.ids.append(number)
        self.take()
        return took

    def forget(self):
        shutil.rmtree(f"{self.server.folder}/data")


def test_killed_again_and_again_it_keeps_its_worker_id_with_its_folder_and_repeats_nothing(mid, mariadb, clock, scale):
    times = {}
    restarts = Restarts(mid(store=mariadb.url, settings=mariadb.settings), clock)
    times["same folder"] = [restarts.again(RESTART) for _ in range(scale(5, 100))]
    assert {worker_of(number) for number in restarts.ids} == {restarts.worker}
    assert_increasing(restarts.ids, "over all restarts")

    times["empty folder"] = []
    for _ in range(scale(2, 10)):
        before = {worker_of(number) for number in restarts.ids}
        times["empty folder"].append(restarts.again(EMPTY_FOLDER, restarts.forget))
        assert restarts.worker not in before

    times["hour back"] = []
    for _ in range(scale(2, 10)):
        before = restarts.worker
        times["hour back"].append(restarts.again(CLOCK_BACK, lambda: clock.step(-3600)))
        assert restarts.worker != before
        # And it keeps the new one as it kept the old one.
        after = restarts.worker
        times["same folder"].append(restarts.again(RESTART))
        assert restarts.worker == after
    assert_unique(restarts.ids)
    for what, took in times.items():
        middle = sorted(took)[len(took) // 2]
        print(f"{what}: {len(took)} restarts, first id after {middle:.2f} s in the middle, {max(took):.2f} s at most")
    workers = {worker_of(number) for number in restarts.ids}
    print(f"{len(restarts.ids)} ids, all distinct, under {len(workers)} worker ids")


# MARK: a frozen process


Call = namedtuple("Call", "begin end ids code message")


class Stream(threading.Thread):
    """Asks on a connection that is open already, one call after the other, and notes each outcome with its time."""

    def __init__(self, server, batch=0, pause=0.002):
        super().__init__(daemon=True)
        self.pause = pause
        self.channel = server.channel()
        self.batch = batch
        self.one, self.many = make_id(self.channel), generate_batch(self.channel)
        self.calls = []
        self._end = threading.Event()
        self.ask()

    def ask(self, timeout=30):
        begin = time.monotonic()
        try:
            if self.batch:
                ids = expand(self.many("snowflake", self.batch, timeout=timeout))
            else:
                ids = [self.one("snowflake", timeout=timeout)]
            self.calls.append(Call(begin, time.monotonic(), ids, "OK", ""))
        except grpc.RpcError as error:
            self.calls.append(Call(begin, time.monotonic(), None, error.code().name, error.details()))

    def run(self):
        while not self._end.is_set():
            self.ask()
            self._end.wait(self.pause)

    def end(self):
        self._end.set()
        self.join(40)
        assert not self.is_alive()
        self.channel.close()

    @property
    def ids(self):
        return [number for call in self.calls for number in call.ids or []]


def in_flight(stream, count):
    """Calls that are on their way on the stream's connection."""
    call = method(stream.channel, "/pb.IDMaker/MakeIDService", id_pb2.IDRequest, id_pb2.IDResponse)
    return [call.future(id_pb2.IDRequest(mode="snowflake"), timeout=60) for _ in range(count)]


def outcome(call):
    """The id and the code of a call, once it has ended."""
    try:
        return call.result().id, "OK"
    except grpc.RpcError as error:
        return None, error.code().name


@pytest.mark.parametrize("other", ["free", "taken"])
def test_calls_at_a_frozen_server_fail_once_another_has_its_id_until_it_has_a_new_one(mid, mariadb, scale, other):
    for _ in range(scale(1, 10)):
        for server in freeze_and_wake(mid, mariadb, other):
            server.kill()
        mariadb.query("DELETE FROM mid_workers")


def freeze_and_wake(mid, mariadb, other):
    """A server is frozen until another has its worker id; the only other one is free or taken. Returns those that run."""
    settings = {**mariadb.settings, "MID_SNOWFLAKE_LEASE": "10s", "MID_SNOWFLAKE_RENEW_INTERVAL": "3s"}
    both = {**settings, "MID_WORKER_RANGE": "7..8"}
    frozen = mid(store=mariadb.url, settings=both).start(ready=["snowflake"])
    streams = [Stream(frozen, batch) for batch in (0, 0, 0, 0, 1, 100, 1000, 10_000)]
    worker = worker_of(streams[0].ids[0])
    if other == "taken":
        settled = mid(store=mariadb.url, settings=both).start(ready=["snowflake"])
    for stream in streams:
        stream.start()
    time.sleep(0.2)
    frozen.process.signal(signal.SIGSTOP)
    try:
        # One that wants this id and no other.
        heir = mid(store=mariadb.url, settings={**settings, "MID_WORKER_RANGE": f"{worker}..{worker}"})
        heir.start(ready=["segment"])
        wait_until(lambda: heir.health("snowflake") == "SERVING", 40, "the frozen server's id")
        heirs = Stream(heir, 100)
        heirs.start()
        # Each stream has had a call under way since the server stands still. Many more, on the same connections.
        flying = [call for stream in streams for call in in_flight(stream, 50)]
        time.sleep(0.5)
    finally:
        woken = time.monotonic()
        frozen.process.signal(signal.SIGCONT)
    flown = [outcome(call) for call in flying]
    if other == "taken":
        # It has none until another goes.
        time.sleep(3)
        assert {call.code for stream in streams for call in stream.calls if call.end >= woken} == {"UNAVAILABLE"}
        begin = time.monotonic()
        assert settled.stop() == 0
    else:
        begin = woken
    wait_until(lambda: all(stream.calls[-1].ids for stream in streams), 10, "another id for the server that was frozen")
    again = min(call.end for stream in streams for call in stream.calls if call.end > woken and call.ids) - begin
    time.sleep(0.5)
    for stream in [*streams, heirs]:
        stream.end()

    # What was on its way when it woke up was refused, but for what it came to only after it had another id.
    standing = [call for stream in streams for call in stream.calls if call.begin < woken <= call.end]
    assert len(standing) == len(streams)
    flown += [((call.ids or [None])[0], call.code) for call in standing]
    assert {code for number, code in flown if number is None} == {"UNAVAILABLE"}, flown
    assert other == "free" or all(number is None for number, _ in flown), flown
    assert {worker_of(number) for number, _ in flown if number} <= {15 - worker}
    for stream in streams:
        after = [call for call in stream.calls if call.begin >= woken]
        assert {call.code for call in after} <= {"UNAVAILABLE", "OK"}
        # Refused up to a moment, and from then on served, under the other id.
        codes = [call.code for call in after]
        assert "UNAVAILABLE" not in codes[codes.index("OK") :]
        assert {worker_of(number) for call in after for number in call.ids or []} == {15 - worker}
    assert {worker_of(number) for number in heirs.ids} == {worker}
    assert_unique([number for stream in [*streams, heirs] for number in stream.ids])
    assert again < 5, f"{again:.1f} s until it had another id"
    refused = sum(1 for stream in streams for call in stream.calls if call.begin >= woken and not call.ids)
    in_time = sum(1 for number, _ in flown if number is None)
    print(f"worker id {other}: of {len(flown)} calls in flight {in_time} refused, {refused} refused of those that asked")
    print(f"once it woke up; another id after {again:.2f} s")
    reasons = {call.message for stream in streams for call in stream.calls if call.end >= woken and not call.ids}
    print("\n".join(sorted(reasons)))
    return [frozen, heir]


# MARK: the store away


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_without_its_store_it_serves_up_to_the_leases_end_and_comes_back_with_it(mid, mariadb, scale, how):
    lease, renewal = scale((10.0, 3.0), (600.0, 10.0))
    # The holder takes the lease for ended this much sooner, counted from its last renewal.
    margin = min(lease / 10, 5.0)
    served, refused, left = scale((5.5, 10.0, 3.0), (540.0, 600.0, 60.0))
    settings = {
        **mariadb.settings,
        "MID_SNOWFLAKE_LEASE": f"{lease:.0f}s",
        "MID_SNOWFLAKE_RENEW_INTERVAL": f"{renewal:.0f}s",
    }
    assert served <= lease - margin - renewal
    server = mid(store=mariadb.url, settings=settings).start(ready=["snowflake"])
    # About 50 calls a second.
    stream = Stream(server, pause=0.02)
    stream.start()
    time.sleep(scale(4, 15))
    gone = time.monotonic()
    if how == "killed":
        mariadb.kill()
    else:
        with open(f"{mariadb.folder}/pid", encoding="utf-8") as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(max(0.0, gone + served - time.monotonic()))
        failed = [call for call in stream.calls if not call.ids]
        assert failed == [], f"{len(failed)} failed within {served:.0f} s, the first after {failed[0].end - gone:.1f} s"
        time.sleep(max(0.0, gone + refused + left - time.monotonic()))
    finally:
        back = time.monotonic()
        if how == "killed":
            mariadb.start()
        else:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: stream.calls[-1].ids, 60, "service after the store")
    again = next(call.end for call in stream.calls if call.begin > back and call.ids) - back
    time.sleep(1)
    stream.end()
    calls = stream.calls
    late = [call for call in calls if gone + refused <= call.begin and call.end <= back]
    assert len(late) > 20 * left and {call.code for call in late} == {"UNAVAILABLE"}, late[:3]
    reasons = {call.message for call in late}
    assert all("store" in each for each in reasons), reasons
    first = next(call for call in calls if call.begin > gone and not call.ids)
    assert served < first.begin - gone <= refused
    # Once refused, refused until the store is back.
    assert not [call for call in calls if first.begin < call.begin and call.end < back and call.ids]
    assert_unique(stream.ids)
    assert_increasing(stream.ids, "over the outage")
    good = sum(1 for call in calls if gone < call.begin < first.begin)
    bad = sum(1 for call in calls if not call.ids)
    print(
        f"store {how}, lease {lease:.0f} s: {good} calls served without a failure for {first.begin - gone:.1f} s, "
        f"then all {bad} refused, served again {again:.2f} s after the store was back"
    )
    print(first.message, *sorted(reasons), sep="\n")


# MARK: beside Leaf


def test_leafs_simulation_starts_sequences_anew_and_waits_for_the_next_millisecond():
    times = iter([5, 5, 6, 4, 4, 6] + [7] * 5000 + [8] * 200 + [2])
    one = leaf.Leaf(3, clock=lambda: leaf.EPOCH + next(times))
    ids = [one.get() for _ in range(3)]
    assert [number >> 22 for number in ids] == [5, 5, 6] and [worker_of(number) for number in ids] == [3, 3, 3]
    assert ids[0] & 4095 < 100 and ids[1] == ids[0] + 1 and ids[2] & 4095 < 100
    # Two milliseconds back: it waits, looks once more and gives up.
    assert one.get() == -1
    assert one.get() >> 22 == 6
    many = [one.get() for _ in range(4097)]
    assert_increasing(many, "a full millisecond")
    assert many[-1] >> 22 == 8
    while (number := one.get()) > 0:
        pass
    assert number == -3


def test_beside_leaf_on_its_layout_no_id_is_given_out_by_both(mid, mariadb, tmp_path, scale):
    by_leaf, by_mid = scale((80_000, 120_000), (4_000_000, 6_000_000))
    # The least and the largest of Leaf's, and mid's above them.
    leaves = [0, 255, 511]
    settings = {**mariadb.settings, "MID_SNOWFLAKE_LAYOUT": "leaf", "MID_WORKER_RANGE": "512..1023"}
    servers = [mid(store=mariadb.url, settings=settings).start(ready=["snowflake"]) for _ in range(3)]
    callers, size, seconds = 6, 100, scale(4, 30)
    begin = time.time()
    load = Load(
        tmp_path,
        [server.address for server in servers],
        "snowflake",
        callers,
        count=by_mid // callers // size,
        seconds=600,
        batch=size,
    )
    output = tmp_path / "leaf.ids"
    arguments = [sys.executable, "-B", leaf.__file__, output, by_leaf, seconds, *leaves]
    simulation = subprocess.Popen(list(map(str, arguments)))
    try:
        found = load.callers()
        assert simulation.wait(600) == 0
    finally:
        load.stop()
        simulation.kill()
        simulation.wait()
    end = time.time()
    assert [caller.errors for caller in found if caller.errors] == []
    theirs, ours = array("q"), array("q")
    with open(output, "rb") as file:
        theirs.frombytes(file.read())
    for number, caller in enumerate(found):
        assert_increasing([start for start, _, _ in caller.ranges], f"connection {number}")
        ours.extend(expand(caller.ranges))
    assert (len(theirs), len(ours)) == (by_leaf, by_mid)
    assert_unique(theirs + ours)

    assert {worker_of(number) for number in theirs} == set(leaves)
    workers = {worker_of(number) for number in ours}
    assert len(workers) == 3 and min(workers) >= 512, workers
    their_ticks, our_ticks = ({number >> 22 for number in ids} for ids in (theirs, ours))
    for ticks, ahead in ((their_ticks, 0), (our_ticks, 1000)):
        assert begin * 1000 - 1 <= min(ticks) + leaf.EPOCH
        assert max(ticks) + leaf.EPOCH <= end * 1000 + ahead
    both = their_ticks & our_ticks
    # Worth nothing if they took turns.
    assert len(both) > scale(20, 1000), f"{len(both)} milliseconds in common of {len(their_ticks)} and {len(our_ticks)}"
    print(
        f"{len(theirs)} ids by Leaf's workers {leaves}, {len(ours)} by mid's {sorted(workers)}, all distinct, in "
        f"{len(their_ticks)} and {len(our_ticks)} milliseconds, {len(both)} of them in common"
    )
