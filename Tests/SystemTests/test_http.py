"""The HTTP port of the real program: ids, readiness, limits, TLS and the end."""

import concurrent.futures
import os
import signal
import socket
import ssl
import threading
import time

import grpc
import pytest

from certificates import Certificates
from http_client import Kept, ask, post_json, said
from load import assert_increasing, assert_unique
from programs import needs, wait_until


def test_ids_of_each_mode_and_what_is_wrong(mid):
    server = mid().start()
    one = ask(server, "/v1/ids/segment?count=3")
    assert one.status == 200 and one.type == "application/json"
    assert one.json == {"mode": "segment", "tag": "default", "ids": ["1", "2", "3"]}
    assert one.headers["cache-control"] == "no-store" and one.headers["server"] == "mid"
    flake = ask(server, "/v1/ids/snowflake?count=1000").json
    assert flake["mode"] == "snowflake" and len(flake["ids"]) == 1000 and "tag" not in flake
    assert_increasing([int(each) for each in flake["ids"]], "snowflake")
    assert ask(server, "/v1/ids/ticket").json == {"mode": "ticket", "tag": "default", "ids": ["1"]}
    batch = post_json(server, "/v1/ids:batch", {"mode": "segment", "count": 5000}).json
    assert batch["count"] == 5000 and sum(each["count"] for each in batch["ranges"]) == 5000
    assert batch["ranges"][0]["start"] == "4"
    for path, status, code in (
        ("/v1/ids/segment?tag=nobody", 404, "unknownTag"),
        ("/v1/ids/segment?count=10001", 400, "invalidArgument"),
        ("/v1/ids/segment?x=1", 400, "invalidArgument"),
        ("/v1/nothing", 404, "unknownPath"),
    ):
        problem = ask(server, path)
        assert problem.status == status and problem.type == "application/problem+json", problem.text
        assert problem.json["status"] == status and problem.json["code"] == code
    assert "x" in ask(server, "/v1/ids/segment?x=1").json["detail"]
    # They count with gRPC's.
    assert server.metric("id_generate_total", mode="segment") == 5003
    assert server.metric("mid_http_requests_total", route="/v1/ids/{mode}", code="404") == 1
    assert server.metric("mid_http_requests_total", route="none", code="404") == 1
    assert server.process.stop() == 0


def test_many_callers_at_once_get_ids_of_their_own(mid):
    server = mid(settings={"MID_SEGMENT_MAX_LOAD": "1"}).start()

    def caller(mode):
        kept = Kept(server)
        ids = []
        for _ in range(300):
            answer = kept.ask(f"/v1/ids/{mode}?count=7")
            assert answer.status == 200, answer.text
            ids += [int(each) for each in answer.json["ids"]]
        kept.close()
        return ids

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for mode in ("segment", "snowflake"):
            groups = list(pool.map(caller, [mode] * 16))
            ids = [each for group in groups for each in group]
            assert len(ids) == 16 * 300 * 7
            assert_unique(ids)
            for group in groups:
                assert_increasing(group, mode)


def test_readiness_says_why_not_and_comes_back(mid, mariadb):
    server = mid(store=mariadb.url, settings={**mariadb.settings, "MID_STORE_TIMEOUT": "1s"})
    mariadb.kill()
    server.launch()
    wait_until(lambda: server.has_greeted, 20, "the program says where it serves")
    assert ask(server, "/healthz").json == {"status": "ok"}
    away = ask(server, "/readyz")
    assert away.status == 503 and away.json["ready"] is False
    assert away.json["modes"]["segment"]["reasons"] == ["the list of tags was not read from the store yet"]
    assert away.json["modes"]["snowflake"]["reasons"] == ["this node has no worker id"]
    failed = ask(server, "/v1/ids/segment")
    assert failed.status in (503, 504) and failed.json["code"] in ("storeUnavailable", "deadlineExceeded"), failed.text
    assert mariadb.url.split("@")[1].split("/")[0] not in failed.text
    mariadb.start()
    wait_until(lambda: ask(server, "/readyz").status == 200, 30, "ready again")
    assert all(mode == {"ready": True, "reasons": []} for mode in ask(server, "/readyz").json["modes"].values())
    assert ask(server, "/readyz", "HEAD").body == b""


