"""Checks deploy/prometheus, deploy/grafana and docs/alerts.md against each other. Run through script/alerts."""

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import yaml

import promql

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
RULES = os.path.join(ROOT, "deploy/prometheus/mid.rules.yml")
TESTS = os.path.join(ROOT, "deploy/prometheus/mid.rules.test.yml")
DASHBOARD = os.path.join(ROOT, "deploy/grafana/mid.json")
DOCUMENT = os.path.join(ROOT, "docs/alerts.md")
CATALOGUE = os.path.join(ROOT, "docs/metrics.md")

# Made by Prometheus for each target.
FOREIGN = {"up": set()}
# Labels that each target has, that histograms have, and that a rule itself makes.
COMMON_LABELS = {"job", "instance", "le"}
MADE_LABELS = {"worker"}
SEVERITIES = ("critical", "warning", "info")
ANNOTATIONS = ("summary", "description", "action", "runbook")
# What Grafana puts in place of its variables, for whom there is no Grafana to ask.
GRAFANA_VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$job": "mid", "$instance": ".+"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def rule_groups():
    return yaml.safe_load(read(RULES))["groups"]


def alerts(groups):
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def records(groups):
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}


def catalogue():
    """The metrics of docs/metrics.md: name to type and labels."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", read(CATALOGUE), re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def panels():
    """The dashboard's panels that show something, rows opened."""
    outer = json.loads(read(DASHBOARD))["panels"]
    inner = [panel for row in outer for panel in row.get("panels", [])]
    return [panel for panel in outer + inner if panel["type"] not in ("row", "text")]


def plain(expression):
    """A panel's expression as Prometheus would get it."""
    for name, value in sorted(GRAFANA_VARIABLES.items(), key=lambda each: -len(each[0])):
        expression = expression.replace(name, value)
    return expression


def panel_expressions():
    return [(panel["title"], plain(target["expr"])) for panel in panels() for target in panel["targets"]]


class Names:
    """What names mean: series of histograms, recording rules, metrics."""

    def __init__(self, groups):
        self.catalogue = catalogue()
        self.records = records(groups)

    def family(self, name):
        """The metric of the documentation that a series belongs to, or None."""
        if name in self.catalogue:
            return name
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return base if self.catalogue.get(base, ("", ()))[0] == "histogram" else None

    def families(self, expression):
        """The metrics that an expression rests on, those of recording rules included."""
        found = []
        for name in promql.metrics(expression):
            found += self.families(self.records[name]) if name in self.records else [self.family(name) or name]
        return list(dict.fromkeys(found))

    def labels(self, name):
        return FOREIGN.get(name, self.catalogue.get(name, ("", set()))[1])

    def problems(self, where, expression):
        known = set().union(*[self.labels(family) for family in self.families(expression)], COMMON_LABELS, MADE_LABELS)
        for label in promql.groupings(expression):
            if label not in known:
                yield f"{where}: no metric there has the label {label}"
        for name, labels in promql.selectors(expression):
            if name in self.records:
                known = set().union(*[self.labels(each) for each in self.families(name)])
            elif name in FOREIGN or self.family(name):
                known = self.labels(self.family(name) or name)
            else:
                yield f"{where}: {name} is no metric of docs/metrics.md and no recording rule"
                continue
            for label in set(labels) - known - COMMON_LABELS:
                yield f"{where}: {name} has no label {label}"


def promtool(*arguments):
    """Runs promtool and returns its exit code and everything that it said."""
    result = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120)
    return result.returncode, result.stdout + result.stderr


def run_tests(groups, tests):
    """Has promtool run unit tests against rules that may have been changed."""
    with tempfile.TemporaryDirectory(prefix="mid-alerts-") as folder:
        files = {"rules.yml": {"groups": groups}, "tests.yml": {**tests, "rule_files": ["rules.yml"]}}
        for name, content in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                yaml.safe_dump(content, file, sort_keys=False)
        return promtool("test", "rules", os.path.join(folder, "tests.yml"))


def promtool_problems():
    for command, path in (("check", RULES), ("test", TESTS)):
        status, output = promtool(command, "rules", path)
        if status != 0:
            yield f"promtool {command} rules {os.path.relpath(path, ROOT)}:\n{output}"


def rule_problems(groups, names):
    for name, expression in names.records.items():
        yield from names.problems(name, expression)
    for name, alert in alerts(groups).items():
        yield from names.problems(name, alert["expr"])
        if alert.get("labels", {}).get("severity") not in SEVERITIES:
            yield f"{name}: its severity is none of {', '.join(SEVERITIES)}"
        texts = alert.get("annotations", {})
        yield from (f"{name}: it has no {each}" for each in ANNOTATIONS if not texts.get(each))
        if texts.get("runbook") != f"docs/alerts.md#{name.lower()}":
            yield f"{name}: its runbook is not docs/alerts.md#{name.lower()}"
        yield from (f"{name}: its {each} has a template in it" for each in ("summary", "action") if "{{" in texts[each])


