"""Many servers behind one gateway: python many.py PATH_OF_TICKRING FOLDER COUNT

They are started, listed, killed at random under calls and started again. Each call has an answer, or an error that says why not. What
one costs the gateway in memory is judged where there are enough of them to tell.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEADLINE_S = 120
# Of the gateway's memory, for each; below so many of them other things weigh more.
KIB_EACH_MAX, COUNT_JUDGED = 64, 100
REASONS = {"backend_lost", "backend_unavailable"}


class Gateway:
    def __init__(self, binary, folder, count):
        table = f'kind = "mcp-stdio"\naccess = "public"\ncommand = ["{sys.executable}", "{HERE / "small.py"}"]\n'
        tables = "".join(f'[[backend]]\nname = "b{n}"\n{table}' for n in range(count))
        config = Path(folder) / f"many-{count}.toml"
        config.write_text(f'[feed]\nkind = "none"\n[mcp]\ntools = false\n{tables}')
        command = [binary, "serve", "--config", config, "--control", "off", "--listen", "127.0.0.1:0", "--cores", "0"]
        command += ["--set", "mcp.address=127.0.0.1:0"]
        self.log = (Path(folder) / f"many-{count}.log").open("w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        told = re.search(r"http://\S+/mcp", self.process.stdout.readline())
        assert told, "the gateway told no address"
        self.url, self.count = told.group(0), count

    def ask(self, method, params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        headers = {"content-type": "application/json", "accept": "application/json"}
        request = urllib.request.Request(self.url, body, headers)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def tools(self):
        tools, cursor = [], {}
        while cursor is not None:
            result = self.ask("tools/list", cursor)["result"]
            tools += [tool["name"] for tool in result["tools"]]
            cursor = {"cursor": result["nextCursor"]} if "nextCursor" in result else None
        return tools

    def call(self, n):
        answer = self.ask("tools/call", {"name": f"b{n}__t0"})
        if "result" in answer:
            assert answer["result"]["content"][0]["text"] == "well", answer
            return True
        assert answer["error"]["data"]["reason"] in REASONS, answer
        return False

    def children(self):
        folder = Path(f"/proc/{self.process.pid}/task")
        return [int(pid) for task in folder.iterdir() for pid in (task / "children").read_text().split()]

    def resident_kib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text()).group(1))

    def until(self, what, is_so):
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < DEADLINE_S, f"this has not happened: {what}"
            time.sleep(0.1)
        return time.monotonic() - began

    def stop(self):
        children = self.children()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE_S) == 0
        left = [pid for pid in children if os.path.exists(f"/proc/{pid}")]
        assert not left, f"{left} are left of it"


def main():
    binary, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    one = Gateway(binary, folder, 1)
    one.until("one is listed", lambda: len(one.tools()) == 5)
    kib_of_one = one.resident_kib()
    one.stop()
    many = Gateway(binary, folder, count)
    took = many.until("all are listed", lambda: len(set(many.tools())) == 5 * count)
    kib_each = (many.resident_kib() - kib_of_one) / (count - 1)
    print(f"ok: {count} servers are listed after {took:.1f} s, {kib_each:.0f} KiB of the gateway's memory each")
    assert count < COUNT_JUDGED or kib_each <= KIB_EACH_MAX, f"at most {KIB_EACH_MAX} KiB are allowed"
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(many.call, random.randrange(count)) for _ in range(4 * count)]
        for pid in random.sample(many.children(), count // 4):
            os.kill(pid, signal.SIGKILL)
        answers = [call.result() for call in calls]
    print(f"ok: while {count // 4} were killed, {sum(answers)} calls were answered, {len(answers) - sum(answers)} told why not")
    took = many.until("all answer again", lambda: all([many.call(n) for n in range(count)]))
    print(f"ok: all answer again after {took:.1f} s")
    many.stop()
    print("ok: nobody is left at the end")


main()
