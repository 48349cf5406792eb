"""Asking a server's HTTP port, one request a connection or many on one, and the bytes as they come."""

import http.client
import json
import socket
import ssl


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.body = response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    @property
    def text(self):
        return self.body.decode()

    @property
    def type(self):
        return self.headers.get("content-type")

    @property
    def json(self):
        return json.loads(self.body)


def ask(server, path, method="GET", body=None, headers=None, port=None, context=None, timeout=20):
    """One request on a connection of its own; with a `context` of TLS, over that."""
    port = port or server.http_port
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def post_json(server, path, value, **options):
    return ask(server, path, "POST", json.dumps(value), {"Content-Type": "application/json"}, **options)


class Kept:
    """One connection that is kept for many requests."""

    def __init__(self, server, port=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port or server.http_port, timeout=20)

    def ask(self, path, method="GET"):
        self.connection.request(method, path)
        return Answer(self.connection.getresponse())

    def close(self):
        self.connection.close()


def said(client, seconds=10):
    """All that a socket is sent until the other side ends, or nothing more comes for that long."""
    client.settimeout(seconds)
    data = b""
    try:
        while part := client.recv(65536):
            data += part
    except (TimeoutError, socket.timeout):
        return data, False
    except (ConnectionResetError, ssl.SSLError):
        pass
    return data, True
