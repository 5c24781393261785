"""What the gateway owes to a client that trades and loses its connection: python session_check.py ws://127.0.0.1:PORT/ws

Written as such a client would be, on `websockets` alone. All of a check's waiting is for what the server tells.
"""

import asyncio
import collections
import decimal
import json
import os
import sys

from gateway import Book, Client, RpcError, Sequences
from running import run

# The key that a server without a file of keys has on loopback.
KEY = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"}
INSTRUMENT, AMOUNT = "BTC-PERPETUAL", 10
BOOK, TRADES = f"book.{INSTRUMENT}.raw", f"trades.{INSTRUMENT}.raw"
ORDERS, FILLS, CHANGES = (f"user.{view}.{INSTRUMENT}.raw" for view in ("orders", "trades", "changes"))
# A label is an account's for as long as it is remembered: each process names its own.
RUN = f"py{os.getpid()}"


class Trader:
    """A client that has logged in, and what it was told of each channel."""

    @classmethod
    async def open(cls, url):
        self = cls()
        self.client = await Client.open(url)
        granted = await self.client.call("public/auth", KEY)
        assert {"trade:read_write", "account:read_write"} <= set(granted["scope"].split()), granted
        self.told = collections.defaultdict(list)
        self.sequences, self.book = Sequences(), Book()
        return self

    async def call(self, method, **params):
        return await self.client.call(f"private/{method}", params)

    async def subscribe(self, *channels):
        assert await self.call("subscribe", channels=list(channels)) == list(channels)

    async def hear(self):
        note = await self.client.note()
        self.sequences.follow(note)
        if note.channel == BOOK:
            self.book.apply(note.data)
        self.told[note.channel].append(note.data)

    async def until(self, channel, is_it):
        """The first of a channel's data that is such, told already or not."""
        looked_at = 0
        while True:
            for data in self.told[channel][looked_at:]:
                if is_it(data):
                    return data
            looked_at = len(self.told[channel])
            await self.hear()

    async def rest(self, label):
        """Buys below the market; the order."""
        tick = (await self.client.call("public/get_instrument", {"instrument_name": INSTRUMENT}))["tick_size"]
        bid = (await self.client.call("public/ticker", {"instrument_name": INSTRUMENT}))["best_bid_price"]
        price = bid * decimal.Decimal("0.99") // tick * tick
        placed = await self.call(
            "buy", instrument_name=INSTRUMENT, amount=AMOUNT, type="limit", price=float(price), label=f"{RUN} {label}"
        )
        order = placed["order"]
        assert (order["order_state"], order["filled_amount"], order["price"]) == ("open", 0, price) and placed["trades"] == [], placed
        return order

    async def state_of(self, order_id):
        return (await self.call("get_order_state", order_id=order_id))["order_state"]

    async def position(self):
        return (await self.call("get_position", instrument_name=INSTRUMENT))["size"]


def is_order(order_id, state):
    return lambda order: (order["order_id"], order["order_state"]) == (order_id, state)


async def trade_at_market(trader):
    """Buys at the market: the market, the account's trades, orders and position tell of it alike."""
    before = await trader.position()
    bought = await trader.call("buy", instrument_name=INSTRUMENT, amount=AMOUNT, type="market")
    order, fills = bought["order"], bought["trades"]
    assert order["order_state"] == "filled" and sum(fill["amount"] for fill in fills) == AMOUNT, bought
    ids = [fill["trade_id"] for fill in fills]
    assert ids and all(fill["order_id"] == order["order_id"] and fill["liquidity"] == "T" for fill in fills), bought
    await trader.until(ORDERS, is_order(order["order_id"], "filled"))
    for trade_id in ids:
        (fill,) = [
            each
            for each in await trader.until(FILLS, lambda told: trade_id in [each["trade_id"] for each in told])
            if each["trade_id"] == trade_id
        ]
        trades = await trader.until(TRADES, lambda told: trade_id in [each["trade_id"] for each in told])
        (trade,) = [each for each in trades if each["trade_id"] == trade_id]
        for name in ("price", "amount", "trade_seq", "timestamp"):
            assert trade[name] == fill[name], (trade, fill)
        assert trade["direction"] == fill["direction"] == "buy", (trade, fill)

    def has_moved(told):
        return any(position["size"] == before + AMOUNT for position in told["positions"])

    changes = await trader.until(CHANGES, has_moved)
    assert changes["instrument_name"] == INSTRUMENT, changes
    assert await trader.position() == before + AMOUNT


