#!/usr/bin/env python3
"""A client of tickring's binary TCP (docs/binary-tcp.md): connects, logs in, subscribes and prints what comes.

usage: tcp_client.py HOST PORT CLIENT_ID CLIENT_SECRET CHANNEL [EVENTS]

As many events as asked for, else without end. Ends with 1 if the gateway refuses something or closes, and says why.
"""

import json
import socket
import struct
import sys


class Gateway:
    """A connection. A frame is four bytes, the length of what follows, big-endian, then one JSON-RPC message."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.events = []
        self.last_id = 0

    def send(self, payload):
        self.socket.sendall(struct.pack(">I", len(payload)) + payload)

    def receive(self):
        """The next message; heartbeats are answered on the way."""
        while True:
            head = self.stream.read(4)
            if len(head) < 4:
                sys.exit("the gateway has closed the connection")
            payload = self.stream.read(struct.unpack(">I", head)[0])
            if not payload:
                self.send(b"")
                continue
            message = json.loads(payload)
            if message.get("method") == "close":
                sys.exit("the gateway closes: {code} {reason}".format(**message["params"]))
            return message

    def call(self, method, **params):
        """The result of a request; events that come before it are kept."""
        self.last_id += 1
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}
        self.send(json.dumps(request).encode())
        while True:
            message = self.receive()
            if "id" not in message:
                self.events.append(message)
            elif "error" in message:
                sys.exit(f"{method} is refused: {message['error']}")
            else:
                return message["result"]

    def event(self):
        """What a channel that was subscribed to says next."""
        return self.events.pop(0) if self.events else self.receive()


def main(host, port, client_id, client_secret, channel, events=None):
    gateway = Gateway(host, int(port))
    login = gateway.call(
        "public/auth", grant_type="client_credentials", client_id=client_id, client_secret=client_secret
    )
    print("logged in:", login["scope"])
    print("subscribed:", gateway.call("public/subscribe", channels=[channel]))
    count = 0
    while events is None or count < int(events):
        print(json.dumps(gateway.event()["params"]))
        count += 1


if __name__ == "__main__":
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    main(*sys.argv[1:])
