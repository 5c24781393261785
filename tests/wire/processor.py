"""A backend that processes messages: it notes each in a file before it answers.

The file's name is its argument. A message's content says what it does: {"do": "refuse"}, {"do": "crash"}, {"do": "hang"}; anything else is done.
A line of the file is JSON: the name that the sender gave, the attempt, whether it was perhaps had before, and the process.
"""

import json
import os
import sys
import time


def answer(request, outcome):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **outcome}) + "\n")
    sys.stdout.flush()


with open(sys.argv[1], "a", encoding="utf-8") as ledger:
    for line in sys.stdin:
        request = json.loads(line)
        if request["method"] != "message/process":
            continue
        message = request["params"]
        note = {key: message.get(key) for key in ("client_id", "attempt", "redelivered", "type")}
        ledger.write(json.dumps({**note, "pid": os.getpid()}) + "\n")
        ledger.flush()
        content = message["content"]
        deed = content.get("do") if isinstance(content, dict) else None
        if deed == "crash":
            os._exit(1)
        if deed == "hang":
            continue
        if deed == "refuse":
            answer(request, {"error": {"code": 1, "message": "no such book"}})
            continue
        # So that there is something to be killed in the middle of.
        time.sleep(0.005)
        answer(request, {"result": "done"})
