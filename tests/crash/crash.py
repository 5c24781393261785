"""Kills a gateway in the midst of durable messages, many times, and holds what it said against a ledger:
python crash.py PATH_OF_TICKRING FOLDER KILLS [SEED]

Each life of the server ends by SIGKILL after a random number of things that it did, counted over all clients, so that a kill
falls anywhere: between a request and its commit, within a commit, between commit and reply, while it loads what is stored. Senders keep many
messages in flight and send again, under the same names, what they were told nothing of. Receivers confirm, reject, ignore, and
come and go. After the last kill all is received, and the ledger tells.
"""

import asyncio
import json
import os
import random
import signal
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from ledger import Broken, Ledger, content_of

SENDERS, RECEIVERS = 3, 4
PRIORITIES = ("low", "normal", "high", "critical")
IN_FLIGHT_MAX, BACKLOG_MAX = 64, 2000
SECRET = "for-this-test-alone-0123456789ab"
START_S, QUIET_S = 30, 120
GONE = (ConnectionClosed, InvalidHandshake, OSError, EOFError)


def write_settings(folder):
    users = [f"s{number}" for number in range(SENDERS)] + [f"r{number}" for number in range(RECEIVERS)] + ["admin"]
    scopes = '["message:read_write", "message:admin"]'
    keys = "".join(f'[[key]]\nclient_id = "{user}"\naccount = "{user}"\nsecret = "{SECRET}"\nscopes = {scopes}\n\n' for user in users)
    path = os.path.join(folder, "keys.toml")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(keys)
    settings = os.path.join(folder, "crash.toml")
    with open(settings, "w") as file:
        file.write(
            f"""[store]
directory = "{folder}/store"

[messages]
# What is neither confirmed nor rejected comes again soon, and does not die of it: nobody ignores the same one so often.
ack_timeout_ms = 500
retry_first_ms = 100
retry_longest_ms = 500
attempts_max = 64

[auth]
keys = "{path}"
"""
        )
    return settings


class Server:
    """One gateway after another, on a port of the kernel's choosing each."""

    def __init__(self, binary, settings, log):
        self.command = [binary, "serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", "0", "--config", settings]
        self.log, self.url, self.up, self.process = log, None, asyncio.Event(), None

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(*self.command, stdout=asyncio.subprocess.PIPE, stderr=self.log)
        async with asyncio.timeout(START_S):
            while True:
                line = (await self.process.stdout.readline()).decode()
                if not line:
                    raise Broken(f"the server ended while it started, with {await self.process.wait()}")
                if "ws://" in line:
                    break
        self.url = next(word for word in line.split() if word.startswith("ws://")).rstrip(",;")
        self.up.set()

    async def kill(self):
        self.up.clear()
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self):
        self.up.clear()
        self.process.terminate()
        code = await self.process.wait()
        if code != 0:
            raise Broken(f"the server ended with {code}")


class Session:
    """A connection that has logged in; whatever comes goes to `take`."""

    def __init__(self, world, user):
        self.world, self.user, self.waiting, self.last_id = world, user, {}, 0

    async def open(self):
        await self.world.server.up.wait()
        self.ws = await connect(self.world.server.url, compression=None, ping_interval=None, max_size=None, max_queue=None)
        await self.ask("public/auth", {"grant_type": "client_credentials", "client_id": self.user, "client_secret": SECRET})

    async def ask(self, method, params):
        """Waits for the reply, and for it alone: before anything else is under way."""
        number = await self.put(method, params, None)
        while True:
            message = json.loads(await self.ws.recv())
            if message.get("id") == number:
                self.waiting.pop(number)
                if "error" in message:
                    raise Broken(f"{self.user}: {method}: {message['error']}")
                return message["result"]
            self.take(message)

    async def put(self, method, params, note):
        self.last_id += 1
        self.waiting[self.last_id] = (method, note)
        await self.ws.send(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}))
        return self.last_id

    async def hear(self):
        message = json.loads(await self.ws.recv())
        if self.waiting.get(message.get("id"), ("", ""))[0] != "presence/get":
            self.world.count()
        return self.take(message)

    def take(self, message):
        raise NotImplementedError


