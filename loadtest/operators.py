#!/usr/bin/env python3
"""What operators wait for, measured: the start, a scrape and the stop of a gateway that holds many idle clients.

usage: loadtest/operators.py PATH_OF_TICKRING [--connections 10000] [--starts 10]

Figures are medians with their range, in milliseconds. The server listens on loopback, on ports of the kernel's choice, and is
stopped by its own process id. Latencies are those of one client that asks once at a time on a connection that is kept; for rates
put a load generator beside a server of your own (docs/control.md).
"""

import argparse
import base64
import http.client
import json
import os
import re
import resource
import selectors
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


def main():
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("binary")
    flags.add_argument("--connections", type=int, default=10_000)
    flags.add_argument("--starts", type=int, default=10)
    options = flags.parse_args()
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
    where = f"/api/logs?limit={LOG_LINES_MAX}"
    unchanged = [timed_lines(ask, where) for _ in range(200)]
    changed = []
    for _ in range(200):
        os.utime(path)
        changed.append(timed_lines(ask, where))
    print(f"the log's file has {line_count(path)} lines")
    tell(f"GET {where}, cached", unchanged[1:])
    tell(f"GET {where}, file touched before each", changed)
    server.stop()


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
