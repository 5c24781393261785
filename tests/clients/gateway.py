"""One JSON-RPC connection on the third-party `websockets` client, and what a subscriber keeps: sequences and books.

Nothing here sleeps: whatever waits, waits for an event with a deadline.
"""

import asyncio
import collections
import decimal
import itertools
import json
import os
import socket
import urllib.parse
import zlib

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

DEADLINE_S = 20
# Whether clients offer permessage-deflate, which the server then agrees to.
DEFLATE = os.environ.get("CLIENT_ENCODING") == "deflate"
DECODER = json.JSONDecoder()


class RpcError(Exception):
    """A reply with `error`."""

    def __init__(self, error):
        super().__init__(str(error))
        self.code = error["code"]


def parse(text):
    """Decimals stay exact: a float would hide a wrong last digit."""
    return json.loads(text, parse_float=decimal.Decimal)


def digits(number):
    return str(number) if isinstance(number, int) else f"{number:f}"


class Note:
    """One notification."""

    def __init__(self, message, text):
        params = message["params"]
        self.channel, self.data = params["channel"], params["data"]
        self.epoch, self.seq = params["epoch"], params["seq"]
        # Of a private channel, which is told some of its account's events: the one told before.
        self.prev_seq = params.get("prev_seq")
        self.text = text

    def raw_data(self):
        """The bytes of `data` as they came, not as they parse."""
        start = self.text.index('"data":') + len('"data":')
        _, end = DECODER.raw_decode(self.text, start)
        return self.text[start:end]

    def position(self):
        return {"epoch": self.epoch, "seq": self.seq}


class Client:
    """A connection whose replies go to their callers and whose notifications queue in `notes`."""

    @classmethod
    async def open(cls, url, receive_buffer_bytes=None, compressed=True, **more):
        self = cls()
        compression = "deflate" if DEFLATE and compressed else None
        options = {"max_size": None, "compression": compression, "ping_interval": None, "open_timeout": DEADLINE_S, **more}
        if receive_buffer_bytes is not None:
            address = urllib.parse.urlsplit(url)
            options["sock"] = socket.socket()
            options["sock"].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            options["sock"].setblocking(False)
            options["max_queue"] = 1
            loop = asyncio.get_running_loop()
            await loop.sock_connect(options["sock"], (address.hostname, address.port))
        self.ws = await connect(url, **options)
        agreed = self.ws.response.headers.get("Sec-WebSocket-Extensions", "")
        assert agreed.startswith("permessage-deflate") == (compression is not None), agreed
        self.notes = asyncio.Queue()
        self.strays = asyncio.Queue()  # batches, and errors that name no request
        self.reads = asyncio.Event()
        self.reads.set()
        self._pending = {}
        self._last_id = 0
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self):
        try:
            while True:
                await self.reads.wait()
                text = await self.ws.recv()
                message = parse(text)
                if isinstance(message, dict) and message.get("method") == "subscription":
                    assert "id" not in message and message["jsonrpc"] == "2.0", text
                    self.notes.put_nowait(Note(message, text))
                elif isinstance(message, dict) and message.get("id") in self._pending:
                    self._pending.pop(message["id"]).set_result(message)
                else:
                    self.strays.put_nowait(message)
        except ConnectionClosed as closed:
            self._fail(closed)
        except Exception as error:  # what cannot be read must reach those who wait
            self._fail(error)

    def _fail(self, error):
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self.notes.put_nowait(error)
        self.strays.put_nowait(error)

    async def reply(self, method, params_text, request_id=None):
        """The whole reply to a request whose `params` are sent as given."""
        self._last_id += 1
        request_id = self._last_id if request_id is None else request_id
        self._pending[request_id] = asyncio.get_running_loop().create_future()
        future = self._pending[request_id]
        head = f'{{"jsonrpc":"2.0","id":{json.dumps(request_id)},"method":"{method}"'
        try:
            await self.ws.send(head + (f',"params":{params_text}}}' if params_text else "}"))
        except ConnectionClosed:
            # Nobody waits for the reply any more, which may have failed by now.
            self._pending.pop(request_id).add_done_callback(asyncio.Future.exception)
            raise
        async with asyncio.timeout(DEADLINE_S):
            message = await future
        assert message["jsonrpc"] == "2.0" and ("result" in message) != ("error" in message), message
        return message

    async def call(self, method, params=None):
        message = await self.reply(method, None if params is None else json.dumps(params))
        if "error" in message:
            raise RpcError(message["error"])
        return message["result"]

    async def publish(self, topic, raw_data):
        """The place in the topic's stream that the message was given."""
        message = await self.reply("topic/publish", f'{{"topic":"{topic}","data":{raw_data}}}')
        assert "error" not in message, message
        return message["result"]

    async def resume(self, channel, position):
        """Subscribes behind `position` and says whether all that was missed will follow."""
        params = {"channels": [channel], "class": "lossless", "resume": {channel: position}}
        group = "private" if channel.startswith("user.") else "public"
        message = await self.reply(f"{group}/subscribe", json.dumps(params))
        assert message.get("result") == [channel], message
        return message["resumed"][channel]["recovered"]

    async def note(self):
        async with asyncio.timeout(DEADLINE_S):
            note = await self.notes.get()
        if isinstance(note, Exception):
            raise note
        return note

    async def stray(self):
        async with asyncio.timeout(DEADLINE_S):
            stray = await self.strays.get()
        if isinstance(stray, Exception):
            raise stray
        return stray

    def cut(self):
        """The network goes away: no close frame, and what was not processed is lost."""
        self._reader.cancel()
        self.ws.transport.abort()

    async def close(self):
        await self.ws.close()
        self._reader.cancel()