class Sender(Session):
    """Keeps messages in flight. `unsure` is what left and was not answered: it goes again first, and in its order."""

    def __init__(self, world, user):
        super().__init__(world, user)
        self.unsure, self.numbers = {}, 0

    def compose(self):
        receiver = f"r{self.world.random.randrange(RECEIVERS)}"
        priority = self.world.random.choice(PRIORITIES)
        name = f"{self.user}:{receiver}:{priority}:{self.numbers}"
        self.numbers += 1
        self.unsure[name] = {"user": receiver, "priority": priority, "confirm": True, "id": name, "content": content_of(name)}
        self.world.ledger.send(name, receiver)
        return name

    def take(self, message):
        method, name = self.waiting.pop(message["id"])
        if name is None:
            return None
        if "error" in message:
            # Loading, or too much on its way to the disk: it was not sent. Anything else is a fault of the gateway.
            reason = message["error"].get("data", {}).get("reason", "")
            if not any(word in reason for word in ("being loaded", "busy", "too many requests", "on its way")):
                raise Broken(f"{self.user}: {name}: {message['error']}")
            self.world.ledger.overtake(name)
            return name
        self.world.ledger.promise(name, message["result"]["repeated"])
        del self.unsure[name]
        return None

    async def run(self):
        while not self.world.is_ending or self.unsure:
            try:
                self.waiting.clear()
                await self.open()
                again = list(self.unsure)
                while not self.world.is_ending or self.unsure:
                    while again and len(self.waiting) < IN_FLIGHT_MAX:
                        name = again.pop(0)
                        await self.put("message/send", self.unsure[name], name)
                    while not again and not self.world.is_ending and len(self.waiting) < IN_FLIGHT_MAX:
                        if self.world.ledger.backlog() >= BACKLOG_MAX:
                            # Receivers are to keep up: a mailbox that is full is another test's.
                            await self.put("presence/get", {"users": ["r0"]}, None)
                            break
                        name = self.compose()
                        await self.put("message/send", self.unsure[name], name)
                    refused = await self.hear()
                    if refused is not None:
                        # What follows it in its stream must not overtake it: all that is unsure goes again, in order, once all
                        # that is under way is answered.
                        while self.waiting:
                            await self.hear()
                        again = list(self.unsure)
                await self.ws.close()
            except GONE:
                await self.world.gone(self)


class Receiver(Session):
    """Confirms most, rejects some, ignores some, and comes and goes."""

    def take(self, message):
        if "method" in message:
            assert message["method"] == "message", message
            self.world.ledger.deliver(self.user, message["params"])
            return message["params"]
        method, name = self.waiting.pop(message["id"])
        if "error" not in message and method == "message/ack":
            self.world.ledger.confirm(name)
        # An error: it was confirmed by an earlier ack of which the reply was lost, or is to be delivered again already.
        return None

    async def run(self):
        while not self.world.is_settled():
            try:
                self.waiting.clear()
                await self.open()
                await self.ask("message/subscribe", {"under_way_max": self.world.random.choice((1, 16, 256))})
                stays = self.world.random.randrange(50, 2000)
                while not self.world.is_settled() and (stays > 0 or self.world.is_ending):
                    stays -= 1
                    params = await self.hear()
                    if params is not None:
                        await self.judge(params)
                await self.ws.close()
            except GONE:
                await self.world.gone(self)

    async def judge(self, params):
        chance = 1.0 if self.world.is_ending else self.world.random.random()
        if chance >= 0.15:
            self.world.ledger.judge(params["client_id"])
            await self.put("message/ack", {"id": params["id"]}, params["client_id"])
        elif chance >= 0.05:
            await self.put("message/nack", {"id": params["id"], "reason": "not now", "delay_ms": 10}, None)


