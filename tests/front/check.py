"""What docs/scaling.md says of two nodes behind HAProxy and nginx: python check.py PATH_OF_TICKRING FOLDER

Prints a line per check; fails with the first wrong answer of each.
"""

import asyncio
import collections
import json
import pathlib
import signal
import socket
import ssl
import struct
import sys
import urllib.parse

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "clients"))

from websockets.exceptions import ConnectionClosed  # noqa: E402

from front import DEADLINE_S, Dropper, Front  # noqa: E402
from gateway import Book, Client, Sequences  # noqa: E402
from running import run  # noqa: E402

INSTRUMENT = "BTC-PERPETUAL"
BOOK = f"book.{INSTRUMENT}.raw"
MOVERS = 24
TLS = ssl.create_default_context()
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def connect(url, source, **more):
    """A client of this address. The address may be of loopback alone, so `localhost` is to be IPv4's."""
    return await Client.open(url, local_addr=(source, 0), family=socket.AF_INET, **more)


def own_address(client):
    host, port = client.ws.local_address
    return f"{host}:{port}"


async def a_websocket_is_opened_and_told_the_market_through_each(front):
    for proxy in (front.by_haproxy, front.by_nginx):
        client = await connect(proxy, "127.0.0.20")
        await client.call("public/subscribe", {"channels": [BOOK], "class": "lossless"})
        book, sequences = Book(), Sequences()
        while len(book.states) < 20:
            note = await client.note()
            sequences.follow(note)
            book.apply(note.data)
        await client.close()
        assert client.ws.close_code == 1000, client.ws.close_code


async def open_tls(port, source):
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), ssl=TLS, server_hostname="localhost")


async def a_method_is_called_over_http_through_each(front):
    body = json.dumps({"instrument_name": INSTRUMENT})
    for proxy in (front.by_haproxy, front.by_nginx):
        port = urllib.parse.urlsplit(proxy).port
        reader, writer = await open_tls(port, "127.0.0.21")
        request = f"POST /api/v2/public/ticker HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        writer.write(request.encode())
        async with asyncio.timeout(DEADLINE_S):
            answer = (await reader.read()).decode()
        writer.close()
        assert answer.startswith("HTTP/1.1 200 ") and f'"instrument_name":"{INSTRUMENT}"' in answer, answer


async def binary_tcp_goes_through_with_the_clients_address(front):
    reader, writer = await open_tls(front.by_binary_tcp, "127.0.0.22")
    text = b'{"jsonrpc":"2.0","id":1,"method":"public/test"}'
    writer.write(struct.pack(">I", len(text)) + text)
    async with asyncio.timeout(DEADLINE_S):
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        assert json.loads(await reader.readexactly(length))["id"] == 1
    host, port = writer.get_extra_info("sockname")
    await front.node_of(f"{host}:{port}")
    writer.close()


async def nodes_know_the_clients_address_and_not_the_proxys(front):
    client = await connect(front.by_haproxy, "127.0.0.23")
    await front.node_of(own_address(client))
    await client.close()
    client = await connect(front.by_nginx, "127.0.0.24")
    # X-Forwarded-For has no port.
    await front.node_of("127.0.0.24:0")
    await client.close()


async def what_a_client_says_of_itself_is_not_believed(front):
    forged = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    through_haproxy = await connect(front.by_haproxy, "127.0.0.25", additional_headers=forged)
    through_nginx = await connect(front.by_nginx, "127.0.0.26", additional_headers=forged)
    direct = await connect(f"ws://127.0.0.1:{front.blue.forwarded}/ws", "127.0.0.27", additional_headers=forged)
    await front.node_of(own_address(through_haproxy))
    await front.node_of("127.0.0.26:0")
    assert await front.node_of(own_address(direct)) == "blue"
    # Past the proxy, the header of the PROXY protocol is no HTTP.
    reader, writer = await asyncio.open_connection("127.0.0.1", front.blue.websocket, local_addr=("127.0.0.28", 0))
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton("203.0.113.9") + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 1, 2)
    writer.write(header)
    async with asyncio.timeout(DEADLINE_S):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    for node in front.nodes.values():
        assert not any(peer.startswith("203.0.113.9") for peer in await node.peers())
    for client in (through_haproxy, through_nginx, direct):
        await client.close()


