"""A server of MCP over stdio whose tools do what a test wants: mcp_server.py TAG [stubborn]

Each tool's result says TAG. `wait` answers once the file that its argument names is there, `hang` never; `touch` has the subscribed
resources told as changed. One that is stubborn ends neither with its input nor by SIGTERM, and has a child that does not either.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

TAG, IS_STUBBORN = sys.argv[1], "stubborn" in sys.argv[2:]
LOCK = threading.Lock()
SUBSCRIBED = set()
CHILD = []


def say(message):
    with LOCK:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def told(request, **more):
    said = {"tag": TAG, "pid": os.getpid(), **more}
    return {"id": request["id"], "result": {"content": [{"type": "text", "text": json.dumps(said)}]}}


def wait(request):
    while not os.path.exists(request["params"]["arguments"]["file"]):
        time.sleep(0.01)
    say(told(request))


def call(request):
    tool = request["params"]["name"]
    if tool == "hang":
        return
    if tool == "wait":
        threading.Thread(target=wait, args=[request], daemon=True).start()
        return
    if tool == "touch":
        for uri in sorted(SUBSCRIBED):
            say({"method": "notifications/resources/updated", "params": {"uri": uri, "_meta": {"tag": TAG}}})
    say(told(request, children=CHILD))


def subscribe(request):
    SUBSCRIBED.add(request["params"]["uri"])
    say({"id": request["id"], "result": {}})


def initialize(request):
    capabilities = {"tools": {"listChanged": True}, "resources": {"subscribe": True}}
    result = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": {"name": TAG, "version": "0"}}
    say({"id": request["id"], "result": result})


TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("tell", "wait", "hang", "touch", f"only_{TAG}")]
LISTS = {
    "tools/list": {"tools": TOOLS},
    "resources/list": {"resources": [{"uri": "note:1", "name": "note"}]},
    "resources/templates/list": {"resourceTemplates": []},
}
METHODS = {"initialize": initialize, "tools/call": call, "resources/subscribe": subscribe}

if IS_STUBBORN:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    CHILD.append(subprocess.Popen(["sleep", "1000"]).pid)
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] in LISTS:
        say({"id": message["id"], "result": LISTS[message["method"]]})
    else:
        METHODS[message["method"]](message)
while IS_STUBBORN:
    time.sleep(1)