def test_limits_hold_and_touch_no_other_connection(mid):
    server = mid(
        settings={
            "MID_HTTP_MAX_BODY_BYTES": "2048",
            "MID_HTTP_MAX_HEADER_BYTES": "2048",
            "MID_HTTP_REQUEST_TIMEOUT": "1s",
            "MID_HTTP_IDLE_TIMEOUT": "2s",
            "MID_HTTP_MAX_CONNECTIONS": "8",
        }
    ).start()
    statuses = []
    stop = threading.Event()

    def stand_by():
        kept = Kept(server)
        while not stop.wait(0.2):
            statuses.append(kept.ask("/v1/ids/segment").status)
        kept.close()

    bystander = threading.Thread(target=stand_by)
    bystander.start()

    def talk(text):
        client = socket.create_connection(("127.0.0.1", server.http_port), timeout=10)
        client.sendall(text)
        begin = time.monotonic()
        data, ended = said(client)
        client.close()
        return data, ended, time.monotonic() - begin

    batch = b"POST /v1/ids:batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    # A body that is announced too long, one that grows too long, one that never comes.
    for text in (
        batch + b"Content-Length: 2049\r\n\r\n",
        batch + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n",
    ):
        data, ended, _ = talk(text)
        assert data.startswith(b"HTTP/1.1 413 ") and b"at most 2048 bytes" in data and ended, data
    data, ended, seconds = talk(batch + b"Content-Length: 10\r\n\r\n{")
    assert ended and data == b"" and 0.8 < seconds < 5, (data, seconds)
    # A header too large, none at all, half of one, and what is no HTTP.
    data, ended, _ = talk(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 4096 + b"\r\n\r\n")
    assert ended and (data == b"" or data.startswith(b"HTTP/1.1 4")), data
    for text in (b"", b"GET /heal"):
        data, ended, seconds = talk(text)
        assert ended and data == b"" and 1.5 < seconds < 8, (data, seconds)
    # Bytes of a header that trickle in make no difference.
    client = socket.create_connection(("127.0.0.1", server.http_port), timeout=10)
    begin = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < begin + 8:
            client.sendall(b"X")
            time.sleep(0.2)
    client.close()
    assert 1.5 < time.monotonic() - begin < 7
    data, ended, _ = talk(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert ended and (data == b"" or data.startswith(b"HTTP/1.1 400 ")), data
    # Those above the limit wait until one ends.
    others = [socket.create_connection(("127.0.0.1", server.http_port), timeout=10) for _ in range(9)]
    wait_until(lambda: ask(server, "/healthz").status == 200, 10, "an idle connection made room")
    for client in others:
        client.close()
    wait_until(lambda: ask(server, "/v1/ids/segment").status == 200, 10, "all are served again")
    stop.set()
    bystander.join()
    assert len(statuses) > 20 and set(statuses) == {200}, statuses
    assert server.process.stop() == 0


def test_a_client_that_waits_for_a_word_before_its_body_has_it(mid):
    server = mid().start()
    body = b'{"mode":"segment","count":3}'
    head = b"POST /v1/ids:batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        for _ in range(2):
            client.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode())
            assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(body)
            answer = client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b'"count":3' in answer
        client.sendall(head + b"Connection: close\r\n" + f"Content-Length: {len(body)}\r\n\r\n".encode())
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        answer, ended = said(client)
        assert ended and answer.startswith(b"HTTP/1.1 200 OK\r\n")
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        # What would be refused is refused without its body.
        client.sendall(head + b"Content-Length: 999999999\r\n\r\n")
        answer, ended = said(client)
        assert ended and answer.startswith(b"HTTP/1.1 413 ")


