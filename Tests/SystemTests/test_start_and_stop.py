"""Starting with what is wrong, starting without the database, and stopping under load."""

import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest

import floods
from load import assert_increasing, assert_unique
from programs import run_mid, wait_until
from rawhttp2 import RawConnection, message
from stubs import id_pb2, make_id

MAKE_ID = "/pb.IDMaker/MakeIDService"


def ended(server, seconds=20):
    """The exit code and output of a start that must fail."""
    try:
        return server.process.process.wait(seconds), server.process.output()
    except subprocess.TimeoutExpired:
        raise AssertionError(f"still running after {seconds} s:\n{server.process.output()}") from None


def assert_one_clear_line(output, *words):
    lines = [line for line in output.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, output
    for word in words:
        assert word in lines[0], output


def test_a_broken_configuration_tells_all_its_errors_at_once_and_exits_2(mid, tmp_path):
    file = tmp_path / "mid.yaml"
    file.write_text(
        "snowflake:\n  local_bound: banana\n  no_such_key: 1\nclock:\n  ntp:\n    interval: -5\ngrpc:\n  max_streams: 0\n"
    )
    server = mid(arguments=["--config", file], settings={"MID_SEGMENT_LOAD_AT": "7"}).launch()
    code, output = ended(server)
    assert code == 2, output
    for part in (
        "local_bound",
        "banana",
        "no_such_key",
        "interval",
        "max_streams",
        "MID_SEGMENT_LOAD_AT",
        "mid.yaml:2",
    ):
        assert part in output, f"{part} is not in:\n{output}"


def test_a_missing_configuration_file_exits_2(mid, tmp_path):
    code, output = ended(mid(arguments=["--config", tmp_path / "none.yaml"]).launch())
    assert code == 2 and "none.yaml" in output, output


def test_an_unknown_flag_is_not_run(mid):
    server = mid(arguments=["--no-such-flag"]).launch()
    code, output = ended(server)
    assert code not in (0, None) and "no-such-flag" in output


@pytest.mark.parametrize("which", ["grpc", "http", "metrics"])
def test_a_port_in_use_is_one_line_and_exit_1(mid, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = mid()
        if which == "grpc":
            server.port = port
        elif which == "http":
            server.http_port = port
        else:
            server.metrics_port = port
        code, output = ended(server.launch())
    assert code == 1, output
    assert_one_clear_line(output, str(port))


def test_a_store_path_that_cannot_be_written_is_one_line_and_exit_1(mid, tmp_path):
    # A file where a folder would have to be: root may write anywhere else.
    (tmp_path / "file").write_text("")
    code, output = ended(mid(store=f"sqlite:{tmp_path}/file/mid.db").launch())
    assert code == 1, output
    assert_one_clear_line(output, "file")


def test_a_wrong_password_is_one_line_without_it_and_exit_1(mid, mariadb):
    server = mid(store=mariadb.url, arguments=["--worker-id", 1], settings={"MID_STORE_PASSWORD": "not-this-one"})
    code, output = ended(server.launch(), 30)
    assert code == 1, output
    assert_one_clear_line(output, "password")
    assert "not-this-one" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_it_waits_for_the_time_it_ends_at_once_and_well(mid, number):
    # A server that never answers: the start waits for it for a second.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        mute.settimeout(20)
        server = mid(settings={"MID_CLOCK_NTP_SERVERS": f"127.0.0.1:{mute.getsockname()[1]}"}).launch()
        mute.recvfrom(100)
        begin = time.monotonic()
        server.process.signal(number)
        code, output = ended(server)
    assert code == 0, output
    assert time.monotonic() - begin < 0.9
    assert "server stopped" in output and "error" not in output, output


def test_the_password_stands_in_no_log_and_no_argument(mid, mariadb):
    server = mid(
        store=mariadb.url, arguments=["--worker-id", 1], settings={**mariadb.settings, "MID_LOG_LEVEL": "trace"}
    ).start()
    with open(f"/proc/{server.process.pid}/cmdline", "rb") as file:
        assert mariadb.settings["MID_STORE_PASSWORD"].encode() not in file.read()
    assert server.stop() == 0
    assert mariadb.settings["MID_STORE_PASSWORD"] not in server.process.output()


def test_with_the_database_away_it_starts_serves_snowflake_and_heals_by_itself(mid, mariadb):
    mariadb.stop()
    try:
        server = mid(store=mariadb.url, arguments=["--worker-id", 3], settings=mariadb.settings)
        begin = time.monotonic()
        server.start(seconds=20, ready=["snowflake"])
        assert server.health("segment") == "NOT_SERVING"
        with server.channel() as channel:
            one = make_id(channel)
            snowflakes = [one("snowflake", timeout=5) for _ in range(100)]
            with pytest.raises(grpc.RpcError) as caught:
                one("segment", timeout=1)
            assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            print(f"snowflake ids {time.monotonic() - begin:.1f} s after a start without the database")
            # What the server itself says at the deadline, seen by a client that has no timer of its own.
            with RawConnection(server.port) as connection:
                sent = time.monotonic()
                response = connection.call(
                    MAKE_ID, id_pb2.IDRequest(mode="segment").SerializeToString(), extra=[("grpc-timeout", "500m")]
                )
                took = response.ended_at - sent
                assert response.grpc_status == 14, response.headers
                assert took < 0.5 + 2.0, f"answered {took:.3f} s after the call, with a deadline of 0.5 s"
                # A call without a deadline is not kept for ever: segment.max_wait, 3 s.
                sent = time.monotonic()
                response = connection.call(MAKE_ID, id_pb2.IDRequest(mode="segment").SerializeToString(), seconds=10)
                assert response.grpc_status == 14, response.headers
                assert response.ended_at - sent < 3.0 + 2.0, "a call without a deadline waited too long"
            mariadb.start()
            server.wait_for_health("segment", "SERVING", 15)
            assert one("segment", timeout=5) == 1
            snowflakes += [one("snowflake", timeout=5) for _ in range(100)]
        assert_increasing(snowflakes, "snowflake")
    finally:
        if not mariadb.is_running:
            mariadb.start()


class Pipeline:
    """One connection that always has `depth` calls under way, until the server says GOAWAY; then it waits for the rest."""

    def __init__(self, server, mode, depth=50):
        self.connection = RawConnection(server.port)
        self.mode = mode
        self._body = message(id_pb2.IDRequest(mode=mode).SerializeToString())
        self._depth = depth
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        connection = self.connection
        waiting = set()
        end = time.monotonic() + 60
        while not connection.closed and time.monotonic() < end:
            if not connection.goaways:
                try:
                    while len(waiting) < self._depth:
                        waiting.add(connection.request(MAKE_ID, self._body))
                except OSError:
                    pass
            connection.pump(1.0)
            waiting = {stream for stream in waiting if not connection.streams[stream].ended}
        connection.close()

    def join(self):
        """The ids, after checking that every call the server took was answered."""
        self._thread.join(70)
        connection = self.connection
        assert connection.closed, "the server did not close the connection"
        assert connection.goaways, "no GOAWAY before the end"
        last = connection.goaways[-1].last_stream_id
        taken = {stream: response for stream, response in connection.streams.items() if stream <= last}
        lost = [stream for stream, response in taken.items() if not response.ended]
        assert not lost, f"{len(lost)} of {len(taken)} calls got no answer; GOAWAY named stream {last}"
        failed = {response.grpc_status for response in taken.values()} - {0}
        # A call that came while the server was already stopping may be told so; none may just vanish.
        assert failed <= {14}, failed
        return [id_pb2.IDResponse.FromString(each.body[5:]).id for each in taken.values() if each.grpc_status == 0]


@pytest.mark.parametrize("grace", ["10s"])
def test_sigterm_under_load_loses_no_call_and_the_next_start_goes_on_behind(mid, grace):
    server = mid(settings={"MID_SHUTDOWN_GRACE": grace}).start()
    pipelines = [Pipeline(server, mode) for mode in ("snowflake", "segment") for _ in range(3)]
    time.sleep(1)
    begin = time.monotonic()
    assert server.stop(15) == 0, server.process.output()
    took = time.monotonic() - begin
    assert took < 10, f"the end took {took:.1f} s"
    ids = {"snowflake": [], "segment": []}
    for pipeline in pipelines:
        ids[pipeline.mode].extend(pipeline.join())
    for mode, found in ids.items():
        assert len(found) > 100
        assert_unique(found)
    begin = time.monotonic()
    server.start()
    with server.channel() as channel:
        one = make_id(channel)
        following = one("segment", timeout=5)
        later = one("snowflake", timeout=5)
    assert later > max(ids["snowflake"])
    assert time.monotonic() - begin < 3, "a start after a clean stop had to wait"
    # The unused rest of the segment went back to the table.
    assert following == max(ids["segment"]) + 1, f"{following} after {max(ids['segment'])}"
    print(f"ended in {took * 1000:.0f} ms after {sum(map(len, ids.values()))} ids")


def test_sigterm_with_idle_connections_ends_at_once(mid):
    server = mid().start()
    channels = [server.channel() for _ in range(20)]
    for channel in channels:
        make_id(channel)("snowflake", timeout=5)
    begin = time.monotonic()
    assert server.stop(15) == 0
    assert time.monotonic() - begin < 5
    for channel in channels:
        channel.close()


def test_a_second_server_on_the_same_folder_is_refused_or_harmless(mid):
    first = mid().start()
    second = mid(store=first.store, settings={"MID_DATA_DIRECTORY": first.settings["MID_DATA_DIRECTORY"]}).launch()
    wait_until(
        lambda: not second.process.is_running or second.health("segment") == "SERVING", 20, "a second server's answer"
    )
    with first.channel() as channel, second.channel() as other:
        ids = [make_id(channel)("snowflake", timeout=5) for _ in range(200)]
        segments = [make_id(channel)("segment", timeout=5) for _ in range(50)]
        if second.process.is_running:
            for one, found in ((make_id(other), ids), (make_id(other), segments)):
                try:
                    found.extend(one("snowflake" if found is ids else "segment", timeout=3) for _ in range(50))
                except grpc.RpcError:
                    pass
    assert_unique(ids)
    assert_unique(segments)


def test_version_and_help_are_worth_reading():
    version = run_mid("--version")
    assert version.returncode == 0 and version.stdout.strip()
    for command in ([], ["serve"], ["next"], ["tag"], ["worker"], ["doctor"]):
        text = run_mid(*command, "--help")
        assert text.returncode == 0 and len(text.stdout.splitlines()) > 5, command


def test_answers_that_were_promised_wait_for_clients_that_are_slow_to_read(mid):
    """SIGTERM finds more answers than the sockets take, and clients that begin to read four seconds later."""
    server = mid().start()
    block, name = floods.head(floods.REFLECTION), b"grpc.health.v1.Health"
    body = floods.message(b"\x22" + bytes([len(name)]) + name)
    clients = []
    # With the last of them the server has stopped reading; of the others it has read all.
    for count in (2000, 2200, 2400, 2600, 4000):
        client = socket.socket()
        clients.append(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", server.port))
        client.sendall(floods.PREFACE + floods.frame(floods.SETTINGS) + floods.WIDE)
        client.sendall(b"".join(floods.call(2 * number + 1, body, block) for number in range(count)))
    time.sleep(1)
    method = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    promised = server.metric("mid_rpc_calls_total", method=method, code="OK")
    assert promised > 5000
    server.process.signal(signal.SIGTERM)
    time.sleep(4)
    ends = 0
    for client in clients:
        with client:
            client.settimeout(10)
            incoming, farewells = floods.Incoming(), 0
            while data := client.recv(1 << 20):
                for kind, flags, _, _ in incoming.take(data):
                    ends += kind == floods.HEADERS and flags & floods.END_STREAM
                    farewells += kind == floods.GOAWAY
            assert farewells >= 1, "a connection ended without GOAWAY"
    assert ends >= promised, f"{ends} of {promised} answers came"
    assert server.process.process.wait(15) == 0
