"""The clients that people have, with TLS and with their own certificates: grpcio, curl, nghttp, h2load, grpcurl."""

import asyncio
import re
import subprocess
import threading
import time

import grpc
import pytest

from load import assert_increasing, assert_unique
from rawhttp2 import message
from stubs import generate_id, id_pb2, make_id, method, mid_pb2, stream_ids
from test_clients import MAKE_ID, STREAM, Open, batches, messages, needs, one_id, run
from test_reflection import GRPCURL, SERVICES, answers, has_grpcurl
from test_tls import certificates, credentials, secured  # noqa: F401


@pytest.fixture
def own(secured, certificates):  # noqa: F811
    """The certificate and the key that a client of `secured` shows, or nothing."""
    wants = "MID_GRPC_TLS_CLIENT_CA" in secured.settings
    return (certificates.pem("client"), certificates.key("client")) if wants else None


@pytest.fixture
def body(tmp_path):
    """A file with gRPC messages as a body has them."""

    def write(*requests):
        path = tmp_path / "body"
        path.write_bytes(b"".join(message(request.SerializeToString()) for request in requests))
        return path

    return write


GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers")


# MARK: grpcio


def test_grpcio_calls_one_after_the_other(secured):  # noqa: F811
    with secured.channel() as channel:
        one = make_id(channel)
        ids = [one("snowflake", timeout=5) for _ in range(1000)]
        segments = [generate_id(channel)("segment", timeout=5) for _ in range(100)]
    assert_increasing(ids, "snowflake")
    assert segments == list(range(1, 101))


@pytest.mark.parametrize("mode", ["snowflake", "segment"])
def test_grpcio_1000_calls_at_once_on_one_connection(secured, mode):  # noqa: F811
    async def calls():
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.secure_channel(secured.address, secured.credentials, options=options) as channel:
            call = channel.unary_unary(
                MAKE_ID,
                request_serializer=id_pb2.IDRequest.SerializeToString,
                response_deserializer=id_pb2.IDResponse.FromString,
            )
            await call(id_pb2.IDRequest(mode=mode), timeout=10)
            found = await asyncio.gather(*(call(id_pb2.IDRequest(mode=mode), timeout=20) for _ in range(1000)))
            return [answer.id for answer in found]

    ids = asyncio.run(calls())
    assert len(ids) == 1000
    assert_unique(ids)


@pytest.mark.parametrize("mode", ["snowflake", "segment"])
def test_grpcio_streams_batches_in_order(secured, mode):  # noqa: F811
    counts = [number % 50 + 1 for number in range(1000)]
    with secured.channel() as channel:
        responses = list(stream_ids(channel)(((mode, "", count) for count in counts), timeout=30))
    assert [sum(each.count for each in response.ranges) for response in responses] == counts
    assert_increasing([start for start, _ in batches(responses)], mode)


def test_grpcio_streams_at_once_share_a_connection(secured):  # noqa: F811
    results = [None] * 20

    def work(index):
        responses = stream_ids(channel)((("segment", "", 7) for _ in range(100)), timeout=60)
        results[index] = [response.ranges[0].start for response in responses]

    with secured.channel() as channel:
        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
    for starts in results:
        assert_increasing(starts, "one stream")
    assert sorted(start for starts in results for start in starts) == list(range(1, 7 * 2000, 7))


def test_grpcio_deadlines_end_streams_and_leave_the_connection_well(secured):  # noqa: F811
    with secured.channel() as channel:
        requests = Open(("segment", "", 1))
        call = stream_ids(channel)(iter(requests), timeout=1)
        assert next(call).ranges[0].start == 1
        begin = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - begin < 15
        requests.over.set()
        assert generate_id(channel)("segment", timeout=5) == 2


def test_grpcio_calls_and_streams_that_are_cancelled_leave_the_connection_well(secured):  # noqa: F811
    with secured.channel() as channel:
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


# MARK: curl


@needs("curl")
def test_curl_gets_an_id_and_streams_batches(secured, certificates, own, body):  # noqa: F811
    trust = ("--cacert", certificates.pem("ca"), *(("--cert", own[0], "--key", own[1]) if own else ()))

    def curl(path, file):
        result = run(
            "curl", "-sS", "--http2", *trust, "--max-time", 20, *GRPC, "--data-binary", f"@{file}", "-D", "/dev/stderr",
            "-w", "%{stderr}version %{http_version}\n", f"https://localhost:{secured.port}{path}",
        )  # fmt: skip
        told = result.stderr.decode()
        assert result.returncode == 0, told
        assert "HTTP/2 200" in told and "version 2" in told and re.search(r"grpc-status: 0\b", told), told
        return result.stdout

    assert one_id(curl(MAKE_ID, body(id_pb2.IDRequest(mode="segment")))) == 1
    reply = curl(STREAM, body(*(mid_pb2.GenerateBatchRequest(mode="segment", count=count) for count in (5, 1, 3))))
    starts = [mid_pb2.GenerateBatchResponse.FromString(each).ranges[0].start for each in messages(reply)]
    assert starts == [2, 7, 8]


# MARK: nghttp


