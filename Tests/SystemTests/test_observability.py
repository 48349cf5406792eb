"""What an operator's tools see: promtool, Prometheus, an NTP server, the log."""

import json
import shutil
import subprocess
import urllib.request

import pytest

from programs import free_port, needs, wait_until
from stubs import make_id


def some_calls(server):
    with server.channel() as channel:
        one = make_id(channel)
        for mode in ("snowflake", "segment"):
            for _ in range(100):
                one(mode, timeout=5)


@needs("promtool")
def test_promtool_has_nothing_to_say(mid):
    server = mid().start()
    some_calls(server)
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=server.metrics_text(), capture_output=True, text=True, timeout=20
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_originals_metrics_have_its_names_and_labels(mid):
    server = mid().start()
    some_calls(server)
    assert server.metric("id_generate_total", mode="snowflake") == 100
    assert server.metric("id_generate_total", mode="segment") == 100
    assert server.metric("buffer_usage", mode="segment", buffer="buffer1") > 0
    assert server.metric("buffer_usage", mode="segment", buffer="buffer2") is not None
    buckets = [".005", ".01", ".025", ".05", ".1", ".25", ".5", "1", "2.5", "5", "10"]
    text = server.metrics_text()
    for bucket in buckets:
        assert any(f'le="{form}"' in text for form in (bucket, f"0{bucket}", f"{bucket}.0")), bucket
    assert server.metric("mysql_query_duration_seconds_bucket", le="+Inf") is not None


@needs("prometheus")
def test_a_real_prometheus_scrapes_it(mid, program, tmp_path):
    server = mid().start()
    some_calls(server)
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: mid\n  static_configs:\n"
        f"  - targets: ['127.0.0.1:{server.metrics_port}']\n"
    )
    port = free_port()
    program(
        shutil.which("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def query(expression):
        try:
            with opener.open(f"http://127.0.0.1:{port}/api/v1/query?query={expression}", timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return None
        return float(result[0]["value"][1]) if result else None

    wait_until(lambda: query("up") == 1, 30, "up == 1 in Prometheus", interval=0.2)
    assert query("sum(id_generate_total)") == 200


@needs("chronyd")
@needs("promtool")
def test_an_ntp_server_that_is_3_s_ahead_shows_as_plus_3000_ms(mid, clock, ntp_server):
    clock.set(3)
    server = mid(
        settings={
            "MID_CLOCK_NTP_SERVERS": ntp_server(clock),
            "MID_CLOCK_NTP_INTERVAL": "1s",
            "MID_CLOCK_MAX_OFFSET": "1m",
        }
    ).start()
    wait_until(lambda: server.metric("ntp_offset_milliseconds"), 15, "an NTP offset other than 0", interval=0.1)
    assert 2500 < server.metric("ntp_offset_milliseconds") < 3500
    # The unit in this name is the original's; promtool has nothing else to say of the whole page.
    remarks = subprocess.run(
        ["promtool", "check", "metrics"], input=server.metrics_text(), capture_output=True, text=True, timeout=20
    )
    lines = (remarks.stdout + remarks.stderr).splitlines()
    assert [line for line in lines if not line.startswith("ntp_offset_milliseconds ")] == [], lines
    with server.channel() as channel:
        assert make_id(channel)("snowflake", timeout=5) > 0


def test_every_log_line_is_one_json_object_and_none_holds_an_id(mid):
    server = mid().start()
    with server.channel() as channel:
        one = make_id(channel)
        ids = [one("snowflake", timeout=5) for _ in range(100)]
    assert server.stop() == 0
    lines = server.process.errors().splitlines()
    assert lines
    entries = [json.loads(line) for line in lines]
    for entry in entries:
        assert isinstance(entry, dict)
    assert not any(str(each) in line for each in ids for line in lines)
    assert any(f"{server.port}" in line for line in lines), "no line says where it listens"
