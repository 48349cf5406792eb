"""A node at the limit of its Snowflake layout, and segment calls on the same node meanwhile."""

import json
import os
import subprocess
import sys

from benching import environment, print_head, progress, set_step, start_mid, table

# 4,096 ids a millisecond by the original layout, whoever asks.
LIMIT = 4_096_000
# mid.BenchCommand's ids are checked: positive, distinct, in order.
BATCHES = ["--mode", "snowflake", "--batch", "1000", "-c", "2", "-m", "16"]
CALLS = ["--mode", "segment", "-c", "1", "-m", "32", "--rate", "500"]


def ceiling(arguments, _wanted, folder):
    home = f"{folder}/mid"
    set_step(arguments, home, 10_000_000)
    mid = start_mid(arguments, home)
    rows = []
    try:
        print_head(arguments)
        print(
            f"One node with {arguments.loops} event loop(s), SQLite; {arguments.runs} runs of {arguments.seconds:g} s, by mid bench. "
            "Snowflake batches of 1,000, 32 of them at a time, are asked for as fast as they are answered; when a run begins, the "
            "second that ids may be ahead of the clock is used up. Segment calls come 500 times a second on a connection of "
            "their own, with nobody else, then beside the batches.\n"
        )
        for run in range(arguments.runs):
            progress(f"run {run + 1}/{arguments.runs}")
            rows.append(measure(arguments, mid))
    finally:
        mid.stop()
    progress("")
    heads = [
        "run", "ids/s", f"of {LIMIT:,}", "CPU of the server", "per 1,000 ids", "segment p50, p99, p99.9 alone",
        "beside the batches", "failed",
    ]  # fmt: skip
    table(heads, [[str(number + 1), *row] for number, row in enumerate(rows)])


def bench(arguments, mid, options, seconds):
    return subprocess.Popen(
        [arguments.binary, "bench", "--server", f"127.0.0.1:{mid.port}", *options, "--duration", str(seconds), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=os.path.dirname(mid.log),
    )


def result(process):
    text = process.communicate(timeout=120)[0]
    found = json.loads(text)
    if not found["id_checks"]["good"]:
        sys.exit(f"bench: ids were not as promised: {text}")
    return found


def measure(arguments, mid):
    alone = result(bench(arguments, mid, CALLS, arguments.seconds))
    # The second ahead.
    result(bench(arguments, mid, BATCHES, 1.2))
    before = mid.total_cpu()
    batches = bench(arguments, mid, BATCHES, arguments.seconds)
    calls = bench(arguments, mid, CALLS, arguments.seconds)
    batches, calls = result(batches), result(calls)
    cpu = mid.total_cpu() - before
    rate = batches["ids_per_second"]
    return [
        f"{rate:,.0f}",
        f"{100 * rate / LIMIT:.1f} %",
        f"{cpu / 1e9 / batches['seconds']:.2f} cores",
        f"{cpu / batches['ids']:.2f} µs",
        milliseconds(alone),
        milliseconds(calls),
        f"{batches['errors'] + alone['errors'] + calls['errors']:,}",
    ]


def milliseconds(found):
    latencies = found["latency_nanoseconds"]
    return ", ".join(f"{latencies[each] / 1e6:.2f}" for each in ("p50", "p99", "p99.9")) + " ms"
