"""What the system tests share: programs that are started for a test and always ended after it."""

import os
import sys
import time

# No caches beside the sources; set before the modules beside this file are imported.
sys.dont_write_bytecode = True
# A proxy of the environment must not stand between a test and a loopback address.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

import pytest  # noqa: E402

from clock import ShiftedClock, build_shim  # noqa: E402
from programs import BINARY, MariaDB, MidServer, Process, free_port, which  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long forms: minutes instead of seconds")


def pytest_collection_modifyitems(config, items):
    seconds = 3600 if config.getoption("--long") else 120
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(seconds))


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not os.access(BINARY, os.X_OK):
        pytest.exit(f"no program at {BINARY}: build it, or name it in MID_BINARY", returncode=3)


@pytest.fixture(scope="session")
def scale(request):
    """`scale(short, long)` is the one that this run asks for."""
    is_long = request.config.getoption("--long")
    return lambda short, long: long if is_long else short


@pytest.fixture
def mid(tmp_path):
    """Makes servers, each with a folder and ports of its own, and ends them after the test."""
    servers = []

    def make(**options):
        server = MidServer(tmp_path / f"mid{len(servers)}", **options)
        servers.append(server)
        return server

    yield make
    for server in servers:
        if server.process is not None:
            server.process.kill()
            # Shown by pytest only where the test has failed.
            print(f"--- log of the server on {server.address}\n{server.process.output()[-20000:]}")


@pytest.fixture
def program(tmp_path):
    """Starts other programs in the background and ends them after the test."""
    processes = []

    def start(*arguments, environment=None, folder=None):
        log = tmp_path / f"program{len(processes)}.log"
        processes.append(Process(arguments, log=log, environment=environment, folder=folder or tmp_path))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        print(f"--- output of {process.process.args[0]}\n{process.output()[-20000:]}")


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory):
    """One private MariaDB for the whole run."""
    folder = os.environ.get("MID_TEST_MARIADB_DIR") or tmp_path_factory.mktemp("mariadb") / "db"
    server = MariaDB(folder).start()
    yield server
    server.stop()


@pytest.fixture
def mariadb(mariadb_server):
    """The private MariaDB with an empty database `mid`, running whatever the test before did to it."""
    if not mariadb_server.is_running:
        mariadb_server.start()
    mariadb_server.query("DROP DATABASE IF EXISTS mid; CREATE DATABASE mid CHARACTER SET utf8mb4", database=False)
    return mariadb_server


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    return build_shim(str(tmp_path_factory.mktemp("shim")))


@pytest.fixture
def clock(shim, tmp_path):
    """A wall clock that the test can move; its `environment` puts a process under it."""
    return ShiftedClock(shim, str(tmp_path))


@pytest.fixture
def ntp_server(program, tmp_path):
    """Starts a chronyd under a clock and returns its address."""

    def start(clock):
        port = free_port()
        folder = tmp_path / f"chrony{port}"
        folder.mkdir()
        configuration = folder / "chrony.conf"
        configuration.write_text(
            f"port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\nlocal stratum 3\ncmdport 0\n"
            f"pidfile {folder}/chronyd.pid\nbindcmdaddress /\n"
        )
        chronyd = program(which("chronyd"), "-d", "-x", "-U", "-f", configuration, environment=clock.environment)
        time.sleep(0.3)
        assert chronyd.is_running, chronyd.output()
        return f"127.0.0.1:{port}"

    return start
