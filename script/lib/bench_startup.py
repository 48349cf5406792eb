"""Start to the first id, memory idle, and the size of the program."""

import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

from benching import PATH, Server, commit, free_port, machine, request_body


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def call_frames(body, stream=1, path=PATH):
    """A call on a stream."""
    headers = b"".join(
        literal(*field)
        for field in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"127.0.0.1"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )
    return frame(1, 4, stream, headers) + frame(0, 1, stream, body)


def first_id(port, deadline):
    """Asks for a segment id until one comes. Returns when it came."""
    request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + call_frames(request_body("segment"))
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(request)
                received = b""
                while len(received) < 65536:
                    chunk = connection.recv(4096)
                    received += chunk
                    if answered(received):
                        return time.monotonic()
                    if not chunk:
                        break
        except OSError:
            pass
        time.sleep(0.0005)
    sys.exit("bench: no id")


def answered(received):
    """Whether a DATA frame with an id in it has arrived."""
    while len(received) >= 9:
        length = int.from_bytes(received[:3], "big")
        if received[3] == 0 and len(received) >= 9 + length and length >= 7:
            return True
        received = received[9 + length :]
    return False


def startup(arguments, _wanted, folder):
    fresh, again, clean, memory = [], [], [], []
    for number in range(max(5, arguments.runs)):
        home = f"{folder}/start{number}"
        os.makedirs(home)
        for times in (fresh, again):
            port = free_port()
            begin = time.monotonic()
            server = Server(
                [
                    arguments.binary,
                    "serve",
                    "--store",
                    f"sqlite:{home}/mid.db",
                    "--grpc",
                    f"127.0.0.1:{port}",
                    "--metrics",
                    f"127.0.0.1:{free_port()}",
                    "--http",
                    f"127.0.0.1:{free_port()}",
                ],
                port,
                f"{home}/log",
                settings={"MID_DATA_DIRECTORY": f"{home}/data"},
                folder=home,
            )
            times.append((first_id(port, begin + 20) - begin) * 1000)
            if times is again:
                time.sleep(2)
                memory.append(int(server.status("VmRSS")) / 1024)
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(20)
            clean.append((time.monotonic() - begin) * 1000)
    stripped = f"{folder}/stripped"
    tool = shutil.which("strip") or shutil.which("llvm-strip")
    if tool:
        subprocess.run([tool, "-o", stripped, arguments.binary], check=True)
    print(f"Machine: {machine()}. Commit {commit()}. Medians of {len(fresh)} starts, SQLite.\n")
    print("| what | value |")
    print("| --- | ---: |")
    print(f"| start to first segment id, new folder | {statistics.median(fresh):.0f} ms |")
    print(f"| start to first segment id, after a clean stop | {statistics.median(again):.0f} ms |")
    print(f"| SIGTERM to end, idle | {statistics.median(clean):.0f} ms |")
    print(f"| resident memory, idle for 2 s | {statistics.median(memory):.1f} MiB |")
    print(f"| program | {os.path.getsize(arguments.binary) / 2**20:.1f} MiB |")
    if tool:
        print(f"| program, stripped | {os.path.getsize(stripped) / 2**20:.1f} MiB |")
