"""mid bench against the real server: what it counts, what it finds, and how it ends."""

import json
import re
import signal
import subprocess
import threading
import time
from concurrent import futures

import grpc
import pytest

from programs import BINARY, clean_environment, free_port, run_mid, wait_until
from stubs import id_pb2, mid_pb2


def bench(server, *arguments, timeout=60):
    """Runs mid bench; returns the process's result and the JSON it printed."""
    address = server if isinstance(server, str) else server.address
    result = run_mid("bench", "--server", address, "--json", *arguments, timeout=timeout)
    assert len(result.stdout.splitlines()) == 1, result.stdout + result.stderr
    return result, json.loads(result.stdout)


def assert_good(result, report):
    assert result.returncode == 0, result.stdout + result.stderr
    assert report["good"] and report["errors"] == 0 and report["id_checks"]["good"], report
    assert report["id_checks"]["duplicates"] == 0
    assert report["id_checks"]["distinctness_checked"] == report["ids"]
    assert report["id_checks"]["distinctness_missed"] == 0
    latency = report["latency_nanoseconds"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]


@pytest.mark.parametrize("mode", ["snowflake", "segment"])
def test_a_closed_loop_counts_every_call_as_the_server_does(mid, mode):
    server = mid().start()
    result, report = bench(server, "--mode", mode, "-c", 4, "-m", 16, "--duration", 2)
    assert_good(result, report)
    assert report["calls"] == report["ids"] > 100
    assert report["seconds"] >= 2
    assert server.metric("id_generate_total", mode=mode) == report["calls"]


def test_a_number_of_calls_is_kept_to_also_with_one_in_flight(mid):
    server = mid().start()
    for connections, in_flight in ((1, 1), (7, 3), (1, 1000)):
        result, report = bench(server, "-n", 2000, "-c", connections, "-m", in_flight)
        assert_good(result, report)
        assert report["calls"] == 2000


def test_more_in_flight_than_the_server_takes_waits_in_the_client(mid):
    server = mid().start()
    result, report = bench(server, "-n", 20000, "-c", 1, "-m", 5000, "--timeout", 30)
    assert_good(result, report)
    assert report["calls"] == 20000


def test_a_rate_is_kept_and_its_calls_are_counted(mid):
    server = mid().start()
    result, report = bench(server, "--rate", 500, "--duration", 2)
    assert_good(result, report)
    assert (report["calls"], report["calls_unsent"]) == (1000, 0)


def test_a_server_that_stands_still_shows_in_the_percentiles_of_a_rate(mid):
    server = mid().start()
    timer = threading.Timer(1.0, server.process.signal, [signal.SIGSTOP])
    goes_on = threading.Timer(2.0, server.process.signal, [signal.SIGCONT])
    timer.start()
    goes_on.start()
    result, report = bench(server, "--rate", 500, "--duration", 4, "-c", 2, "-m", 100)
    assert_good(result, report)
    # A second in which calls are due, of four: more than a tenth of all wait half of it or longer.
    assert report["latency_nanoseconds"]["p90"] > 300_000_000
    assert report["latency_nanoseconds"]["p99.9"] > 700_000_000


def test_a_server_that_stands_still_at_the_end_did_not_reach_the_rate(mid):
    server = mid().start()
    timers = [
        threading.Timer(seconds, server.process.signal, [number])
        for seconds, number in ((2.0, signal.SIGSTOP), (4.0, signal.SIGCONT))
    ]
    for timer in timers:
        timer.start()
    result, report = bench(server, "--rate", 500, "--duration", 3, "-c", 2, "-m", 10)
    assert result.returncode == 1 and not report["good"], result.stdout + result.stderr
    assert report["errors"] == 0 and report["id_checks"]["good"], report
    # About a second of calls, of which twenty were sent.
    assert report["calls"] + report["calls_unsent"] == 1500
    assert 300 < report["calls_unsent"] < 700
    # They are a third of all, and waited for up to a second.
    assert report["latency_nanoseconds"]["p90"] > 300_000_000
    assert report["latency_nanoseconds"]["p99"] > 500_000_000


