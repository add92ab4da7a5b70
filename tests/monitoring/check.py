"""Reads /metrics strictly, and holds rules, dashboard and documentation against it.

usage: tests/monitoring/check.py METRICS
"""

import json
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABELS = r"(?:\{(?:%s=\"(?:[^\"\\\n]|\\[\\\"n])*\",?)*\})?" % NAME
SAMPLE = re.compile(r"^(%s)(%s) (\+Inf|-?[0-9.eE+-]+)$" % (NAME, LABELS))

problems = []


def problem(text):
    problems.append(text)
    print("monitoring: " + text, file=sys.stderr)


def series_of(name, kind):
    return {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}


def read_metrics(path):
    """Families by name: their type. Each has a HELP, then a TYPE, then its samples, each once."""
    families, allowed, seen, helped = {}, set(), set(), None
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            if line.startswith("# HELP "):
                helped = line.split(" ", 3)[2]
                if len(line.split(" ", 3)) < 4 or not line.endswith("."):
                    problem(f"{path}, line {number}: a HELP is a sentence")
                continue
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                if name != helped or name in families:
                    problem(f"{path}, line {number}: {name} has no HELP before it, or stands twice")
                if kind not in ("counter", "gauge", "histogram"):
                    problem(f"{path}, line {number}: what is a {kind}?")
                if (kind == "counter") != name.endswith("_total"):
                    problem(f"{name}: a counter ends with _total, and nothing else does")
                families[name] = kind
                allowed = series_of(name, kind)
                continue
            sample = SAMPLE.match(line)
            if not sample or sample.group(1) not in allowed:
                problem(f"{path}, line {number}: not a sample of its family: {line}")
                continue
            if sample.group(1) + sample.group(2) in seen:
                problem(f"{path}, line {number}: stands twice: {line}")
            seen.add(sample.group(1) + sample.group(2))
    return families


def check_names(where, text, families):
    series = set().union(*(series_of(name, kind) for name, kind in families.items()))
    used = set(re.findall(r"\b(?:tidegate|process)_[a-z0-9_]+\b", text))
    for name in sorted(used - series - {"tidegate_build_info"}):
        problem(f"{where} uses {name}, which there is not")
    return used


def anchors_of(path):
    with open(path, encoding="utf-8") as lines:
        titles = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def check_runbook(where, text):
    links = re.findall(r"(docs/(?:operations|on-call)\.md)#([a-z0-9-]+)", text)
    if not links:
        problem(f"{where} leads to no page of the runbook")
    for page, anchor in links:
        if anchor not in anchors_of(page):
            problem(f"{where} leads to {page}#{anchor}, which there is not")


def check_rules(families):
    path = "docs/operations/alerts.yml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    check_names(path, text, families)
    check_runbook(path, text)
    with open("docs/operations/alerts.test.yml", encoding="utf-8") as file:
        tests = file.read()
    for alert in re.findall(r"- alert: (\w+)", text):
        if f"alertname: {alert}\n" not in tests:
            problem(f"{alert} has no unit test")


def check_dashboard(families):
    path = "docs/operations/grafana.json"
    with open(path, encoding="utf-8") as file:
        dashboard = json.load(file)
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [variable["query"] for variable in dashboard["templating"]["list"]]
    for query in queries:
        check_names(path, query, families)
    check_runbook(path, json.dumps(dashboard))


def check_page(families):
    """docs/admin.md lists every family with its type, and no other."""
    with open("docs/admin.md", encoding="utf-8") as file:
        listed = dict(re.findall(r"^\| `((?:tidegate|process)_[a-z0-9_]+)[^`]*` \| (\w+) \|", file.read(), re.M))
    for name in sorted(set(families) - set(listed)):
        problem(f"docs/admin.md does not list {name}")
    for name, kind in sorted(listed.items()):
        if families.get(name) != kind:
            problem(f"docs/admin.md lists the {kind} {name}, which is {families.get(name, 'not there')}")


def main():
    families = read_metrics(sys.argv[1])
    check_rules(families)
    check_dashboard(families)
    check_page(families)
    if problems:
        sys.exit(f"monitoring: {len(problems)} problems")
    print(f"monitoring: {len(families)} metrics, all of them listed; rules and dashboard use no other")


main()
