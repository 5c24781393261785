#!/usr/bin/env python3
"""What operators wait for, measured: the start, a scrape and the stop of a gateway that holds many idle clients; and what asking
costs those who are served.

usage: loadtest/operators.py PATH_OF_TICKRING [--connections 10000] [--starts 10]
       loadtest/operators.py PATH_OF_TICKRING --beside-fanout [--wrk wrk] [--subscribers 20] [--events 3000]
                                              [--pairs 6] [--window 5] [--cpu-server 0] [--cpu-client 1]
       loadtest/operators.py PATH_OF_TICKRING --tools [--wrk wrk] [--window 5] [--cpu-server 0] [--cpu-client 1]

Figures are medians with their range, in milliseconds. The server listens on loopback, on ports of the kernel's choice, and is
stopped by its own process id. Latencies are those of one client that asks once at a time on a connection that is kept.

--beside-fanout: one shard tells the paper market's tickers to subscribers, while windows with requests of /healthz, as fast as wrk
with 8 connections makes them, take turns with windows without. Of each window: the processor time of the shard's thread by
/proc/PID/task, over the deliveries that /metrics counts, and the p99 of the turns of an interval of histograms of its own. The
control thread is another one and not in it. Subscribers and wrk are on the client's core, and so may the control thread be.

--tools: the list of tools and what is told of the status, as fast as wrk with 8 connections asks for it from a core of its own; a second,
and for each second that the control thread has run.
"""

import argparse
import base64
import http.client
import json
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

CLOSE_GOING_AWAY = 1001
LOG_LINES = 5_000
LOG_LINES_MAX = 1_000
LOG_LINE = "[2026-01-01T00:00:00.000Z INFO  tickring::serve] a line of a process before this one, as long as they usually are\n"
# Reads the sockets whose numbers it is given, until all are closed; the server takes a pong for a sign of life, asked for or not.
READER = """
import selectors, socket, sys, time
selector = selectors.DefaultSelector()
for number in sys.argv[1:]:
    selector.register(socket.socket(fileno=int(number)), selectors.EVENT_READ)
due = 0
while selector.get_map():
    for key, _ in selector.select(1):
        if not key.fileobj.recv(1 << 18):
            selector.unregister(key.fileobj)
    if time.monotonic() > due:
        due = time.monotonic() + 5
        for key in selector.get_map().values():
            key.fileobj.send(bytes([0x8A, 0x80, 0, 0, 0, 0]))
"""


def main():
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("binary")
    flags.add_argument("--connections", type=int, default=10_000)
    flags.add_argument("--starts", type=int, default=10)
    flags.add_argument("--beside-fanout", action="store_true")
    flags.add_argument("--tools", action="store_true")
    flags.add_argument("--wrk", default="wrk", help="the load generator of that name, or its path")
    flags.add_argument("--subscribers", type=int, default=20)
    flags.add_argument("--events", type=int, default=3_000, help="of the market, a second")
    flags.add_argument("--pairs", type=int, default=6, help="of windows")
    flags.add_argument("--window", type=int, default=5, help="seconds")
    flags.add_argument("--cpu-server", type=int, default=0)
    flags.add_argument("--cpu-client", type=int, default=1)
    options = flags.parse_args()
    if options.beside_fanout:
        return beside_fanout(options)
    if options.tools:
        return list_tools(options)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, options.connections + 1000)), hard))
    with tempfile.TemporaryDirectory() as folder:
        logs(options.binary, os.path.join(folder, "tickring.log"))
    tell("start to readiness, as the server says", [startup_ms(options.binary) for _ in range(options.starts)])
    server = Server(options.binary, ["--set", "service.drain_spread_ms=1000"])
    clients = [connect(server.clients, number) for number in range(options.connections)]
    print(f"{len(clients)} connections are open")
    ask = http.client.HTTPConnection(*server.control)
    for path in ["/metrics", "/api/metrics", "/api/status", "/api/connections?limit=1000"]:
        tell(f"GET {path}", [timed(ask, path) for _ in range(50)])
    drain(server, clients)