def test_a_full_memory_is_told_and_nothing_is_claimed_beyond_it(mid):
    server = mid().start()
    arguments = ["--server", server.address, "-c", 256, "-m", 1, "-n", 150_000, "--check-memory", 1]
    result = run_mid("bench", *arguments, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    claim = re.search(
        r"^ids +150,000, all positive, in order; distinct as far as looked at \(([\d,]+) of 150,000\)$",
        result.stdout,
        re.MULTILINE,
    )
    assert claim and 0 < int(claim[1].replace(",", "")) < 150_000, result.stdout
    assert "positive, distinct" not in result.stdout


def test_batches_are_checked_as_ranges(mid):
    server = mid().start()
    for mode in ("snowflake", "segment"):
        result, report = bench(server, "--batch", 1000, "--mode", mode, "-n", 200, "-c", 2, "-m", 4)
        assert_good(result, report)
        assert report["ids"] == 200_000


def test_a_server_killed_in_the_middle_is_told_and_the_run_ends(mid):
    server = mid().start()
    threading.Timer(1.5, server.kill).start()
    begin = time.monotonic()
    result, report = bench(server, "--duration", 20, "-c", 2, "-m", 4, "--timeout", 1)
    assert time.monotonic() - begin < 15
    assert result.returncode == 1
    assert report["calls"] > 0
    assert report["errors_by_code"] == {"UNAVAILABLE": report["errors"]}
    assert report["connections_lost"] == 2 and report["connections_given_up"] == 2
    assert report["id_checks"]["good"]


def test_a_server_that_is_killed_and_comes_back_gives_no_id_twice(mid):
    server = mid().start()

    def crash():
        server.kill()
        server.start(ready=["segment"])

    crasher = threading.Timer(1.5, crash)
    crasher.start()
    result, report = bench(server, "--mode", "segment", "--duration", 6, "-c", 2, "-m", 4, "--timeout", 20)
    crasher.join()
    assert result.returncode == 1
    assert set(report["errors_by_code"]) == {"UNAVAILABLE"}
    assert report["connections_lost"] == 2 and report["connections_given_up"] == 0
    assert report["id_checks"]["good"] and report["id_checks"]["duplicates"] == 0


def test_a_server_that_stops_in_order_fails_no_call_that_it_took(mid):
    server = mid().start()

    def restart():
        assert server.stop() == 0
        server.start(ready=["segment"])

    restarter = threading.Timer(1.5, restart)
    restarter.start()
    result, report = bench(server, "--mode", "segment", "--duration", 6, "-c", 2, "-m", 4, "--timeout", 20)
    restarter.join()
    assert_good(result, report)
    assert report["connections_drained"] == 2


def test_ctrl_c_ends_the_run_early_and_prints_its_result(mid):
    server = mid().start()
    process = subprocess.Popen(
        [BINARY, "bench", "--server", server.address, "--duration", "60"],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: (server.metric("id_generate_total") or 0) > 100, 20, "the first ids")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert errors == ""
    assert "interrupted" in output
    assert re.search(r"^ids +[\d,]+, all positive, distinct, in order$", output, re.MULTILINE), output


def test_the_table_has_the_originals_columns(mid):
    server = mid().start()
    result = run_mid("bench", "--server", server.address, "--table", "--duration", 0.2, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    head, rule, *rows = result.stdout.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "Mode",
        "Concurrency",
        "QPS (requests/s)",
        "Average latency (ms)",
        "P99 latency (ms)",
        "Errors",
    ]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [(row[0], row[1]) for row in cells] == [
        (mode, level) for mode in ("Snowflake", "Segment") for level in ("10", "50", "100", "200")
    ]
    assert all(float(row[2]) > 0 and float(row[3]) > 0 and row[5] == "0" for row in cells)


def test_no_server_is_one_line_and_exit_code_1(mid):
    result = run_mid("bench", "--server", mid().address)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1 and "Connection refused" in result.stderr


@pytest.fixture
def other_server():
    """A server of grpcio, the C core, whose ids come from a function of their number; the numbers of each connection by
    itself where `by_connection` says so. Batches are the `ranges`, (start, stride, count), each time."""
    servers = []

    def start(make=lambda number: number, by_connection=False, ranges=()):
        lock = threading.Lock()
        counts = {}

        def serve(request, context):
            counter = context.peer() if by_connection else None
            with lock:
                counts[counter] = counts.get(counter, 0) + 1
                return id_pb2.IDResponse(id=make(counts[counter]))

        def serve_batch(request, context):
            items = [mid_pb2.IDRange(start=start, stride=stride, count=count) for start, stride, count in ranges]
            return mid_pb2.GenerateBatchResponse(ranges=items)

        server = grpc.server(futures.ThreadPoolExecutor(4))
        handler, batch_handler = (
            grpc.unary_unary_rpc_method_handler(
                behaviour, request_deserializer=request.FromString, response_serializer=response.SerializeToString
            )
            for behaviour, request, response in (
                (serve, id_pb2.IDRequest, id_pb2.IDResponse),
                (serve_batch, mid_pb2.GenerateBatchRequest, mid_pb2.GenerateBatchResponse),
            )
        )
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler("pb.IDMaker", {"MakeIDService": handler}),
                grpc.method_handlers_generic_handler("mid.v1.IDService", {"GenerateBatch": batch_handler}),
            )
        )
        port = free_port()
        assert server.add_insecure_port(f"127.0.0.1:{port}") == port
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait(10)


