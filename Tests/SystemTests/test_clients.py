"""The clients that people have: nghttp, h2load, curl and grpcio, each at real work. grpcurl is in test_reflection.py."""

import os
import re
import shutil
import struct
import subprocess
import threading
import time

import grpc
import pytest

from load import assert_increasing, assert_unique
from programs import wait_until
from rawhttp2 import RawConnection, message
from stubs import generate_id, health_pb2, id_pb2, make_id, method, mid_pb2, stream_ids

MAKE_ID = "/pb.IDMaker/MakeIDService"
STREAM = "/mid.v1.IDService/StreamIDs"


def needs(program):
    # Where everything is to be there, a missing program fails the test instead.
    is_missing = shutil.which(program) is None and not os.environ.get("CI")
    return pytest.mark.skipif(is_missing, reason=f"{program} is not installed")


def run(*arguments, timeout=60):
    """Runs a client to its end; its output as bytes."""
    return subprocess.run(
        [str(each) for each in arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout
    )


def messages(body):
    """The gRPC messages that a body holds, one after the other."""
    found = []
    while body:
        flag, length = struct.unpack(">BI", body[:5])
        assert flag == 0 and len(body) >= 5 + length, body
        found.append(body[5 : 5 + length])
        body = body[5 + length :]
    return found


def one_id(body):
    (only,) = messages(body)
    return id_pb2.IDResponse.FromString(only).id


@pytest.fixture
def server(mid):
    return mid().start()


@pytest.fixture
def request_file(tmp_path):
    """A file with gRPC messages as a body has them."""

    def write(*requests):
        path = tmp_path / f"body{len(list(tmp_path.glob('body*')))}"
        path.write_bytes(b"".join(message(request.SerializeToString()) for request in requests))
        return path

    return write


# MARK: nghttp


@needs("nghttp")
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--padding=200",),
        ("--weight=1",),
        ("--weight=256", "--padding=255"),
        ("--no-dep",),
        ("--header-table-size=0",),
        ("--header-table-size=65536", "--encoder-header-table-size=0"),
        ("--window-bits=30", "--connection-window-bits=30"),
        ("--window-bits=1", "--connection-window-bits=16"),
        ("--no-content-length",),
        ("--trailer=x-after: all",),
        ("--no-push", "--max-concurrent-streams=1"),
    ],
    ids=" ".join,
)
def test_nghttp_gets_an_id_with_every_option(server, request_file, options):
    body = request_file(id_pb2.IDRequest(mode="segment"))
    arguments = ["nghttp", *options, "-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers"]
    for expected in (1, 2):
        result = run(*arguments, f"http://{server.address}{MAKE_ID}")
        assert result.returncode == 0, result.stderr
        assert one_id(result.stdout) == expected
    # The frames, as it tells of them.
    told = run(*arguments, "-v", "-n", f"http://{server.address}{MAKE_ID}").stdout.decode(errors="replace")
    assert re.search(r"grpc-status: 0\b", told), told


@needs("nghttp")
@pytest.mark.parametrize(("limit", "is_served"), [(16_384, False), (65_536, True)])
def test_nghttp_sends_headers_in_several_frames(mid, request_file, limit, is_served):
    server = mid(settings={"MID_GRPC_MAX_HEADER_BYTES": str(limit)}).start()
    body = request_file(id_pb2.IDRequest(mode="segment"))
    arguments = ["-d", body, "-H", "content-type: application/grpc", f"http://{server.address}{MAKE_ID}"]
    told = run("nghttp", "-v", "-n", "--continuation", *arguments).stdout.decode(errors="replace")
    # It shows HEADERS and CONTINUATION as one: more than the largest frame holds.
    assert int(re.search(r"send HEADERS frame <length=(\d+)", told)[1]) > 16_384, told
    assert (re.search(r"grpc-status: 0\b", told) is not None) == is_served, told
    assert ("a header block over 16384 bytes" in told) == (not is_served), told
    # Others go on.
    assert one_id(run("nghttp", *arguments).stdout) == (2 if is_served else 1)


