"""Whatever a caller sends: an answer that helps, and nobody else notices."""

import random
import socket
import time

import grpc
import pytest

from rawhttp2 import PREFACE, RawConnection
from stubs import generate_batch, generate_id, id_pb2, make_id, method, mid_pb2

MAKE_ID = "/pb.IDMaker/MakeIDService"
SNOWFLAKE = id_pb2.IDRequest(mode="snowflake").SerializeToString()


@pytest.fixture
def server(mid):
    return mid().start()


@pytest.fixture
def bystander(server):
    """Another connection, opened before the bad input came. It must go on working."""
    with server.channel() as channel:
        one = make_id(channel)
        one("segment", timeout=5)
        yield one
        for mode in ("snowflake", "segment"):
            assert one(mode, timeout=5) > 0


def failure(call, *arguments, **options):
    """The error a call ends with."""
    options.setdefault("timeout", 5)
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value


@pytest.mark.parametrize("mode", ["uuid-9000", "", "Snowflake", "snowflake ", "\x00"])
def test_an_unknown_mode_is_invalid_and_the_answer_names_the_known_ones(server, bystander, mode):
    with server.channel() as channel:
        for error in (
            failure(make_id(channel), mode),
            failure(generate_id(channel), mode),
            failure(generate_batch(channel), mode, 1),
        ):
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "snowflake" in error.details() and "segment" in error.details()


@pytest.mark.parametrize("count", [0, 1_000_001, 2**32 - 1])
@pytest.mark.parametrize("mode", ["snowflake", "segment"])
def test_a_batch_out_of_bounds_is_invalid_and_the_answer_names_the_limit(server, bystander, mode, count):
    with server.channel() as channel:
        error = failure(generate_batch(channel), mode, count)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "1000000" in error.details().replace(",", "").replace("_", "")


@pytest.mark.parametrize("mode", ["snowflake", "segment"])
def test_the_largest_batch_is_served(server, mode):
    with server.channel() as channel:
        ranges = generate_batch(channel)(mode, 1_000_000, timeout=10)
    assert sum(count for _, _, count in ranges) == 1_000_000


def test_an_unknown_tag_is_not_found(server, bystander):
    with server.channel() as channel:
        error = failure(generate_id(channel), "segment", "nobody-made-me")
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "nobody-made-me" in error.details()


def test_a_tag_that_no_table_could_hold_is_answered_like_the_rest(server, bystander):
    with server.channel() as channel:
        for tag in ("a" * 129, " a", "a\n", "'; DROP TABLE id_segments; --"):
            error = failure(generate_id(channel), "segment", tag)
            assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), tag


def test_a_flood_of_unknown_tags_is_not_a_query_each(mid, mariadb, tmp_path):
    server = mid(store=mariadb.url, arguments=["--worker-id", 1], settings=mariadb.settings).start()
    log = tmp_path / "general.log"
    mariadb.query(f"SET GLOBAL general_log_file = '{log}'; SET GLOBAL general_log = ON")
    begin = time.monotonic()
    try:
        with server.channel() as channel:
            one = generate_id(channel)
            many = method(
                channel, "/mid.v1.IDService/GenerateID", mid_pb2.GenerateIDRequest, mid_pb2.GenerateIDResponse
            )
            requests = [mid_pb2.GenerateIDRequest(mode="segment", tag=f"flood-{number}") for number in range(4000)]
            calls = [many.future(request, timeout=30) for request in requests]
            for call in calls:
                assert call.exception().code() == grpc.StatusCode.NOT_FOUND
            # A caller that goes on with one wrong name waits for one look-up, not for each.
            wrong = time.monotonic()
            for _ in range(2000):
                assert failure(one, "segment", "typo").code() == grpc.StatusCode.NOT_FOUND
            print(f"2000 calls with one wrong name took {time.monotonic() - wrong:.1f} s")
            # One that is made just after a read of the list is found.
            mariadb.query("INSERT INTO id_segments (biz_tag, max_id, step) VALUES ('just-made', 0, 10)")
            asked = time.monotonic()
            assert one("segment", "just-made", timeout=5) == 1
            print(f"a new tag was found after {time.monotonic() - asked:.2f} s")
            assert one("segment", timeout=5) > 0
    finally:
        mariadb.query("SET GLOBAL general_log = OFF")
    seconds = time.monotonic() - begin
    with open(log, encoding="utf-8", errors="replace") as file:
        queries = sum(1 for line in file if "id_segments" in line)
    assert queries <= 5 + 5 * seconds, f"{queries} queries of the table for 6000 unknown tags in {seconds:.1f} s"