async def a_client_trades_is_cut_off_and_finds_its_order_cancelled_and_all_it_missed(url):
    trader = await Trader.open(url)
    assert await trader.call("enable_cancel_on_disconnect", scope="connection") == "ok"
    assert (await trader.call("get_cancel_on_disconnect", scope="connection"))["enabled"] is True
    await trader.subscribe(BOOK, TRADES, ORDERS, FILLS, CHANGES)

    resting = await trader.rest("rests")
    order_id, price = resting["order_id"], resting["price"]
    assert await trader.until(ORDERS, is_order(order_id, "open")) == resting
    await trader.until(CHANGES, lambda told: order_id in [order["order_id"] for order in told["orders"]])
    while trader.book.sides["bids"].get(price, 0) < AMOUNT:
        await trader.hear()

    await trade_at_market(trader)

    cancelled = await trader.rest("is cancelled")
    result = await trader.call("cancel", order_id=cancelled["order_id"])
    assert (result["order_state"], result["cancel_reason"]) == ("cancelled", "user_request"), result
    assert await trader.until(ORDERS, is_order(cancelled["order_id"], "cancelled")) == result
    assert [order["order_id"] for order in await trader.call("get_open_orders")] == [order_id]

    # Cut off: its own order goes, and what another client of the account does meanwhile is missed.
    place, position = trader.sequences.last[ORDERS], await trader.position()
    other = await Trader.open(url)
    await other.subscribe(ORDERS)
    trader.client.cut()
    theirs = [(await other.rest(f"missed {number}"))["order_id"] for number in range(3)]
    for each in theirs:
        await other.call("cancel", order_id=each)
    await other.until(ORDERS, is_order(order_id, "cancelled"))

    back = await Trader.open(url)
    back.sequences.last[ORDERS] = place
    assert await back.client.resume(ORDERS, place) is True
    for each in [order_id, *theirs]:
        await back.until(ORDERS, is_order(each, "cancelled"))
    missed = [(order["order_id"], order["order_state"]) for order in back.told[ORDERS]]
    assert [each for each in missed if each[0] != order_id] == [(each, "open") for each in theirs] + [
        (each, "cancelled") for each in theirs
    ], missed
    (gone,) = [order for order in back.told[ORDERS] if order["order_id"] == order_id]
    assert gone["cancel_reason"] == "cancel_on_disconnect", gone
    assert await back.state_of(order_id) == "cancelled"
    assert await back.call("get_open_orders_by_instrument", instrument_name=INSTRUMENT) == []
    assert await back.position() == position, "what was filled stays filled"
    # And the stream goes on.
    last = await back.rest("after")
    await back.call("cancel", order_id=last["order_id"])
    await back.until(ORDERS, is_order(last["order_id"], "cancelled"))
    await back.call("sell", instrument_name=INSTRUMENT, amount=AMOUNT, type="market", reduce_only=True)
    assert await back.position() == position - AMOUNT
    for each in (other, back):
        await each.client.close()


async def who_logs_out_leaves_its_orders_and_who_did_not_ask_for_it_too(url):
    guarded, unguarded, watcher = [await Trader.open(url) for _ in range(3)]
    await watcher.subscribe(ORDERS)
    await guarded.call("enable_cancel_on_disconnect", scope="connection")
    kept = [(await guarded.rest("logged out"))["order_id"], (await unguarded.rest("cut off"))["order_id"]]
    await guarded.call("logout")
    unguarded.client.cut()
    # A third that is guarded and cut: once its order is gone, so would be those of who went before.
    third = await Trader.open(url)
    await third.call("enable_cancel_on_disconnect", scope="connection")
    gone = (await third.rest("cut off and guarded"))["order_id"]
    third.client.cut()
    await watcher.until(ORDERS, is_order(gone, "cancelled"))
    assert [await watcher.state_of(each) for each in kept] == ["open", "open"]
    assert await watcher.call("cancel_all") == 2
    for each in kept:
        await watcher.until(ORDERS, is_order(each, "cancelled"))
    await watcher.client.close()


async def a_view_tells_what_the_account_tells_of_its_kind(url):
    views = ["user.orders.any.any.raw", "user.orders.future.BTC.raw", ORDERS, "user.trades.any.any.raw", FILLS]
    trader = await Trader.open(url)
    await trader.subscribe(*views)
    order = await trader.rest("seen by all")
    await trader.call("cancel", order_id=order["order_id"])
    await trader.call("buy", instrument_name=INSTRUMENT, amount=AMOUNT, type="market")
    sold = await trader.call("sell", instrument_name=INSTRUMENT, amount=AMOUNT, type="market")
    order_id, last = sold["order"]["order_id"], sold["trades"][-1]["trade_id"]
    for view in views:
        if view.startswith("user.orders."):
            await trader.until(view, is_order(order_id, "filled"))
        else:
            await trader.until(view, lambda told: last in [fill["trade_id"] for fill in told])
    kinds = [[json.dumps(trader.told[view], default=str) for view in views if view.startswith(kind)] for kind in ("user.orders.", "user.trades.")]
    for texts in kinds:
        assert len(set(texts)) == 1, texts
    await trader.client.close()


async def what_is_private_takes_a_log_in(url):
    client = await Client.open(url)
    for method, params in [
        ("private/buy", {"instrument_name": INSTRUMENT, "amount": AMOUNT, "type": "market"}),
        ("private/get_open_orders", {}),
        ("private/subscribe", {"channels": [ORDERS]}),
        ("public/subscribe", {"channels": [ORDERS]}),
    ]:
        try:
            result = await client.call(method, params)
        except RpcError as error:
            assert error.code == 13009, (method, error)
        else:
            raise AssertionError((method, result))
    await client.close()


CHECKS = [
    a_client_trades_is_cut_off_and_finds_its_order_cancelled_and_all_it_missed,
    who_logs_out_leaves_its_orders_and_who_did_not_ask_for_it_too,
    a_view_tells_what_the_account_tells_of_its_kind,
    what_is_private_takes_a_log_in,
]

sys.exit(asyncio.run(run("session", CHECKS, globals(), sys.argv[1])))
