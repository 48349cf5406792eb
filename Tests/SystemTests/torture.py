"""Torments a fleet of mid nodes while it collects ids from all of them, and checks that no id ever comes twice.

script/torture starts one MariaDB and a few nodes on it, each under a wall clock of its own. For the time given, callers
take ids from every node by batches of 1 to 5,000. Meanwhile, at moments that a seed decides, clocks step by up to an
hour, nodes are killed and started again on the same folder or an empty one, frozen past their lease while another node
waits for their worker id, and stopped cleanly; and the database is killed and started again, sometimes only after
leases have ended. In the end all must answer again, and all ids must be distinct, positive and, per worker id, in the
order of time. The seed repeats what is done and when; how fast the machine is decides what happens meanwhile.

Exit code 1: an id came twice, was not positive or out of order; fewer ids than asked for; a node that ended by itself,
or did not serve within 30 s once it was left alone.
"""

import argparse
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

# No caches beside the sources; set before the modules beside this file are imported.
sys.dont_write_bytecode = True
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from clock import build_shim  # noqa: E402
from programs import BINARY, ROOT, MariaDB, wait_until  # noqa: E402
from torture_ids import self_check, verify, wall_text  # noqa: E402
from torture_nodes import EXPECTED, TAKEN_OVER, Chaos, Node  # noqa: E402

# Within which every node serves again once nothing is done to it any more.
RECOVERY = 30.0
CALLERS = 2


def duration(text):
    """The seconds of a duration as mid's settings take it."""
    match = re.fullmatch(r"(\d+)(ms|s|m)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration like 10s, 500ms or 1m")
    return int(match[1]) * {"ms": 0.001, "s": 1, "m": 60}[match[2]]


def arguments():
    parser = argparse.ArgumentParser(
        prog="script/torture", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    parser.add_argument("what", choices=["snowflake"])
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10)")
    parser.add_argument("--nodes", type=int, default=5, help="how many nodes (default 5)")
    parser.add_argument("--lease", default="5s", help="snowflake.lease of all nodes (default 5s)")
    parser.add_argument("--ids", type=int, default=100_000_000, help="the least to collect (default 100,000,000)")
    parser.add_argument("--seed", type=int, help="what decides what is done and when (default: a random one, printed)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs, and write all ids to it")
    chosen = parser.parse_args()
    try:
        chosen.lease_seconds = duration(chosen.lease)
    except argparse.ArgumentTypeError as error:
        parser.error(f"--lease: {error}")
    if chosen.minutes <= 0 or not 1 <= chosen.nodes <= 100 or chosen.ids < 1 or chosen.lease_seconds <= 0:
        parser.error("--minutes, --lease and --ids are above 0, --nodes is 1 to 100")
    if chosen.seed is None:
        chosen.seed = random.randrange(1_000_000)
    if not os.access(BINARY, os.X_OK):
        parser.error(f"no program at {BINARY}: build it, or name it in MID_BINARY")
    return chosen


