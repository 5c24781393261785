"""A broadcast server on Python's websockets in its best form: uvloop, no compression, the library's own `broadcast`.

Texts: `sub TOPIC`, `pub TOPIC DATA`; anything else comes back.
"""

import asyncio
import collections
import signal

import uvloop
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

BACKLOG = 65535

subscribers = collections.defaultdict(set)


async def converse(connection):
    """One client, until it goes."""
    topics = []
    try:
        async for text in connection:
            if text.startswith("pub "):
                _, topic, data = text.split(" ", 2)
                broadcast(subscribers[topic], data)
            elif text.startswith("sub "):
                topics.append(text[4:])
                subscribers[text[4:]].add(connection)
                await connection.send("subscribed")
            else:
                await connection.send(text)
    except ConnectionClosed:
        pass
    finally:
        for topic in topics:
            subscribers[topic].discard(connection)


async def main():
    """Listens on a port of the kernel's choosing and says where."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await serve(converse, "127.0.0.1", 0, compression=None, backlog=BACKLOG, open_timeout=None)
    print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await ended.wait()


uvloop.run(main())
