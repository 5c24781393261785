"""Two nodes, HAProxy and nginx, as processes on loopback, by the files of docs/scaling with other addresses.

Nothing here sleeps: whatever waits, waits for an event with a deadline. Ports are the kernel's choice: nodes say theirs, the proxies are
handed sockets that listen already.
"""

import asyncio
import grp
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import urllib.request

DEADLINE_S = 60
DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "scaling"
# Where the proxies connect to the nodes from. Clients have other addresses of loopback.
PROXY = "127.0.0.1"


def put(text, *pairs):
    """`text` with each first of a pair replaced by its second, which fails if it is not there: the files are run as they are."""
    for old, new in pairs:
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


def listener():
    """A socket that listens on a port of the kernel's choosing, for a child to take over."""
    bound = socket.socket()
    bound.bind((PROXY, 0))
    bound.listen(512)
    return bound


class Process:
    """A child whose output is read line by line, and kept in a file."""

    def __init__(self, name, folder):
        self.name, self.log = name, folder / f"{name}.log"
        self.lines, self.news = [], asyncio.Condition()

    async def start(self, command, sockets=(), environment=None):
        self.process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=[each.fileno() for each in sockets],
            env={**os.environ, **(environment or {})},
        )
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        with open(self.log, "w") as log:
            while line := (await self.process.stdout.readline()).decode():
                log.write(line)
                log.flush()
                async with self.news:
                    self.lines.append(line)
                    self.news.notify_all()
        async with self.news:
            self.lines.append(None)
            self.news.notify_all()

    async def says(self, pattern):
        """The first line with this pattern, now or later."""

        def found():
            return next((line for line in self.lines if line is None or re.search(pattern, line)), False)

        async with asyncio.timeout(DEADLINE_S), self.news:
            line = await self.news.wait_for(lambda: found() is not False and (found(),))
            assert line[0] is not None, f"{self.name} has ended without {pattern!r}"
            return line[0]

    def signal(self, number):
        self.process.send_signal(number)

    async def ends(self):
        """Its exit code."""
        async with asyncio.timeout(DEADLINE_S):
            await self.reader
            return await self.process.wait()


class Node(Process):
    """A tickring by docs/scaling/node.toml."""

    async def serve(self, binary, folder):
        text = (DOCS / "node.toml").read_text()
        text = put(text, ("10.0.0.11:9001", "127.0.0.1:0"), ("10.0.0.11:9003", "127.0.0.1:0"), ("10.0.0.11:9011", "127.0.0.1:0"))
        text = put(text, ('proxies = ["10.0.0.5"]', f'proxies = ["{PROXY}"]'), ("gateway.example.com", "localhost"))
        settings = folder / f"{self.name}.toml"
        settings.write_text(text)
        command = [binary, "serve", "--config", settings, "--control", "127.0.0.1:0", "--cores", "0", "--set", "mcp.address="]
        await self.start(command)
        line = await self.says(r"control on ")
        self.control = re.search(r"control on (http://[0-9.:]+)", line)[1]
        self.ports = [int(port) for port in re.findall(r"(?:ws|tcp)://127\.0\.0\.1:(\d+)", line)]
        assert len(self.ports) == 3, line
        self.websocket, self.binary, self.forwarded = self.ports

    async def peers(self):
        """Whom it says that it is connected to."""

        def ask():
            with urllib.request.urlopen(f"{self.control}/api/connections?limit=1000", timeout=DEADLINE_S) as answer:
                return json.load(answer)

        told = await asyncio.to_thread(ask)
        assert told["silent"] == [] and told.get("next") is None, told
        return [row["peer"] for row in told["connections"]]


class Dropper:
    """In a node's place: is ready, and ends each other connection once it has its request, without an answer."""

    async def serve(self, _binary, _folder):
        self.requests = []
        servers = [await asyncio.start_server(self._answer, "127.0.0.1", 0) for _ in range(2)]
        self.websocket, self.forwarded = (server.sockets[0].getsockname()[1] for server in servers)
        # Nobody asks for it.
        self.binary = self.websocket

    async def _answer(self, reader, writer):
        try:
            first = await reader.readexactly(1)
            if first == b"\r":
                # Version 2 of the PROXY protocol; its length is the last of its 16 bytes.
                await reader.readexactly((await reader.readexactly(15))[14])
                first = b""
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
            if " /ready " in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                self.requests.append(head.splitlines()[0])
        except asyncio.IncompleteReadError:
            pass
        writer.close()


