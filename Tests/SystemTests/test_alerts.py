"""The alerts of deploy/prometheus and the dashboard of deploy/grafana: by promtool, and in a real Prometheus."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import yaml

from programs import ROOT, free_port, needs, wait_until
from stubs import generate_id, make_id

sys.path.insert(0, os.path.join(ROOT, "script", "lib"))
import alerts  # noqa: E402
import promql  # noqa: E402

# True of machines that tests run on, which nobody keeps the clock of and which have other work, and no fault of the server.
EXPECTED = {"MidClockNotSynchronized", "MidStoreSlow", "MidCallsSlow", "MidHTTPRequestsSlow"}


def fetch(url):
    """GET without a proxy of the environment."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10)


class Prometheus:
    """A real Prometheus that scrapes some servers every second, with the rules of deploy/prometheus."""

    def __init__(self, program, folder, servers, at_once=False):
        rules = alerts.rule_groups()
        for group in rules if at_once else []:
            for rule in group["rules"]:
                rule.pop("for", None)
        path = folder / "rules.yml"
        path.write_text(yaml.safe_dump({"groups": rules}))
        configuration = folder / "prometheus.yml"
        targets = [f"127.0.0.1:{server.metrics_port}" for server in servers]
        configuration.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(path)],
                    "scrape_configs": [{"job_name": "mid", "static_configs": [{"targets": targets}]}],
                }
            )
        )
        self.port = free_port()
        self.process = program(
            shutil.which("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        wait_until(lambda: self.query("up") is not None, 30, "Prometheus answers", interval=0.2)

    def _get(self, path):
        with fetch(f"http://127.0.0.1:{self.port}{path}") as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """The result of an expression, or None where it is refused or Prometheus does not listen yet."""
        try:
            return self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))["result"]
        except urllib.error.HTTPError as error:
            print(f"{expression}: {error.read().decode()}")
            return None
        except OSError:
            return None

    def rules(self):
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def firing(self):
        return {rule["name"] for rule in self.rules() if rule.get("state") == "firing"}


@contextlib.contextmanager
def callers(server, *modes):
    """One caller for each mode that calls all the time, and takes failures as they come."""
    stopped = []

    def call(mode):
        with server.channel() as channel:
            one = make_id(channel)
            while not stopped:
                with contextlib.suppress(grpc.RpcError):
                    one(mode, timeout=2)

    with ThreadPoolExecutor(len(modes)) as pool:
        futures = [pool.submit(call, mode) for mode in modes]
        try:
            yield
        finally:
            stopped.append(True)
    for future in futures:
        future.result()


@needs("promtool")
@pytest.mark.timeout(600)
def test_rules_unit_tests_dashboard_and_documentation_agree_and_no_broken_alert_goes_unnoticed():
    script = os.path.join(ROOT, "script/lib/alerts.py")
    result = subprocess.run([sys.executable, "-B", script, "--break"], capture_output=True, text=True, timeout=590)
    assert result.returncode == 0, result.stderr
    print(result.stdout)


def exposed(page):
    """The metrics of a page: family to the labels of its series."""
    families = {name: kind for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE)}
    found = {name: set() for name in families}
    for name, labels in re.findall(r"^([a-z]\w*)(?:\{(.*)\})? \S+$", page, re.MULTILINE):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        family = name if name in families else base
        found[family] |= set(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels)) - {"le"}
    return families, found


def test_a_running_server_exposes_what_the_documentation_lists_and_nothing_else(mid):
    server = mid().start()
    with server.channel() as channel:
        generate_id(channel)("segment", timeout=5)
    catalogue = alerts.catalogue()
    families, labels = exposed(server.metrics_text())
    assert len(families) > 30, families
    assert {name: catalogue.get(name, ("not listed",))[0] for name in families} == families
    unexpected = {name: each for name, each in labels.items() if each and each != catalogue[name][1]}
    assert unexpected == {}
    # What the rules and the panels are about: listed, every one.
    expressions = [rule["expr"] for group in alerts.rule_groups() for rule in group["rules"]]
    expressions += [expression for _, expression in alerts.panel_expressions()]
    names = alerts.Names(alerts.rule_groups())
    used = {family for expression in expressions for family in names.families(expression)}
    assert used - set(catalogue) == set(alerts.FOREIGN)
    missing = sorted(used - set(families) - set(alerts.FOREIGN))
    print(f"{len(used)} metrics are used, of which this server shows all but {', '.join(missing)}")


