"""CPU per request over HTTP/1.1: mid's paths beside a bare NIO server that answers as many bytes."""

import os
import re
import statistics
import subprocess
import sys
import urllib.request

from benching import ROOT, Server, free_port, measure, print_head, progress, set_step, start_mid, table

PEER = os.path.join(ROOT, "Benchmarks/.build/release/HTTP1Peer")
STEP = 1_000_000
# Keep-alive connections, one request under way on each.
LEVELS = [1, 8, 32]
PATHS = {
    "GET /v1/ids/snowflake": "/v1/ids/snowflake",
    "GET /v1/ids/segment": "/v1/ids/segment",
    "GET /api/segment/get/default": "/api/segment/get/default",
}
BARE = "bare NIO HTTP/1.1"


def h1load(port, path, requests, connections):
    command = ["h2load", "--h1", "-n", str(requests), "-c", str(connections), "-t", "1", f"http://127.0.0.1:{port}{path}"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    succeeded = re.search(r"(\d+) succeeded", result.stdout)
    finished = re.search(r"finished in ([\d.]+)(us|ms|s)", result.stdout)
    codes = re.search(r"status codes: (\d+) 2xx", result.stdout)
    if not succeeded or not finished or not codes or int(succeeded[1]) != requests or int(codes[1]) != requests:
        sys.exit(f"bench: h2load did not get {requests} answers:\n{result.stdout}{result.stderr}")
    return float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[finished[2]]


def http(arguments, _, folder):
    has_peer = os.access(PEER, os.X_OK)
    servers = []
    try:
        set_step(arguments, f"{folder}/mid", STEP)
        mid = start_mid(arguments, f"{folder}/mid")
        servers.append(mid)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{mid.http}/v1/ids/snowflake", timeout=10) as answer:
            body = answer.read().decode()
        targets = {}
        if has_peer:
            port = free_port()
            bare = Server([PEER, str(port), str(arguments.loops), body], port, f"{folder}/bare.log").wait()
            servers.append(bare)
            targets[BARE] = (bare, port, "/")
        targets |= {name: (mid, mid.http, path) for name, path in PATHS.items()}
        print_head(arguments)
        if not has_peer:
            print(
                f"{BARE} is left out: no program at {os.path.relpath(PEER, ROOT)}; run: "
                "swift build -c release --package-path Benchmarks --product HTTP1Peer."
            )
        print(
            f"mid's HTTP with Hummingbird's own event loops, SQLite, step {STEP:,}; {BARE} with {arguments.loops} event "
            f"loop(s), one constant answer of {len(body)} bytes; medians of {arguments.runs} runs of about "
            f"{arguments.seconds:g} s each, keep-alive.\n"
        )
        rows = []
        for connections in LEVELS[1:2] if arguments.quick else LEVELS:
            rows += measure_level(arguments, targets, connections)
        table(["connections", "server", "CPU per call", "least to most", "calls/s", "× bare (least to most)"], rows)
    finally:
        for server in servers:
            server.stop()


def measure_level(arguments, targets, connections):
    calls = {}
    for name, (_, port, path) in targets.items():
        trial = 500 * connections
        seconds = h1load(port, path, trial, connections)
        calls[name] = max(trial, int(trial / seconds * arguments.seconds) // connections * connections)
    results = {name: [] for name in targets}
    for run in range(arguments.runs):
        for name, (server, port, path) in targets.items():
            progress(f"{connections} run {run + 1}/{arguments.runs} {name}")
            number = calls[name]
            results[name].append(measure(server, number, lambda: h1load(port, path, number, connections)))
    progress("")
    rows = []
    for name in targets:
        costs = [run[0] for run in results[name]]
        row = [str(connections), name, f"{statistics.median(costs):.2f} µs", f"{min(costs):.2f} to {max(costs):.2f}"]
        row.append(f"{statistics.median(run[1] for run in results[name]):,.0f}")
        # Pairs of one round stand side by side in time.
        ratios = [mine[0] / its[0] for mine, its in zip(results[name], results.get(BARE, []))]
        has_ratio = ratios and name != BARE
        row.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if has_ratio else "")
        rows.append(row)
    return rows
