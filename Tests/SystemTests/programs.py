"""Starting, watching and ending the programs a test needs: mid itself, MariaDB and others."""

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import grpc
import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BINARY = os.path.abspath(os.path.join(ROOT, os.environ.get("MID_BINARY", ".build/release/mid")))
MARIADB_PASSWORD = os.environ.get("MID_TEST_MYSQL_PASSWORD", "mid-test")


def free_port():
    """A TCP port of the loopback address that nobody listens on now."""
    return free_ports(1)


_given = set()


def free_ports(count):
    """The first of some such ports in a row, none of which was given before.

    Below the range that systems take a client's own ports from: a client that retries while its server is away would
    sooner or later sit on the server's port itself.
    """
    while True:
        first = random.randrange(12_000, 32_000 - count)
        ports = range(first, first + count)
        if _given.isdisjoint(ports) and all(_is_free(port) for port in ports):
            _given.update(ports)
            return first


def _is_free(port):
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def which(name):
    """A program's path, also of those that are only in an administrator's PATH."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin:/sbin")


def needs(*programs):
    missing = [each for each in programs if which(each) is None]
    # Where everything is to be there, a missing program fails the test instead.
    return pytest.mark.skipif(bool(missing) and not os.environ.get("CI"), reason=f"not installed: {', '.join(missing)}")


def clean_environment(extra=None):
    """This process's environment without mid's settings, plus `extra`: mid takes no variable it does not know."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MID_")}
    environment.update(extra or {})
    return environment