async def who_comes_back_comes_to_the_same_node(front):
    for proxy, peer_of in ((front.by_haproxy, own_address), (front.by_nginx, lambda client: f"{client.ws.local_address[0]}:0")):
        nodes = collections.Counter()
        for last in range(40, 72):
            seen = set()
            for _ in range(2):
                client = await connect(proxy, f"127.0.0.{last}")
                peer = peer_of(client)
                seen.add(await front.node_of(peer))
                await client.close()
                await front.gone(peer)
            assert len(seen) == 1, f"127.0.0.{last} came to {seen}"
            nodes.update(seen)
        assert set(nodes) == {"blue", "green"}, f"all came to one node: {nodes}"


async def a_cookie_leads_back_to_its_node_from_another_address(front):
    for last in (80, 81, 82, 83):
        first = await connect(front.by_haproxy, f"127.0.0.{last}")
        cookie = first.ws.response.headers["Set-Cookie"].split(";")[0]
        node = await front.node_of(own_address(first))
        assert cookie == f"TICKRING_NODE={node}", cookie
        for other in (90, 91, 92, 93):
            again = await connect(front.by_haproxy, f"127.0.0.{other}", additional_headers={"Cookie": cookie})
            assert await front.node_of(own_address(again)) == node
            await again.close()
        await first.close()


class Mover:
    """A client that follows a book and a topic, and is sent to another node on the way."""

    def __init__(self, url, source):
        self.url, self.source, self.headers = url, source, {}
        self.book, self.topic = Book(), f"moved{source.rsplit('.', 1)[1]}"
        self.moves, self.changes, self.published = 0, 0, []
        self.goal, self.is_there = 50, asyncio.Event()

    async def open(self):
        self.client = await connect(self.url, self.source, additional_headers=self.headers)
        cookie = self.client.ws.response.headers.get("Set-Cookie")
        if cookie is not None:
            self.headers = {"Cookie": cookie.split(";")[0]}
        self.sequences = Sequences()

    async def follow(self, is_done):
        """Until then, whatever node it is at."""
        place = None
        while True:
            await self.open()
            if place is None:
                await self.client.call("public/subscribe", {"channels": [BOOK], "class": "lossless"})
            else:
                # The place is of a node that is gone: what it missed is nowhere, and it is told so.
                assert await self.client.resume(BOOK, place) is False
            await self.client.call("public/subscribe", {"channels": [f"topic.{self.topic}"], "class": "lossless"})
            self.is_first, self.heard = True, []
            try:
                while not is_done.is_set():
                    if self.changes % 5 == 0:
                        await self.publish()
                    place = await self.hear() or place
                while self.heard != self.published:
                    await self.hear()
                return
            except ConnectionClosed as closed:
                assert closed.rcvd is not None and closed.rcvd.code == 1001, (self.source, closed)
                # Of the node that went it has heard what it published up to some place, without a hole; what is behind is lost.
                known = min(len(self.heard), len(self.published))
                assert self.heard[:known] == self.published[:known], (self.heard, self.published)
                self.moves, self.published = self.moves + 1, []

    async def hear(self):
        """Takes the next event; its place, if it is of the book."""
        note = await self.client.note()
        self.sequences.follow(note)
        if note.channel != BOOK:
            self.heard.append(note.data)
            return None
        assert (note.data["type"] == "snapshot") == self.is_first, note.text
        self.is_first = False
        self.book.apply(note.data)
        self.changes += 1
        if self.changes >= self.goal:
            self.is_there.set()
        return note.position()

    async def publish(self):
        number = self.changes
        await self.client.publish(self.topic, str(number))
        self.published.append(number)

    async def check_book(self):
        """Its book is the node's own."""
        whole = await self.client.call("public/get_order_book", {"instrument_name": INSTRUMENT, "depth": 1000})
        while self.book.change_id < whole["change_id"]:
            await self.hear()
        bids, asks = self.book.states[whole["change_id"]]
        assert [list(level) for level in bids] == whole["bids"] and [list(level) for level in asks] == whole["asks"], whole
        await self.client.close()


async def come_and_go(url, source, until):
    """Newcomers, one after the other; how many were served. None is refused; who was let in just before the stop may be sent away."""
    count = 0
    while not until.is_set():
        client = await connect(url, source)
        try:
            await client.call("public/test")
            count += 1
        except ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == 1001, (source, closed)
        client.cut()
    return count


