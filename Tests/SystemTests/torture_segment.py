"""Segments under torture: nodes on a Galera cluster whose database nodes die one after another and come back.

Starts a Galera cluster of three database nodes and as many nodes of mid, each on a database node of its own. For the
time given, callers take ids from every node one by one and by batches of up to 5,000, of four tags whose steps are 10
to 500,000. Meanwhile a database node is killed every 20 s and comes back on its data or as an empty one, and at moments
that a seed decides nodes are killed and started again on the same folder or an empty one, frozen, and stopped cleanly,
each time with other settings for what they load and keep. Two of the three database nodes are always there. In the end
all must give ids of all tags again; all ids of a tag must be distinct, positive and, per node, in the order of time;
and the database nodes must agree on rows that no id is past. The seed repeats what is done and when; how fast the
machine is decides what happens meanwhile.

Exit code 1: an id came twice, was not positive, out of order or past its row; fewer ids than asked for; a node that
ended by itself, ended a clean stop otherwise than with 0, or did not serve within 30 s once it was left alone; a
database node that did not come back.
"""

import os
import signal
import time

from galera import Galera
from programs import run_mid, wait_until
from torture_chaos import Chaos
from torture_ids import Collected, past_rows
from torture_nodes import Node
from torture_run import Torture, duration_above_zero, said

CALLERS = 3
# The tags and their steps: the least that one load takes.
TAGS = {"tickets": 10, "orders": 1_000, "users": 20_000, "events": 500_000}
# What nodes are started with, drawn for each process: how long a load is to last, how large it may become, and how long
# nodes are to live on what they have while the store is away. The first ones make nodes meet at the rows all the time.
TARGETS = ("1s", "15s", "15m")
LARGEST_LOADS = (1, 20_000, 1_000_000)
OUTAGES = ("0s", "5s", "30s", "10m")
# How many database nodes of all that are killed come back without their data.
EMPTY = 0.2
# A database node's downtime, at most; the time that it takes to come back is not part of it.
DOWN = 8.0


class SegmentNode(Node):
    """A node on one of the database nodes."""

    def __init__(self, name, folder, database):
        super().__init__(name, folder, database, {}, "segment", tuple(TAGS))
        self.database = database

    def collector(self, number, tag):
        return Collected(f"{self.name}, connection {number}, tag {tag}", tag, f"{self.name}, tag {tag}")

    def draw_settings(self, random):
        """Has the next process started with settings by chance, and returns them as text."""
        target, load, outage = random.choice(TARGETS), random.choice(LARGEST_LOADS), random.choice(OUTAGES)
        self.server.settings.update(
            MID_SEGMENT_TARGET=target, MID_SEGMENT_MAX_LOAD=str(load), MID_SEGMENT_OUTAGE=outage
        )
        return f"target {target}, largest load {load:,}, outage {outage}"