@needs("prometheus")
def test_a_real_prometheus_takes_every_rule_and_answers_every_panel(mid, program, tmp_path):
    server = mid().start()
    names = alerts.Names(alerts.rule_groups())
    with callers(server, "snowflake", "segment"):
        prometheus = Prometheus(program, tmp_path, [server])

        def answer_to(expression):
            # Rates of HTTP need requests all the time, as those of gRPC have callers.
            with fetch(f"http://127.0.0.1:{server.http_port}/v1/ids/uuid7") as answer:
                assert answer.status == 200
            return prometheus.query(expression)

        def evaluated():
            rules = prometheus.rules()
            return rules if all(rule["health"] != "unknown" for rule in rules) else None

        rules = wait_until(evaluated, 30, "every rule was evaluated", interval=0.5)
        assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
        assert len(rules) == sum(len(group["rules"]) for group in alerts.rule_groups())
        answer_to("up")
        page, _ = exposed(server.metrics_text())
        shown = 0
        for title, expression in alerts.panel_expressions():
            assert answer_to(expression) is not None, f"{title}: {expression}"
            # What rests on a rate needs a while, and what rests on a rule needs failures.
            rests_on_rule = any(name in names.records for name in promql.metrics(expression))
            if all(name in page for name in names.families(expression)) and not rests_on_rule:
                wait_until(lambda: answer_to(expression), 20, f"'{title}' shows something", interval=0.5)
                shown += 1
        print(f"{shown} of {len(alerts.panel_expressions())} expressions show something")
        assert shown > 30
        assert prometheus.firing() == set()


@needs("prometheus")
def test_alerts_fire_when_the_database_is_gone_and_when_the_server_is(mid, mariadb, program, tmp_path):
    server = mid(
        store=mariadb.url,
        settings={
            **mariadb.settings,
            "MID_SEGMENT_OUTAGE": "0s",
            "MID_SEGMENT_TARGET": "1s",
            "MID_SEGMENT_MAX_LOAD": "1000",
            "MID_SNOWFLAKE_LEASE": "15s",
            "MID_SNOWFLAKE_RENEW_INTERVAL": "2s",
        },
    ).start()
    mariadb.query("UPDATE id_segments SET step = 1000")
    prometheus = Prometheus(program, tmp_path, [server], at_once=True)
    with callers(server, "snowflake", "segment"):
        calls = 'sum(rate(mid_rpc_calls_total{code="OK",method="pb.IDMaker/MakeIDService"}[5s])) > 0'
        wait_until(lambda: prometheus.query(calls), 20, "calls are counted", interval=0.5)
        # A call that waits for a load may be seen waiting, and a tag of one-second loads is low.
        passing = EXPECTED | {"MidSegmentWaiters", "MidSegmentsLow"}
        # Without their time to hold, alerts about nodes that are missing fire until the first scrape.
        wait_until(lambda: prometheus.firing() <= passing, 20, "no other alert fires", interval=0.5)
        mariadb.kill()
        wanted = {
            "MidSegmentsEmpty", "MidSegmentLoadsFail", "MidStoreErrors", "MidCallsFail",
            "MidNodeNotReady", "MidModeNotReady", "MidLeaseNotRenewed", "MidLeaseEnds",
        }  # fmt: skip
        seen = set()

        def all_seen():
            seen.update(prometheus.firing())
            return wanted <= seen

        try:
            wait_until(all_seen, 60, "all alerts of a database that is gone", interval=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}; missing: {wanted - seen}") from None
    server.kill()
    wait_until(lambda: "MidNodeDown" in prometheus.firing(), 20, "MidNodeDown", interval=0.5)


@needs("prometheus")
def test_a_table_that_went_backwards_raises_its_alerts(mid, program, tmp_path):
    server = mid().start()
    with server.channel() as channel:
        make_id(channel)("segment", timeout=5)
    server.kill()
    with contextlib.closing(sqlite3.connect(f"{server.folder}/mid.db")) as database:
        assert database.execute("UPDATE id_segments SET max_id = 1 WHERE biz_tag = 'default'").rowcount == 1
        database.commit()
    server.start(ready=["snowflake"])
    prometheus = Prometheus(program, tmp_path, [server])
    with callers(server, "segment"):
        wait_until(lambda: "MidDataLoss" in prometheus.firing(), 40, "MidDataLoss", interval=0.5)
    assert server.metric("mid_segment_loads_total", tag="default", result="wentBackwards") >= 1
    assert server.metric("mid_rpc_calls_total", code="DATA_LOSS") >= 2


@needs("prometheus")
def test_two_nodes_with_the_same_worker_id_are_noticed(mid, program, tmp_path):
    # Each on a store of its own, so that no lease keeps them apart.
    servers = [mid().start(), mid().start()]
    prometheus = Prometheus(program, tmp_path, servers, at_once=True)
    # Without their time to hold, alerts about nodes that are missing fire until the first scrape.
    only = {"MidWorkerTwice"}
    wait_until(lambda: prometheus.firing() - EXPECTED == only, 30, "MidWorkerTwice, and no other", interval=0.5)


