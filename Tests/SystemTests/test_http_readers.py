"""Clients of the HTTP port that do not read their answers, or slowly: what they cost, and what others notice of it."""

import socket
import ssl
import threading
import time

import pytest

from certificates import Certificates
from http_client import Kept, ask, said
from programs import needs, wait_until

MIB = 1 << 20
# The longest answer that the defaults allow without a format: about 390 KB.
LONG = b"GET /v1/ids/uuid4?count=10000 HTTP/1.1\r\nHost: x\r\n\r\n"


def reader(server, size=4096):
    """A client whose system takes few bytes ahead of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    client.connect(("127.0.0.1", server.http_port))
    client.settimeout(20)
    return client


def ends(server):
    return {
        reason: server.metric("mid_http_connections_ended_total", reason=reason) or 0
        for reason in ("half_sent", "memory", "slow", "stuck")
    }


def resident(server):
    """The resident memory that belongs to the process alone, in bytes, without what it has mapped of its own file."""
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        return 1024 * int(next(line for line in file if line.startswith("RssAnon")).split()[1])


def settled(read, seconds=20):
    """What `read()` comes to once it has been the same for half a second."""
    last, since, end = read(), time.monotonic(), time.monotonic() + seconds
    while time.monotonic() - since < 0.5:
        assert time.monotonic() < end, f"still {last} and changing"
        time.sleep(0.05)
        if (value := read()) != last:
            last, since = value, time.monotonic()
    return last


class Bystander:
    """Calls for one id, again and again on one connection, while something else goes on."""

    def __init__(self, server):
        self.kept, self.stop = Kept(server), threading.Event()
        self.statuses, self.longest = [], 0.0
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stop.wait(0.01):
            begin = time.monotonic()
            self.statuses.append(self.kept.ask("/v1/ids/segment").status)
            self.longest = max(self.longest, time.monotonic() - begin)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.kept.close()


@pytest.mark.parametrize(("size", "pause", "reasons"), [(1, 0.05, {"slow", "stuck"}), (10_000, 0.2, {"slow"})])
def test_a_client_that_takes_a_little_now_and_then_is_cut_off(mid, size, pause, reasons):
    # 20 bytes a second, which its own system does not tell one by one, and 50,000.
    server = mid(settings={"MID_HTTP_REQUEST_TIMEOUT": "2s", "MID_HTTP_MIN_READ_RATE": "100000"}).start()
    client = reader(server, 4096 if size == 1 else 16384)
    client.sendall(LONG * 20)
    begin = time.monotonic()
    with Bystander(server) as bystander:
        wait_until(lambda: client.recv(size) and time.sleep(pause) or sum(ends(server).values()) > 0, 30, "it is cut off")
    seconds = time.monotonic() - begin
    print(f"{size} bytes each {pause} s: cut off after {seconds:.1f} s")
    assert 1.8 < seconds < 15
    assert {reason for reason, count in ends(server).items() if count} <= reasons
    wait_until(lambda: server.metric("mid_http_held_bytes") == 0, 5, "nothing is held any more")
    assert set(bystander.statuses) == {200}
    client.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@needs("openssl")
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
def test_a_client_that_reads_fast_enough_gets_all_however_long_it_takes(mid, certificates, is_secure):
    settings = {
        "MID_HTTP_REQUEST_TIMEOUT": "2s", "MID_HTTP_IDLE_TIMEOUT": "2s", "MID_HTTP_MIN_READ_RATE": "10000",
        "MID_HTTP_MAX_IDS": "100000",
    }
    if is_secure:
        settings |= {
            "MID_GRPC_TLS_CERTIFICATE": certificates.pem("server"), "MID_GRPC_TLS_KEY": certificates.key("server"),
        }
    server = mid(settings=settings)
    server.launch()
    wait_until(lambda: server.has_greeted, 20, "the program says where it serves")
    client = reader(server, 16384)
    if is_secure:
        context = ssl.create_default_context(cafile=certificates.pem("ca"))
        client = context.wrap_socket(client, server_hostname="localhost")
    client.sendall(LONG)
    begin, data = time.monotonic(), b""
    # The answer is with the server's connection as a whole, which is idle: about 40 kB a second, for five times the idle time.
    while time.monotonic() < begin + 10:
        part = client.recv(4_000)
        assert part, f"cut off after {time.monotonic() - begin:.1f} s and {len(data)} bytes"
        data += part
        if len(data) > 385_000:
            break
        time.sleep(0.1)
    seconds = time.monotonic() - begin
    rest, _ = said(client, 1)
    data += rest
    print(f"{len(data)} bytes in {seconds:.1f} s")
    assert seconds > 6 and data.startswith(b"HTTP/1.1 200 OK") and data.endswith(b'"]}')
    assert data.count(b'","') == 10_000
    client.close()


def test_an_answer_that_is_being_read_when_the_server_stops_comes_whole(mid):
    server = mid().start()
    client = reader(server, 16384)
    client.sendall(LONG)
    data = client.recv(1000)
    stopping = threading.Thread(target=lambda: codes.append(server.process.stop()))
    codes = []
    stopping.start()
    begin = time.monotonic()
    while time.monotonic() < begin + 2:
        data += client.recv(2_000)
        time.sleep(0.05)
    assert len(data) < 300_000
    rest, ended = said(client)
    stopping.join()
    data += rest
    assert ended and data.endswith(b'"]}') and data.count(b'","') == 10_000
    assert codes == [0]


def test_idle_readers_of_long_answers_cost_a_bounded_memory_and_nobody_else(mid, scale):
    count, limit = scale(300, 900), 32 * MIB
    server = mid(
        settings={
            "MID_HTTP_MAX_MEMORY_BYTES": str(limit), "MID_HTTP_REQUEST_TIMEOUT": "5m", "MID_HTTP_MAX_IDS": "100000",
        }
    ).start()
    # About 2 MB, which is more than what the readers below leave: the next of their answers, of 0.4 MB, had no room.
    long = "/v1/ids/segment?count=100000"
    for _ in range(20):
        assert ask(server, long).status == 200
    before, held, clients = resident(server), [], []
    with Bystander(server) as bystander:
        for _ in range(count):
            clients.append(reader(server))
            clients[-1].sendall(LONG * 2)
            held.append(server.metric("mid_http_held_bytes"))
        during = resident(server)
        wait_until(lambda: server.metric("mid_http_held_bytes") > limit - 1.5 * MIB, 10, "the readers leave no room")
        time.sleep(1.1)
        # Others have long answers all the same, one after the other, while these sit there.
        statuses = []
        for _ in range(30):
            statuses.append(ask(server, long).status)
            held.append(server.metric("mid_http_held_bytes"))
        gave_way = ends(server)["memory"]
        # And these again: they take what there is, and no more.
        for client in clients:
            try:
                client.sendall(LONG)
            except OSError:
                pass
        wait_until(lambda: ask(server, long).status == 200, 10, "another long answer is served")
        after = resident(server)
    for client in clients:
        client.close()
    print(
        f"{count} readers of 2 × 390 KB: {before / MIB:.1f} MiB before, {during / MIB:.1f} and {after / MIB:.1f} with "
        f"them; held at most {max(held) / MIB:.1f} of {limit / MIB:.0f} MiB; {gave_way:.0f} gave way; "
        f"{len(bystander.statuses)} short calls, the slowest {bystander.longest * 1000:.0f} ms"
    )
    assert set(bystander.statuses) == {200} and len(bystander.statuses) > 50 and bystander.longest < 2
    assert set(statuses) == {200} and gave_way > 0
    # What is short of 16 KiB is not counted, and an answer goes to its connection before its room is given back.
    assert max(held) <= limit + MIB
    # Twice: texts are made of parts, and freed memory is not all given back at once. Besides, 60 KiB for each connection.
    assert max(during, after) - before < 2 * limit + count * 60 * 1024
    wait_until(lambda: server.metric("mid_http_held_bytes") == 0, 10, "all is given back")
    assert ends(server)["stuck"] == ends(server)["slow"] == 0


def test_requests_behind_an_answer_that_nobody_reads_cost_little(mid, scale):
    count = scale(100, 800)
    server = mid(settings={"MID_HTTP_REQUEST_TIMEOUT": "5m"}).start()
    before, clients = resident(server), []
    for _ in range(count):
        clients.append(reader(server))
        clients[-1].sendall(LONG * 2)
    # The second of two answers waits for the first, of which the systems have taken some.
    held = settled(lambda: server.metric("mid_http_held_bytes"))
    with_answers = resident(server)
    assert held > count * 400_000
    for client in clients:
        client.setblocking(False)
        try:
            client.send(b"GET / HTTP/1.1\r\nHost:x\r\n\r\n" * 20_000)
        except BlockingIOError:
            pass
    more = settled(lambda: server.metric("mid_http_held_bytes")) - held
    with_requests = resident(server)
    for client in clients:
        client.close()
    print(
        f"each of {count} connections: {(with_answers - before) / count / 1024:.0f} KiB with two answers ({held / count / 1024:.0f} counted), "
        f"{(with_requests - with_answers) / count / 1024:.0f} KiB more with requests behind them "
        f"({more / count / 1024:.0f} counted)"
    )
    assert count * 40_000 < more
    assert with_requests - with_answers < count * 256 * 1024
    wait_until(lambda: server.metric("mid_http_held_bytes") == 0, 10, "all is given back")


def test_a_client_that_still_reads_does_not_give_way_to_others(mid):
    server = mid(settings={"MID_HTTP_MAX_CONNECTIONS": "2"}).start()
    with reader(server) as slow:
        slow.sendall(LONG)
        length = 0
        others = []
        try:
            while part := slow.recv(4096):
                length += len(part)
                if length > 60_000 and not others:
                    # More than there may be, for longer than one has to have been idle.
                    others = [socket.create_connection(("127.0.0.1", server.http_port), 20) for _ in range(3)]
                    for client in others:
                        client.sendall(b"GET /v1/ids/snowflake HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(0.03)
                if length > 390_000:
                    break
            assert length > 390_000, length
            # Now it waits for its next request, and gives way.
            for client in others:
                client.settimeout(20)
                assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
        finally:
            for client in others:
                client.close()
