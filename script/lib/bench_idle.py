"""Resident memory of connections that do nothing."""

import resource
import shutil
import socket
import struct
import sys
import time

from benching import commit, machine, progress, request_body, start_mid, start_nghttpd, table, verdict
from bench_startup import answered, call_frames, frame

BUDGET = 10.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)


def raise_limit(descriptors):
    """Children have the limit too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= descriptors:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, max(hard, descriptors)))
    except (OSError, ValueError):
        sys.exit(f"bench: {descriptors} open files are needed, {hard} are allowed: raise ulimit -n")


class Held:
    """A connection whose preface and settings are through."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        # Small packets that wait for each other's acknowledgement would cost 40 ms each.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE)
        self.received = b""

    def next_frame(self):
        while len(self.received) < 9 or len(self.received) < 9 + int.from_bytes(self.received[:3], "big"):
            chunk = self.socket.recv(4096)
            if not chunk:
                sys.exit("bench: the server closed a connection that should be held")
            self.received += chunk
        end = 9 + int.from_bytes(self.received[:3], "big")
        first, self.received = self.received[:end], self.received[end:]
        return first

    def settle(self):
        """Answers the server's SETTINGS, and sees ours answered."""
        answers = 0
        while answers < 2:
            first = self.next_frame()
            if first[3] == 4:
                answers += 1
                if not first[4] & 1:
                    self.socket.sendall(frame(4, 1, 0))

    def call(self):
        self.socket.sendall(call_frames(request_body("snowflake")))
        while True:
            first = self.next_frame()
            if first[3] in (0, 1) and first[4] & 1:
                return
            if first[3] in (3, 7):
                sys.exit(f"bench: a call ended with {struct.unpack('>I', first[-4:])[0]}")


def idle(arguments, _wanted, folder):
    count = arguments.connections
    raise_limit(count + 500)
    rows = []
    starts = [("mid", lambda: start_mid(arguments, f"{folder}/mid", MID_GRPC_MAX_CONNECTIONS=str(count + 100)))]
    if shutil.which("nghttpd"):
        starts.append(("nghttpd", lambda: start_nghttpd(arguments, folder)))
    for name, start in starts:
        for with_call in (False, True):
            server = start()
            try:
                rows.append(hold(name, server, count, with_call))
            finally:
                server.stop()
    progress("")
    print(f"Machine: {machine()}. Commit {commit()}. {count:,} connections held, {arguments.loops} event loop(s).")
    print("Growth of resident memory, without what the kernel holds for the sockets.\n")
    table(["server", "each connection", "before", "held", "per connection", "budget", ""], rows)


def hold(name, server, count, with_call):
    # One that is gone again: what the first connection brings about is not each one's.
    first = Held(server.port)
    first.settle()
    first.call()
    first.socket.close()
    time.sleep(1)
    before = int(server.status("VmRSS"))
    held = []
    try:
        while len(held) < count:
            progress(f"{name}: {len(held)} of {count}")
            some = [Held(server.port) for _ in range(min(100, count - len(held)))]
            held += some
            for connection in some:
                connection.settle()
            for connection in some if with_call else []:
                connection.call()
        time.sleep(2)
        after = int(server.status("VmRSS"))
    finally:
        for connection in held:
            connection.socket.close()
    each = (after - before) / count
    budget = BUDGET if name == "mid" else None
    return [
        name,
        "one call, then idle" if with_call else "settings only",
        f"{before / 1024:.1f} MiB",
        f"{after / 1024:.1f} MiB",
        f"{each:.1f} KiB",
        f"≤ {budget:g} KiB" if budget else "",
        verdict(each, budget) if budget else "",
    ]