class World:
    def __init__(self, server, seed):
        self.server, self.random, self.ledger = server, random.Random(seed), Ledger()
        self.is_ending, self.left, self.due, self.changed = False, 0, asyncio.Event(), asyncio.Event()
        self.done = False

    def count(self):
        """One thing more that the server did; at the last of its life the kill is due."""
        self.left -= 1
        if self.left == 0:
            self.due.set()

    async def gone(self, session):
        """A connection is lost: that is right only if the server was killed, or is about to be."""
        if self.server.up.is_set() and not self.due.is_set() and self.server.process.returncode is not None:
            raise Broken(f"{session.user}: the server ended by itself with {self.server.process.returncode}")
        await asyncio.sleep(0)

    def is_settled(self):
        return self.done

    async def live(self, kills, tasks):
        """So many lives, each cut short."""
        for number in range(kills):
            self.due.clear()
            self.left = self.random.choice((1, self.random.randrange(1, 50), self.random.randrange(50, 3000)))
            await self.server.start()
            await first(tasks, self.due.wait())
            await self.server.kill()
            if (number + 1) % 20 == 0:
                print(f"{number + 1} kills: {len(self.ledger.promised)} promised, {len(self.ledger.confirmed)} confirmed", flush=True)
        self.left = 0

    async def settle(self, tasks):
        """A last life, in which all that was promised is to be seen."""
        self.is_ending = True
        await self.server.start()
        admin = Session(self, "admin")
        views = [Session(self, f"r{number}") for number in range(RECEIVERS)]
        for session in (admin, *views):
            await session.open()
        async with asyncio.timeout(QUIET_S):
            await first(tasks, asyncio.gather(*tasks["senders"]))
            for view in views:
                # Each is asked until nothing waits for it: it is the receivers that make it so, as fast as they can.
                while (await first(tasks, view.ask("message/pending", {"count": 1})))["total"]:
                    pass
        listed = await admin.ask("message/dead_letters/list", {"count": 1000})
        for letter in listed["letters"]:
            self.ledger.bury(letter["client_id"])
        if listed["total"] != len(listed["letters"]):
            raise Broken(f"{listed['total']} dead letters, though nothing was to die")
        self.done = True
        await self.server.stop()


async def first(tasks, awaitable):
    """Waits, but hears at once of a client that has found a fault."""
    wanted = asyncio.ensure_future(awaitable)
    every = [task for kind in tasks.values() for task in kind if not task.done()]
    await asyncio.wait([wanted, *every], return_when=asyncio.FIRST_COMPLETED)
    while not wanted.done():
        # One that is through is no fault; one that has found a fault raises it here.
        for kind in tasks.values():
            for task in kind:
                if task.done():
                    task.result()
        every = [task for kind in tasks.values() for task in kind if not task.done()]
        await asyncio.wait([wanted, *every], return_when=asyncio.FIRST_COMPLETED)
    return wanted.result()


async def main(binary, folder, kills, seed):
    settings = write_settings(folder)
    with open(os.path.join(folder, "server.log"), "ab") as log:
        server = Server(binary, settings, log)
        world = World(server, seed)
        tasks = {
            "senders": [asyncio.create_task(Sender(world, f"s{number}").run()) for number in range(SENDERS)],
            "receivers": [asyncio.create_task(Receiver(world, f"r{number}").run()) for number in range(RECEIVERS)],
        }
        try:
            await world.live(kills, tasks)
            await world.settle(tasks)
        finally:
            if server.process is not None and server.process.returncode is None:
                server.process.kill()
                await server.process.wait()
            for kind in tasks.values():
                for task in kind:
                    task.cancel()
    ledger = world.ledger
    missing = ledger.missing()
    again = sum(count - 1 for count in ledger.delivered.values() if count)
    print(
        f"seed {seed}: {kills} kills; {len(ledger.sent)} sent, {len(ledger.promised)} promised, {ledger.repeated_replies} of them known already; "
        f"{len(ledger.delivered)} delivered, {again} again and marked; {len(ledger.confirmed)} confirmed; {len(ledger.dead)} dead"
    )
    if missing:
        raise Broken(f"{len(missing)} promised messages are lost: {missing[:10]}")
    if not ledger.promised or not again or not ledger.repeated_replies and kills >= 50:
        raise Broken("the test did not test: nothing was promised, or nothing came again")


if __name__ == "__main__":
    path, place, count = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2]), int(sys.argv[3])
    asyncio.run(main(path, place, count, int(sys.argv[4]) if len(sys.argv) > 4 else 1))
