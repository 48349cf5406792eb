"""Snowflake under torture: clocks that step, nodes frozen past their lease, and others that wait for their worker ids.

Starts one MariaDB and a few nodes on it, each under a wall clock of its own. For the time given, callers take ids from
every node one by one and by batches of up to 5,000. Meanwhile, at moments that a seed decides, clocks step by up to an
hour, nodes are killed and started again on the same folder or an empty one, frozen past their lease while another node
waits for their worker id, and stopped cleanly; and the database is killed and started again, sometimes only after
leases have ended. In the end all must answer again, and all ids must be distinct, positive and, per worker id, in the
order of time. The seed repeats what is done and when; how fast the machine is decides what happens meanwhile.

Exit code 1: an id came twice, was not positive or out of order; fewer ids than asked for; a node that ended by itself,
or did not serve within 30 s once it was left alone.
"""

import os
import signal

from clock import ShiftedClock, build_shim
from programs import MariaDB
from torture_chaos import Chaos
from torture_ids import worker_of
from torture_nodes import Node
from torture_run import Torture, duration_above_zero

CALLERS = 2
# How far a clock may stand from the real one.
REACH = 3600.0
# What of the events says that fencing was at work.
TAKEN_OVER = "worker ids taken over from a frozen node"


class SnowflakeNode(Node):
    """A node under a clock of its own."""

    def __init__(self, name, folder, store, settings, library, shift):
        super().__init__(name, folder, store, settings, "snowflake")
        self.clock = ShiftedClock(library, folder, shift)
        self.server.settings.update(self.clock.environment)

    @property
    def worker(self):
        """The worker id of its last id."""
        return None if self.last_id is None else worker_of(self.last_id)

    @property
    def workers(self):
        return {worker_of(start) for each in self.collected for start in each.starts}


class SnowflakeTorture(Torture):
    IDS = 100_000_000
    NODES = 5
    COLUMN = "worker ids"

    def __init__(self, chosen, folder):
        super().__init__(chosen, folder)
        self.store = MariaDB(os.path.join(folder, "mariadb"))
        self.library = build_shim(folder)
        self.heirs = []

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--lease", default="5s", help="snowflake.lease of all nodes (default 5s)")

    @classmethod
    def check_arguments(cls, chosen, parser):
        chosen.lease_seconds = duration_above_zero(chosen, "lease", parser)

    @classmethod
    def title(cls, chosen):
        return (
            f"torture {chosen.what}: {chosen.minutes:g} min, {chosen.nodes} nodes, lease {chosen.lease}, "
            f"seed {chosen.seed}"
        )

    @property
    def all_nodes(self):
        return [*self.nodes, *self.heirs]

    def node(self, name, folder, callers=CALLERS, shift=0.0, **settings):
        lease = self.chosen.lease_seconds
        renewal = {
            "MID_SNOWFLAKE_LEASE": self.chosen.lease,
            "MID_SNOWFLAKE_RENEW_INTERVAL": f"{int(max(0.5, lease / 4) * 1000)}ms",
        }
        path = os.path.join(self.folder, folder)
        node = SnowflakeNode(name, path, self.store, {**renewal, **settings}, self.library, shift)
        node.add_callers(callers, self.random)
        return node

    def heir(self, node):
        """Another node that takes the worker id of a frozen one as soon as it can: its clock is the same."""
        number = len(self.heirs) + 1
        heir = self.node(
            f"heir {number} of {node.name}",
            f"heir{number}",
            callers=1,
            shift=node.clock.seconds,
            MID_WORKER_RANGE=f"{node.worker}..{node.worker}",
        )
        self.heirs.append(heir)
        heir.launch()
        heir.ask()
        return heir

    def prepare(self):
        self.store.start()
        self.nodes = [self.node(f"node {number}", f"node{number}") for number in range(1, self.chosen.nodes + 1)]
        self.chaos = SnowflakeChaos(
            self.nodes, self.store, self.chosen.lease_seconds, self.random, self.say, self.heir
        )

    def start_text(self):
        return f", worker ids {', '.join(str(node.worker) for node in self.nodes)}"

    def finish(self):
        self.store.stop()

    def kill_stores(self):
        self.store.kill()

    def judge(self, verdict):
        # Some heirs come too late or are ended too soon; of many, not all.
        if self.chaos.heirs >= 10 and self.chaos.counts[TAKEN_OVER] == 0:
            self.chaos.problem(
                f"{self.chaos.heirs} nodes waited for the worker id of a frozen one, and none ever got it"
            )
        return []

    def order_text(self, verdict):
        return f"under {verdict.orders} worker ids"

    def cell(self, node):
        return " ".join(map(str, sorted(node.workers)))

    def more_rows(self):
        if self.heirs:
            ids = sum(heir.total for heir in self.heirs)
            print(f"| heirs of frozen nodes | {ids:,} | {len(self.heirs)} | | | | |")


class SnowflakeChaos(Chaos):
    KINDS = ("freeze", "step", "kill", "stop", "kill-empty")
    WEIGHTS = (3, 8, 4, 3, 2)

    def __init__(self, nodes, store, lease, random, say, make_heir):
        super().__init__(nodes, random, say)
        self.store = store
        self.lease = lease
        self.make_heir = make_heir
        # How many nodes have waited for the worker id of a frozen one.
        self.heirs = 0

    def _step(self, node, random):
        # Near the limits of what is waited for, or far away.
        most = 8.0 if random.random() < 0.3 else REACH
        now = node.clock.seconds
        by = random.uniform(max(-REACH, now - most), min(REACH, now + most)) - now
        kind = "clock steps back" if by < 0 else "clock steps forward"
        what = f"clock steps by {by:+.1f} s, to {node.clock.seconds + by:+.1f} s"
        self._event(kind, node.name, what, lambda: node.clock.step(by))

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
                if heir.total > 0:
                    self._count(TAKEN_OVER)

        what = f"SIGSTOP for {seconds:.1f} s"
        if wants_heir:
            what += f", while another node waits for its worker id {node.worker}"
        self._event("freezes past the lease", node.name, what, body)

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
