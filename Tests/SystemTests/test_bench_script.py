"""script/bench works here: a table with numbers comes out, and it says what it left out."""

import os
import re
import subprocess
import sys

from programs import BINARY

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script", "bench")


def bench(*arguments):
    command = [sys.executable, "-B", SCRIPT, *arguments, "--quick", "--binary", BINARY]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def rows(output):
    """The table's rows by the text of their second cell."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("| ")]
    return {row[1]: row for row in cells[2:]}


def test_a_quick_run_prints_a_cost_and_a_rate_for_each_mode():
    table = rows(bench("--only", "snowflake", "--only", "segment"))
    assert set(table) == {"snowflake", "segment"}
    for row in table.values():
        assert row[0] == "8 × 32"
        assert re.fullmatch(r"\d+\.\d\d µs", row[2]) and float(row[2].split()[0]) > 0
        assert int(row[4].replace(",", "")) > 0


def test_every_peer_is_measured_or_said_to_be_left_out():
    output = bench()
    table = rows(output)
    for peer in ("nghttpd", "nio-streams", "nio-frames", "redis-everysec", "redis-always"):
        assert (peer in table) != (f"{peer} is left out" in output), output


def test_http_is_measured_by_path_and_the_bare_server_or_said_to_be_left_out():
    output = bench("http")
    table = rows(output)
    for path in ("GET /v1/ids/snowflake", "GET /v1/ids/segment", "GET /api/segment/get/default"):
        assert float(table[path][2].split()[0]) > 0 and int(table[path][4].replace(",", "")) > 0, output
    bare = "bare NIO HTTP/1.1"
    assert (bare in table) != (f"{bare} is left out" in output), output
    assert all(bool(table[path][5]) == (bare in table) for path in table if path != bare), output


def test_batches_give_no_more_ids_than_were_asked_for():
    for line in bench("batch").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0] in ("segment", "snowflake"):
            rate, failed = (int(cells[index].replace(",", "")) for index in (2, 6))
            assert rate > 0 and failed == 0, line
            # 4,096 ids a millisecond, and as many times more as the second ahead is of a short run.
            assert cells[0] != "snowflake" or rate < 4 * 4_096_000, line


def test_many_tags_cost_memory_and_time_that_are_counted():
    table = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in bench("tags").splitlines() if "|" in line}
    one, many = (float(cell.split()[0].replace(",", "")) for cell in table["resident memory, each used once"][:2])
    # A generator for each of 1,000 tags is there, and none is as large as a page.
    assert 0.5 < many - one < 32, (one, many)
    one, many = (float(cell.split()[0].replace(",", "")) for cell in table["a page of metrics"][:2])
    assert many > one, "the tags are not in the metrics: none was used"
