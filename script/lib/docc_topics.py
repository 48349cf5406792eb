#!/usr/bin/env python3
"""Checks that each public top-level symbol of a library stands in its landing page's topics, once.

    docc_topics.py SYMBOLS.json LANDING.md
"""

import collections
import json
import re
import sys


def main(graph, page):
    with open(graph, encoding="utf-8") as file:
        symbols = json.load(file)["symbols"]
    public = {symbol["pathComponents"][0] for symbol in symbols if len(symbol["pathComponents"]) == 1}
    with open(page, encoding="utf-8") as file:
        topics = file.read().partition("\n## Topics\n")[2]
    listed = collections.Counter(re.findall(r"^- ``(\w+)``$", topics, re.MULTILINE))
    faults = [f"{name} stands in no topic" for name in sorted(public - listed.keys())]
    faults += [f"{name} stands in {count} topics" for name, count in sorted(listed.items()) if count > 1]
    for fault in faults:
        print(f"{page}: {fault}", file=sys.stderr)
    return 1 if faults or not public else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