def test_a_request_of_http_1_1_names_one_host(mid):
    server = mid().start()
    good = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for hosts in (b"", b"Host: a\r\nhost: a\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a\x80\r\n"):
        with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
            # What came before is answered, what comes behind is not.
            client.sendall(good + b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n" + good)
            answer, ended = said(client)
            assert ended and answer.count(b"HTTP/1.1 ") == 2, (hosts, answer)
            assert answer.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 400 " in answer, (hosts, answer)
            assert answer.endswith(b'"a request has one Host header, with a host and maybe a port"}'), (hosts, answer)
    for hosts in (b"host: x", b"HOST: [::1]:8080", b"Host:", b"Host: a_b.example:80", b"Host: x \t", b"Host: "):
        with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 "), hosts
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        # A body that comes all the same takes the answer from nobody.
        client.sendall(b"POST /v1/ids:batch HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        answer = client.recv(1000)
        client.sendall(b"x" * 500)
        rest, ended = said(client)
        assert ended and (answer + rest).startswith(b"HTTP/1.1 400 ") and (answer + rest).count(b"HTTP/1.1 ") == 1
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        client.sendall(b"HEAD /healthz HTTP/1.1\r\n\r\n")
        answer, ended = said(client)
        assert ended and answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"\r\n\r\n")


def test_clients_of_http_1_0_are_answered_in_their_way(mid):
    server = mid().start()
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        client.sendall(b"GET /v1/ids/snowflake HTTP/1.0\r\n\r\n")
        answer, ended = said(client)
        assert ended and answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.count(b"HTTP/1.1") == 1
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        client.sendall(b"GET /v1/ids/snowflake HTTP/1.0\r\nHost: a\r\n\r\n")
        answer, ended = said(client)
        assert ended and answer.startswith(b"HTTP/1.1 200 OK\r\n")
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        client.sendall(b"GET /v1/ids/snowflake HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")
        answer, ended = said(client)
        assert ended and answer.startswith(b"HTTP/1.1 400 ")
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        for _ in range(2):
            client.sendall(b"GET /v1/ids/snowflake HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            answer = client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nconnection: keep-alive\r\n" in answer.lower()
    # Nothing of this for those of HTTP/1.1, but the end where they ask for it.
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"connection:" not in client.recv(1000).lower()
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n")
        assert said(client)[1]


def test_a_client_that_does_not_read_its_answers_is_cut_off(mid):
    server = mid(settings={"MID_HTTP_REQUEST_TIMEOUT": "1s"}).start()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.http_port))
    client.settimeout(20)
    request = b"GET /v1/ids/snowflake?count=10000 HTTP/1.1\r\nHost: x\r\n\r\n"
    begin = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < begin + 30:
            client.sendall(request * 100)
    assert time.monotonic() - begin < 20
    client.close()
    assert server.metric("process_resident_memory_bytes") < 300e6
    assert ask(server, "/v1/ids/segment").status == 200


def test_a_client_that_reads_its_answers_slowly_gets_them_whole(mid):
    server = mid(settings={"MID_HTTP_REQUEST_TIMEOUT": "1s"}).start()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    client.connect(("127.0.0.1", server.http_port))
    client.settimeout(20)
    count = 20
    request = b"GET /v1/ids/snowflake?count=10000 HTTP/1.1\r\nHost: x\r\n\r\n"
    client.sendall(request * (count - 1) + request.replace(b"Host", b"Connection: close\r\nHost"))
    begin = time.monotonic()
    data = b""
    # About 100 kB a second, where each answer has more than 200 kB.
    while time.monotonic() < begin + 8:
        part = client.recv(10_000)
        assert part, f"cut off after {time.monotonic() - begin:.1f} s and {len(data)} bytes"
        data += part
        time.sleep(0.1)
    assert len(data) < 2_000_000
    rest, ended = said(client)
    assert ended and (data + rest).count(b"HTTP/1.1 200 OK") == count and (data + rest).endswith(b"]}")
    client.close()


def test_idle_connections_give_way_and_health_is_told_beside_them(mid):
    server = mid(settings={"MID_HTTP_MAX_CONNECTIONS": "4", "MID_HTTP_IDLE_TIMEOUT": "10m"}).start()
    # One that is used, one that was, and two that never were.
    used = Kept(server)
    assert used.ask("/healthz").status == 200
    left = Kept(server)
    assert left.ask("/healthz").status == 200
    silent = [socket.create_connection(("127.0.0.1", server.http_port), timeout=10) for _ in range(2)]
    stop = threading.Event()
    statuses = []

    def go_on():
        while not stop.wait(0.2):
            statuses.append(used.ask("/v1/ids/segment").status)

    user = threading.Thread(target=go_on)
    user.start()
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/ids/segment", 404)):
        assert ask(server, path, port=server.metrics_port).status == status
    assert ask(server, "/readyz", port=server.metrics_port).json["modes"]["segment"]["ready"]
    # More connections than there may be, one after the other: each is served in a moment.
    for _ in range(3):
        assert ask(server, "/healthz", timeout=5).status == 200
    others = [Kept(server) for _ in range(3)]
    for other in others:
        assert other.ask("/healthz").status == 200
    for each in silent:
        assert said(each, 5) == (b"", True), "a connection that said nothing gave way"
        each.close()
    stop.set()
    user.join()
    assert len(statuses) > 3 and set(statuses) == {200}, "the one in use was spared"
    for each in [used, left, *others]:
        each.close()


