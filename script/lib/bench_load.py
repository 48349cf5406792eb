"""CPU per call and calls per second at each level, of mid and its peers in one run."""

import os
import re
import shutil
import statistics
import subprocess
import sys

from benching import (
    ROOT,
    Server,
    free_port,
    h2load,
    measure,
    print_head,
    progress,
    request_body,
    set_step,
    start_mid,
    start_nghttpd,
    table,
    verdict,
    version,
)

# Connections and calls under way on each, with the share of nghttpd's CPU per call that mid has for itself.
LEVELS = [(1, 1, None), (32, 1, 1.0), (8, 32, 0.4), (1, 100, 0.3)]
PEER = os.path.join(ROOT, "Benchmarks/.build/release/HTTP2Peer")
STEP = 1_000_000
MODES = ["snowflake", "segment"]
NIO = {"nio-streams": "streams", "nio-frames": "frames"}
REDIS = {"redis-everysec": "everysec", "redis-always": "always"}
NAMES = [*MODES, "nghttpd", *NIO, *REDIS]


def choose(wanted):
    """Those that can be measured here, and a line on each that can't."""
    there, lines = [], []
    for name in wanted:
        if name in NIO and not os.access(PEER, os.X_OK):
            lines.append(
                f"{name} is left out: no program at {os.path.relpath(PEER, ROOT)}; run: "
                "swift build -c release --package-path Benchmarks --product HTTP2Peer"
            )
        elif name in REDIS and not (shutil.which("redis-server") and shutil.which("redis-benchmark")):
            lines.append(f"{name} is left out: redis-server is not installed; script/bootstrap --bench installs it")
        elif name == "nghttpd" and not shutil.which("nghttpd"):
            lines.append("nghttpd is left out: it is not installed; script/bootstrap --bench installs it")
        else:
            there.append(name)
    return there, lines


def start_nio(arguments, folder, name):
    port = free_port()
    command = [PEER, str(port), NIO[name], str(arguments.loops)]
    return Server(command, port, f"{folder}/{name}.log").wait()


def start_redis(folder, name):
    port, home = free_port(), f"{folder}/{name}"
    os.makedirs(home)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", home, "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", REDIS[name]]
    return Server(command, port, f"{home}/log", folder=home).wait()


def redis_benchmark(port, calls, connections, streams):
    command = ["redis-benchmark", "-p", str(port), "-n", str(calls), "-c", str(connections), "-P", str(streams)]
    command += ["--csv", "incr", "key"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    rate = re.search(r'^"incr key","([\d.]+)"', result.stdout, re.MULTILINE)
    if result.returncode != 0 or not rate or not float(rate[1]):
        sys.exit(f"bench: redis-benchmark did not do its work:\n{result.stdout}{result.stderr}")
    return calls / float(rate[1])


def start_all(arguments, names, folder, servers):
    if set(MODES) & set(names):
        set_step(arguments, f"{folder}/mid", STEP)
        mid = start_mid(arguments, f"{folder}/mid")
        servers |= {mode: mid for mode in MODES if mode in names}
    for name in names:
        if name == "nghttpd":
            servers[name] = start_nghttpd(arguments, folder)
        elif name in NIO:
            servers[name] = start_nio(arguments, folder, name)
        elif name in REDIS:
            servers[name] = start_redis(folder, name)


def load(arguments, wanted, folder):
    names, lines = choose(wanted)
    if not names:
        sys.exit("bench: nothing to measure:\n" + "\n".join(lines))
    servers = {}
    try:
        start_all(arguments, names, folder, servers)
        print_head(arguments)
        print_what(arguments, names)
        for line in lines:
            print(line + ".")
        print()
        bodies = {}
        for name in names:
            bodies[name] = f"{folder}/body-{name}"
            with open(bodies[name], "wb") as file:
                file.write(request_body("segment" if name == "segment" else "snowflake"))
        levels = [(8, 32, 0.4)] if arguments.quick else LEVELS
        rows = [measure_level(arguments, servers, bodies, level) for level in levels]
        print_costs(rows, names)
    finally:
        for server in set(servers.values()):
            server.stop()


def print_what(arguments, names):
    loops = arguments.loops
    parts = []
    if set(MODES) & set(names):
        parts.append(f"mid with {loops} event loop(s), SQLite, step {STEP:,}, metrics on")
    if "nghttpd" in names:
        parts.append(f"nghttpd with {loops} thread(s)")
    if set(NIO) & set(names):
        parts.append(f"swift-nio-http2 with {loops} event loop(s), one constant reply, with and without stream channels")
    print("; ".join(parts) + f"; medians of {arguments.runs} runs of about {arguments.seconds:g} s each.")
    if set(REDIS) & set(names):
        print(
            f"{version('redis-server').split(' sha')[0]}: INCR of one key by redis-benchmark, one pipeline of as many "
            "commands as calls are under way elsewhere, sent and awaited as one. Redis speaks its own protocol without "
            "HTTP/2 or gRPC. Append-only file, synced every second (up to a second of ids can come twice after a crash) "
            "or always; no snapshots."
        )


def measure_level(arguments, servers, bodies, level):
    connections, streams, _ = level

    def drive(name, number):
        port = servers[name].port
        if name in REDIS:
            return redis_benchmark(port, number, connections, streams)
        return h2load(port, bodies[name], number, connections, streams)

    calls = {}
    for name in servers:
        # A short run warms up and tells the pace. A pipeline is never cut.
        unit = connections * streams
        trial = (2_000 if streams == 1 else 20_000) // unit * unit
        seconds = drive(name, trial)
        calls[name] = max(trial, min(5_000_000, int(trial / seconds * arguments.seconds)) // unit * unit)
    results = {name: [] for name in servers}
    for run in range(arguments.runs):
        for name, server in servers.items():
            progress(f"{connections}x{streams} run {run + 1}/{arguments.runs} {name}")
            number = calls[name]
            results[name].append(measure(server, number, lambda name=name, number=number: drive(name, number)))
    progress("")
    return level, results


def print_costs(rows, names):
    heads = ["connections × calls", "server", "CPU per call", "least to most", "calls/s"]
    heads += ["× nghttpd (least to most)", "budget", ""]
    cells = []
    for (connections, streams, budget), results in rows:
        for name in names:
            costs = [run[0] for run in results[name]]
            row = [f"{connections} × {streams}", name, f"{statistics.median(costs):.2f} µs"]
            row += [f"{min(costs):.2f} to {max(costs):.2f}"]
            row += [f"{statistics.median(run[1] for run in results[name]):,.0f}"]
            own = budget if name in MODES else None
            if "nghttpd" in results and name != "nghttpd":
                # Pairs of one round stand side by side in time, so that a noisy moment touches both.
                ratios = [mine[0] / its[0] for mine, its in zip(results[name], results["nghttpd"])]
                ratio = statistics.median(ratios)
                row.append(f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
                row += [f"≤ {own}" if own else "", verdict(ratio, own) if own else ""]
            else:
                row += ["", "", ""]
            cells.append(row)
    table(heads, cells)