class Torture:
    def __init__(self, chosen, folder):
        self.chosen = chosen
        self.folder = folder
        self.begin = time.monotonic()
        self.random = random.Random(chosen.seed)
        self.store = MariaDB(os.path.join(folder, "mariadb"))
        self.library = build_shim(folder)
        self.nodes = []
        self.heirs = []
        self.chaos = None
        # How long each node took to answer once it was left alone.
        self.recoveries = {}

    def say(self, text):
        print(f"{time.monotonic() - self.begin:7.1f} s  {text}", flush=True)

    def node(self, name, folder, callers=CALLERS, shift=0.0, **settings):
        lease = self.chosen.lease_seconds
        return Node(
            name,
            os.path.join(self.folder, folder),
            self.store,
            {
                "MID_SNOWFLAKE_LEASE": self.chosen.lease,
                "MID_SNOWFLAKE_RENEW_INTERVAL": f"{int(max(0.5, lease / 4) * 1000)}ms",
                **settings,
            },
            self.library,
            callers,
            self.random,
            shift,
        )

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

    @property
    def collected(self):
        return [caller.collected for node in [*self.nodes, *self.heirs] for caller in node.callers]

    def run(self):
        self.store.start()
        self.nodes = [self.node(f"node {number}", f"node{number}") for number in range(1, self.chosen.nodes + 1)]
        self.chaos = Chaos(self.nodes, self.store, self.chosen.lease_seconds, self.random, self.say, self.heir)
        for node in self.nodes:
            node.launch()
            node.ask()
        for node in self.nodes:
            wait_until(lambda: self._serves(node), RECOVERY, f"the first id of {node.name}")
        self.say(f"all nodes serve, worker ids {', '.join(str(node.worker) for node in self.nodes)}")
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
        self.store.stop()
        for caller in (caller for node in [*self.nodes, *self.heirs] for caller in node.callers):
            if caller.failure:
                self.chaos.problem(f"{caller.name}: {caller.failure}")

    def _serves(self, node):
        if not node.server.process.is_running:
            sys.exit(f"torture: {node.name} does not start:\n{node.server.process.output()}")
        return node.last_answer > 0

    def _recover(self):
        while len(self.recoveries) < len(self.nodes) and time.monotonic() < self.chaos_end + RECOVERY:
            for node in self.nodes:
                if node.name not in self.recoveries and node.last_answer > self.chaos_end:
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
        for node in [*self.nodes, *self.heirs]:
            for caller in node.callers:
                caller.end()
            if node.server.process is not None:
                node.server.process.kill()
        self.store.kill()

    # MARK: what came of it

    def summary(self):
        """Prints everything and returns whether all is well."""
        chosen, chaos = self.chosen, self.chaos
        verdict = verify(self.collected)
        seconds = self.chaos_end - self.chaos_begin
        replies = sum(len(each.begins) for each in self.collected)
        if verdict.ids < chosen.ids:
            chaos.problem(f"{verdict.ids:,} ids are fewer than the {chosen.ids:,} asked for")
        taken = chaos.counts[TAKEN_OVER]
        # Some heirs come too late or are ended too soon; of many, not all.
        if chaos.heirs >= 10 and taken == 0:
            chaos.problem(f"{chaos.heirs} nodes waited for the worker id of a frozen one, and none ever got it")
        codes = Counter(code for caller in self._callers() for _, code, _ in caller.errors)
        for code in sorted(codes.keys() - EXPECTED):
            chaos.problem(f"{codes[code]:,} calls failed with {code}, which nothing that was done explains")
        rate = f"{verdict.ids / seconds:,.0f} a second"
        events = ", ".join(f"{kind} {count}" for kind, count in sorted(chaos.counts.items()))
        again = max(self.recoveries.values(), default=float("nan"))
        print(f"\n{title(chosen)}")
        print(f"machine    {machine()}")
        print(f"program    {program()}")
        print(f"ids        {verdict.ids:,} in {replies:,} replies and {verdict.ranges:,} ranges, {rate}")
        print(f"distinct   {said(verdict.repeated, 'repeated')}")
        print(f"positive   {said(verdict.not_positive, 'not positive')}")
        print(f"in order   {said(verdict.disordered, 'ranges out of order')}, under {verdict.workers} worker ids")
        print(f"events     {events}")
        print(f"recovery   {again:.1f} s until the last node served once left alone")
        print("\n| node | ids | processes | worker ids | longest without an id | while | most frequent error then |")
        print("| --- | ---: | ---: | --- | ---: | --- | --- |")
        for node in self.nodes:
            print(self._row(node))
        if self.heirs:
            ids = sum(caller.collected.total for heir in self.heirs for caller in heir.callers)
            print(f"| heirs of frozen nodes | {ids:,} | {len(self.heirs)} | | | | |")
        self._errors()
        for each in verdict.faults:
            print(f"\nFAULT: {each}")
        for each in chaos.problems:
            print(f"\nPROBLEM: {each}")
        is_good = not verdict.faults and not chaos.problems
        print(f"\nresult     {'passed' if is_good else 'FAILED'}")
        return is_good

    def _row(self, node):
        begin, end = self._longest_gap(node)
        # What began shortly before explains it too: a clock that is set back, a start that waits for its bound.
        events = [
            f"{who}: {what}" if who != node.name else what
            for from_, to, who, what in self.chaos.events
            if who in (node.name, "the store") and from_ < end and to > begin - 1
        ]
        errors = Counter(
            f"{code}: {text}" for caller in node.callers for when, code, text in caller.errors if begin <= when <= end
        )
        top = errors.most_common(1)[0][0] if errors else ""
        return (
            f"| {node.name} | {sum(caller.collected.total for caller in node.callers):,} | {node.life} | "
            f"{' '.join(map(str, sorted(node.workers)))} | {end - begin:.1f} s at {begin - self.begin:.0f} s | "
            f"{'; '.join(events)} | {top.replace('|', '/')} |"
        )

    def _longest_gap(self, node):
        ends = sorted(end for caller in node.callers for end in caller.collected.ends)
        ends = [self.chaos_begin, *(each for each in ends if each > self.chaos_begin), time.monotonic()]
        # After the last answer nobody asks.
        ends[-1] = max(ends[-2], self.chaos_end)
        return max(zip(ends, ends[1:]), key=lambda gap: gap[1] - gap[0])

    def _callers(self):
        return [caller for node in [*self.nodes, *self.heirs] for caller in node.callers]

    def _errors(self):
        errors = Counter((code, text) for caller in self._callers() for _, code, text in caller.errors)
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


def newer_sources():
    """A source that was changed after the program was built, or None."""
    built = os.path.getmtime(BINARY)
    for folder, _, names in os.walk(os.path.join(ROOT, "Sources")):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.getmtime(path) > built:
                return os.path.relpath(path, ROOT)
    return None


def title(chosen):
    return (
        f"torture {chosen.what}: {chosen.minutes:g} min, {chosen.nodes} nodes, lease {chosen.lease}, seed {chosen.seed}"
    )


def main():
    chosen = arguments()
    # A check that can't fail is worth nothing.
    self_check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="mid-torture-")
    print(f"{title(chosen)}, from {wall_text(time.monotonic())}, in {folder}", flush=True)
    print(f"program: {program()}", flush=True)
    if newer := newer_sources():
        print(f"WARNING: {newer} is newer than the program; script/server builds it anew", flush=True)
    torture = Torture(chosen, folder)
    is_good = False
    try:
        torture.run()
        is_good = torture.summary()
        if not is_good or chosen.keep:
            torture.write_ids()
    finally:
        torture.end()
        if is_good and not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs, folders and ids: {folder}", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