@needs("nghttp")
def test_nghttp_sends_many_requests_at_once(server, request_file):
    body = request_file(id_pb2.IDRequest(mode="segment"))
    result = run(
        "nghttp", "-m", 200, "--padding=16", "-d", body, "-H", "content-type: application/grpc",
        f"http://{server.address}{MAKE_ID}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    ids = [id_pb2.IDResponse.FromString(each).id for each in messages(result.stdout)]
    assert sorted(ids) == list(range(1, 201))


# MARK: h2load


@needs("h2load")
def test_h2load_streams_batches(server, request_file):
    # 10 messages a call; test_connections.py has it make single calls.
    body = request_file(*(mid_pb2.GenerateBatchRequest(mode="segment", count=number) for number in range(1, 11)))
    result = run(
        "h2load", "-n", 2000, "-c", 4, "-m", 50, "-t", 1, "-d", body, "-H", "content-type: application/grpc",
        "-H", "te: trailers", f"http://{server.address}{STREAM}",
    )  # fmt: skip
    output = result.stdout.decode()
    assert result.returncode == 0, result.stderr
    assert "2000 done, 2000 succeeded" in output, output
    # It does not look at the replies; the server's count of ids says whether all were made.
    assert server.metric("id_generate_total", mode="segment") == 2000 * 55
    assert server.metric("mid_rpc_calls_total", method=STREAM[1:], code="OK") == 2000 * 10


# MARK: curl


def curl(server, path, *options):
    """The status, the headers and trailers as one text, and the body."""
    result = run(
        "curl", "-sS", "--http2-prior-knowledge", "--max-time", 20, "-D", "/dev/stderr", "-w", "%{stderr}code=%{http_code}",
        *options, f"http://{server.address}{path}",
    )  # fmt: skip
    told = result.stderr.decode()
    assert result.returncode == 0, told
    return int(re.search(r"code=(\d+)", told)[1]), told, result.stdout


@needs("curl")
def test_curl_gets_an_id_for_a_body_made_by_hand(server, tmp_path):
    # A prefix of 5 bytes (not compressed, 9 bytes long), then field 1, a text of 7 bytes.
    body = tmp_path / "body"
    body.write_bytes(b"\x00\x00\x00\x00\x09" + b"\x0a\x07segment")
    options = ("-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", f"@{body}")
    code, told, reply = curl(server, MAKE_ID, *options)
    assert code == 200 and re.search(r"grpc-status: 0\b", told), told
    assert reply == b"\x00\x00\x00\x00\x02" + b"\x08\x01"
    code, told, reply = curl(server, MAKE_ID, *options)
    assert one_id(reply) == 2


@needs("curl")
def test_curl_streams_batches(server, request_file):
    body = request_file(*(mid_pb2.GenerateBatchRequest(mode="segment", count=number) for number in (5, 1, 3)))
    code, told, reply = curl(
        server, STREAM, "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", f"@{body}"
    )
    assert code == 200 and re.search(r"grpc-status: 0\b", told), told
    starts = [mid_pb2.GenerateBatchResponse.FromString(each).ranges[0].start for each in messages(reply)]
    assert starts == [1, 6, 7]


@needs("curl")
def test_curl_without_grpc_is_told_so_by_http(server):
    assert curl(server, MAKE_ID)[0] == 405
    assert curl(server, MAKE_ID, "-X", "PUT", "-d", "x")[0] == 405
    assert curl(server, MAKE_ID, "-d", "x")[0] == 415
    assert curl(server, MAKE_ID, "-H", "content-type: application/json", "-d", "{}")[0] == 415


# MARK: grpcio


def batches(requests):
    """The starts and counts of all ranges in the responses."""
    return [(each.start, each.count) for response in requests for each in response.ranges]


@pytest.mark.parametrize("mode", ["snowflake", "segment"])
def test_a_stream_answers_every_request_in_order(server, mode):
    counts = [number % 50 + 1 for number in range(1000)]
    with server.channel() as channel:
        responses = list(stream_ids(channel)(((mode, "", count) for count in counts), timeout=30))
    assert [sum(each.count for each in response.ranges) for response in responses] == counts
    assert_increasing([start for start, _ in batches(responses)], mode)


def test_a_stream_is_a_conversation(server):
    """Each request is sent only when the reply before it has come."""
    turn = threading.Semaphore(1)

    def requests():
        for _ in range(200):
            assert turn.acquire(timeout=10)
            yield ("segment", "", 3)

    with server.channel() as channel:
        starts = []
        for response in stream_ids(channel)(requests(), timeout=30):
            starts.append(response.ranges[0].start)
            turn.release()
    assert starts == list(range(1, 601, 3))


def test_a_stream_of_nothing_ends_well(server):
    with server.channel() as channel:
        call = stream_ids(channel)(iter(()), timeout=10)
        assert list(call) == []
        assert call.code() == grpc.StatusCode.OK


def test_a_reader_that_is_slow_stops_the_server_and_loses_nothing(server):
    options = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65535}

    def issued():
        return server.metric("id_generate_total", mode="segment")

    with server.channel(**options) as channel:
        call = stream_ids(channel)((("segment", "", 1) for _ in range(10_000)), timeout=90)
        ids = [next(call).ranges[0].start for _ in range(10)]
        # What the client does not read fills its window; then no more ids are made.
        seen = [-1]

        def is_still():
            seen.append(issued())
            return seen[-1] == seen[-2]

        wait_until(is_still, 30, "the server waits for the reader", interval=1)
        assert 10 <= issued() < 9_000
        # Others are served meanwhile, on the same connection and on another.
        assert generate_id(channel)("snowflake", timeout=5) > 0
        assert server.health("segment") == "SERVING"
        ids += [response.ranges[0].start for response in call]
        assert call.code() == grpc.StatusCode.OK
    assert ids == list(range(1, 10_001))


