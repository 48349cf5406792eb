"""Ids per second by batches of 1,000."""

import statistics
import sys

from benching import grpc_message, h2load, measure, metric_sum, print_head, progress, set_step, start_mid, table, varint

COUNT = 1_000
PATH = "/mid.v1.IDService/GenerateBatch"
LEVELS = [(1, 100), (8, 32)]
# What the budget asks of segments. A snowflake worker has 4,096 ids a millisecond, whoever asks.
BUDGETS = {"segment": 100_000_000, "snowflake": None}
# More than the ids of a second.
TIME_AHEAD_CALLS = 6_000


def read_counts(mid, mode):
    """Ids given and batches answered so far."""
    return (
        metric_sum(mid, "id_generate_total", f'"{mode}"'),
        metric_sum(mid, "mid_rpc_calls_total", "GenerateBatch", '"OK"'),
    )


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
            "metrics; calls that failed are none of them. snowflake has at most 4,096,000 ids a second by its layout; a run begins when the second that it may be ahead is used up.\n"
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
    def drive(number):
        return h2load(mid.port, body, number, connections, streams, path=PATH)

    def use_up_time_ahead():
        """Snowflake batches may run a second ahead of the clock, about 4.1 million ids that a rate must not count."""
        if mode == "snowflake":
            drive(TIME_AHEAD_CALLS)

    use_up_time_ahead()
    trial = 2_000 if mode == "snowflake" else 20_000
    calls = max(trial, min(5_000_000, int(trial / drive(trial) * arguments.seconds)))
    rates, costs, failed = [], [], 0
    for run in range(arguments.runs):
        progress(f"{mode} {connections}x{streams} run {run + 1}/{arguments.runs}")
        counts = {}

        def counted():
            # Read here, as a measurement that is begun again must not count the calls of the one before it.
            before = read_counts(mid, mode)
            seconds = drive(calls)
            counts["ids"], counts["good"] = (int(b - a) for a, b in zip(before, read_counts(mid, mode)))
            return seconds

        use_up_time_ahead()
        cost, rate = measure(mid, calls, counted)
        ids, good = counts["ids"], counts["good"]
        if ids != good * COUNT or good > calls:
            sys.exit(f"bench: {calls} calls were made, {good} were answered, {ids} ids given: these can't all be true")
        rates.append(ids / calls * rate)
        costs.append(cost)
        failed += calls - good
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
