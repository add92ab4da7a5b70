"""Reads what tidegate-load wrote as others will: page.py html FILE, page.py junit FILE.

A page must be well-formed to the last tag, stand alone, and be readable without being seen; a CI
file must be XML whose counts are those of its cases. Prints what is wrong, and exits 1 then."""

import math
import re
import sys
import xml.etree.ElementTree as xml
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}
wrong = []


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.named, self.charts = [], [], [], 0

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        if len(names) != len(set(names)):
            wrong.append(f"{tag}: an attribute twice: {names}")
        found = dict(attributes)
        for name, value in attributes:
            if name in ("src", "href", "action", "data") or name.startswith("on"):
                wrong.append(f"{tag}: {name}={value}: does not stand alone")
            if name in ("x", "y", "x1", "x2", "y1", "y2", "width", "height") and tag != "meta":
                if not math.isfinite(float(value)):
                    wrong.append(f"{tag}: {name}={value}")
            if name == "d" and re.search("[^-MLHVZ0-9. ]", value):
                wrong.append(f"{tag}: d={value[:80]}")
        if "id" in found:
            self.ids.append(found["id"])
        self.named += (found.get("aria-labelledby") or "").split()
        if found.get("role") == "img":
            self.charts += 1
            if "aria-labelledby" not in found:
                wrong.append("a picture without words")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            wrong.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        else:
            self.open.pop()


def look_at_html(text):
    page = Page()
    page.feed(text)
    page.close()
    if page.open:
        wrong.append(f"never closed: {page.open}")
    if len(page.ids) != len(set(page.ids)):
        wrong.append(f"an id twice: {page.ids}")
    wrong.extend(f"no element {name}" for name in page.named if name not in page.ids)
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        xml.fromstring(svg)
    # The script has no say in what is read: everything before it is markup.
    if re.search(r"\bnan\b|\binf\b|://", text.split("<script>")[0], re.I):
        wrong.append("a number that is none, or an address")
    print("charts", page.charts)


def look_at_junit(text):
    root = xml.fromstring(text)
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    for suite in [root] + list(root):
        cases = suite.findall(".//testcase")
        if int(suite.get("tests")) != len(cases):
            wrong.append(f"{suite.get('name')}: {suite.get('tests')} tests, {len(cases)} cases")
        for count, kind in kinds.items():
            if int(suite.get(count)) != len([c for c in cases if c.find(kind) is not None]):
                wrong.append(f"{suite.get('name')}: {count} is {suite.get(count)}")
    for case in root.iter("testcase"):
        print(case.get("classname"), "|", case.get("name"), "|", *[child.tag for child in case])


with open(sys.argv[2], encoding="utf-8") as file:
    {"html": look_at_html, "junit": look_at_junit}[sys.argv[1]](file.read())
print("\n".join(wrong), end="")
sys.exit(1 if wrong else 0)
