"""TLS: handshakes, certificates and their reload, with openssl, grpcio and mid itself. Clients: test_tls_clients.py."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import grpc
import pytest

from certificates import Certificates
from load import assert_unique
from programs import BINARY, clean_environment, run_mid, wait_until
from stubs import make_id
from test_start_and_stop import ended

# A skipped test is a failure where everything is to be there.
if not os.environ.get("CI") and shutil.which("openssl") is None:
    pytest.skip("not installed: openssl", allow_module_level=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def credentials(certificates, client=None):
    if client is None:
        return grpc.ssl_channel_credentials(certificates.bytes("ca.pem"))
    return grpc.ssl_channel_credentials(
        certificates.bytes("ca.pem"), certificates.bytes(f"{client}.key"), certificates.bytes(f"{client}.pem")
    )


@pytest.fixture(params=["TLS", "mTLS"])
def secured(request, mid, certificates):
    """A server with TLS, and one that wants certificates of its clients."""
    clients, client = ("required", "client") if request.param == "mTLS" else (None, None)
    return mid(settings=certificates.settings(clients=clients), credentials=credentials(certificates, client)).start()


def s_client(server, *arguments, protocols="h2", stdin=""):
    """What openssl says of a handshake with the server."""
    command = ["openssl", "s_client", "-connect", server.address, "-servername", "localhost", *arguments]
    if protocols:
        command += ["-alpn", protocols]
    # The server's first frames are among what it prints.
    result = subprocess.run(
        command, input=stdin, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=20
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize("client", [None, "strange-client"])
def test_a_client_without_a_good_certificate_gets_no_id(mid, certificates, client):
    server = mid(
        settings=certificates.settings(clients="required"), credentials=credentials(certificates, "client")
    ).start()
    server.credentials = credentials(certificates, client)
    with server.channel() as channel, pytest.raises(grpc.RpcError) as error:
        make_id(channel)("segment", timeout=5)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert server.metric("mid_tls_handshake_failures_total", reason="refused") >= 1
    server.credentials = credentials(certificates, "client")
    with server.channel() as channel:
        assert make_id(channel)("segment", timeout=5) == 1


def test_optional_certificates_are_checked_when_given(mid, certificates):
    server = mid(settings=certificates.settings(clients="optional"), credentials=credentials(certificates)).start()
    for client in (None, "client"):
        server.credentials = credentials(certificates, client)
        with server.channel() as channel:
            assert make_id(channel)("segment", timeout=5) > 0
    server.credentials = credentials(certificates, "strange-client")
    with server.channel() as channel, pytest.raises(grpc.RpcError):
        make_id(channel)("segment", timeout=5)


def test_openssl_agrees_on_h2_with_1_2_and_1_3_and_on_nothing_older(mid, certificates):
    server = mid(settings=certificates.settings(), credentials=credentials(certificates)).start()
    for flag, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        text = s_client(server, flag, "-CAfile", certificates.pem("ca"))
        assert "ALPN protocol: h2" in text, text
        assert f"New, {version}, Cipher is" in text, text
        assert "Verify return code: 0 (ok)" in text, text
        assert "Compression: NONE" in text, text
    # The security level lets openssl offer what it would not by itself.
    text = s_client(server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in text, text
    for suites in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-SHA"):
        text = s_client(server, "-tls1_2", "-cipher", f"{suites}:@SECLEVEL=0")
        assert "alert handshake failure" in text, f"{suites}: {text}"


def test_openssl_can_not_renegotiate(mid, certificates):
    server = mid(settings=certificates.settings(), credentials=credentials(certificates)).start()
    command = ["openssl", "s_client", "-connect", server.address, "-tls1_2", "-alpn", "h2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        # The server's SETTINGS come first: while it renegotiates, openssl takes nothing but an answer to that.
        time.sleep(1)
        # A line with an R asks s_client to renegotiate; it must not come to that.
        process.stdin.write(b"R\n")
        process.stdin.flush()
        text = process.stdout.read()
        assert process.wait(20) != 0
    assert b"RENEGOTIATING" in text, text
    # Its input is still open: it ended because the server ended the connection, by an alert or without one.
    assert re.search(rb"no renegotiation|alert|unexpected eof", text), text


@pytest.mark.parametrize("protocols", [None, "http/1.1"])
def test_a_connection_without_alpn_h2_is_closed(mid, certificates, protocols):
    server = mid(settings=certificates.settings(), credentials=credentials(certificates)).start()
    begin = time.monotonic()
    command = ["openssl", "s_client", "-quiet", "-connect", server.address]
    command += ["-alpn", protocols] if protocols else []
    # Its own input stays open, so that it is the server who ends the connection.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        answer = process.stdout.read()
        process.wait(20)
    assert answer == b""
    assert time.monotonic() - begin < 10
    assert server.metric("mid_tls_handshake_failures_total", reason="no_http2") == 1


def test_1_3_can_be_asked_for(mid, certificates):
    server = mid(
        settings=certificates.settings(MID_GRPC_TLS_MINIMUM_VERSION="1.3"), credentials=credentials(certificates)
    ).start()
    assert "alert protocol version" in s_client(server, "-tls1_2")
    assert "ALPN protocol: h2" in s_client(server, "-tls1_3")


def test_a_reload_under_traffic_loses_no_call(mid, certificates, tmp_path):
    certificates.install("server", tmp_path)
    settings = {"MID_GRPC_TLS_CERTIFICATE": f"{tmp_path}/live.pem", "MID_GRPC_TLS_KEY": f"{tmp_path}/live.key"}
    server = mid(settings=settings, credentials=credentials(certificates)).start()
    stop = threading.Event()
    ids, errors = [], []

    def calls(connections_of_its_own):
        while not stop.is_set():
            try:
                with server.channel() as channel:
                    one = make_id(channel)
                    while not stop.is_set():
                        ids.append(one("snowflake", timeout=10))
                        if connections_of_its_own:
                            break
            except grpc.RpcError as error:
                errors.append(error)

    # Two that keep their connection, and one that makes a new one for each call.
    threads = [threading.Thread(target=calls, args=(is_new,)) for is_new in (False, False, True)]
    for thread in threads:
        thread.start()
    try:
        before = server.metric("mid_tls_certificate_expiry_timestamp_seconds")
        assert "CN = server" in s_client(server)
        for name in ("renewed", "server", "renewed"):
            certificates.install(name, tmp_path)
            seen = len(ids)
            server.process.signal(signal.SIGHUP)
            wait_until(lambda: f"CN = {name}" in s_client(server), 10, f"the certificate {name}")
            wait_until(lambda: len(ids) > seen + 50, 20, "traffic after a reload")
        after = server.metric("mid_tls_certificate_expiry_timestamp_seconds")
        assert after - before == pytest.approx(10 * 86_400, abs=60)
        # A file of no use changes nothing.
        (tmp_path / "live.pem").write_text("nonsense")
        server.process.signal(signal.SIGHUP)
        wait_until(lambda: "not reloaded" in server.process.errors(), 10, "an error in the log")
        assert "CN = renewed" in s_client(server)
        seen = len(ids)
        wait_until(lambda: len(ids) > seen + 50, 20, "traffic after a failed reload")
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert errors == []
    assert_unique(ids)
    reloads = [line for line in server.logs() if line["message"] == "TLS certificate reloaded"]
    assert [line["subject"] for line in reloads] == ["CN=renewed", "CN=server", "CN=renewed"]
    failures = [line for line in server.logs() if "not reloaded" in line["message"]]
    assert [line["level"] for line in failures] == ["error"]
    assert f"{tmp_path}/live.pem" in failures[0]["reason"]
    assert server.stop() == 0


def test_sighup_does_not_end_a_server_without_tls(mid):
    server = mid().start()
    assert server.metric("mid_tls_certificate_expiry_timestamp_seconds") is None
    server.process.signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in server.process.errors(), 10, "a line in the log")
    assert server.health("segment") == "SERVING"


def make_bad_files(certificates, folder):
    """Pairs of settings and what the one line about them says."""
    (folder / "text.pem").write_text("hello")
    (folder / "empty.pem").write_text("")
    certificates.openssl(
        *("pkcs8", "-topk8", "-in", certificates.key("server"), "-passout", "pass:x"),
        *("-out", str(folder / "encrypted.key")),
    )
    certificate, key = "MID_GRPC_TLS_CERTIFICATE", "MID_GRPC_TLS_KEY"
    ca = "MID_GRPC_TLS_CLIENT_CA"
    nowhere = str(folder / "nowhere.pem")
    return {
        "missing": ({certificate: nowhere}, "grpc.tls.certificate", nowhere, "no such file"),
        "folder": ({key: str(folder)}, "grpc.tls.key", str(folder), "is a folder"),
        "text": ({certificate: str(folder / "text.pem")}, "grpc.tls.certificate", "text.pem", "is not PEM"),
        "empty": ({key: str(folder / "empty.pem")}, "grpc.tls.key", "empty.pem", "is empty"),
        "other key": ({key: certificates.key("client")}, "grpc.tls.key", "client.key", "is not the key of"),
        "encrypted": ({key: str(folder / "encrypted.key")}, "grpc.tls.key", "encrypted.key", "is encrypted"),
        "swapped": ({key: certificates.pem("server")}, "grpc.tls.key", "server.pem", "holds no private key"),
        "client CA": (
            {"MID_GRPC_TLS_CLIENT_CERTIFICATES": "required", ca: nowhere},
            "grpc.tls.client_ca",
            nowhere,
            "no such file",
        ),
        "no key": ({key: None}, "grpc.tls.certificate", "needs grpc.tls.key"),
        "unused CA": ({ca: certificates.pem("ca")}, "grpc.tls.client_ca", "does nothing while"),
    }


BAD = ["missing", "folder", "text", "empty", "other key", "encrypted", "swapped", "client CA", "no key", "unused CA"]


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_at_the_start_is_one_clear_line_and_exit_2(mid, certificates, tmp_path, case):
    change, *words = make_bad_files(certificates, tmp_path)[case]
    settings = {name: value for name, value in (certificates.settings() | change).items() if value is not None}
    code, output = ended(mid(settings=settings).launch())
    assert code == 2, output
    lines = [line for line in output.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, output
    for word in words:
        assert word in lines[0], output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_said_to_be_one(mid, certificates, tmp_path):
    key = tmp_path / "secret.key"
    shutil.copy(certificates.key("server"), key)
    key.chmod(0)
    code, output = ended(mid(settings=certificates.settings(MID_GRPC_TLS_KEY=str(key))).launch())
    assert code == 2 and "no permission to read it" in output, output


def test_an_expired_certificate_is_served_with_a_warning(mid, certificates):
    server = mid(settings=certificates.settings("expired")).launch()
    wait_until(lambda: "has expired" in server.process.errors(), 20, "a warning")
    wait_until(lambda: "serves" in server.process.output(), 20, "serving")
    # The machine's own clock may be unsynchronised too.
    lines = [line for line in server.logs() if line["level"] == "warning"]
    warnings = [line for line in lines if "clock" not in line["message"]]
    assert [line["message"] for line in warnings] == ["the TLS certificate has expired, clients will refuse it"]
    assert warnings[0]["subject"] == "CN=expired" and warnings[0]["not_after"].startswith("20")
    result = run_mid("next", "--server", f"localhost:{server.port}", "--ca", certificates.pem("ca"))
    assert result.returncode == 1 and "has expired" in result.stderr, result.stderr


def test_serve_says_that_it_has_tls_and_warns_only_without(mid, certificates):
    secured = mid(settings=certificates.settings(), credentials=credentials(certificates)).start()
    assert f"{secured.address} (TLS)" in secured.process.output()
    assert " next --server " in secured.process.output() and "--tls" in secured.process.output()
    open_to_all, closed = mid(), mid(settings=certificates.settings())
    for server in (open_to_all, closed):
        # Every address of the machine, on a port that the system chooses.
        server.arguments = ["--grpc", "0.0.0.0:0"]
        server.launch()
        wait_until(lambda server=server: "serves" in server.process.output(), 20, "serving")
    assert open_to_all.process.errors().count("without TLS on an address that others can reach") == 1
    assert "without TLS" not in closed.process.errors()


def test_mid_next_with_tls_and_with_a_certificate(secured, certificates):
    own = ["--cert", certificates.pem("client"), "--key", certificates.key("client")]
    wants = "MID_GRPC_TLS_CLIENT_CA" in secured.settings
    trust = ["--tls", "--ca", certificates.pem("ca"), *(own if wants else [])]
    for host in ("localhost", "127.0.0.1"):
        result = run_mid("next", "--server", f"{host}:{secured.port}", *trust, "--mode", "segment", "-n", 3)
        assert (result.returncode, len(result.stdout.split())) == (0, 3), result.stderr
    # By another name, without trust, without TLS, and without a certificate.
    for words, arguments in [
        ("is not for ids.example", [*trust, "--server-name", "ids.example"]),
        ("is not trusted", ["--tls", *(own if wants else [])]),
        ("--tls", []),
        *([("wants a client certificate", ["--ca", certificates.pem("ca")])] if wants else []),
    ]:
        result = run_mid("next", "--server", f"localhost:{secured.port}", *arguments)
        assert (result.returncode, result.stdout) == (1, ""), result.stderr
        assert words in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


def test_mid_bench_with_tls_and_with_a_certificate(secured, certificates):
    own = ["--cert", certificates.pem("client"), "--key", certificates.key("client")]
    wants = "MID_GRPC_TLS_CLIENT_CA" in secured.settings
    trust = ["--ca", certificates.pem("ca"), *(own if wants else [])]
    # By name, which may lead to two addresses, and by address.
    for host in ("localhost", "127.0.0.1"):
        arguments = ["-c", 3, "-m", 8, "-n", 2000, "--json"]
        result = run_mid("bench", "--server", f"{host}:{secured.port}", *trust, *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        report = json.loads(result.stdout)
        assert (report["calls"], report["good"]) == (2000, True), report
    result = run_mid("bench", "--server", f"localhost:{secured.port}", *trust, "--batch", 100, "--stream", "-n", 500)
    assert result.returncode == 0 and "50,000, all positive, distinct, in order" in result.stdout, result.stdout
    for words, arguments in [
        ("is not for ids.example", [*trust, "--server-name", "ids.example"]),
        ("is not trusted", ["--tls", *(own if wants else [])]),
        ("one without TLS (--tls)?", []),
        *([("wants a client certificate", ["--ca", certificates.pem("ca")])] if wants else []),
    ]:
        result = run_mid("bench", "--server", f"localhost:{secured.port}", "-n", 1, *arguments)
        assert (result.returncode, result.stdout) == (1, ""), result.stderr
        assert words in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


def test_mid_bench_comes_back_to_a_server_with_tls(mid, certificates):
    """A server that is killed and started again: new handshakes, until one succeeds; each connection comes back once."""
    settings = certificates.settings()
    server = mid(settings=settings, credentials=credentials(certificates)).start()
    arguments = ["--ca", certificates.pem("ca"), "-c", "4", "-m", "4", "--duration", "6", "--timeout", "10", "--json"]
    bench = subprocess.Popen(
        [BINARY, "bench", "--server", f"localhost:{server.port}", *arguments],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: server.metric("id_generate_total", mode="snowflake") > 1000, 20, "calls")
        server.process.kill()
        server.start()
        wait_until(lambda: server.metric("mid_rpc_connections") >= 4, 20, "all connections are back")
        output, _ = bench.communicate(timeout=60)
    finally:
        bench.kill()
    report = json.loads(output)
    assert report["calls"] > 1000 and report["id_checks"]["duplicates"] == 0, report
    assert report["connections_lost"] == 4, report


def test_mid_next_says_that_a_server_has_no_tls(mid):
    server = mid().start()
    result = run_mid("next", "--server", server.address, "--tls")
    assert result.returncode == 1
    assert "does not speak TLS on this port" in result.stderr, result.stderr
