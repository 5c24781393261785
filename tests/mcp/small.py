"""A small server of MCP over stdio with five tools, of which many are started (many.py)."""

import json
import sys

TOOLS = [{"name": f"t{n}", "description": "x" * 100, "inputSchema": {"type": "object"}} for n in range(5)]
RESULTS = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "small", "version": "0"},
    },
    "tools/list": {"tools": TOOLS},
    "tools/call": {"content": [{"type": "text", "text": "well"}]},
}

for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": RESULTS[message["method"]]}), flush=True)