# What the checks lean on, and that they can fail.


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('sum by (job, tag) (rate(a_total{code=~"x|y", le!="b{c}"}[5m])) > 0', [("a_total", ["code", "le"])]),
        ("a / on (job) group_left (b) c offset 10m == bool 1", [("a", []), ("c", [])]),
        ('count_values by (job) ("worker", a) > 1e3', [("a", [])]),
        ("max_over_time(a:b:c[1h:5m]) - time() < 0.5 * 86400 # d", [("a:b:c", [])]),
        ("a unless b and c or -d", [("a", []), ("b", []), ("c", []), ("d", [])]),
    ],
)
def test_the_metrics_of_an_expression_are_found(expression, found):
    assert promql.selectors(expression) == found


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("mid_no_such_metric > 0", "is no metric"),
        ("mid_ready_bucket > 0", "is no metric"),
        ('mid_ready{tag="a"} == 0', "has no label tag"),
        ('instance:mid_segment_waiters:sum{mode="a"} > 0', "has no label mode"),
        ("sum by (tag) (mid_ready) == 0", "has the label tag"),
    ],
)
def test_a_name_that_no_server_exposes_is_found(expression, problem):
    problems = list(alerts.Names(alerts.rule_groups()).problems("here", expression))
    assert len(problems) == 1 and problem in problems[0], problems
    assert list(alerts.Names(alerts.rule_groups()).problems("here", 'mid_ready{mode="segment", job="mid"}')) == []


@needs("promtool")
def test_a_dashboard_that_does_not_parse_or_shows_what_is_not_there_is_found(tmp_path, monkeypatch):
    dashboard = json.loads(alerts.read(alerts.DASHBOARD))
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    shown[0]["targets"][0]["expr"] = "sum(mid_ready"
    shown[1]["targets"][0]["expr"] = "mid_nothing{$unknown}"
    shown[2]["gridPos"] = dict(shown[1]["gridPos"])
    shown[3]["id"] = shown[4]["id"]
    path = tmp_path / "mid.json"
    path.write_text(json.dumps(dashboard))
    monkeypatch.setattr(alerts, "DASHBOARD", str(path))
    problems = "\n".join(alerts.dashboard_problems(alerts.Names(alerts.rule_groups())))
    for each in ("does not parse", "mid_nothing is no metric", "not known", "no place of its own", "two panels"):
        assert each in problems, problems


def test_a_metric_that_nobody_looks_at_and_a_table_out_of_step_are_found(tmp_path, monkeypatch):
    groups = alerts.rule_groups()
    names = alerts.Names(groups)
    names.catalogue["mid_new"] = ("gauge", set())
    assert list(alerts.coverage_problems(groups, names)) == [
        "mid_new is in no alert, in no panel, and docs/alerts.md has no reason why"
    ]
    path = tmp_path / "alerts.md"
    path.write_text(alerts.read(alerts.DOCUMENT) + "| `mid_ready` | no reason |\n")
    monkeypatch.setattr(alerts, "DOCUMENT", str(path))
    assert any("mid_ready is in an alert or a panel" in each for each in alerts.coverage_problems(groups, names))
    next(iter(alerts.alerts(groups).values()))["annotations"]["action"] = "Something else."
    assert [each[:31] for each in alerts.document_problems(groups, names)] == ["docs/alerts.md is out of step w"]


@needs("promtool")
def test_an_alert_without_a_test_of_both_kinds_a_severity_or_a_place_in_the_documentation_is_found():
    groups = alerts.rule_groups()
    tests = yaml.safe_load(alerts.read(alerts.TESTS))
    alert = alerts.alerts(groups)["MidClockOff"]
    alert["labels"]["severity"] = "page"
    alert["annotations"]["runbook"] = "docs/alerts.md"
    problems = list(alerts.rule_problems(groups, alerts.Names(groups)))
    assert len(problems) == 2 and all("MidClockOff" in each for each in problems), problems
    [test] = [each for each in tests["tests"] if each["name"] == "MidClockOff"]
    late = test["promql_expr_test"].pop()
    assert "MidClockOff: no unit test of that name makes it fire" in alerts.test_problems(groups, tests)
    test["promql_expr_test"] = [late]
    assert "MidClockOff: no unit test of that name sees it not fire" in alerts.test_problems(groups, tests)
    # Without the time before, nobody sees whether the alert waits.
    problems = list(alerts.mutation_problems(groups, tests, only={"MidClockOff"}))
    assert problems == ["MidClockOff: no unit test notices when it does not wait"]


@needs("promtool")
def test_a_template_that_can_not_be_filled_in_is_found():
    groups = alerts.rule_groups()
    tests = yaml.safe_load(alerts.read(alerts.TESTS))
    tests["tests"] = [test for test in tests["tests"] if test["name"] == "MidClockOff"]
    alerts.alerts(groups)["MidClockOff"]["annotations"]["description"] = "{{ humanizeDuration $labels }}"
    assert any("can't be filled in" in each for each in alerts.rendering_problems(groups, tests))