class Server:
    """A gateway with a quiet market."""

    def __init__(self, binary, more):
        arguments = ["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]
        arguments += ["--set", "feed.paper.events_per_s=1", "--set", "limits.connections_per_address_max=0", *more]
        self.began = time.monotonic()
        self.process = subprocess.Popen([binary, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline().decode()
        found = re.search(r"ws://127\.0\.0\.1:(\d+).*control on http://127\.0\.0\.1:(\d+)", line)
        if found is None:
            sys.exit(f"not an address line: {line!r}")
        self.clients = ("127.0.0.1", int(found[1]))
        self.control = ("127.0.0.1", int(found[2]))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def beside_fanout(options):
    """Requests to operators' HTTP beside a fan-out, and the same fan-out without them, in turns."""
    wrk = found_wrk(options)
    # Where a shard polls before it parks, its time says nothing of its work.
    settings = ["shards.busy_poll_us=0", f"feed.paper.events_per_s={options.events}"]
    more = ["--cores", str(options.cpu_server), *[word for setting in settings for word in ("--set", setting)]]
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "tickring.log")
        with open(log, "w") as file:
            file.write(LOG_LINE * LOG_LINES)
        server = Server(options.binary, more + ["--set", "log.file=" + log])
        try:
            tell_windows(options, wrk, server, log)
        finally:
            server.stop()


def list_tools(options):
    """The list of tools and the status as fast as they are told."""
    wrk = found_wrk(options)
    more = ["--cores", str(options.cpu_server), "--set", "shards.busy_poll_us=0", "--set", "feed.paper.events_per_s=1"]
    server = Server(options.binary, more)
    # It has its name once it answers. It may be anywhere but at wrk's core.
    requests_of(server)
    control = task_of(server.process.pid, "control")
    os.sched_setaffinity(int(control), {options.cpu_server})
    os.sched_setaffinity(0, {options.cpu_client})
    for path in ["/api/tools", "/api/status", "/performance/cache"]:
        rates = []
        for _ in range(options.pairs):
            cpu_ns, requests = run_ns(server.process.pid, control), requests_of(server)
            rate, p99_ms = ask_by_wrk(wrk, server, path, options.window)
            requests = requests_of(server) - requests
            rates.append((rate, requests * 1e9 / (run_ns(server.process.pid, control) - cpu_ns), p99_ms))
        for column, name in enumerate(["a second", "a second of the control thread", "p99 in ms"]):
            print(f"GET {path}, {name}: {spread([found[column] for found in rates], 2 if column == 2 else 0)}")
    server.stop()


def requests_of(server):
    ask = http.client.HTTPConnection(*server.control)
    return int(re.search(r"^tickring_control_requests_total (\d+)$", body(ask, "/metrics"), re.MULTILINE)[1])


def found_wrk(options):
    wrk = shutil.which(options.wrk)
    if wrk is None:
        sys.exit(f"there is no {options.wrk}: install wrk, or name it by --wrk")
    return wrk


def ask_by_wrk(wrk, server, path, seconds):
    """Requests a second and their p99 in ms."""
    url = "http://{}:{}".format(*server.control) + path
    command = [wrk, "--latency", "-t1", "-c8", f"-d{seconds}s", url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if re.search(r"Socket errors|Non-2xx", told):
        sys.exit(f"not every request was answered:\n{told}")
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", told).groups()
    rate = float(re.search(r"Requests/sec:\s+(\S+)", told)[1])
    return rate, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def tell_windows(options, wrk, server, log):
    os.sched_setaffinity(0, {options.cpu_client})
    subscribe(server.clients, options.subscribers)
    ask = http.client.HTTPConnection(*server.control)
    shard = task_of(server.process.pid, "shard-0")
    time.sleep(2)
    windows = {False: [], True: []}
    print("healthz/s  p99 ms  deliveries/s  shard us/delivery  turn p99 us")
    for pair in range(options.pairs):
        # Whatever drifts meanwhile is in both alike.
        for with_requests in (False, True) if pair % 2 == 0 else (True, False):
            found = window(options, server, ask, shard, wrk if with_requests else None)
            windows[with_requests].append(found)
            print("{:9.0f}  {:6.2f}  {:12.0f}  {:17.3f}  {:11.1f}".format(*found))
    for name, column, digits in [("shard CPU per delivery, us", 3, 3), ("turn p99, us", 4, 1)]:
        without, beside = (spread([found[column] for found in windows[key]], digits) for key in (False, True))
        print(f"{name}: {without} without, {beside} beside requests")
    for name, column in [("GET /healthz a second", 0), ("p99 of these, ms", 1)]:
        print(f"{name}: {spread([found[column] for found in windows[True]], 2)}")
    print("beside the fan-out:")
    tell("GET /api/status", [timed(ask, "/api/status") for _ in range(500)])
    tell_lines(ask, log)


def window(options, server, ask, shard, wrk):
    """Requests a second and their p99 in ms, deliveries a second, us of the shard for each, the p99 of its turns in us."""
    server.process.send_signal(signal.SIGUSR2)
    time.sleep(0.3)
    begun, cpu_ns, deliveries = time.monotonic(), run_ns(server.process.pid, shard), of_shard(ask, "tickring_deliveries_total")
    rate, p99_ms = (0, 0)
    if wrk is None:
        time.sleep(options.window)
    else:
        rate, p99_ms = ask_by_wrk(wrk, server, "/healthz", options.window)
    deliveries = of_shard(ask, "tickring_deliveries_total") - deliveries
    cpu_ns, elapsed_s = run_ns(server.process.pid, shard) - cpu_ns, time.monotonic() - begun
    if of_shard(ask, "tickring_shard_connections") != options.subscribers:
        sys.exit("subscribers have gone")
    stages = json.loads(body(ask, "/api/histograms?format=json"))["stages"]
    turns = next(row for row in stages if (row["stage"], row["thread"]) == ("turn", "shard-0"))
    return rate, p99_ms, deliveries / elapsed_s, cpu_ns / 1000 / deliveries, turns["p99_ns"] / 1000


def subscribe(address, count):
    """Has so many clients of all tickers read in a process of their own, which ends with the server."""
    clients = [connect(address, number) for number in range(count)]
    request = b'{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["ticker.*.raw"]}}'
    for client in clients:
        client.send(b"\x81" + bytes([0x80 | len(request)]) + b"\0\0\0\0" + request)
    numbers = [client.fileno() for client in clients]
    subprocess.Popen([sys.executable, "-c", READER, *map(str, numbers)], pass_fds=numbers)
    for client in clients:
        client.close()


def task_of(pid, name):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as file:
            if file.read().strip() == name:
                return task
    sys.exit(f"there is no thread {name}")


def run_ns(pid, task):
    """How long a thread has run: what utime and stime of its stat are in ticks."""
    with open(f"/proc/{pid}/task/{task}/schedstat") as file:
        return int(file.read().split()[0])


def of_shard(ask, name):
    # A connection that is not used for some seconds is closed by the server.
    ask.close()
    return int(re.search(rf'^{name}{{thread="shard-0"}} (\d+)$', body(ask, "/metrics"), re.MULTILINE)[1])


def spread(values, digits):
    values = sorted(values)
    middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
    return f"{middle:.{digits}f} ({values[0]:.{digits}f}..{values[-1]:.{digits}f})"


def logs(binary, path):
    """The last lines of a log that has many: of a file that has changed, and of one that has not."""
    more = ["log.file=" + path, "log.filter=info,tickring::control=debug", "service.summary_interval_s=0"]
    more += ["limits.messages_per_s_max=0", "limits.bytes_per_s_max=0"]
    server = Server(binary, [word for setting in more for word in ("--set", setting)])
    ask = http.client.HTTPConnection(*server.control)
    while line_count(path) < LOG_LINES:
        for number in range(500):
            # Each is a line of the log.
            message = json.dumps({"topic": "topic.news", "payload": number})
            body(ask, "/api/publish", "POST", message, {"Authorization": "Bearer demo.demo-secret"})
    # The file is written behind the answers: it has come to rest when it is as long as what was logged.
    while line_count(path) < int(json.loads(body(ask, "/api/logs?limit=1"))["total"]):
        time.sleep(0.05)
    print(f"the log's file has {line_count(path)} lines")
    tell_lines(ask, path)
    server.stop()


def tell_lines(ask, path):
    where = f"/api/logs?limit={LOG_LINES_MAX}"
    unchanged = [timed_lines(ask, where) for _ in range(200)]
    changed = []
    for _ in range(200):
        os.utime(path)
        changed.append(timed_lines(ask, where))
    tell(f"GET {where}, cached", unchanged[1:])
    tell(f"GET {where}, file touched before each", changed)


def line_count(path):
    with open(path, "rb") as file:
        return file.read().count(b"\n")


def timed_lines(ask, path):
    began = time.monotonic()
    text = body(ask, path)
    elapsed_ms = 1000 * (time.monotonic() - began)
    answer = json.loads(text)
    if answer["source"] != "file" or len(answer["logs"]) != LOG_LINES_MAX:
        sys.exit(f"{path}: {len(answer['logs'])} lines of {answer['source']}")
    return elapsed_ms


def startup_ms(binary):
    server = Server(binary, [])
    ask = http.client.HTTPConnection(*server.control)
    text = body(ask, "/metrics")
    server.stop()
    return 1000 * float(re.search(r"^tickring_startup_seconds (\S+)$", text, re.MULTILINE)[1])


def body(ask, path, method="GET", message=None, fields={}):
    ask.request(method, path, message, fields)
    answer = ask.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {text}")
    return text


def timed(ask, path):
    began = time.monotonic()
    body(ask, path)
    return 1000 * (time.monotonic() - began)


def connect(address, number):
    # From many addresses, since one has some 28,000 ports.
    client = socket.create_connection(address, timeout=10, source_address=(f"127.0.{1 + number // 1000}.1", 0))
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = client.recv(4096)
        if not received:
            sys.exit("the upgrade was cut off")
        head += received
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"no upgrade: {head!r}")
    client.setblocking(False)
    return client


def drain(server, clients):
    """Stops the server; every client answers the close that it is sent."""
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client, selectors.EVENT_READ, bytearray())
    codes = {}
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    while selector.get_map():
        for event, _ in selector.select(timeout=30):
            client, received = event.fileobj, event.data
            chunk = client.recv(4096)
            received += chunk
            code = close_code(received)
            if chunk and code is None:
                continue
            codes[code] = codes.get(code, 0) + 1
            selector.unregister(client)
            if code is not None:
                client.send(b"\x88\x82\0\0\0\0" + struct.pack(">H", CLOSE_GOING_AWAY))
            client.close()
    status = server.process.wait(timeout=60)
    elapsed_ms = 1000 * (time.monotonic() - began)
    print(f"stop of {len(clients)} connections: {elapsed_ms:.0f} ms, closed by {json.dumps(codes)}, exit {status}")
    if codes != {CLOSE_GOING_AWAY: len(clients)} or status != 0:
        sys.exit("not every client was told 1001")


def close_code(received):
    """The code of the close frame, once it is whole. Other frames of a quiet server are pings: all are shorter than 126 bytes."""
    at = 0
    while at + 2 <= len(received) and at + 2 + received[at + 1] <= len(received):
        if received[at] == 0x88:
            return struct.unpack_from(">H", received, at + 2)[0]
        at += 2 + received[at + 1]
    return None


def tell(what, values):
    values.sort()
    middle, p99 = values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)]
    print(f"{what}, of {len(values)}: {middle:.2f} ms ({values[0]:.2f}..{values[-1]:.2f}), p99 {p99:.2f}")


if __name__ == "__main__":
    main()