def test_several_streams_at_once_share_a_connection(server):
    results = [None] * 20

    def work(index):
        responses = stream_ids(channel)((("segment", "", 7) for _ in range(200)), timeout=60)
        results[index] = [response.ranges[0].start for response in responses]

    with server.channel() as channel:
        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
    assert all(len(starts) == 200 for starts in results)
    for starts in results:
        assert_increasing(starts, "one stream")
    everything = sorted(start for starts in results for start in starts)
    assert everything == list(range(1, 7 * 4000, 7))


def test_a_failure_ends_the_stream_after_the_replies_before_it(server):
    requests = [("segment", "", 2), ("segment", "", 3), ("segment", "nobody-made-me", 1), ("segment", "", 4)]
    with server.channel() as channel:
        call = stream_ids(channel)(iter(requests), timeout=10)
        got = []
        with pytest.raises(grpc.RpcError) as caught:
            for response in call:
                got.append(response)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND and "nobody-made-me" in caught.value.details()
        assert batches(got) == [(1, 2), (3, 3)]
        # The request after the failure took nothing.
        assert generate_id(channel)("segment", timeout=5) == 6


class Open:
    """Requests that go on until told otherwise."""

    def __init__(self, *first):
        self._first = first
        self.over = threading.Event()

    def __iter__(self):
        yield from self._first
        self.over.wait(30)


def test_half_close_is_awaited_and_then_the_status_comes(server):
    requests = Open(("segment", "", 1))
    with server.channel() as channel:
        call = stream_ids(channel)(iter(requests), timeout=20)
        assert next(call).ranges[0].start == 1
        assert call.is_active()
        requests.over.set()
        assert list(call) == [] and call.code() == grpc.StatusCode.OK


def test_deadlines_end_calls_and_streams(server):
    with server.channel() as channel:
        requests = Open(("segment", "", 1))
        call = stream_ids(channel)(iter(requests), timeout=1)
        assert next(call).ranges[0].start == 1
        begin = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - begin < 15
        requests.over.set()
        # The connection goes on.
        assert generate_id(channel)("segment", timeout=5) == 2


def test_the_server_ends_a_stream_at_its_deadline_also_where_the_client_does_not(server):
    body = message(mid_pb2.GenerateBatchRequest(mode="segment", count=1).SerializeToString())
    with RawConnection(server.port) as connection:
        # Half a message more: the request stays unfinished.
        stream = connection.request(STREAM, body + b"\x00", extra=[("grpc-timeout", "300m")], end=False)
        response = connection.wait(stream, 40)
        assert len(messages(response.body)) == 1
        assert response.grpc_status == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
        assert connection.call(MAKE_ID, id_pb2.IDRequest(mode="segment").SerializeToString()).grpc_status == 0


def test_cancelled_calls_and_streams_leave_the_connection_well(server):
    with server.channel() as channel:
        for _ in range(50):
            requests = Open(("segment", "", 1))
            call = stream_ids(channel)(iter(requests), timeout=20)
            next(call)
            call.cancel()
            requests.over.set()
            with pytest.raises((grpc.RpcError, StopIteration)):
                next(call)
            assert call.code() == grpc.StatusCode.CANCELLED
        one = method(channel, MAKE_ID, id_pb2.IDRequest, id_pb2.IDResponse)
        calls = [one.future(id_pb2.IDRequest(mode="segment"), timeout=10) for _ in range(200)]
        for call in calls[::2]:
            call.cancel()
        ids = [call.result().id for call in calls[1::2]]
        assert_unique(ids)
        assert make_id(channel)("segment", timeout=5) > max(ids)


def test_health_has_no_watch_and_clients_do_not_mind(server):
    with server.channel() as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            next(watch(health_pb2.HealthCheckRequest(service="segment"), timeout=5))
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    # A client that is told to watch takes UNIMPLEMENTED for "healthy".
    config = '{"healthCheckConfig": {"serviceName": "segment"}, "loadBalancingConfig": [{"round_robin": {}}]}'
    with server.channel(**{"grpc.service_config": config}) as channel:
        assert make_id(channel)("segment", timeout=10) > 0
    for service in ("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "mid.v1.IDService"):
        assert server.health(service) == "SERVING"
