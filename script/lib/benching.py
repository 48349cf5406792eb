"""What script/bench's measurements share: the machine, servers with their CPU time, and load by h2load."""

import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = "/pb.IDMaker/MakeIDService"
# A snowflake answer: prefix 5, field tag 1, and 9 bytes for an id of 59 to 63 bits.
ANSWER_BYTES = 15


def machine():
    def first(path, pattern):
        try:
            with open(path, encoding="utf-8") as file:
                return re.search(pattern, file.read(), re.MULTILINE)[1]
        except (OSError, TypeError):
            return "unknown"

    system = os.uname()
    model = first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$")
    name = first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)')
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {name}, Linux {system.release} {system.machine}"


def commit():
    def git(*arguments):
        result = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
        return result.stdout.strip() if result.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD") or "no commit"
    return head + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def version(program):
    return subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip().splitlines()[0]


# Servers


def free_port():
    """A port that nobody listens on, below those that the system gives to clients."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def environment(**settings):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MID_")}
    return {**kept, **settings}


class Server:
    """A server process on a loopback port."""

    def __init__(self, arguments, port, log, settings=None, folder=None):
        self.port = port
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(**(settings or {})),
                cwd=folder,
            )

    def wait(self, seconds=20, also=()):
        """Until it listens, on the ports of `also` too."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                for port in (self.port, *also):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        with open(self.log, encoding="utf-8", errors="replace") as file:
            sys.exit(f"bench: {self.process.args[0]} does not listen:\n{file.read()}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def cpu(self):
        """Nanoseconds of CPU by thread, user and kernel together."""
        spent = {}
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat", encoding="ascii") as file:
                spent[task] = int(file.read().split()[0])
        return spent

    def total_cpu(self):
        """The same by the kernel's clock of the whole process, which also counts threads that have ended."""
        return time.clock_gettime_ns(((~self.process.pid) << 3) | 2)

    def status(self, key):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii", errors="replace") as file:
            return next(line.split()[1] for line in file if line.startswith(key + ":"))


def start_mid(arguments, folder, **settings):
    """mid with SQLite in `folder`; `settings` are more `MID_…` variables. The other ports are in `metrics` and `http`."""
    os.makedirs(folder, exist_ok=True)
    port, metrics, http = free_port(), free_port(), free_port()
    server = Server(
        [
            arguments.binary,
            "serve",
            "--store",
            f"sqlite:{folder}/mid.db",
            "--grpc",
            f"127.0.0.1:{port}",
            "--metrics",
            f"127.0.0.1:{metrics}",
            "--http",
            f"127.0.0.1:{http}",
        ],
        port,
        f"{folder}/mid.log",
        settings={
            "MID_DATA_DIRECTORY": f"{folder}/data",
            "MID_GRPC_EVENT_LOOPS": str(arguments.loops),
            **settings,
        },
        folder=folder,
    )
    server.metrics, server.http = metrics, http
    return server.wait(also=(metrics, http))


def set_step(arguments, folder, step):
    """Loads are part of the service, but not of a call: a segment that lasts keeps them few."""
    os.makedirs(folder, exist_ok=True)
    for action in ("create", "set"):
        result = subprocess.run(
            [arguments.binary, "tag", action, "default", "--step", str(step), "--store", f"sqlite:{folder}/mid.db"],
            capture_output=True,
            text=True,
            env=environment(),
            cwd=folder,
        )
    if result.returncode != 0:
        sys.exit(f"bench: the step can't be set:\n{result.stdout}{result.stderr}")


def metric_sum(server, name, *parts):
    """The sum of a metric's series whose labels have all of `parts`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{server.metrics}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if re.match(rf"{name}[{{ ]", line) and all(part in line for part in parts)
    )


def start_nghttpd(arguments, folder, certificate=None):
    """nghttpd with an answer as long as mid's; `certificate` is a pair of files, key and certificate, for TLS."""
    root = f"{folder}/htdocs{os.path.dirname(PATH)}"
    os.makedirs(root, exist_ok=True)
    with open(f"{folder}/htdocs{PATH}", "wb") as file:
        file.write(bytes(ANSWER_BYTES))
    port = free_port()
    command = [
        "nghttpd",
        *([] if certificate else ["--no-tls"]),
        "-a",
        "127.0.0.1",
        "-n",
        str(arguments.loops),
        "-d",
        f"{folder}/htdocs",
        str(port),
        *(certificate or []),
    ]
    return Server(command, port, f"{folder}/nghttpd.log").wait()


# Load


def varint(number):
    data = b""
    while True:
        low, number = number & 0x7F, number >> 7
        if not number:
            return data + bytes([low])
        data += bytes([low | 0x80])


def grpc_message(body):
    return struct.pack(">BI", 0, len(body)) + body


def request_body(mode, tag=""):
    fields = b"\x0a" + varint(len(mode)) + mode.encode()
    return grpc_message(fields + (b"\x12" + varint(len(tag)) + tag.encode() if tag else b""))


def h2load(port, body, calls, connections, streams, path=PATH, scheme="http"):
    result = subprocess.run(
        [
            "h2load",
            "-n",
            str(calls),
            "-c",
            str(connections),
            "-m",
            str(streams),
            "-t",
            "1",
            "-d",
            body,
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            f"{scheme}://127.0.0.1:{port}{path}",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    succeeded = re.search(r"(\d+) succeeded", result.stdout)
    finished = re.search(r"finished in ([\d.]+)(us|ms|s)", result.stdout)
    if result.returncode != 0 or not succeeded or not finished or int(succeeded[1]) != calls:
        sys.exit(f"bench: h2load did not get {calls} answers:\n{result.stdout}{result.stderr}")
    return float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[finished[2]]


def measure(server, calls, drive):
    """CPU per call in microseconds, and calls per second. `drive` makes the calls and returns the seconds it took."""
    for _ in range(3):
        before, total_before = server.cpu(), server.total_cpu()
        seconds = drive()
        after, total_after = server.cpu(), server.total_cpu()
        # A thread that ended took its count with it; the clock of the process knows better.
        if set(after) >= set(before):
            spent = sum(after.values()) - sum(before.values())
            check = total_after - total_before
            if abs(spent - check) > 0.02 * check + 1_000_000:
                sys.exit(f"bench: the threads say {spent} ns, the process {check} ns")
            return spent / calls / 1000, calls / seconds
    sys.exit("bench: the server's threads come and go; its CPU time can't be told")


def progress(text):
    """One line that changes, where a person looks on."""
    if sys.stderr.isatty():
        print(f"\r{text:40}\r{text}", end="", file=sys.stderr, flush=True)


def print_head(arguments):
    print(f"Machine: {machine()}. Commit {commit()}. {version('h2load')}, one client thread.")


def table(heads, rows):
    print("| " + " | ".join(heads) + " |")
    print("| --- |" + " ---: |" * (len(heads) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def verdict(value, budget):
    """Whether a budget is met, in words."""
    return "none" if budget is None else "met" if value <= budget else "missed"