def test_another_implementations_server_is_measured_as_well(other_server):
    result, report = bench(other_server(lambda number: number), "-n", 1000, "-c", 2, "-m", 8, "--timeout", 30)
    assert_good(result, report)
    assert report["calls"] == 1000


def test_an_id_given_out_twice_and_an_id_of_0_are_found(other_server):
    address = other_server(lambda number: {500: 123, 600: 0}.get(number, number))
    result, report = bench(address, "-n", 1000, "-c", 2, "-m", 1, "--timeout", 30)
    assert result.returncode == 1
    checks = report["id_checks"]
    assert not report["good"] and not checks["good"]
    assert (checks["duplicates"], checks["duplicate_examples"]) == (1, [123])
    assert (checks["not_positive"], checks["not_positive_examples"]) == (1, [0])
    assert checks["out_of_order"] == 1 and checks["out_of_order_examples"][0][0] == 123
    text = run_mid("bench", "--server", other_server(lambda number: 7), "-n", 3, "-c", 1, "-m", 1)
    assert text.returncode == 1 and "TWICE: 2, such as 7" in text.stdout, text.stdout


def test_the_largest_id_there_is_given_out_twice_is_found(other_server):
    address = other_server(lambda number: 2**63 - 1)
    result = run_mid("bench", "--server", address, "-n", 2, "-c", 1, "-m", 1)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"TWICE: 1, such as {2**63 - 1}" in result.stdout, result.stdout


def test_a_reply_that_claims_billions_of_ids_takes_no_time(other_server):
    address = other_server(ranges=[(1, 2, 2**32 - 1)])
    result, report = bench(address, "-n", 4, "-c", 1, "-m", 1, "--batch", 10, timeout=10)
    assert result.returncode == 1 and not report["good"]
    assert report["ids"] == report["id_checks"]["distinctness_checked"] == 40
    assert report["id_checks"]["malformed_replies"] == 4
    assert report["id_checks"]["malformed_example"] == f"a reply held {2**32 - 1} ids instead of 10"
    assert report["id_checks"]["duplicates"] == 30


def test_an_id_of_an_earlier_row_of_the_table_is_found(other_server):
    address = other_server(by_connection=True)
    result = run_mid("bench", "--server", address, "--table", "--duration", 0.3, "--timeout", 30, "--json", timeout=60)
    assert result.returncode == 1, result.stdout + result.stderr
    rows = json.loads(result.stdout)["table"]
    # Each row is a connection, whose ids begin with 1; the modes have nothing to do with each other.
    assert [row["good"] for row in rows] == [True, False, False, False] * 2
    for row in rows:
        checks = row["id_checks"]
        assert checks["distinctness_missed"] == 0 and (checks["duplicates"] > 0) == (not row["good"]), row
        assert (checks["out_of_order"] > 0) == (not row["good"]), row