class SegmentTorture(Torture):
    IDS = 50_000_000
    NODES = 3
    COLUMN = "its database node"

    def __init__(self, chosen, folder):
        super().__init__(chosen, folder)
        self.galera = Galera(os.path.join(folder, "galera"))
        # What each database node has in its rows in the end.
        self.rows = []

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--every", default="20s", help="how often a database node is killed (default 20s)")

    @classmethod
    def check_arguments(cls, chosen, parser):
        chosen.every_seconds = duration_above_zero(chosen, "every", parser)

    def prepare(self):
        self.galera.start()
        first = self.galera.nodes[0]
        for tag, step in TAGS.items():
            made = run_mid(
                "tag", "create", tag, "--step", step, "--store", first.url, environment=self.galera.settings
            )
            assert made.returncode == 0, made.stderr
        wait_until(
            lambda: all(self._rows(each).keys() >= TAGS.keys() for each in self.galera.nodes), 20, "tags on all three"
        )
        for number in range(1, self.chosen.nodes + 1):
            database = self.galera.nodes[(number - 1) % len(self.galera.nodes)]
            node = SegmentNode(f"node {number}", os.path.join(self.folder, f"node{number}"), database)
            node.add_callers(CALLERS, self.random)
            self.say(f"{node.name}: on {database.name}, {node.draw_settings(self.random)}")
            self.nodes.append(node)
        self.chaos = SegmentChaos(self.nodes, self.galera, self.chosen.every_seconds, self.random, self.say)

    @staticmethod
    def _rows(database):
        """How far each tag has come in a database node."""
        try:
            return {tag: int(top) for tag, top in database.query("SELECT biz_tag, max_id FROM id_segments")}
        except AssertionError:
            # The table isn't there yet, or the database node is gone.
            return {}

    def finish(self):
        for database in self.galera.nodes:
            try:
                self.chaos.note_taken_back(database)
            except AssertionError as error:
                self.chaos.problem(f"{database.name} does not answer in the end: {error}")
        # What the last clean stops gave back reaches the other database nodes a moment later.
        deadline = time.monotonic() + 10
        while True:
            self.rows = [self._rows(each) for each in self.galera.nodes]
            if all(self.rows[0] == each for each in self.rows) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.galera.stop()

    def kill_stores(self):
        self.galera.kill()

    def judge(self, verdict):
        chaos = self.chaos
        if any(each != self.rows[0] for each in self.rows):
            chaos.problem(f"the database nodes do not agree on the rows: {self.rows}")
        rows = self.rows[0]
        past = past_rows(self.collected, rows)
        for tag, (top, row) in past.items():
            chaos.problem(f"tag {tag}: the id {top} was given, and the row stands at {row}")
        without = sum(self.served_without(node)[1] for node in self.nodes)
        kills = sum(map(len, chaos.away.values()))
        if kills >= 3 and without == 0:
            chaos.problem("no node gave an id of what it had cached while its database node was away")
        if kills >= 10 and chaos.taken_back == 0:
            chaos.problem("the cluster took no statement back: the nodes never met at a row")
        skipped = sum(rows.get(tag, 0) for tag in TAGS) - verdict.ids
        stops = sum(self.stops_without(node) for node in self.nodes)
        return [
            ("in rows", f"{said(len(past), 'tags with ids past their row')}; {skipped:,} numbers were skipped"),
            ("cluster", f"{chaos.taken_back:,} statements taken back"),
            ("away", f"{without:,} ids and {stops} clean stops while the node's own database node was away"),
        ]

    def order_text(self, verdict):
        return f"of {verdict.orders} pairs of node and tag"

    def served_without(self, node):
        """How often the node's database node was away, and how many ids the node gave meanwhile."""
        away = self.chaos.away[node.database.name]
        ids = 0
        for each in node.collected:
            calls = {call for call, end in enumerate(each.ends) if any(begin < end < back for begin, back in away)}
            ids += sum(count for count, call in zip(each.counts, each.calls) if call in calls)
        return len(away), ids

    def stops_without(self, node):
        """How often the node was told to stop while its database node was away."""
        away = self.chaos.away[node.database.name]
        stops = [begin for begin, _, who, what in self.chaos.events if who == node.name and what.startswith("SIGTERM")]
        return sum(1 for stop in stops if any(begin < stop < back for begin, back in away))

    def cell(self, node):
        times, ids = self.served_without(node)
        return f"{node.database.name}, away {times} times, {ids:,} ids meanwhile"


class SegmentChaos(Chaos):
    KINDS = ("kill", "stop", "freeze", "kill-empty")
    WEIGHTS = (4, 4, 2, 2)
    # Long enough to see nodes live on what they have.
    GAPS = (1.0, 9.0)

    def __init__(self, nodes, galera, every, random, say):
        super().__init__(nodes, random, say)
        self.galera = galera
        self.every = every
        # From when to when each database node was away.
        self.away = {each.name: [] for each in galera.nodes}
        # How many statements the cluster has taken back, as far as they were noted.
        self.taken_back = 0

    def note_taken_back(self, database):
        """Adds what it has counted since its start, which is forgotten when it ends."""
        self.taken_back += database.taken_back

    def _prepare(self, node, random):
        return f", {node.draw_settings(random)}"

    def _freeze(self, node, random):
        seconds = random.uniform(1, 10)

        def body():
            node.server.process.signal(signal.SIGSTOP)
            self.over.wait(seconds)
            node.server.process.signal(signal.SIGCONT)

        self._event("freezes", node.name, f"SIGSTOP for {seconds:.1f} s", body)

    def _starve(self, random):
        gap, deck = random.uniform(2, 5), []
        while not self.over.wait(gap):
            began = time.monotonic()
            deck = deck or random.sample(self.galera.nodes, len(self.galera.nodes))
            database, empty, seconds = deck.pop(), random.random() < EMPTY, random.uniform(0.5, DOWN)

            def body():
                self.note_taken_back(database)
                killed = time.monotonic()
                database.kill()
                self.over.wait(seconds)
                # Returns once it takes part again, so that never two are away.
                how = database.start(empty=empty)
                self.away[database.name].append((killed, time.monotonic()))
                self._count(f"caught up by {how}")
                self.say(f"{database.name}: is back by {how} after {time.monotonic() - killed:.1f} s")

            on = "as an empty one" if empty else "on its data"
            self._event("database kills", database.name, f"SIGKILL, starts after {seconds:.1f} s {on}", body)
            gap = max(1.0, self.every - (time.monotonic() - began))
