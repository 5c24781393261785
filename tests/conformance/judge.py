"""Reads the suite's report: every case must be OK, or INFORMATIONAL where the suite itself judges nothing, and so its close.

judge.py INDEX_JSON CASES: NON-STRICT, UNIMPLEMENTED and FAILED count as failures, and so does a case that was not run.
"""

import collections
import json
import sys

GOOD = {"OK", "INFORMATIONAL"}


def main() -> int:
    path, expected = sys.argv[1], int(sys.argv[2])
    with open(path, encoding="utf-8") as file:
        (cases,) = json.load(file).values()
    bad = {
        name: (case["behavior"], case["behaviorClose"])
        for name, case in cases.items()
        if case["behavior"] not in GOOD or case["behaviorClose"] not in GOOD
    }
    verdicts = collections.Counter(case["behavior"] for case in cases.values())
    print(f"{len(cases)} cases:", ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    for name, (behavior, close) in sorted(bad.items()):
        print(f"  {name}: {behavior}, close {close}")
    if len(cases) != expected:
        print(f"  {expected} cases were to be run")
    return 1 if bad or len(cases) != expected else 0


sys.exit(main())