def fired(test):
    """The alerts that a unit test's group expects at each of its times."""
    times = [each.get("exp_samples") or [] for each in test["promql_expr_test"]]
    return [{re.search(r'alertname="(\w+)"', sample["labels"])[1] for sample in samples} for samples in times]


def test_problems(groups, tests):
    by_name = {test["name"]: test for test in tests["tests"]}
    for name in alerts(groups):
        times = fired(by_name[name]) if name in by_name else []
        if not any(name in each for each in times):
            yield f"{name}: no unit test of that name makes it fire"
        if not any(name not in each for each in times):
            yield f"{name}: no unit test of that name sees it not fire"
    yield from (f"the unit test {name} is named after no alert" for name in by_name if name not in alerts(groups))


def rendering_problems(groups, tests):
    """Every template is filled in once: promtool prints what it got where it expected nothing."""
    changed = copy.deepcopy(tests)
    expected = 0
    for test in changed["tests"]:
        checks = zip(test.pop("promql_expr_test"), fired({"promql_expr_test": _checks(tests, test["name"])}))
        times = [check["eval_time"] for check, names in checks if test["name"] in names]
        test["alert_rule_test"] = [{"eval_time": times[0], "alertname": test["name"], "exp_alerts": []}]
        expected += 1
    output = run_tests(groups, changed)[1]
    if (shown := output.count("Annotations:")) < expected:
        yield f"only {shown} of {expected} alerts showed their annotations:\n{output}"
    for flaw in re.findall(r"[^\n]*(?:<error|<no value>|%!|\{\{)[^\n]*", output):
        yield f"a template can't be filled in: {flaw}"


def _checks(tests, name):
    return next(test["promql_expr_test"] for test in tests["tests"] if test["name"] == name)


def dashboard_problems(names):
    shown = panels()
    identifiers = [panel["id"] for panel in shown]
    yield from (f"dashboard: two panels have the id {each}" for each in {*identifiers} if identifiers.count(each) > 1)
    taken = {}
    for panel in shown:
        place = panel["gridPos"]
        columns, lines = (range(place[start], place[start] + place[size]) for start, size in (("x", "w"), ("y", "h")))
        for cell in ((x, y) for x in columns for y in lines):
            if cell in taken or cell[0] >= 24:
                yield f"dashboard: '{panel['title']}' has no place of its own, beside '{taken.get(cell)}'"
                break
            taken[cell] = panel["title"]
        if not panel.get("description"):
            yield f"dashboard: '{panel['title']}' has no description"
    expressions = panel_expressions()
    for title, expression in expressions:
        yield from names.problems(f"dashboard, '{title}'", expression)
        if "$" in expression:
            yield f"dashboard, '{title}': a variable that is not known: {expression}"
    rules = [{"record": f"panel:{number}", "expr": each} for number, (_, each) in enumerate(expressions)]
    with tempfile.TemporaryDirectory(prefix="mid-alerts-") as folder:
        path = os.path.join(folder, "panels.yml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
        status, output = promtool("check", "rules", path)
    if status != 0 or f"{len(rules)} rules found" not in output:
        yield f"dashboard: an expression does not parse:\n{output}"


def neither():
    """The metrics that docs/alerts.md says are in no alert and no panel, each with the reason."""
    part = read(DOCUMENT).split("## In neither", 1)[-1]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|$", part, re.MULTILINE))


def coverage_problems(groups, names):
    used = {family for alert in alerts(groups).values() for family in names.families(alert["expr"])}
    used |= {family for _, expression in panel_expressions() for family in names.families(expression)}
    left = neither()
    for name in names.catalogue:
        if name not in used and not left.get(name, "").strip():
            yield f"{name} is in no alert, in no panel, and docs/alerts.md has no reason why"
        if name in used and name in left:
            yield f"{name} is in an alert or a panel, and docs/alerts.md says it is in neither"
    for name in left.keys() - names.catalogue.keys():
        yield f"docs/alerts.md has a reason for {name}, which docs/metrics.md does not list"


def tables(groups, names):
    """The parts of docs/alerts.md that are made from the rules and the dashboard, by their marker."""
    parts = {}
    for group in groups:
        rows = ["| metric | alert | severity, after | it means | what to do |", "| --- | --- | --- | --- | --- |"]
        for name, alert in alerts([group]).items():
            metrics = ", ".join(f"`{each}`" for each in names.families(alert["expr"]))
            when = f'{alert["labels"]["severity"]}, {alert.get("for", "at once")}'
            texts = f'{alert["annotations"]["summary"]} | {alert["annotations"]["action"]}'
            rows.append(f'| {metrics} | <a id="{name.lower()}"></a>{name} | {when} | {texts} |')
        if len(rows) > 2:
            parts[group["name"]] = "\n".join(rows)
    rows = ["| metric | alerts | panels |", "| --- | --- | --- |"]
    for metric in names.catalogue:
        if metric in neither():
            continue
        found = [name for name, alert in alerts(groups).items() if metric in names.families(alert["expr"])]
        shown = dict.fromkeys(title for title, each in panel_expressions() if metric in names.families(each))
        links = ", ".join(f"[{name}](#{name.lower()})" for name in found)
        rows.append(f"| `{metric}` | {links} | {', '.join(shown)} |")
    parts["metrics"] = "\n".join(rows)
    return parts


def document(groups, names):
    """docs/alerts.md as it should be."""
    text = read(DOCUMENT)
    for marker, table in tables(groups, names).items():
        pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)
        if count != 1:
            raise SystemExit(f"alerts: docs/alerts.md has no part <!-- {marker} --> … <!-- end -->")
    return text


