#!/usr/bin/env python3
"""Looks whether what the pages show of a file is what the file holds.

usage: scripts/snippets.py [PAGE...]        (all Markdown of the tree when none is named)

A fenced block behind a line `<!-- of PATH -->` must stand in PATH, line by line and in one piece; how far
it is indented does not matter. A line of dots (`...`) leaves lines out. Exits 1 and tells the first line
that is not there.
"""

import os
import re
import subprocess
import sys
import textwrap

SOURCE = re.compile(r"^<!-- of (\S+) -->$")


def tracked_pages():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"],
                         check=True, capture_output=True, text=True).stdout
    return out.splitlines()


def snippets(page):
    """(line, path, text of the block) of each block that names its file."""
    lines = open(page, encoding="utf-8").read().splitlines()
    for at, line in enumerate(lines):
        source = SOURCE.match(line.strip())
        if not source:
            continue
        if at + 1 >= len(lines) or not lines[at + 1].startswith("```"):
            sys.exit(f"{page}:{at + 1}: no block follows")
        end = lines.index("```", at + 2)
        yield at + 3, source.group(1), lines[at + 2:end]


def pieces(block):
    """A block without what it leaves out: its runs of lines."""
    run = []
    for line in [*block, "..."]:
        if line.strip() == "...":
            if run:
                yield run
            run = []
        else:
            run.append(line)


def bare(lines):
    return textwrap.dedent("\n".join(lines)).rstrip().split("\n")


def find(piece, lines, start):
    """Where behind `start` the piece ends in the lines, or None."""
    wanted = bare(piece)
    for at in range(start, len(lines) - len(wanted) + 1):
        if bare(lines[at:at + len(wanted)]) == wanted:
            return at + len(wanted)
    return None


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    count, wrong = 0, 0
    for page in sys.argv[1:] or tracked_pages():
        for line, path, block in snippets(page):
            count += 1
            if not os.path.exists(path):
                print(f"{page}:{line}: there is no file {path}", file=sys.stderr)
                wrong += 1
                continue
            lines, at = open(path, encoding="utf-8").read().splitlines(), 0
            for piece in pieces(block):
                at = find(piece, lines, at)
                if at is None:
                    print(f"{page}:{line}: {path} has no such lines: {piece[0].strip()} ...", file=sys.stderr)
                    wrong += 1
                    break
    if wrong:
        sys.exit(f"snippets: {wrong} of {count} are not what their files hold")
    print(f"snippets: {count} are what their files hold")


if __name__ == "__main__":
    main()
