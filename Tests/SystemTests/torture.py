"""Torments a fleet of mid nodes while it collects ids from all of them, and checks that no id ever comes twice."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

# No caches beside the sources; set before the modules beside this file are imported.
sys.dont_write_bytecode = True
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import torture_segment  # noqa: E402
import torture_snowflake  # noqa: E402
from programs import BINARY, ROOT  # noqa: E402
from torture_ids import self_check, wall_text  # noqa: E402
from torture_run import program  # noqa: E402

# What is tormented, by its name on the command line: the module whose text is its help, and what runs it.
KINDS = {
    "snowflake": (torture_snowflake, torture_snowflake.SnowflakeTorture),
    "segment": (torture_segment, torture_segment.SegmentTorture),
}


def arguments():
    """The kind of torture that was asked for, and its options."""
    parser = argparse.ArgumentParser(prog="script/torture", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    parsers = {}
    for name, (module, kind) in KINDS.items():
        each = parsers[name] = commands.add_parser(
            name, formatter_class=argparse.RawDescriptionHelpFormatter, description=module.__doc__
        )
        each.add_argument("--minutes", type=float, default=10, help="how long (default 10)")
        each.add_argument("--nodes", type=int, default=kind.NODES, help=f"how many nodes (default {kind.NODES})")
        each.add_argument("--ids", type=int, default=kind.IDS, help=f"the least to collect (default {kind.IDS:,})")
        kind.add_arguments(each)
        each.add_argument("--seed", type=int, help="decides what is done and when (default: a random one, printed)")
        each.add_argument("--keep", action="store_true", help="keep the folder with all logs, and write all ids to it")
    chosen = parser.parse_args()
    kind, own = KINDS[chosen.what][1], parsers[chosen.what]
    if chosen.minutes <= 0 or not 1 <= chosen.nodes <= 100 or chosen.ids < 1:
        own.error("--minutes and --ids are above 0, --nodes is 1 to 100")
    kind.check_arguments(chosen, own)
    if chosen.seed is None:
        chosen.seed = random.randrange(1_000_000)
    if not os.access(BINARY, os.X_OK):
        own.error(f"no program at {BINARY}: build it, or name it in MID_BINARY")
    return kind, chosen


def newer_sources():
    """A source that was changed after the program was built, or None."""
    built = os.path.getmtime(BINARY)
    for folder, _, names in os.walk(os.path.join(ROOT, "Sources")):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.getmtime(path) > built:
                return os.path.relpath(path, ROOT)
    return None


def main():
    kind, chosen = arguments()
    # A check that can't fail is worth nothing.
    self_check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="mid-torture-")
    print(f"{kind.title(chosen)}, from {wall_text(time.monotonic())}, in {folder}", flush=True)
    print(f"program: {program()}", flush=True)
    if newer := newer_sources():
        print(f"WARNING: {newer} is newer than the program; script/server builds it anew", flush=True)
    torture = kind(chosen, folder)
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
