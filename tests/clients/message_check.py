"""What the gateway owes to clients that send each other messages: python message_check.py ws://127.0.0.1:PORT/ws

Written as such a client would be, on `websockets` alone, whose own permessage-deflate takes what is compressed.
"""

import asyncio
import itertools
import json
import os
import sys

import websockets

from running import run

KEY = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"}
ENCODING = os.environ.get("CLIENT_ENCODING", "plain")


class Member:
    """A connection of the demo account, and what it was told besides replies."""

    @classmethod
    async def open(cls, url, **subscription):
        self = cls()
        self.socket = await websockets.connect(url, max_size=None)
        self.ids, self.told, self.frames = itertools.count(1), [], []
        await self.call("public/auth", KEY)
        if ENCODING == "deflate":
            subscription["compress_from_bytes"] = 256
        self.session = (await self.call("message/subscribe", subscription))["session"]
        return self

    async def hear(self):
        """One frame: a reply, or one or several notifications, which are kept."""
        message = json.loads(await self.socket.recv())
        if isinstance(message, dict) and "id" in message:
            return message
        several = message if isinstance(message, list) else [message]
        self.frames.append(len(several))
        self.told += [(note["method"], note["params"]) for note in several]
        return None

    async def call(self, method, params):
        number = next(self.ids)
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        while (reply := await self.hear()) is None:
            pass
        assert reply["id"] == number and "result" in reply, reply
        return reply["result"]

    async def until(self, count):
        while len(self.told) < count:
            assert await self.hear() is None
        told, self.told = self.told[:count], self.told[count:]
        return told


async def a_long_message_comes_as_it_was_sent_to_each_connection_of_its_user(url):
    one, two = await Member.open(url), await Member.open(url)
    content = {"text": "é😀 lorem ipsum " * 800, "numbers": list(range(1000))}
    sent = await one.call("message/send", {"user": "demo", "priority": "high", "content": content})
    for member in (one, two):
        [(method, message)] = await member.until(1)
        assert (method, message["id"], message["content"]) == ("message", sent["id"], content), method
        assert (message["from"], message["priority"], message["confirm"]) == ("demo", "high", False), message
        await member.socket.close()


async def messages_that_wait_come_in_order_and_several_in_a_frame(url):
    sender = await Member.open(url)
    await sender.call("message/unsubscribe", {})
    # Those of the check before may not be gone yet, and would get what is sent.
    while (await sender.call("presence/get", {"users": ["demo"]}))[0]["sessions"]:
        pass
    for number in range(50):
        await sender.call("message/send", {"user": "demo", "content": number})
    receiver = await Member.open(url, batch={"messages_max": 20})
    told = await receiver.until(50)
    assert [message["content"] for _, message in told] == list(range(50)), told
    assert max(receiver.frames) > 1 and max(receiver.frames) <= 20, receiver.frames
    await sender.socket.close()
    await receiver.socket.close()


async def a_receipt_and_a_session_find_their_connection(url):
    one, two = await Member.open(url), await Member.open(url)
    sent = await one.call("message/send", {"session": two.session, "receipts": True, "content": None})
    assert (await two.until(1))[0][1]["content"] is None
    [(method, receipt)] = await one.until(1)
    assert (method, receipt["id"], receipt["state"]) == ("message_receipt", sent["id"], "delivered"), receipt
    await one.socket.close()
    await two.socket.close()


CHECKS = [
    a_long_message_comes_as_it_was_sent_to_each_connection_of_its_user,
    messages_that_wait_come_in_order_and_several_in_a_frame,
    a_receipt_and_a_session_find_their_connection,
]

if __name__ == "__main__":
    sys.exit(asyncio.run(run("messages", CHECKS, globals(), sys.argv[1])))
