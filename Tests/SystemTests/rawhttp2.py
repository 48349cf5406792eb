"""An HTTP/2 connection that does exactly what a test tells it, also what no well-behaved client would do."""

import select
import socket
import struct
import time

from hpack import Decoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def literal(name, value):
    """One header as a literal that no table remembers, without Huffman coding."""

    def text(string):
        data = string.encode()
        assert len(data) < 127
        return bytes([len(data)]) + data

    return b"\x00" + text(name) + text(value)


def message(body, compressed=False):
    """A gRPC message with its prefix."""
    return struct.pack(">BI", int(compressed), len(body)) + body


class Response:
    """What has arrived for one stream."""

    def __init__(self):
        self.headers = {}
        self.body = b""
        self.ended = False
        self.reset = None
        self.ended_at = None

    @property
    def grpc_status(self):
        value = self.headers.get("grpc-status")
        return None if value is None else int(value)


class RawConnection:
    """A cleartext HTTP/2 connection with prior knowledge."""

    def __init__(self, port, timeout=5.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.streams = {}
        self.goaways = []
        self.closed = False
        self._next_stream = 1
        self._buffer = b""
        self._decoder = Decoder()
        self._unacknowledged = 0
        self.socket.sendall(PREFACE + SettingsFrame(0).serialize())

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, path, body, content_type="application/grpc", method="POST", extra=(), end=True):
        """Sends one request, without its end where `end` is false, and returns its stream number."""
        stream = self._next_stream
        self._next_stream += 2
        self.streams[stream] = Response()
        fields = [
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", "127.0.0.1"),
            ("te", "trailers"),
        ]
        if content_type is not None:
            fields.append(("content-type", content_type))
        fields.extend(extra)
        headers = HeadersFrame(stream, data=b"".join(literal(*field) for field in fields), flags=["END_HEADERS"])
        data = DataFrame(stream, data=body, flags=["END_STREAM"] if end else [])
        self.socket.sendall(headers.serialize() + data.serialize())
        return stream

    def pump(self, seconds):
        """Reads what arrives within `seconds`, returning at the first bytes. False when nothing did."""
        if self.closed:
            return False
        ready, _, _ = select.select([self.socket], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            received = self.socket.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            self.closed = True
            return True
        self._buffer += received
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                break
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self._handle(frame)
        return True

    def _handle(self, frame):
        if isinstance(frame, SettingsFrame):
            if "ACK" not in frame.flags:
                self._send(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, PingFrame):
            if "ACK" not in frame.flags:
                self._send(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        elif isinstance(frame, HeadersFrame):
            response = self.streams[frame.stream_id]
            for name, value in self._decoder.decode(frame.data):
                response.headers[name] = value
            self._end(response, frame)
        elif isinstance(frame, DataFrame):
            response = self.streams[frame.stream_id]
            response.body += frame.data
            self._unacknowledged += len(frame.data)
            if self._unacknowledged > 16384:
                self._send(WindowUpdateFrame(0, window_increment=self._unacknowledged).serialize())
                self._unacknowledged = 0
            self._end(response, frame)
        elif isinstance(frame, RstStreamFrame):
            response = self.streams[frame.stream_id]
            response.reset = frame.error_code
            response.ended = True
            response.ended_at = time.monotonic()

    @staticmethod
    def _end(response, frame):
        if "END_STREAM" in frame.flags:
            response.ended = True
            response.ended_at = time.monotonic()

    def _send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def wait(self, stream, seconds=5.0):
        """The response of a stream, once it has ended."""
        response = self.streams[stream]
        end = time.monotonic() + seconds
        while not response.ended and not self.closed and time.monotonic() < end:
            self.pump(end - time.monotonic())
        assert response.ended, f"no end of stream {stream} within {seconds} s (connection closed: {self.closed})"
        return response

    def call(self, path, body, seconds=5.0, **options):
        """One gRPC call with `body` as the message."""
        return self.wait(self.request(path, message(body), **options), seconds)
