"""What a table of many tags costs: time to start, memory per tag, and the work of tags that nobody uses any more."""

import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request

from bench_startup import call_frames, first_id, frame
from benching import Server, commit, environment, free_port, machine, progress, request_body

PATH = "/mid.v1.IDService/GenerateID"
STEP = 1000
# Calls of one tag each that are under way at once.
WINDOW = 500


def tags(arguments, _wanted, folder):
    few, many = (measure(arguments, f"{folder}/{count}", count) for count in (1, arguments.tags))
    progress("")
    place = f"{arguments.stripes} SQLite files as stripes" if arguments.stripes else "SQLite"
    print(f"Machine: {machine()}. Commit {commit()}. {place}, tags of step {STEP:,}, {arguments.loops} event loop(s).\n")
    print("| what | 1 tag | " + f"{arguments.tags:,} tags | each tag |")
    print("| --- | ---: | ---: | ---: |")
    for name, unit, digits, scale in ROWS:
        one, all_of_them = few[name], many[name]
        each = (all_of_them - one) / arguments.tags * scale[0]
        print(
            f"| {name} | {one:,.{digits}f} {unit} | {all_of_them:,.{digits}f} {unit} | {each:,.2f} {scale[1]} |"
        )


ROWS = [
    ("start to first id", "ms", 0, (1000, "µs")),
    ("resident memory, none used", "MiB", 1, (2**20, "B")),
    ("first id of each, all together", "s", 2, (1e6, "µs")),
    ("resident memory, each used once", "MiB", 1, (2**20, "B")),
    ("CPU per second, each used once, nobody calls", "ms", 2, (1e6, "ns")),
    ("a page of metrics", "ms", 1, (1000, "µs")),
    ("SIGTERM to end, each used once", "s", 2, (1e6, "µs")),
]


def measure(arguments, home, count):
    os.makedirs(home)
    create(arguments, home, count)
    starts = []
    for _ in range(3):
        server, begin = start(arguments, home)
        starts.append((first_id(server.port, begin + 60) - begin) * 1000)
        # The list is read at the start, by whoever calls first.
        time.sleep(1)
        idle = memory(server)
        server.stop()
    server, begin = start(arguments, home)
    first_id(server.port, begin + 60)
    begin = time.monotonic()
    use_each(server, [f"tag{number}" for number in range(count)])
    used = time.monotonic() - begin
    time.sleep(2)
    progress(f"{count} tags: at rest")
    rest = max(2.0, 12 * arguments.seconds)
    before = server.total_cpu()
    time.sleep(rest)
    work = (server.total_cpu() - before) / rest / 1e6
    held = memory(server)
    begin = time.monotonic()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{server.metrics}/metrics", timeout=60) as answer:
        answer.read()
    page = (time.monotonic() - begin) * 1000
    begin = time.monotonic()
    server.process.terminate()
    server.process.wait(120)
    end = time.monotonic() - begin
    return dict(
        zip(
            (row[0] for row in ROWS),
            (statistics.median(starts), idle, used, held, work, page, end),
            strict=True,
        )
    )


def stripes(arguments, home):
    """The files that all have all tags; none where the store has them."""
    return [f"{home}/stripe{number}.db" for number in range(arguments.stripes)]


def create(arguments, home, count):
    """The tables as mid makes them, then rows straight into them."""
    files = stripes(arguments, home)
    place = ["--stripes", ",".join(f"sqlite:{file}" for file in files)] if files else ["--store", f"sqlite:{home}/mid.db"]
    for name in ["first"] + (["default"] if files else []):
        result = subprocess.run(
            [arguments.binary, "tag", "create", name, *place], capture_output=True, text=True, env=environment()
        )
        if result.returncode != 0:
            sys.exit(f"bench: no store:\n{result.stdout}{result.stderr}")
    for remainder, file in enumerate(files or [f"{home}/mid.db"]):
        rows = ((f"tag{number}", STEP * max(1, len(files)), len(files), remainder) for number in range(count))
        with sqlite3.connect(file) as database:
            if files:
                sql = "INSERT INTO mid_stripes (biz_tag, max_id, step, delta, remainder) VALUES (?, 0, ?, ?, ?)"
                database.executemany(sql, rows)
            else:
                sql = "INSERT INTO id_segments (biz_tag, max_id, step) VALUES (?, 0, ?)"
                database.executemany(sql, (row[:2] for row in rows))
        database.close()


def start(arguments, home):
    port, metrics = free_port(), free_port()
    settings = {"MID_DATA_DIRECTORY": f"{home}/data", "MID_GRPC_EVENT_LOOPS": str(arguments.loops)}
    if arguments.stripes:
        settings["MID_SEGMENT_STRIPES"] = ",".join(f"sqlite:{file}" for file in stripes(arguments, home))
    begin = time.monotonic()
    server = Server(
        [
            arguments.binary, "serve", "--store", f"sqlite:{home}/mid.db",
            "--grpc", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics}",
            "--http", f"127.0.0.1:{free_port()}",
        ],
        port,
        f"{home}/log",
        settings=settings,
        folder=home,
    )  # fmt: skip
    server.metrics = metrics
    return server, begin


def memory(server):
    return int(server.status("VmRSS")) / 1024


def use_each(server, names):
    """Takes one id of each tag, some at a time on one connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(8, 0, 0, (2**30).to_bytes(4, "big")))
        done = sent = ids = 0
        received = b""
        while done < len(names):
            calls = enumerate(names[sent : done + WINDOW], sent)
            connection.sendall(b"".join(call_frames(request_body("segment", name), 2 * n + 1, PATH) for n, name in calls))
            sent = min(len(names), done + WINDOW)
            received += connection.recv(65536)
            while len(received) >= 9 and len(received) >= (end := 9 + int.from_bytes(received[:3], "big")):
                kind, flags = received[3], received[4]
                if kind == 4 and not flags & 1:
                    connection.sendall(frame(4, 1, 0))
                if kind == 7:
                    sys.exit("bench: the server ended the connection")
                ids += kind == 0 and end > 9
                done += kind == 3 or (kind == 1 and flags & 1)
                received = received[end:]
            progress(f"{done} of {len(names)} tags")
    if ids != len(names):
        sys.exit(f"bench: {ids} ids for {len(names)} calls")