def test_the_end_answers_what_was_asked_and_gives_back_the_rest(mid, mariadb):
    """HTTP ends before segments give back: the next server goes on where this one stopped."""
    server = mid(store=mariadb.url, settings=mariadb.settings).start()
    stop = threading.Event()
    answers = []

    def caller():
        kept = Kept(server)
        try:
            while not stop.is_set():
                answer = kept.ask("/v1/ids/segment?count=10")
                answers.append((answer.status, answer.json["ids"]))
        except OSError:
            # Between two requests the connection may be closed.
            pass

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > 200, 20, "calls are answered")
    idle = socket.create_connection(("127.0.0.1", server.http_port), timeout=10)
    begin = time.monotonic()
    assert server.process.stop() == 0
    assert time.monotonic() - begin < 8
    stop.set()
    for thread in threads:
        thread.join()
    idle.close()
    assert {status for status, _ in answers} == {200}
    ids = [int(each) for _, group in answers for each in group]
    assert_unique(ids)
    server.start()
    assert [int(each) for each in ask(server, "/v1/ids/segment").json["ids"]] == [max(ids) + 1]


def test_a_call_that_waits_at_the_end_is_answered(mid, mariadb):
    server = mid(store=mariadb.url, settings={**mariadb.settings, "MID_SEGMENT_MAX_WAIT": "30s"}).start(ready=["snowflake"])
    with open(f"{mariadb.folder}/pid", encoding="utf-8") as file:
        database = int(file.read())
    os.kill(database, signal.SIGSTOP)
    try:
        results = []

        def call():
            try:
                results.append(ask(server, "/v1/ids/segment?count=9999", timeout=30))
            except OSError as error:
                results.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(0.5)
        begin = time.monotonic()
        server.process.stop(30)
        thread.join(20)
    finally:
        os.kill(database, signal.SIGCONT)
    # Either it got its reason or its connection ended; it did not hold the server up beyond the grace time.
    assert time.monotonic() - begin < 20
    (result,) = results
    assert isinstance(result, OSError) or result.status in (503, 504), result


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def trust(certificates, client=None):
    context = ssl.create_default_context(cafile=certificates.pem("ca"))
    if client:
        context.load_cert_chain(certificates.pem(client), certificates.key(client))
    return context


@needs("openssl")
def test_tls_is_grpcs_and_a_new_certificate_counts_at_once(mid, certificates, tmp_path):
    certificates.install("server", tmp_path)
    server = mid(
        settings={
            "MID_GRPC_TLS_CERTIFICATE": str(tmp_path / "live.pem"),
            "MID_GRPC_TLS_KEY": str(tmp_path / "live.key"),
        },
        credentials=grpc.ssl_channel_credentials(certificates.bytes("ca.pem")),
    ).start()
    assert f"HTTP     https://127.0.0.1:{server.http_port}" in server.process.greeting()
    context = trust(certificates)
    assert ask(server, "/v1/ids/segment", context=context).json["ids"] == ["1"]
    # In the clear there is nothing.
    client = socket.create_connection(("127.0.0.1", server.http_port), timeout=10)
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP/" not in said(client)[0]
    client.close()

    def shown():
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as plain:
            context.set_alpn_protocols(["http/1.1"])
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                assert secured.selected_alpn_protocol() == "http/1.1"
                return secured.getpeercert()["serialNumber"]

    before = shown()
    certificates.install("renewed", tmp_path)
    server.process.signal(signal.SIGHUP)
    wait_until(lambda: shown() != before, 10, "the renewed certificate is shown")
    assert server.process.stop() == 0


@needs("openssl")
def test_clients_without_a_good_certificate_get_no_id(mid, certificates):
    server = mid(
        settings=certificates.settings(clients="required"),
        credentials=grpc.ssl_channel_credentials(
            certificates.bytes("ca.pem"), certificates.bytes("client.key"), certificates.bytes("client.pem")
        ),
    ).start()
    for client in (None, "strange-client"):
        with pytest.raises((ssl.SSLError, OSError)):
            ask(server, "/v1/ids/segment", context=trust(certificates, client))
    assert ask(server, "/v1/ids/segment", context=trust(certificates, "client")).json["ids"] == ["1"]


def test_off_is_off(mid):
    # The last of two flags counts.
    server = mid(arguments=["--http", "off"]).start()
    assert "HTTP " not in server.process.greeting()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/healthz")