class Sequences:
    """Checks that each channel's notifications follow each other without a gap or a repetition."""

    def __init__(self):
        self.last = {}

    def follow(self, note):
        before = self.last.get(note.channel)
        if before is not None:
            seq = before["seq"] + 1 if note.prev_seq is None else note.seq
            expected = {"epoch": before["epoch"], "seq": seq}
            assert note.position() == expected, f"{note.channel}: {before} is followed by {note.position()}"
            told_before = note.prev_seq is None or note.prev_seq == before["seq"] < note.seq
            assert told_before, f"{note.channel}: {before} is followed by {note.text}"
        self.last[note.channel] = note.position()


class Book:
    """A book built from a snapshot and deltas, with its past states by change id."""

    STATES_MAX = 5000

    def __init__(self):
        self.change_id = None
        self.sides = {"bids": {}, "asks": {}}
        self.states = collections.OrderedDict()

    def apply(self, data):
        if data["type"] == "snapshot":
            assert "prev_change_id" not in data, data
            self.sides = {"bids": {}, "asks": {}}
        else:
            assert data["type"] == "change", data
            assert data["prev_change_id"] == self.change_id, (data["prev_change_id"], self.change_id)
        for name, side in self.sides.items():
            for action, price, amount in data[name]:
                known = price in side
                assert known == (action != "new"), f"{name}: {action} at {price}, which is known: {known}"
                if action == "delete":
                    del side[price]
                else:
                    assert action in ("new", "change") and amount > 0, (action, amount)
                    side[price] = amount
        self.change_id = data["change_id"]
        if "checksum" in data:
            assert data["checksum"] == self.checksum(), (data["checksum"], self.checksum())
        bids = sorted(self.sides["bids"].items(), reverse=True)
        asks = sorted(self.sides["asks"].items())
        assert not bids or not asks or bids[0][0] < asks[0][0], "the book is crossed"
        self.states[self.change_id] = (bids, asks)
        if len(self.states) > self.STATES_MAX:
            self.states.popitem(last=False)

    def checksum(self):
        """CRC-32 of the top ten as docs/protocol.md has it; decimals keep the digits they came with."""
        bids = sorted(self.sides["bids"].items(), reverse=True)[:10]
        asks = sorted(self.sides["asks"].items())[:10]
        pairs = itertools.chain.from_iterable(itertools.zip_longest(bids, asks))
        text = ":".join(f"{digits(price)}:{digits(amount)}" for price, amount in filter(None, pairs))
        return zlib.crc32(text.encode())
