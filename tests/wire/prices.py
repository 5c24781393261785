"""A backend whose results are kept, and which says itself when they hold no more.

p/get answers the number of calls of that kind so far, this one among them, so that each answer is another. p/hold is answered by the same,
but only at p/release. p/say says that results hold no more, of the methods in its parameters or of all, and answers then; p/flood says so for
p/get as often as its parameter.
"""

import json
import sys

count = 0
held = []


def write(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def invalidate(params):
    write({"method": "$/invalidateCache", "params": params})


for line in sys.stdin:
    request = json.loads(line)
    method, params = request["method"], request.get("params")
    result = True
    if method == "p/get":
        count += 1
        result = count
    elif method == "p/hold":
        count += 1
        held.append({"id": request["id"], "result": count})
        continue
    elif method == "p/release":
        for answer in held:
            write(answer)
        held = []
    elif method == "p/held":
        result = len(held)
    elif method == "p/say":
        invalidate(params)
    elif method == "p/flood":
        for _ in range(params[0]):
            invalidate({"methods": ["p/get"]})
    else:
        continue
    write({"id": request["id"], "result": result})
    sys.stdout.flush()
