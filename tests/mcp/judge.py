"""Runs the conformance suite and judges what it says of each scenario: python judge.py http|ws -- COMMAND…

Its exit code alone would not do: a scenario that it left out, or a run that ended early, must not pass.
"""

import re
import subprocess
import sys

# What posts over HTTP whatever the transport is.
HTTP_ONLY = {"dns-rebinding-protection"}
# Of `@modelcontextprotocol/conformance` 0.1.16, with the fixture beside this file.
SCENARIOS_MIN = 30
PASSED_MIN = {"http": 39, "ws": 36}

LINE = re.compile(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed", re.MULTILINE)


def judge(transport, text):
    """What is wrong with this output of the suite."""
    told = {name: (int(passed), int(failed)) for name, passed, failed in LINE.findall(text)}
    excused = HTTP_ONLY if transport == "ws" else set()
    wrong = [f"{name}: {failed} failed" for name, (_, failed) in told.items() if failed and name not in excused]
    if len(told) < SCENARIOS_MIN:
        wrong.append(f"{len(told)} scenarios, expected at least {SCENARIOS_MIN}")
    passed = sum(passed for passed, _ in told.values())
    if passed < PASSED_MIN[transport]:
        wrong.append(f"{passed} checks passed, expected at least {PASSED_MIN[transport]}")
    failed = sum(failed for _, failed in told.values())
    print(f"{transport}: {passed} passed, {failed} failed in {len(told)} scenarios")
    return wrong


def main():
    transport, command = sys.argv[1], sys.argv[3:]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    wrong = judge(transport, ran.stdout)
    if wrong:
        print(ran.stdout[-20_000:])
        sys.exit("\n".join(wrong))


main()