def test_an_unknown_method_is_unimplemented(server, bystander):
    with server.channel() as channel:
        for path in ("/pb.IDMaker/Nothing", "/nobody.Home/MakeIDService", "/"):
            call = channel.unary_unary(path)
            assert failure(call, b"").code() == grpc.StatusCode.UNIMPLEMENTED


def test_an_unknown_service_of_the_health_check_is_not_found(server, bystander):
    for service in ("", "pb.IDMaker", "mid.v1.IDService", "snowflake", "segment"):
        assert server.health(service) == "SERVING", service
    assert server.health("nobody") == "NOT_FOUND"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_a_content_type_that_is_not_grpc_is_http_415(server, bystander, content_type):
    with RawConnection(server.port) as connection:
        response = connection.call(MAKE_ID, SNOWFLAKE, content_type=content_type)
        assert response.headers[":status"] == "415"
        # The connection is as good as before.
        assert connection.call(MAKE_ID, SNOWFLAKE).grpc_status == 0


@pytest.mark.parametrize(
    "content_type", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
)
def test_the_content_types_of_grpc_are_taken(server, content_type):
    with RawConnection(server.port) as connection:
        response = connection.call(MAKE_ID, SNOWFLAKE, content_type=content_type)
    assert (response.headers[":status"], response.grpc_status) == ("200", 0)


def test_a_compressed_request_is_unimplemented(server, bystander):
    with server.channel() as channel:
        call = channel.unary_unary(
            "/mid.v1.IDService/GenerateID", request_serializer=mid_pb2.GenerateIDRequest.SerializeToString
        )
        request = mid_pb2.GenerateIDRequest(mode="segment", tag="a" * 4000)
        error = failure(call, request, compression=grpc.Compression.Gzip)
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_over_the_limit_is_resource_exhausted(server, bystander):
    with server.channel() as channel:
        for size in (66_000, 1_000_000):
            error = failure(generate_id(channel), "segment", "a" * size)
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, size
        # The same connection goes on.
        assert make_id(channel)("segment", timeout=5) > 0


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"\x00\x00\x00\x00\x05abc", b"\x00\x00\x00\x00\x00" * 2, b"\x07\x00\x00\x00\x00"],
    ids=["nothing", "half a prefix", "half a message", "two messages", "a flag nobody knows"],
)
def test_a_broken_grpc_message_fails_that_call_alone(server, bystander, body):
    with RawConnection(server.port) as connection:
        response = connection.wait(connection.request(MAKE_ID, body))
        assert response.grpc_status not in (None, 0) or response.reset is not None
        assert connection.call(MAKE_ID, SNOWFLAKE).grpc_status == 0


def test_a_message_that_is_no_protobuf_fails_that_call_alone(server, bystander):
    with RawConnection(server.port) as connection:
        for body in (b"\xff" * 20, b"\x0a\x7fabc", b"\x0a\x02\xff\xfe"):
            response = connection.call(MAKE_ID, body)
            assert response.grpc_status not in (None, 0), body
        assert connection.call(MAKE_ID, SNOWFLAKE).grpc_status == 0


def read_to_end(connection, seconds=5.0):
    """All bytes until the peer closes; fails when it does not."""
    connection.settimeout(seconds)
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def test_garbage_instead_of_http2_ends_that_connection_with_goaway(server, bystander):
    source = random.Random(20210101)
    cases = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        *(bytes(source.randrange(256) for _ in range(200)) for _ in range(20)),
    ]
    told = 0
    for data in cases:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(data)
            received = read_to_end(connection)
            # Type 7 without flags on stream 0 is GOAWAY. A reset may have overtaken it.
            goaway = b"\x07\x00\x00\x00\x00\x00" in received
            assert received == b"" or goaway, received
            told += goaway
    assert told > 0, "no connection was told by GOAWAY"


def test_garbage_after_the_preface_ends_that_connection(server, bystander):
    source = random.Random(1609459200)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(PREFACE)
            # The first frame has to be SETTINGS; whatever this is, it is not.
            connection.sendall(
                b"\x00\x00\x08\x09\x00\x00\x00\x00\x00" + bytes(source.randrange(256) for _ in range(400))
            )
            read_to_end(connection)


def test_a_deadline_that_has_passed_is_no_crash(server, bystander):
    with RawConnection(server.port) as connection:
        for timeout in ("1n", "0n", "1u", "99999999H", "5x", "", "-1S"):
            response = connection.call(MAKE_ID, SNOWFLAKE, extra=[("grpc-timeout", timeout)])
            assert response.grpc_status is not None or response.reset is not None, timeout


def test_connections_that_say_nothing_keep_nobody_out(server, bystander):
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(200)]
    try:
        with server.channel() as channel:
            assert make_id(channel)("segment", timeout=5) > 0
    finally:
        for connection in silent:
            connection.close()