def run_mid(*arguments, environment=None, timeout=30, folder=None):
    """Runs one command of mid to its end."""
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        env=clean_environment(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def wait_until(condition, seconds, what, interval=0.02):
    """Waits until `condition()` is true and returns its value; fails naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(interval)


class Process:
    """A program in the background, its output in two files. Ended by its own process id, never by name."""

    def __init__(self, arguments, log, environment=None, folder=None):
        self.error_path = str(log)
        self.output_path = f"{log}.out"
        with open(self.output_path, "ab") as output, open(self.error_path, "ab") as error:
            self.process = subprocess.Popen(
                list(map(str, arguments)),
                env=clean_environment(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=error,
            )

    @property
    def pid(self):
        return self.process.pid

    @property
    def is_running(self):
        return self.process.poll() is None

    def signal(self, number):
        if self.is_running:
            self.process.send_signal(number)

    def kill(self):
        """SIGKILL, as a crash or the kernel's out-of-memory killer would."""
        self.signal(signal.SIGKILL)
        return self.process.wait(10)

    def stop(self, seconds=20):
        """SIGTERM; returns the exit code. SIGKILL and a failure after `seconds`."""
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {seconds} s of SIGTERM:\n{self.output()}") from None

    def output(self):
        """Everything it said, standard output first."""
        return self._read(self.output_path) + self.errors()

    def greeting(self):
        """What it said on standard output."""
        return self._read(self.output_path)

    def errors(self):
        """What it said on standard error."""
        return self._read(self.error_path)

    @staticmethod
    def _read(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()


class MidServer:
    """`mid serve` on free ports and folders of its own."""

    def __init__(self, folder, store=None, arguments=(), settings=None, credentials=None, prefix=()):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.metrics_port = free_port()
        self.http_port = free_port()
        self.store = store or f"sqlite:{self.folder}/mid.db"
        self.arguments = list(arguments)
        # What the program is started by, such as a shell that sets limits.
        self.prefix = list(prefix)
        # How channels are secured, or None for servers without TLS.
        self.credentials = credentials
        # The keys of the configuration as environment variables.
        self.settings = {"MID_DATA_DIRECTORY": f"{self.folder}/data", "MID_LOG_FORMAT": "json", **(settings or {})}
        self.process = None
        self.starts = 0

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def launch(self, **environment):
        """Starts the process and does not wait for it."""
        assert os.access(BINARY, os.X_OK), f"no program at {BINARY}: build it, or name it in MID_BINARY"
        self.starts += 1
        self.process = Process(
            [
                *self.prefix,
                BINARY,
                "serve",
                "--store",
                self.store,
                "--grpc",
                self.address,
                "--metrics",
                f"127.0.0.1:{self.metrics_port}",
                "--http",
                f"127.0.0.1:{self.http_port}",
                *self.arguments,
            ],
            log=f"{self.folder}/log.{self.starts}",
            environment={**self.settings, **environment},
            folder=self.folder,
        )
        return self

    def start(self, seconds=20, ready=("snowflake", "segment"), **environment):
        """Starts the process and waits until the modes in `ready` are served."""
        self.launch(**environment)
        for service in ready:
            self.wait_for_health(service, "SERVING", seconds)
        # Calls may be answered a moment before the port of metrics listens; the program says when both do.
        wait_until(lambda: self.has_greeted, seconds, "the program says where it serves")
        return self

    @property
    def has_greeted(self):
        """Whether it has said where it serves, which it does once all its ports are bound."""
        return " serves\n" in self.process.greeting()

    def channel(self, **options):
        """A gRPC channel of its own: a connection that it shares with no other."""
        settings = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), *options.items()]
        if self.credentials is not None:
            return grpc.secure_channel(self.address, self.credentials, options=settings)
        return grpc.insecure_channel(self.address, options=settings)

    def health(self, service="", timeout=2.0):
        """The answer of Health/Check as text: a serving status, or the name of a gRPC status."""
        from stubs import health_pb2, method

        with self.channel() as channel:
            check = method(
                channel, "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
            )
            try:
                answer = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
                return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            except grpc.RpcError as error:
                return error.code().name

    def wait_for_health(self, service, status, seconds):
        """Waits for a service's health, and fails early when the process has ended."""

        def reached():
            assert (
                self.process.is_running
            ), f"mid ended with {self.process.process.returncode}:\n{self.process.output()}"
            return self.health(service) == status

        try:
            wait_until(reached, seconds, f"health of '{service}' {status}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.output()}") from None

    def stop(self, seconds=20):
        return self.process.stop(seconds)

    def kill(self):
        return self.process.kill()

    def logs(self):
        """The log lines of the running start, as objects."""
        return [json.loads(line) for line in self.process.errors().splitlines()]

    def metrics_text(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == 200, f"{response.status}: {body}"
            return body
        finally:
            connection.close()

    def metric(self, name, **labels):
        """The value of one metric: the sum of all its series that carry `labels`. None where there is none."""
        values = []
        for line in self.metrics_text().splitlines():
            match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
            if not match or match[1] != name:
                continue
            found = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            if all(found.get(key) == value for key, value in labels.items()):
                values.append(float(match[3]))
        return sum(values) if values else None


def run_database_script(script, command, folder, *arguments, seconds):
    """Has a script start or stop databases with their data in `folder`, and returns what it printed."""
    log = f"{folder}.{command}.log"
    # The daemons it leaves behind must not hold a pipe of ours open.
    with open(log, "wb") as output:
        status = subprocess.run(
            [script, command, folder, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            env={**os.environ, "MID_TEST_MYSQL_PASSWORD": MARIADB_PASSWORD},
        ).returncode
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    assert status == 0, f"{os.path.basename(script)} {command} ended with {status}:\n{text}"
    return text


class MariaDB:
    """A private MariaDB on a loopback port, by script/mariadb."""

    SCRIPT = os.path.join(ROOT, "script", "mariadb")

    def __init__(self, folder):
        self.folder = str(folder)
        self.port = free_port()
        self.url = None

    def _run(self, command, *arguments):
        return run_database_script(self.SCRIPT, command, self.folder, *arguments, seconds=60)

    def start(self):
        text = self._run("start", self.port)
        match = re.search(r"mysql://\S+", text)
        assert match, f"script/mariadb start printed no URL:\n{text}"
        # A password in the URL would be visible in the process list; mid takes it from its environment.
        self.url = re.sub(r"//([^:@/]+):[^@/]*@", r"//\1@", match[0])
        return self

    def stop(self):
        self._run("stop")

    def kill(self):
        self._run("kill")

    @property
    def is_running(self):
        """Whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
            return True
        except OSError:
            return False

    @property
    def settings(self):
        return {"MID_STORE_PASSWORD": MARIADB_PASSWORD}

    def query(self, sql, database=True):
        """Runs SQL as the user mid and returns the rows, as lists of texts."""
        user, host, port, name = re.fullmatch(r"mysql://([^@]+)@([^:/]+):(\d+)/(\w+).*", self.url).groups()
        result = subprocess.run(
            [
                "mariadb",
                "--no-defaults",
                "--protocol=tcp",
                "-h",
                host,
                "-P",
                port,
                "-u",
                user,
                "-N",
                "-B",
                "-e",
                sql,
                *([name] if database else []),
            ],
            env={**os.environ, "MYSQL_PWD": MARIADB_PASSWORD},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert result.returncode == 0, f"{sql}: {result.stderr}"
        return [line.split("\t") for line in result.stdout.splitlines()]
