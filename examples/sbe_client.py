#!/usr/bin/env python3
"""A client of tickring's market data in SBE (docs/sbe.md): subscribes to a quote or a book and prints the best prices after each message.

usage: sbe_client.py HOST PORT INSTRUMENT quote|book [MESSAGES]

As many messages as asked for, else without end. Ends with 1 if the gateway refuses something or closes, and says why.
"""

import base64
import json
import os
import socket
import struct
import sys

HEADER = struct.Struct("<HHHH")
GROUP = struct.Struct("<HI")
QUOTE, SNAPSHOT, DELTA = 11, 13, 14
NONE = -(2**63)


class Gateway:
    """A connection: a WebSocket of the standard library, text for control, binary for data."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        path = "/ws?encoding=sbe&schema=1&version=0"
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        status = self.stream.readline().decode().strip()
        while self.stream.readline().strip():
            pass
        if " 101 " not in status + " ":
            sys.exit(f"no upgrade: {status}")

    def send(self, opcode, payload):
        """One masked frame of less than 64 KiB."""
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack(">BH", 0x80 | 126, len(payload))
        mask = os.urandom(4)
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def take(self, count):
        data = self.stream.read(count)
        if len(data) < count:
            sys.exit("the gateway has closed the connection")
        return data

    def receive(self):
        """The next message: its opcode, 1 of text and 2 of binary, and its bytes. Pings are answered on the way."""
        while True:
            first, size = self.take(2)
            if size >= 126:
                size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
            payload = self.take(size)
            opcode = first & 0x0F
            if opcode == 8:
                sys.exit(f"the gateway closes: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")
            if opcode == 9:
                self.send(10, payload)
            elif opcode in (1, 2):
                return opcode, payload

    def call(self, method, **params):
        """The result of a request. Nothing is subscribed to before its reply, so no data come before it."""
        self.send(1, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
        while True:
            opcode, payload = self.receive()
            reply = json.loads(payload) if opcode == 1 else {}
            if "error" in reply:
                sys.exit(f"{method} is refused: {reply['error']}")
            if "result" in reply:
                return reply["result"]


def group(message, at, layout):
    """The entries of a group and where it ends. An entry may be longer than is known here."""
    size, count = GROUP.unpack_from(message, at)
    at += GROUP.size
    return [layout.unpack_from(message, at + size * place) for place in range(count)], at + size * count


def decimal(units):
    return "-" if units in (None, NONE) else f"{units / 10**9:.9f}".rstrip("0").rstrip(".")


class Market:
    """The best prices of an instrument, from its quotes or its book. Amounts by price, all in units of 1e-9."""

    LEVEL, CHANGE = struct.Struct("<qq"), struct.Struct("<qqB")

    def __init__(self):
        self.bids, self.asks, self.change_id = {}, {}, None

    def handle(self, message):
        """Whether the message is one of these; others are passed over."""
        block, template, schema, _version = HEADER.unpack_from(message)
        body = message[HEADER.size :]
        if schema != 1 or template not in (QUOTE, SNAPSHOT, DELTA):
            return False
        if template == QUOTE:
            bid, bid_amount, ask, ask_amount = struct.unpack_from("<qqqq", body, 36)
            self.bids = {} if bid == NONE else {bid: bid_amount}
            self.asks = {} if ask == NONE else {ask: ask_amount}
            return True
        (change_id,) = struct.unpack_from("<Q", body, 32)
        if template == SNAPSHOT:
            self.bids, self.asks = {}, {}
        elif struct.unpack_from("<Q", body, 40)[0] != self.change_id:
            sys.exit("a change of the book is missing")
        self.change_id = change_id
        at = block
        for side in (self.bids, self.asks):
            entries, at = group(body, at, self.LEVEL if template == SNAPSHOT else self.CHANGE)
            for price, amount, *_action in entries:
                if amount == 0:
                    side.pop(price, None)
                else:
                    side[price] = amount
        return True

    def best(self):
        bid, ask = max(self.bids, default=None), min(self.asks, default=None)
        return f"{decimal(bid)} x {decimal(self.bids.get(bid))} | {decimal(ask)} x {decimal(self.asks.get(ask))}"


def main(host, port, instrument, kind, messages=None):
    gateway, market, count = Gateway(host, int(port)), Market(), 0
    channel = f"book.{instrument}.raw" if kind == "book" else f"quote.{instrument}"
    if gateway.call("public/subscribe", channels=[channel]) != [channel]:
        sys.exit(f"there is no channel {channel}")
    while messages is None or count < int(messages):
        opcode, payload = gateway.receive()
        if opcode == 2 and market.handle(payload):
            print(market.best(), flush=True)
            count += 1


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6) or sys.argv[4] not in ("quote", "book"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