async def a_node_drains_while_its_clients_move_and_newcomers_are_served(front):
    is_done = asyncio.Event()
    movers = [Mover((front.by_haproxy, front.by_nginx)[number % 2], f"127.0.0.{100 + number}") for number in range(MOVERS)]
    async with asyncio.TaskGroup() as tasks:
        following = [tasks.create_task(mover.follow(is_done)) for mover in movers]
        async with asyncio.timeout(DEADLINE_S):
            for mover in movers:
                await mover.is_there.wait()
        at_blue = [mover for mover in movers if any(peer.startswith(f"{mover.source}:") for peer in await front.blue.peers())]
        assert 0 < len(at_blue) < MOVERS, f"{len(at_blue)} of {MOVERS} are at the node that goes"
        newcomers = [
            tasks.create_task(come_and_go(proxy, source, is_done))
            for proxy, source in zip((front.by_haproxy, front.by_nginx) * 4, (f"127.0.0.{last}" for last in range(200, 208)))
        ]
        front.blue.signal(signal.SIGTERM)
        await front.haproxy.says("Server nodes/blue is DOWN")
        await front.haproxy.says("Server nodes_of_binary_tcp/blue is DOWN")
        assert await front.blue.ends() == 0
        # Everybody is at the other one, and goes on there.
        for mover in movers:
            mover.goal = mover.changes + 50
            mover.is_there.clear()
        async with asyncio.timeout(DEADLINE_S):
            for mover in movers:
                await mover.is_there.wait()
        is_done.set()
        for task in following:
            await task
        served = [await task for task in newcomers]
    assert [mover.moves for mover in movers] == [int(mover in at_blue) for mover in movers]
    assert all(count > 0 for count in served), served
    for mover in movers:
        await mover.check_book()
    # A cookie of the node that is gone leads to the other one, and is replaced.
    client = await connect(front.by_haproxy, "127.0.0.94", additional_headers={"Cookie": "TICKRING_NODE=blue"})
    assert client.ws.response.headers["Set-Cookie"].startswith("TICKRING_NODE=green;"), client.ws.response.headers
    await client.close()
    print(f"{len(at_blue)} of {MOVERS} clients moved, {sum(served)} newcomers were served meanwhile", flush=True)


async def a_call_is_sent_once_and_an_upgrade_as_often_as_it_takes(front):
    for number, (line, fields, is_repeated) in enumerate((
        ("GET /api/v2/private/buy?amount=1 HTTP/1.1", "", False),
        ("POST /api/v2/private/buy HTTP/1.1", "Content-Length: 0\r\n", False),
        ("GET /ws HTTP/1.1", UPGRADE, True),
    )):
        # Others each time: nginx leaves those alone for a while that have failed.
        folder = front.folder / f"droppers-{number}"
        folder.mkdir()
        (folder / "gateway.pem").write_bytes((front.folder / "gateway.pem").read_bytes())
        async with Front(None, folder, {"blue": Dropper(), "green": Dropper()}) as droppers:
            for proxy in (droppers.by_haproxy, droppers.by_nginx):
                reader, writer = await open_tls(urllib.parse.urlsplit(proxy).port, "127.0.0.29")
                writer.write(f"{line}\r\nHost: localhost\r\n{fields}\r\n".encode())
                async with asyncio.timeout(DEADLINE_S):
                    status = (await reader.readuntil(b"\r\n")).decode()
                assert status.startswith("HTTP/1.1 502 "), (proxy, line, status)
                writer.close()
                asked = [request for node in droppers.nodes.values() for request in node.requests]
                assert set(asked) == {line} and (len(asked) > 1) == is_repeated, (proxy, line, asked)
                for node in droppers.nodes.values():
                    node.requests.clear()


CHECKS = (
    a_websocket_is_opened_and_told_the_market_through_each,
    a_method_is_called_over_http_through_each,
    binary_tcp_goes_through_with_the_clients_address,
    nodes_know_the_clients_address_and_not_the_proxys,
    what_a_client_says_of_itself_is_not_believed,
    who_comes_back_comes_to_the_same_node,
    a_cookie_leads_back_to_its_node_from_another_address,
    a_call_is_sent_once_and_an_upgrade_as_often_as_it_takes,
    # The last: afterwards there is one node.
    a_node_drains_while_its_clients_move_and_newcomers_are_served,
)


async def main(binary, folder):
    async with Front(binary, pathlib.Path(folder)) as front:
        code = await run("front", CHECKS, globals(), front, parameter="front")
        ended = await front.stop()
    print(f"front: ended with {ended}", flush=True)
    # HAProxy ends by the signal.
    assert ended == {"haproxy": -signal.SIGTERM, "nginx": 0, "blue": 0, "green": 0}, ended
    return code


sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2])))
