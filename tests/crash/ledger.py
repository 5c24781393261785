"""What senders were promised, what receivers got, and whether the two agree: kept apart from the server, in memory that no kill of it touches.

A message is known by its sender's own name for it, which is (sender, receiver, priority, number). Invariants that are checked as
things happen: nothing is delivered that was never sent; a second delivery says that it may be one; what was confirmed is not
delivered again; first deliveries of one sender, receiver and priority are in the order in which they were sent.
"""

import collections


class Broken(AssertionError):
    """The gateway broke a promise."""


class Ledger:
    def __init__(self):
        self.sent = {}  # name -> receiver, from before the first byte of it leaves
        self.promised = set()  # durable, as its sender was told
        self.delivered = collections.Counter()
        self.judged = set()  # of which its receiver has said that it has it, whether or not that was heard
        self.confirmed = set()  # as its receiver was told
        self.dead = set()
        self.newest = {}  # (sender, receiver, priority) -> number of its newest first delivery
        self.repeated_replies = 0
        self.overtaken = set()  # refused once, while what its sender had sent behind it was taken

    def send(self, name, receiver):
        self.sent[name] = receiver

    def promise(self, name, repeated):
        self.promised.add(name)
        self.repeated_replies += repeated

    def overtake(self, name):
        self.overtaken.add(name)

    def deliver(self, receiver, params):
        name = params["client_id"]
        if self.sent.get(name) != receiver:
            raise Broken(f"{receiver} got what nobody sent it: {params}")
        if params["content"] != content_of(name):
            raise Broken(f"{receiver} got other content: {params}")
        if name in self.confirmed:
            raise Broken(f"{receiver} got what it had confirmed, and was told so: {params}")
        if self.delivered[name] and not params["redelivered"]:
            raise Broken(f"{receiver} got twice what is marked as new: {params}")
        if not self.delivered[name] and name not in self.overtaken:
            sender, _, priority, number = name.split(":")
            stream = (sender, receiver, priority)
            if int(number) <= self.newest.get(stream, -1):
                raise Broken(f"{receiver} got {name} behind number {self.newest[stream]} of the same")
            self.newest[stream] = int(number)
        self.delivered[name] += 1

    def judge(self, name):
        self.judged.add(name)

    def confirm(self, name):
        self.confirmed.add(name)

    def bury(self, name):
        self.dead.add(name)

    def backlog(self):
        """What waits for its receiver, about."""
        return len(self.promised) - len(self.judged)

    def missing(self):
        """What was promised, and is neither delivered nor dead."""
        return [name for name in sorted(self.promised) if not self.delivered[name] and name not in self.dead]


def content_of(name):
    """What belongs to a message of this name: of many lengths, each of it different."""
    return {"of": name, "fill": "x" * (sum(name.encode()) % 700)}
