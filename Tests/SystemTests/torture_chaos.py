"""What is done to the nodes of a torture run and to their stores, whatever they give ids by."""

import threading
import time
from collections import Counter
from random import Random


class Chaos:
    """What is done, from a seed, until the time is up.

    Each node has a thread of its own that does one thing after another to it, and so have the stores. What is done to
    one of them overlaps with what is done to the others.
    """

    # What is done to nodes: the methods of those names, and how often each is drawn. They are dealt first, so that even
    # a short run has all of them.
    KINDS = ()
    WEIGHTS = ()
    # How many seconds a node is left alone from one to the next.
    GAPS = (1.0, 6.0)

    def __init__(self, nodes, random, say):
        self.nodes = nodes
        self.say = say
        self.over = threading.Event()
        self.over_at = 0.0
        # (begin, end, who, what)
        self.events = []
        self.counts = Counter()
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
        while not self.over.wait(random.uniform(*self.GAPS)):
            if not node.server.process.is_running:
                code = node.server.process.process.returncode
                self.problem(f"{node.name} ended by itself with {code}: {node.server.process.output()[-2000:]}")
                node.launch()
                continue
            kind = dealt.pop(0) if dealt else random.choices(self.KINDS, self.WEIGHTS)[0]
            getattr(self, "_" + kind.replace("-", "_"))(node, random)

    def _prepare(self, node, random):
        """Sets what the node's next process is started with, and says it as the end of a sentence."""
        return ""

    def _kill(self, node, random, empty=False):
        pause = random.choice((0.0, random.uniform(0, 4)))
        settings = self._prepare(node, random)

        def body():
            node.server.kill()
            if empty:
                node.forget_folder()
            self.over.wait(pause)
            node.launch()

        kind, on = ("kills, then an empty folder", "an empty") if empty else ("kills", "the same")
        self._event(kind, node.name, f"SIGKILL, starts after {pause:.1f} s on {on} folder{settings}", body)

    def _kill_empty(self, node, random):
        self._kill(node, random, empty=True)

    def _stop(self, node, random):
        pause = random.choice((0.0, random.uniform(0, 4)))
        settings = self._prepare(node, random)

        def body():
            code = node.server.stop(60)
            if code != 0:
                self.problem(f"{node.name} ended with {code} after SIGTERM: {node.server.process.output()[-2000:]}")
            self.over.wait(pause)
            node.launch()

        self._event("clean stops", node.name, f"SIGTERM, starts {pause:.1f} s after its end{settings}", body)

    # MARK: stores

    def _starve(self, random):
        """Takes stores away and brings them back, until it is over."""
        raise NotImplementedError
