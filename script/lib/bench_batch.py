"""Ids per second by batches of 1,000."""

import statistics
import sys

from benching import grpc_message, h2load, measure, metric_sum, print_head, progress, set_step, start_mid, table, varint

COUNT = 1_000
PATH = "/mid.v1.IDService/GenerateBatch"
LEVELS = [(1, 100), (8, 32)]
# What the budget asks of segments. A snowflake worker has 4,096 ids a millisecond, whoever asks.
BUDGETS = {"segment": 100_000_000, "snowflake": None}


def batch(arguments, _wanted, folder):
    step = arguments.step
    home = f"{folder}/mid"
    set_step(arguments, home, step)
    mid = start_mid(arguments, home)
    rows = []
    try:
        print_head(arguments)
        print(
            f"GenerateBatch with {COUNT:,} ids a call; mid with {arguments.loops} event loop(s), SQLite, step {step:,}; "
            f"medians of {arguments.runs} runs of about {arguments.seconds:g} s each. Ids are counted by mid's own "
            "metrics; calls that failed are none of them. snowflake has at most 4,096,000 ids a second by its layout.\n"
        )
        for mode, budget in BUDGETS.items():
            body = f"{folder}/batch-{mode}"
            fields = b"\x0a" + varint(len(mode)) + mode.encode() + b"\x18" + varint(COUNT)
            with open(body, "wb") as file:
                file.write(grpc_message(fields))
            for connections, streams in LEVELS:
                rows.append(measure_level(arguments, mid, mode, body, connections, streams, budget))
    finally:
        mid.stop()
    progress("")
    heads = ["mode", "connections × calls", "ids/s", "least to most", "calls/s", "CPU per call", "failed", "budget", ""]
    table(heads, rows)


def measure_level(arguments, mid, mode, body, connections, streams, budget):
    trial = 2_000 if mode == "snowflake" else 20_000
    seconds = h2load(mid.port, body, trial, connections, streams, path=PATH)
    calls = max(trial, min(5_000_000, int(trial / seconds * arguments.seconds)))
    rates, costs, failed = [], [], 0
    for run in range(arguments.runs):
        progress(f"{mode} {connections}x{streams} run {run + 1}/{arguments.runs}")
        ids = metric_sum(mid, "id_generate_total", f'"{mode}"')
        good = metric_sum(mid, "mid_rpc_calls_total", "GenerateBatch", '"OK"')
        cost, rate = measure(
            mid, calls, lambda: h2load(mid.port, body, calls, connections, streams, path=PATH)
        )
        ids = metric_sum(mid, "id_generate_total", f'"{mode}"') - ids
        good = metric_sum(mid, "mid_rpc_calls_total", "GenerateBatch", '"OK"') - good
        if ids != good * COUNT:
            sys.exit(f"bench: {good:.0f} calls were answered, but {ids:.0f} ids given")
        rates.append(ids / calls * rate)
        costs.append(cost)
        failed += calls - int(good)
    rate = statistics.median(rates)
    return [
        mode,
        f"{connections} × {streams}",
        f"{rate:,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{rate / COUNT:,.0f}",
        f"{statistics.median(costs):.2f} µs",
        f"{failed:,}",
        f"≥ {budget:,}" if budget else "",
        ("met" if rate >= budget else "missed") if budget else "",
    ]
