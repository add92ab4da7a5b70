#!/usr/bin/env python3
"""Looks whether every relative link of every page leads to a file, and every anchor to a heading; and so the
pages that the alert rules name (runbook_url).

usage: scripts/links.py [PAGE...]        (all Markdown of the tree when none is named)

Anchors are made of headings as GitHub makes them. Links to other hosts are not followed. Exits 1 and
tells page, line and link when one leads nowhere.
"""

import os
import re
import subprocess
import sys
import unicodedata
from urllib.parse import unquote

FENCE = re.compile(r"^\s*(```|~~~)")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:[ \t]+<?(\S+?)>?[ \t]*$", re.M)
HTML_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")


def tracked_pages():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md", "docs/operations/*.yml"],
                         check=True, capture_output=True, text=True).stdout
    return out.splitlines()


def prose(path):
    """The lines of a page with their numbers; what stands in fences is left out."""
    fence = None
    with open(path, encoding="utf-8") as page:
        for number, line in enumerate(page, 1):
            mark = FENCE.match(line)
            if mark and fence in (None, mark.group(1)):
                fence = None if fence else mark.group(1)
            elif not fence:
                yield number, line


def slug(heading):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    kept = [c for c in text if c in " -_" or unicodedata.category(c)[0] in "LN" or
            unicodedata.category(c) in ("Mn", "Mc")]
    return "".join(kept).replace(" ", "-")


def anchors(path, known={}):
    """The anchors of a page; a heading that comes again is numbered."""
    if path not in known:
        seen, found = {}, set()
        for _, line in prose(path):
            found.update(HTML_ANCHOR.findall(line))
            heading = re.match(r"^#{1,6}\s+(.*?)\s*#*\s*$", line)
            if not heading:
                continue
            name = slug(heading.group(1))
            count = seen.get(name, 0)
            seen[name] = count + 1
            found.add(f"{name}-{count}" if count else name)
        known[path] = found
    return known[path]


def links(path):
    if path.endswith(".yml"):
        lines = open(path, encoding="utf-8").read().splitlines()
        found = [(n, re.search(r"runbook_url: \"?([^\"]+)", line)) for n, line in enumerate(lines, 1)]
        # From the top of the tree, not from the file.
        return [(n, os.path.relpath(url.group(1), os.path.dirname(path))) for n, url in found if url]
    return links_of_page(path)


def links_of_page(path):
    """The links of a page, with their lines: one may be broken over two. Code is no link, but may be the
    text of one."""
    lines = {number: re.sub(r"`[^`]*`", "", line) for number, line in prose(path)}
    text = "".join(lines.get(n, "\n") for n in range(1, max(lines, default=0) + 1))
    for link in [*LINK.finditer(text), *DEFINITION.finditer(text)]:
        yield text.count("\n", 0, link.start()) + 1, link.group(1)


def fault(page, link):
    """What is wrong with a link, or None."""
    if re.match(r"^[a-z][a-z0-9+.-]*:", link, re.I):
        return None
    target, _, anchor = link.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(page), unquote(target))) if target else page
    if not os.path.exists(path):
        return "there is no such file"
    if anchor and path.endswith(".md") and unquote(anchor) not in anchors(path):
        return "no heading of that page has this anchor"
    return None


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    pages = sys.argv[1:] or tracked_pages()
    count, wrong = 0, 0
    for page in pages:
        for number, link in links(page):
            count += 1
            why = fault(page, link)
            if why:
                wrong += 1
                print(f"{page}:{number}: {link}: {why}", file=sys.stderr)
    if wrong:
        sys.exit(f"links: {wrong} of {count} lead nowhere")
    print(f"links: {count} in {len(pages)} pages lead somewhere")


if __name__ == "__main__":
    main()
