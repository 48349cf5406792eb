"""What TLS costs: per call, and per connection with its handshake, beside nghttpd."""

import shutil
import statistics
import subprocess
import sys

from benching import h2load, measure, print_head, progress, request_body, set_step, start_mid, start_nghttpd, table

LEVELS = [(32, 1), (8, 32), (1, 100)]


def make_certificate(folder):
    """A P-256 key and a certificate for loopback that it signed itself."""
    if not shutil.which("openssl"):
        sys.exit("bench: openssl not found; run script/bootstrap --bench")
    key, certificate = f"{folder}/key.pem", f"{folder}/certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


def tls(arguments, _wanted, folder):
    key, certificate = make_certificate(folder)
    body = f"{folder}/body"
    with open(body, "wb") as file:
        file.write(request_body("segment"))
    servers = []
    try:
        for name in ("plain", "secure"):
            set_step(arguments, f"{folder}/mid-{name}", 1_000_000)
        secured = {"MID_GRPC_TLS_CERTIFICATE": certificate, "MID_GRPC_TLS_KEY": key}
        servers.append(("mid", "http", start_mid(arguments, f"{folder}/mid-plain")))
        servers.append(("mid", "https", start_mid(arguments, f"{folder}/mid-secure", **secured)))
        if shutil.which("nghttpd"):
            servers.append(("nghttpd", "http", start_nghttpd(arguments, folder)))
            servers.append(("nghttpd", "https", start_nghttpd(arguments, folder, (key, certificate))))
        print_head(arguments)
        print(
            f"One event loop or thread: {arguments.loops}. A P-256 key, and the version and cipher that server and client "
            f"choose. Medians of {arguments.runs} runs of about {arguments.seconds:g} s each; segment ids.\n"
            f"A new connection is a full handshake and one call; nothing is resumed.\n"
        )
        levels = [(f"{connections} × {streams}", connections, streams, None) for connections, streams in LEVELS]
        levels.append(("new connection", arguments.connections, 1, arguments.connections))
        measured = {}
        for level in levels:
            measure_level(arguments, servers, body, level, measured)
    finally:
        for _, _, server in servers:
            server.stop()
    progress("")
    rows = []
    for title, *_ in levels:
        for name in dict.fromkeys(each[0] for each in servers):
            plain, secure = (measured[title, name, scheme] for scheme in ("http", "https"))
            costs = [b - a for a, b in zip(plain, secure)]
            rows.append(
                [
                    title,
                    name,
                    f"{statistics.median(plain):.2f} µs",
                    f"{statistics.median(secure):.2f} µs",
                    f"{statistics.median(costs):.2f} µs ({min(costs):.2f} to {max(costs):.2f})",
                ]
            )
    table(["connections × calls", "server", "without TLS", "with TLS", "TLS costs (least to most)"], rows)


def measure_level(arguments, servers, body, level, measured):
    title, connections, streams, fixed = level
    calls = {}
    for name, scheme, server in servers:
        trial = fixed or (5_000 if streams == 1 else 20_000)
        seconds = h2load(server.port, body, trial, connections, streams, scheme=scheme)
        calls[name, scheme] = fixed or max(trial, min(5_000_000, int(trial / seconds * arguments.seconds)))
    for run in range(arguments.runs):
        for name, scheme, server in servers:
            progress(f"{title} run {run + 1}/{arguments.runs} {name} {scheme}")
            number = calls[name, scheme]
            cost, _ = measure(
                server, number, lambda: h2load(server.port, body, number, connections, streams, scheme=scheme)
            )
            measured.setdefault((title, name, scheme), []).append(cost)
