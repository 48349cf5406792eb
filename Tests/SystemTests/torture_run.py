"""A torture run: starts the nodes and their callers, has everything done to them, and tells what came of it."""

import argparse
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections import Counter

from programs import BINARY, wait_until
from torture_ids import verify
from torture_nodes import EXPECTED

# Within which every node serves again once nothing is done to it any more.
RECOVERY = 30.0


class Torture:
    """What runs of every mode have in common."""

    # The least number of ids and the number of nodes, where nothing else is asked for.
    IDS = 0
    NODES = 0
    # What the table of nodes tells of each besides what it tells of all.
    COLUMN = ""

    def __init__(self, chosen, folder):
        self.chosen = chosen
        self.folder = folder
        self.begin = time.monotonic()
        self.random = random.Random(chosen.seed)
        self.nodes = []
        self.chaos = None
        # How long each node took to answer once it was left alone.
        self.recoveries = {}

    # MARK: what a mode tells

    @classmethod
    def add_arguments(cls, parser):
        """The options that only this mode has."""

    @classmethod
    def check_arguments(cls, chosen, parser):
        """Reads them further, and ends the program where they make no sense."""

    @classmethod
    def title(cls, chosen):
        return f"torture {chosen.what}: {chosen.minutes:g} min, {chosen.nodes} nodes, seed {chosen.seed}"

    def prepare(self):
        """Starts the stores, and makes the nodes and what is done to them."""
        raise NotImplementedError

    def finish(self):
        """Stops the stores once all nodes are stopped."""
        raise NotImplementedError

    def kill_stores(self):
        """Ends whatever is left of them."""
        raise NotImplementedError

    def judge(self, verdict):
        """Adds the problems that only this mode can have, and returns lines of the result as (name, text)."""
        raise NotImplementedError

    def order_text(self, verdict):
        """What it was that had to be in order."""
        raise NotImplementedError

    def cell(self, node):
        """What stands in the table's own column."""
        raise NotImplementedError

    @property
    def all_nodes(self):
        return self.nodes

    # MARK: the run

    def say(self, text):
        print(f"{time.monotonic() - self.begin:7.1f} s  {text}", flush=True)

    @property
    def collected(self):
        return [each for node in self.all_nodes for each in node.collected]

    @property
    def callers(self):
        return [caller for node in self.all_nodes for caller in node.callers]

    def run(self):
        self.prepare()
        for node in self.nodes:
            node.launch()
            node.ask()
        for node in self.nodes:
            wait_until(lambda: self._serves(node), RECOVERY, f"the first ids of {node.name}")
        self.say(f"all nodes serve{self.start_text()}")
        self.chaos_begin = time.monotonic()
        self.chaos.run(self.chosen.minutes * 60, self.progress)
        self.chaos_end = time.monotonic()
        self.say("no more is done to the nodes")
        self._recover()
        for node in self.nodes:
            node.end_callers()
        for node in self.nodes:
            if node.server.process.is_running and (code := node.server.stop(60)) != 0:
                self.chaos.problem(f"{node.name} ended with {code} after SIGTERM")
        self.finish()
        for caller in self.callers:
            if caller.failure:
                self.chaos.problem(f"{caller.name}: {caller.failure}")

    def start_text(self):
        return ""

    def _serves(self, node):
        if not node.server.process.is_running:
            sys.exit(f"torture: {node.name} does not start:\n{node.server.process.output()}")
        return node.has_served_since(0)

    def _recover(self):
        while len(self.recoveries) < len(self.nodes) and time.monotonic() < self.chaos_end + RECOVERY:
            for node in self.nodes:
                if node.name not in self.recoveries and node.has_served_since(self.chaos_end):
                    self.recoveries[node.name] = node.last_answer - self.chaos.over_at
            time.sleep(0.02)
        for node in self.nodes:
            if node.name not in self.recoveries:
                self.chaos.problem(
                    f"{node.name} does not serve {RECOVERY:.0f} s after it was left alone: "
                    f"{node.callers[0].errors[-1:]}\n{node.server.process.output()[-2000:]}"
                )

    def progress(self):
        now = time.monotonic()
        ids = sum(each.total for each in self.collected)
        serving = sum(1 for node in self.nodes if now - node.last_answer < 1)
        self.say(f"{ids:,} ids; {serving} of {len(self.nodes)} nodes answered within the last second")

    def end(self):
        """Ends whatever is left."""
        for node in self.all_nodes:
            for caller in node.callers:
                caller.end()
            if node.server.process is not None:
                node.server.process.kill()
        self.kill_stores()

    # MARK: what came of it

    def summary(self):
        """Prints everything and returns whether all is well."""
        chosen, chaos = self.chosen, self.chaos
        verdict = verify(self.collected)
        seconds = self.chaos_end - self.chaos_begin
        replies = sum(len(each.begins) for each in self.collected)
        if verdict.ids < chosen.ids:
            chaos.problem(f"{verdict.ids:,} ids are fewer than the {chosen.ids:,} asked for")
        facts = self.judge(verdict)
        codes = Counter(code for caller in self.callers for _, code, _ in caller.errors)
        for code in sorted(codes.keys() - EXPECTED):
            chaos.problem(f"{codes[code]:,} calls failed with {code}, which nothing that was done explains")
        rate = f"{verdict.ids / seconds:,.0f} a second"
        events = ", ".join(f"{kind} {count}" for kind, count in sorted(chaos.counts.items()))
        again = max(self.recoveries.values(), default=float("nan"))
        print(f"\n{self.title(chosen)}")
        print(f"machine    {machine()}")
        print(f"program    {program()}")
        print(f"ids        {verdict.ids:,} in {replies:,} replies and {verdict.ranges:,} ranges, {rate}")
        print(f"distinct   {said(verdict.repeated, 'repeated')}")
        print(f"positive   {said(verdict.not_positive, 'not positive')}")
        print(f"in order   {said(verdict.disordered, 'ranges out of order')}, {self.order_text(verdict)}")
        for name, text in facts:
            print(f"{name:<10} {text}")
        print(f"events     {events}")
        print(f"recovery   {again:.1f} s until the last node served once left alone")
        columns = ("node", "ids", "processes", self.COLUMN, "longest without an id", "while", "most frequent error then")
        print(f"\n| {' | '.join(columns)} |")
        print("| --- | ---: | ---: | --- | --- | --- | --- |")
        for node in self.nodes:
            print(self._row(node))
        self.more_rows()
        self._errors()
        for each in verdict.faults:
            print(f"\nFAULT: {each}")
        for each in chaos.problems:
            print(f"\nPROBLEM: {each}")
        is_good = not verdict.faults and not chaos.problems
        print(f"\nresult     {'passed' if is_good else 'FAILED'}")
        return is_good

    def more_rows(self):
        """Rows of the table for others than the nodes."""

    def _row(self, node):
        begin, end = self._longest_gap(node)
        others = {each.name for each in self.nodes if each is not node}
        # What began shortly before explains it too: a clock that is set back, a start that waits for its bound.
        events = [
            f"{who}: {what}" if who != node.name else what
            for from_, to, who, what in self.chaos.events
            if who not in others and from_ < end and to > begin - 1
        ]
        errors = Counter(
            f"{code}: {text}" for caller in node.callers for when, code, text in caller.errors if begin <= when <= end
        )
        top = errors.most_common(1)[0][0] if errors else ""
        return (
            f"| {node.name} | {node.total:,} | {node.life} | {self.cell(node)} | "
            f"{end - begin:.1f} s at {begin - self.begin:.0f} s | {'; '.join(events)} | {top.replace('|', '/')} |"
        )

    def _longest_gap(self, node):
        ends = sorted(end for each in node.collected for end in each.ends)
        ends = [self.chaos_begin, *(each for each in ends if each > self.chaos_begin), time.monotonic()]
        # After the last answer nobody asks.
        ends[-1] = max(ends[-2], self.chaos_end)
        return max(zip(ends, ends[1:]), key=lambda gap: gap[1] - gap[0])

    def _errors(self):
        errors = Counter((code, text) for caller in self.callers for _, code, text in caller.errors)
        print("\n| errors | code | message |")
        print("| ---: | --- | --- |")
        ranked = errors.most_common()
        for (code, text), count in ranked[:25]:
            print(f"| {count:,} | {code} | {text.replace('|', '/')} |")
        if rest := ranked[25:]:
            print(f"| {sum(count for _, count in rest):,} | | {len(rest)} more messages |")

    def write_ids(self):
        """Every range with who got it and when, for whoever looks into a fault."""
        with open(os.path.join(self.folder, "ids.tsv"), "w", encoding="utf-8") as file:
            file.write("start\tcount\tconnection\tprocess\tasked\tanswered\n")
            for each in self.collected:
                for start, count, call in zip(each.starts, each.counts, each.calls):
                    times = f"{each.begins[call] - self.begin:.6f}\t{each.ends[call] - self.begin:.6f}"
                    file.write(f"{start}\t{count}\t{each.name}\t{each.lives[call]}\t{times}\n")


def duration(text):
    """The seconds of a duration as mid's settings take it."""
    match = re.fullmatch(r"(\d+)(ms|s|m)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration like 10s, 500ms or 1m")
    return int(match[1]) * {"ms": 0.001, "s": 1, "m": 60}[match[2]]


def duration_above_zero(chosen, option, parser):
    """The seconds of one of the options; ends the program where it is no duration, or not above 0."""
    try:
        seconds = duration(getattr(chosen, option))
    except argparse.ArgumentTypeError as error:
        parser.error(f"--{option}: {error}")
    if seconds <= 0:
        parser.error(f"--{option} is above 0")
    return seconds


def said(count, what):
    return "yes" if count == 0 else f"NO: {count:,} {what}"


def machine():
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}"


def program():
    """Which program it was: its version, and when it was built."""
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=30).stdout.strip()
    built = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(os.path.getmtime(BINARY)))
    return f"mid {version}, built {built}, {BINARY}"