@needs("nghttp")
@pytest.mark.parametrize(
    "options", [(), ("--padding=200",), ("--window-bits=30", "--connection-window-bits=30")], ids=" ".join
)
def test_nghttp_gets_ids_one_and_200_at_once(secured, own, body, options):  # noqa: F811
    file = body(id_pb2.IDRequest(mode="segment"))
    trust = (f"--cert={own[0]}", f"--key={own[1]}") if own else ()
    # It does not know the certificates' authority, says so with a warning, and goes on.
    arguments = ["nghttp", *trust, "--no-verify-peer", *options, "-d", file, *GRPC]
    address = f"https://localhost:{secured.port}{MAKE_ID}"
    result = run(*arguments, address)
    assert result.returncode == 0, result.stderr
    assert one_id(result.stdout) == 1
    result = run(*arguments, "-m", 200, address)
    assert result.returncode == 0, result.stderr
    ids = [id_pb2.IDResponse.FromString(each).id for each in messages(result.stdout)]
    assert sorted(ids) == list(range(2, 202))
    told = run(*arguments, "-v", "-n", address).stdout.decode(errors="replace")
    assert "The negotiated protocol: h2" in told and re.search(r"grpc-status: 0\b", told), told


# MARK: h2load


@needs("h2load")
@pytest.mark.parametrize(("connections", "streams"), [(1, 1), (1, 1000), (50, 4)])
def test_h2load_gets_an_id_for_every_call(mid, certificates, body, connections, streams):  # noqa: F811
    # It has no option for a certificate of its own.
    server = mid(settings=certificates.settings(), credentials=credentials(certificates)).start()
    calls = 10_000
    file = body(id_pb2.IDRequest(mode="segment"))
    address = f"https://localhost:{server.port}{MAKE_ID}"
    result = run("h2load", "-n", calls, "-c", connections, "-m", streams, "-t", 1, "-d", file, *GRPC, address)
    output = result.stdout.decode()
    assert result.returncode == 0, result.stderr
    assert "Application protocol: h2" in output and "TLS Protocol: TLSv1.3" in output, output
    assert f"{calls} done, {calls} succeeded, 0 failed, 0 errored" in output, output
    assert f"status codes: {calls} 2xx" in output, output
    # It does not look at grpc-status: the server's own count does.
    assert server.metric("id_generate_total", mode="segment") == calls
    assert server.metric("mid_rpc_calls_total", method=MAKE_ID[1:], code="OK") == calls


@needs("h2load")
def test_h2load_streams_batches(mid, certificates, body):  # noqa: F811
    server = mid(settings=certificates.settings(), credentials=credentials(certificates)).start()
    file = body(*(mid_pb2.GenerateBatchRequest(mode="segment", count=number) for number in range(1, 11)))
    address = f"https://localhost:{server.port}{STREAM}"
    result = run("h2load", "-n", 1000, "-c", 4, "-m", 50, "-t", 1, "-d", file, *GRPC, address)
    output = result.stdout.decode()
    assert result.returncode == 0, result.stderr
    assert "1000 done, 1000 succeeded" in output, output
    assert server.metric("id_generate_total", mode="segment") == 1000 * 55
    assert server.metric("mid_rpc_calls_total", method=STREAM[1:], code="OK") == 1000 * 10


# MARK: grpcurl


@has_grpcurl
def test_grpcurl_lists_and_calls_every_method_with_no_files(secured, certificates, own):  # noqa: F811
    trust = ("-cacert", certificates.pem("ca"), *(("-cert", own[0], "-key", own[1]) if own else ()))
    address = f"localhost:{secured.port}"

    def grpcurl(*arguments, stdin="", options=trust):
        command = [GRPCURL, *options, "-connect-timeout", "5", "-max-time", "20", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)

    def call(name, request, **options):
        return answers(grpcurl("-d", request, address, name, **options))

    listed = grpcurl(address, "list")
    assert (listed.returncode, listed.stdout.split()) == (0, SERVICES), listed.stderr
    assert call("pb.IDMaker/MakeIDService", '{"mode": "segment"}') == [{"id": "1"}]
    assert int(call("mid.v1.IDService/GenerateID", '{"mode": "snowflake"}')[0]["id"]) > 0
    batch = call("mid.v1.IDService/GenerateBatch", '{"mode": "segment", "count": 5}')
    assert batch == [{"ranges": [{"start": "2", "stride": "1", "count": 5}]}]
    requests = "".join(f'{{"mode": "segment", "count": {count}}}\n' for count in (10, 1, 100))
    streamed = call("mid.v1.IDService/StreamIDs", "@", stdin=requests)
    assert [(each["ranges"][0]["start"], each["ranges"][0]["count"]) for each in streamed] == [
        ("7", 10),
        ("17", 1),
        ("18", 100),
    ]
    assert call("grpc.health.v1.Health/Check", '{"service": "segment"}') == [{"status": "SERVING"}]
    refused = grpcurl("-d", '{"mode": "uuid-9000"}', address, "mid.v1.IDService/GenerateID")
    assert refused.returncode != 0 and "Code: InvalidArgument" in refused.stderr
    # Without trust in the authority, without TLS, and without the certificate that is wanted there is no answer.
    for options in ((), ("-plaintext",), *([("-cacert", certificates.pem("ca"))] if own else [])):
        assert grpcurl(address, "list", options=options).returncode != 0
