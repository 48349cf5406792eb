"""The nodes of a torture run, who asks them, and what is done to them."""

import os
import re
import shutil
import signal
import threading
import time
from collections import Counter
from random import Random

import grpc

from clock import ShiftedClock
from programs import MidServer
from stubs import generate_batch, generate_id
from torture_ids import Collected, worker_of

# How many ids a call asks for, None for one by the call for single ids: so batches and single ids meet in the same ticks.
SIZES = (None, 1, 2, 10, 100, 1000, 1000, 1000, 5000)
# A pause between two calls of one caller, so that the machine has room for what is to be tested.
PAUSE = 0.012
DEADLINE = 5.0
# What a call may fail with while its node or the store is tormented.
EXPECTED = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED"}
# How far a clock may stand from the real one.
REACH = 3600.0


def error_class(details):
    """A message without what differs from one call to the next."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", details or "")
    text = re.sub(r"\bipv4:[\d.:]+|127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"\b[0-9a-f]{8,}\b|\d+", "N", text)
    text = re.sub(r"(are held, by ).*?;? the first", r"\1…; the first", text)
    return text if len(text) <= 160 else text[:159] + "…"


class Caller(threading.Thread):
    """Asks one node for ids, one call after the other, until it is told to end."""

    def __init__(self, node, number, random):
        super().__init__(name=f"{node.name}, caller {number}", daemon=True)
        self.node = node
        self.random = random
        self.collected = Collected(f"{node.name}, connection {number}")
        # (when, code, class of the message)
        self.errors = []
        self.failure = None
        self._end = threading.Event()

    def run(self):
        try:
            while not self._end.is_set():
                life = self.node.life
                with self.node.server.channel(
                    **{"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 500}
                ) as channel:
                    calls = generate_id(channel), generate_batch(channel)
                    # A process has its own connection, so that each id is known to come from which.
                    while not self._end.is_set() and self.node.life == life:
                        self._end.wait(PAUSE if self._ask(*calls, life) else 0.03)
        except BaseException as error:
            self.failure = repr(error)
            raise

    def _ask(self, one, many, life):
        begin, size = time.monotonic(), self.random.choice(SIZES)
        try:
            if size is None:
                ranges = [(one("snowflake", timeout=DEADLINE), 1, 1)]
            else:
                ranges = many("snowflake", size, timeout=DEADLINE)
        except grpc.RpcError as error:
            self.errors.append((time.monotonic(), error.code().name, error_class(error.details())))
            return False
        self.collected.add(begin, time.monotonic(), life, ranges)
        self.node.worker = worker_of(ranges[-1][0])
        return True

    def end(self):
        self._end.set()


class Node:
    """One server with its folder and its clock, and those who ask it."""

    def __init__(self, name, folder, store, settings, library, callers, random, shift=0.0):
        self.name = name
        os.makedirs(folder)
        self.clock = ShiftedClock(library, folder, shift)
        self.server = MidServer(folder, store=store.url, settings={**store.settings, **settings})
        # How many processes it has had.
        self.life = 0
        # The worker id of its last id.
        self.worker = None
        self.callers = [Caller(self, number, Random(random.getrandbits(64))) for number in range(1, callers + 1)]

    def launch(self):
        self.server.launch(**self.clock.environment)
        self.life += 1

    def ask(self):
        for caller in self.callers:
            caller.start()

    def end_callers(self):
        for caller in self.callers:
            caller.end()
        for caller in self.callers:
            if caller.ident is not None:
                caller.join(DEADLINE + 10)

    def forget_folder(self):
        shutil.rmtree(os.path.join(self.server.folder, "data"), ignore_errors=True)

    @property
    def last_answer(self):
        """When the last ids came, by the monotonic clock, or 0."""
        return max((caller.collected.ends[-1] for caller in self.callers if caller.collected.ends), default=0.0)

    @property
    def workers(self):
        return {worker_of(start) for caller in self.callers for start in caller.collected.starts}


# What of the events says that fencing was at work.
TAKEN_OVER = "worker ids taken over from a frozen node"


class Chaos:
    """What is done to the nodes and to their store, from a seed, until the time is up.

    Each node has a thread of its own that does one thing after another to it, and so has the store. What is done to one
    of them overlaps with what is done to the others.
    """

    # How often each is drawn. The first ones are dealt so that even a short run has all of them.
    KINDS = ("freeze", "step", "kill", "stop", "kill-empty")
    WEIGHTS = (3, 8, 4, 3, 2)

    def __init__(self, nodes, store, lease, random, say, make_heir):
        self.nodes = nodes
        self.store = store
        self.lease = lease
        self.say = say
        self.make_heir = make_heir
        self.over = threading.Event()
        self.over_at = 0.0
        # (begin, end, who, what)
        self.events = []
        self.counts = Counter()
        # How many nodes have waited for the worker id of a frozen one.
        self.heirs = 0
        self.problems = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guard, args=(self._torment, node, index, Random(random.getrandbits(64))))
            for index, node in enumerate(nodes)
        ]
        self._threads.append(threading.Thread(target=self._guard, args=(self._starve, Random(random.getrandbits(64)))))

    def run(self, seconds, progress):
        for thread in self._threads:
            thread.start()
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                self.over.wait(min(15.0, left))
                progress()
        finally:
            self.over_at = time.monotonic()
            self.over.set()
            for thread in self._threads:
                thread.join(120)
                if thread.is_alive():
                    self.problem("the end of the chaos is not reached within 120 s")

    def problem(self, text):
        self.problems.append(text)
        self.say(f"PROBLEM: {text}")

    def _guard(self, body, *arguments):
        try:
            body(*arguments)
        except Exception as error:  # noqa: BLE001: whatever it is, the run has not done what it should
            self.problem(f"{type(error).__name__}: {error}")

    def _event(self, kind, who, what, body):
        self.say(f"{who}: {what}")
        begin = time.monotonic()
        self._count(kind)
        try:
            body()
        finally:
            self.events.append((begin, time.monotonic(), who, what))

    def _count(self, kind):
        with self._lock:
            self.counts[kind] += 1

    # MARK: nodes

    def _torment(self, node, index, random):
        dealt = [self.KINDS[(index + offset) % len(self.KINDS)] for offset in range(len(self.KINDS))]
        while not self.over.wait(random.uniform(1.0, 6.0)):
            if not node.server.process.is_running:
                code = node.server.process.process.returncode
                self.problem(f"{node.name} ended by itself with {code}: {node.server.process.output()[-2000:]}")
                node.launch()
                continue
            kind = dealt.pop(0) if dealt else random.choices(self.KINDS, self.WEIGHTS)[0]
            getattr(self, "_" + kind.replace("-", "_"))(node, random)

    def _step(self, node, random):
        # Near the limits of what is waited for, or far away.
        most = 8.0 if random.random() < 0.3 else REACH
        now = node.clock.seconds
        by = random.uniform(max(-REACH, now - most), min(REACH, now + most)) - now
        kind = "clock steps back" if by < 0 else "clock steps forward"
        what = f"clock steps by {by:+.1f} s, to {node.clock.seconds + by:+.1f} s"
        self._event(kind, node.name, what, lambda: node.clock.step(by))

    def _kill(self, node, random, empty=False):
        pause = random.choice((0.0, random.uniform(0, 4)))

        def body():
            node.server.kill()
            if empty:
                node.forget_folder()
            self.over.wait(pause)
            node.launch()

        kind, on = ("kills, then an empty folder", "an empty") if empty else ("kills", "the same")
        self._event(kind, node.name, f"SIGKILL, starts after {pause:.1f} s on {on} folder", body)

    def _kill_empty(self, node, random):
        self._kill(node, random, empty=True)

    def _stop(self, node, random):
        pause = random.choice((0.0, random.uniform(0, 4)))

        def body():
            code = node.server.stop(60)
            if code != 0:
                self.problem(f"{node.name} ended with {code} after SIGTERM: {node.server.process.output()[-2000:]}")
            self.over.wait(pause)
            node.launch()

        self._event("clean stops", node.name, f"SIGTERM, starts {pause:.1f} s after its end", body)

    def _freeze(self, node, random):
        seconds = self.lease + random.uniform(2, 6)
        heir_stays = random.uniform(1, 4)
        ending = random.choice((signal.SIGKILL, signal.SIGTERM))
        wants_heir = random.random() < 0.8 and node.worker is not None

        def body():
            node.server.process.signal(signal.SIGSTOP)
            heir = None
            try:
                if wants_heir:
                    heir = self.make_heir(node)
                    with self._lock:
                        self.heirs += 1
                self.over.wait(seconds)
            finally:
                node.server.process.signal(signal.SIGCONT)
            if heir is not None:
                self.over.wait(heir_stays)
                heir.server.process.signal(ending)
                heir.server.process.process.wait(60)
                heir.end_callers()
                if any(len(caller.collected.ends) for caller in heir.callers):
                    self._count(TAKEN_OVER)

        what = f"SIGSTOP for {seconds:.1f} s"
        if wants_heir:
            what += f", while another node waits for its worker id {node.worker}"
        self._event("freezes past the lease", node.name, what, body)

    # MARK: the store

    def _starve(self, random):
        gap = random.uniform(3, 6)
        while not self.over.wait(gap):
            seconds = self.lease * random.uniform(0.1, 1.5)

            def body():
                self.store.kill()
                self.over.wait(seconds)
                self.store.start()

            self._event("store kills", "the store", f"SIGKILL, starts after {seconds:.1f} s", body)
            gap = random.uniform(15, 45)
