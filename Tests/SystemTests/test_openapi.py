"""The OpenAPI document that the server hands out, held against the running server by schemathesis."""

import os
import re
import subprocess
import sys

import pytest

from http_client import ask
from programs import clean_environment

SETTINGS = {"MID_HTTP_MAX_IDS": "100", "MID_BATCH_MAX": "1000", "MID_HTTP_TINYID_TOKENS": "off"}


def schemathesis(server, folder, seed, examples, *arguments):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"http://127.0.0.1:{server.http_port}/openapi.json",
            "--seed",
            str(seed),
            "--max-examples",
            str(examples),
            "--phases",
            "examples,coverage,fuzzing",
            "--checks",
            "all",
            "--request-timeout",
            "20",
            *arguments,
        ],
        cwd=folder,
        env=clean_environment({"NO_COLOR": "1", "COLUMNS": "160"}),
        capture_output=True,
        text=True,
        timeout=1500,
    )
    print(result.stdout[-6000:])
    assert result.returncode == 0, f"seed {seed}\n{result.stdout[-12000:]}{result.stderr[-4000:]}"
    (count,) = re.findall(r"(\d+) generated", result.stdout.replace(",", ""))
    return int(count)


@pytest.mark.timeout(1800)
def test_the_document_is_true(mid, tmp_path, scale):
    server = mid(settings=SETTINGS).start()
    document = ask(server, "/openapi.json")
    assert document.status == 200 and document.json["openapi"] == "3.1.0"
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    examples = scale(40, 1000)
    # Leaf's failures are 500 and Tinyid's are 200: what its clients know. Everything else is checked there too.
    ours = schemathesis(
        server, tmp_path, seed, examples, "--exclude-path-regex", "^/(api|tinyid|decode|cache|db|v1/decode)"
    )
    # A text that the document allows is seldom an id.
    decoded = schemathesis(
        server,
        tmp_path,
        seed,
        examples,
        "--include-path-regex",
        "^/v1/decode",
        "--exclude-checks",
        "positive_data_acceptance",
    )
    others = schemathesis(
        server,
        tmp_path,
        seed,
        examples,
        "--include-path-regex",
        "^/(api|tinyid|decode|cache|db)",
        "--exclude-checks",
        "not_a_server_error,negative_data_rejection,positive_data_acceptance,unsupported_method",
    )
    assert ours > 6 * 4 and decoded > 4 and others > 9 * 4
    print(f"{ours}, {decoded} and {others} cases")
    # No answer was one of the server's own making that it should not have.
    for code in ("500", "503", "504"):
        assert server.metric("mid_http_requests_total", route="/v1/ids/{mode}", code=code) is None
        assert server.metric("mid_http_requests_total", route="/v1/ids:batch", code=code) is None
        assert server.metric("mid_http_requests_total", route="/v1/decode/{id}", code=code) is None
    assert ask(server, "/v1/ids/segment").status == 200
    assert server.process.stop() == 0
