"""Many calls on one connection, many connections, and long-lived ones, with grpcio and with h2load."""

import asyncio
import os
import re
import shutil
import socket
import subprocess

import grpc
import pytest

from load import Load, assert_increasing, assert_unique
from programs import wait_until
from rawhttp2 import PREFACE, RawConnection, message
from stubs import generate_id, id_pb2, make_id

MODES = ["snowflake", "segment"]


@pytest.fixture
def server(mid):
    return mid().start()


@pytest.mark.parametrize("mode", MODES)
def test_1000_concurrent_calls_on_one_connection_succeed(server, mode):
    async def run():
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(server.address, options=options) as channel:
            call = channel.unary_unary(
                "/pb.IDMaker/MakeIDService",
                request_serializer=id_pb2.IDRequest.SerializeToString,
                response_deserializer=id_pb2.IDResponse.FromString,
            )
            await call(id_pb2.IDRequest(mode=mode), timeout=10)
            answers = await asyncio.gather(*(call(id_pb2.IDRequest(mode=mode), timeout=20) for _ in range(1000)))
            return [answer.id for answer in answers]

    ids = asyncio.run(run())
    assert len(ids) == 1000
    assert_unique(ids)


def test_1000_calls_sent_before_the_first_answer_is_read_all_succeed(server):
    body = message(id_pb2.IDRequest(mode="segment").SerializeToString())
    with RawConnection(server.port) as connection:
        streams = [connection.request("/pb.IDMaker/MakeIDService", body) for _ in range(1000)]
        responses = [connection.wait(stream, 20) for stream in streams]
    assert {response.grpc_status for response in responses} == {0}
    assert_unique([id_pb2.IDResponse.FromString(response.body[5:]).id for response in responses])


@pytest.mark.parametrize("mode", MODES)
def test_200_connections_at_once_are_served(server, mode, tmp_path):
    callers = Load(tmp_path, [server.address], mode, 200, count=20, seconds=60, deadline=20, processes=2).callers()
    assert [caller.errors for caller in callers if caller.errors] == []
    ids = [each for caller in callers for each in caller.ids]
    assert len(ids) == 200 * 20
    assert_unique(ids)


@pytest.mark.parametrize("mode", MODES)
def test_sequential_calls_on_one_connection_increase(server, mode, scale):
    count = scale(5_000, 100_000)
    with server.channel() as channel:
        one = make_id(channel)
        ids = [one(mode, timeout=10) for _ in range(count)]
    assert_increasing(ids, mode)


def test_modes_and_methods_of_one_connection_do_not_disturb_each_other(server):
    with server.channel() as channel:
        original, ours = make_id(channel), generate_id(channel)
        ids = [call("segment", timeout=5) for _ in range(500) for call in (original, ours)]
        snowflakes = [call("snowflake", timeout=5) for _ in range(500) for call in (original, ours)]
    assert ids == list(range(1, 1001))
    assert_increasing(snowflakes, "snowflake")


@pytest.mark.skipif(shutil.which("h2load") is None and not os.environ.get("CI"), reason="h2load is not installed")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("connections", "streams", "short", "long"),
    [(1, 1, 20_000, 100_000), (1, 1000, 100_000, 1_000_000), (200, 1, 50_000, 500_000)],
)
def test_h2load_gets_an_id_for_every_call(server, mode, connections, streams, short, long, scale, tmp_path):
    calls = scale(short, long)
    body = tmp_path / "body"
    body.write_bytes(message(id_pb2.IDRequest(mode=mode).SerializeToString()))
    before = server.metric("id_generate_total", mode=mode) or 0
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
            str(body),
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            f"http://{server.address}/pb.IDMaker/MakeIDService",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=scale(60, 600),
    )
    assert result.returncode == 0, result.stderr
    counts = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded", result.stdout)
    assert counts and {int(each) for each in counts.groups()} == {calls}, result.stdout
    assert re.search(rf"status codes: {calls} 2xx, 0 3xx, 0 4xx, 0 5xx", result.stdout), result.stdout
    # h2load does not look at grpc-status: the server's own count of ids does.
    assert server.metric("id_generate_total", mode=mode) - before == calls
    assert server.health(mode) == "SERVING"


def test_no_more_connections_are_taken_than_there_are_files_for(mid):
    """More would hang instead of being refused, and so would the store and the metrics."""
    server = mid(prefix=["bash", "-c", 'ulimit -n 160; exec "$0" "$@"']).start()
    (warning,) = [
        line
        for line in server.logs()
        if line["message"] == "this process may open fewer files than grpc.max_connections asks for"
    ]
    most = int(warning["connections"])
    assert 10 <= most < 160 and warning["files"] == "160"
    # Those who asked whether it serves are gone.
    wait_until(lambda: server.metric("mid_rpc_connections") == 0, 10, "nobody is connected")
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(most + 20)]
    try:
        for client in clients:
            client.sendall(PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        # Those that were taken say their settings, the others are closed.
        refused = [client for client in clients if not said(client)]
        assert len(refused) == 20
        assert server.metric("mid_rpc_connections") == most
        assert server.metric("mid_rpc_connections_ended_total", reason="connection_limit") == 20
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: server.metric("mid_rpc_connections") == 0, 10, "all are closed")
    with server.channel() as channel:
        assert make_id(channel)("segment", timeout=10) > 0


def said(client):
    """The first bytes that came, none where the connection was closed."""
    try:
        return client.recv(65536)
    except ConnectionResetError:
        return b""