class Front:
    """Two nodes, or what stands in their place, and both proxies."""

    def __init__(self, binary, folder, nodes=None):
        self.binary, self.folder = binary, folder
        self.haproxy, self.nginx = Process("haproxy", folder), Process("nginx", folder)
        self.nodes = nodes or {name: Node(name, folder) for name in ("blue", "green")}
        self.blue, self.green = self.nodes.values()

    async def __aenter__(self):
        try:
            for node in self.nodes.values():
                await node.serve(self.binary, self.folder)
            await self._start_haproxy()
            await self._start_nginx()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        for process in (self.haproxy, self.nginx, *self.nodes.values()):
            if hasattr(process, "process") and process.process.returncode is None:
                # Not killed at once: nginx' worker would be left.
                process.signal(signal.SIGTERM)
                try:
                    await process.ends()
                except TimeoutError:
                    process.signal(signal.SIGKILL)

    async def node_of(self, peer):
        """The name of the one node that shows this peer."""
        found = [name for name, node in self.nodes.items() if peer in await node.peers()]
        assert len(found) == 1, (peer, found)
        return found[0]

    async def gone(self, peer):
        """Waits until no node shows this peer: it hears of a connection's end when its proxy has."""
        async with asyncio.timeout(DEADLINE_S):
            while any([peer in await node.peers() for node in self.nodes.values()]):
                pass

    async def _start_haproxy(self):
        https, binary = listener(), listener()
        text = (DOCS / "haproxy.cfg").read_text()
        text = put(text, ("bind :443 ", f"bind fd@{https.fileno()} "), ("bind :9003 ", f"bind fd@{binary.fileno()} "))
        text = put(text, ("/etc/haproxy/gateway.pem", str(self.folder / "gateway.pem")))
        for name, address in (("blue", "10.0.0.11"), ("green", "10.0.0.12")):
            node = self.nodes[name]
            text = put(
                text,
                (f"server {name} {address}:9001 ", f"server {name} 127.0.0.1:{node.websocket} "),
                (f"server {name} {address}:9003 port 9001", f"server {name} 127.0.0.1:{node.binary} port {node.websocket}"),
            )
        path = self.folder / "haproxy.cfg"
        path.write_text(text)
        await self.haproxy.start(["haproxy", "-db", "-f", path], [https, binary])
        self.by_haproxy = f"wss://localhost:{https.getsockname()[1]}/ws"
        self.by_binary_tcp = binary.getsockname()[1]
        # The child has them.
        https.close()
        binary.close()

    async def _start_nginx(self):
        https = listener()
        port = https.getsockname()[1]
        text = (DOCS / "nginx.conf").read_text()
        text = put(text, ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"), ("/etc/nginx/gateway.pem", str(self.folder / "gateway.pem")))
        text = put(text, ("10.0.0.11:9011", f"127.0.0.1:{self.blue.forwarded}"), ("10.0.0.12:9011", f"127.0.0.1:{self.green.forwarded}"))
        (self.folder / "site.conf").write_text(text)
        folders = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # What Debian's file has around conf.d, and where it may write here.
        (self.folder / "nginx.conf").write_text(
            f"daemon off;\nuser {pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name};\nworker_processes 1;\npid {self.folder}/nginx.pid;\nerror_log stderr info;\n"
            f"events {{ worker_connections 4096; }}\nhttp {{\n{folders}include site.conf;\n}}\n"
        )
        command = ["nginx", "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf"]
        await self.nginx.start(command, [https], {"NGINX": f"{https.fileno()};"})
        await self.nginx.says("using inherited sockets")
        self.by_nginx = f"wss://localhost:{port}/ws"
        https.close()

    async def stop(self):
        """Each ends as it is told to; how."""
        self.haproxy.signal(signal.SIGTERM)
        self.nginx.signal(signal.SIGTERM)
        for node in self.nodes.values():
            if node.process.returncode is None:
                node.signal(signal.SIGTERM)
        return {process.name: await process.ends() for process in (self.haproxy, self.nginx, self.blue, self.green)}
