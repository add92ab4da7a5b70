#!/usr/bin/env python3
"""Looks whether README.zh-CN.md says what README.md says: the same outline, commands, code, links, tables
and figures, section by section.

usage: scripts/translation.py

Words cannot be compared, so what can be is: a section is told when one page has a heading, a command, a
piece of `code`, a link, a row of a table or a number that the other lacks. Numbers are compared as values:
"20 million", "2000 万" and "20 M" are one. Exits 1 and tells each difference.
"""

import os
import re
import sys
from collections import Counter

PAGES = ("README.md", "README.zh-CN.md")
UNITS = {"k": 10**3, "thousand": 10**3, "M": 10**6, "million": 10**6, "万": 10**4, "百万": 10**6, "亿": 10**8}
NUMBER = r"\d[\d,]*(?:\.\d+)?"
UNIT = r"(?:k\b|M\b|thousand|million|百万|万|亿)"
# "2 to 3 million": the unit is of both.
RANGE = re.compile(rf"({NUMBER}) to (?={NUMBER}\s?({UNIT}))")
FIGURE = re.compile(rf"(?<![\w.])({NUMBER})\s?({UNIT})?")
LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")


def sections(path):
    """The page as a list of [heading's level, its lines]; fences stay whole."""
    found, fenced = [[0, []]], False
    for line in open(path, encoding="utf-8").read().splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"^(#+) ", line)
        if heading:
            found.append([len(heading.group(1)), []])
        found[-1][1].append(line)
    return found


def commands(lines):
    """What stands in fences, line by line; what a comment says may be said in another language."""
    fenced = False
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            yield re.sub(r"(^|\s)#.*", "", line).rstrip()


def prose(lines):
    text, fenced = [], False
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            text.append(line)
    return "\n".join(text)


def figures(text):
    text = re.sub(r"`[^`]*`", " ", LINK.sub(" ", text))
    text = RANGE.sub(r"\1 \2 ", text)
    for number, unit in FIGURE.findall(text):
        yield round(float(number.replace(",", "")) * UNITS.get(unit, 1), 6)


def features(lines):
    """What can be compared of a section: name -> multiset."""
    text = prose(lines)
    # Each page links the other.
    targets = [t for t in LINK.findall(text) if t not in PAGES]
    return {
        "command": Counter(commands(lines)),
        "code": Counter(re.findall(r"`([^`]+)`", LINK.sub(" ", text))),
        "link": Counter(targets),
        "figure": Counter(figures(text)),
        "table row": Counter({"": len(re.findall(r"^\|", text, re.M))}),
        "list item": Counter({"": len(re.findall(r"^\s*(?:-|\d+\.) ", text, re.M))}),
    }


def compare(number, title, first, second):
    for name, ours in features(first).items():
        theirs = features(second)[name]
        for page, extra in ((PAGES[0], ours - theirs), (PAGES[1], theirs - ours)):
            for what, count in extra.items():
                yield (f"section {number} ({title}): {name} {what!r}" if what != "" else
                       f"section {number} ({title}): {count} {name}(s)") + f" in {page} alone"


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    english, chinese = (sections(page) for page in PAGES)
    wrong = []
    if [level for level, _ in english] != [level for level, _ in chinese]:
        wrong.append(f"the outlines differ: {len(english) - 1} headings in {PAGES[0]}, "
                     f"{len(chinese) - 1} in {PAGES[1]}, or other levels")
    for number, ((_, first), (_, second)) in enumerate(zip(english, chinese)):
        title = first[0].lstrip("# ") if first else "top"
        wrong += compare(number, title, first, second)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        sys.exit(f"translation: {PAGES[1]} is not in step with {PAGES[0]}")
    print(f"translation: {PAGES[1]} has all that {PAGES[0]} has, in {len(english) - 1} sections")


if __name__ == "__main__":
    main()