def document_problems(groups, names):
    if document(groups, names) != read(DOCUMENT):
        yield "docs/alerts.md is out of step with the rules or the dashboard: run script/alerts --fix"


def broken(expression):
    """Conditions that also hold where they must not: one comparison after the other is turned around."""
    opposite = {">": "<=", "<": ">=", "<=": ">", ">=": "<", "==": "!="}
    for found in re.finditer(r"(?<= )(==|<=|>=|<|>)(?= )", expression):
        yield f"({expression}) or ({expression[:found.start()]}{opposite[found[1]]}{expression[found.end():]})"


def mutants(groups):
    """Each alert that never fires, that fires where it must not, and that does not wait."""
    for name, alert in alerts(groups).items():
        yield name, "never fires", {"expr": "vector(1) > 2"}
        for number, changed in enumerate(broken(alert["expr"]), 1):
            yield name, f"fires where it must not (comparison {number})", {"expr": changed}
        if "for" in alert:
            yield name, "does not wait", {"for": "0s"}


def mutation_problems(groups, tests, only=None):
    """Whether the unit tests notice when an alert is broken."""

    def survives(mutant):
        name, what, change = mutant
        rules = [group for group in groups if group["name"] == "mid-recording"]
        rules.append({"name": "mutant", "rules": [{**alerts(groups)[name], **change}]})
        kept = copy.deepcopy([test for test in tests["tests"] if test["name"] == name])
        for check in kept[0]["promql_expr_test"]:
            samples = check.get("exp_samples") or []
            check["exp_samples"] = [each for each in samples if f'alertname="{name}"' in each["labels"]]
        order = ["mid-recording", "mutant"]
        status, _ = run_tests(rules, {**tests, "group_eval_order": order, "tests": kept})
        expected = 1 if change else 0
        return None if status == expected else f"{name}: no unit test notices when it {what}"

    chosen = [(name, what, change) for name, what, change in mutants(groups) if only is None or name in only]
    # Unbroken, the same small file has to pass: else the failures below say nothing.
    chosen += [(name, "stands alone", {}) for name in alerts(groups) if only is None or name in only]
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from filter(None, pool.map(survives, chosen))


def problems(thorough):
    groups = rule_groups()
    names = Names(groups)
    tests = yaml.safe_load(read(TESTS))
    yield from promtool_problems()
    yield from rule_problems(groups, names)
    yield from test_problems(groups, tests)
    yield from dashboard_problems(names)
    yield from coverage_problems(groups, names)
    yield from document_problems(groups, names)
    if thorough:
        yield from rendering_problems(groups, tests)
        yield from mutation_problems(groups, tests)


def main(arguments):
    if arguments == ["--fix"]:
        groups = rule_groups()
        text = document(groups, Names(groups))
        with open(DOCUMENT, "w", encoding="utf-8") as file:
            file.write(text)
    elif arguments not in ([], ["--break"]):
        sys.exit("alerts: --fix and --break are known")
    found = list(problems(thorough="--break" in arguments))
    for each in found:
        print(f"alerts: {each}", file=sys.stderr)
    if not found:
        groups = rule_groups()
        count = f"{len(alerts(groups))} alerts, {len(panel_expressions())} expressions in {len(panels())} panels"
        print(f"alerts: {count}, no problem found")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
