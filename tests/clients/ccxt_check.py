"""What the gateway owes to ccxt, unmodified, which takes it for Deribit: python ccxt_check.py ws://127.0.0.1:PORT/ws

Only ccxt's addresses are set. It calls methods over HTTP, signs each request, and watches over WebSocket. An error on its
WebSocket hangs it for good, so a check that takes too long has most likely drawn one.
"""

import asyncio
import collections
import contextlib
import os
import sys
import urllib.parse

import ccxt.pro
from ccxt.base import errors

from running import run

DEADLINE_S = 20
# The key that a server without a file of keys has on loopback.
KEY = {"apiKey": "demo", "secret": "demo-secret"}
SYMBOL, OTHER = "BTC/USD:USD", "ETH/USD:USD"
AMOUNT = {SYMBOL: 10.0, OTHER: 1.0}
# A label is an account's for as long as it is remembered: each process names its own.
RUN = f"ccxt{os.getpid()}"


@contextlib.asynccontextmanager
async def trader(url, key=KEY):
    """ccxt's client with the markets loaded."""
    address = urllib.parse.urlsplit(url)
    # Without `newUpdates` a watch method tells all that it knows, so that nothing is lost between two calls of it.
    options = {**key, "newUpdates": False}
    if address.scheme == "wss":
        options["cafile"] = os.environ["SSL_CERT_FILE"]
    exchange = ccxt.pro.deribit(options)
    http = {"ws": "http", "wss": "https"}[address.scheme]
    exchange.urls["api"] = {"rest": f"{http}://{address.netloc}", "ws": f"{address.scheme}://{address.netloc}/ws/api/v2"}
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


class Stream:
    """What a watch method tells of orders or trades, each once in each state, for whoever waits for something in it."""

    def __init__(self, watch):
        self.seen = []
        self._last = {}
        self._failure = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._follow(watch))

    async def _follow(self, watch):
        try:
            while True:
                for told in await watch():
                    if told != self._last.get(told["id"]):
                        # ccxt changes an order that it has told when there is news of it.
                        self._last[told["id"]] = dict(told)
                        self.seen.append(self._last[told["id"]])
                self._news.set()
        except Exception as error:  # who waits must hear of it
            self._failure = error
            self._news.set()

    async def until(self, is_it):
        """The first that is such, told already or not."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                self._news.clear()
                found = next(filter(is_it, self.seen), None)
                if found is not None:
                    return found
                if self._failure is not None:
                    raise self._failure
                await self._news.wait()

    def stop(self):
        self._task.cancel()


async def follow(exchange, *watches):
    """Streams that are subscribed to: ccxt does not tell when. What is asked for next on a connection, of the same home, is told
    no earlier."""
    await exchange.authenticate()
    streams = [Stream(watch) for watch in watches]
    await exchange.watch_bids_asks([OTHER])
    return streams


async def low_price(exchange, symbol=SYMBOL):
    """A price at which a buy rests."""
    bid = (await exchange.fetch_ticker(symbol))["bid"]
    return float(exchange.price_to_precision(symbol, bid * 0.99))


async def fails_with(kind, code, awaitable):
    """ccxt raises this class, or one below it, for this code of ours."""
    try:
        result = await awaitable
    except kind as error:
        assert f'"code":{code},' in str(error), error
    else:
        raise AssertionError(f"{result}, expected {kind.__name__}")


def equal(found, expected):
    """The members that are expected."""
    assert {name: found[name] for name in expected} == expected, found


async def markets_are_what_the_gateway_lists(url):
    async with trader(url) as exchange:
        listed = (await exchange.publicGetGetInstruments())["result"]
        assert len(exchange.markets) == len(listed) > 6, "ccxt drops what has the symbol of another"
        for instrument in listed:
            market = exchange.market(instrument["instrument_name"])
            kind = {"spot": "spot", "option": "option"}.get(instrument["kind"], "future")
            is_perpetual = instrument.get("settlement_period") == "perpetual"
            assert market["type"] == ("swap" if is_perpetual else kind), market
            assert market["precision"] == {"amount": instrument["min_trade_amount"], "price": instrument["tick_size"]}, market
            assert market["limits"]["amount"]["min"] == instrument["min_trade_amount"] > 0, market
            assert market["limits"]["price"]["min"] == instrument["tick_size"] > 0, market
            assert market["active"] is True and market["contractSize"] == instrument["contract_size"] > 0, market
            if market["contract"]:
                assert market["linear"] is True and market["inverse"] is False, market
                assert market["settle"] == market["quote"] == instrument["settlement_currency"], market
            assert {market["base"], market["quote"]} <= set(exchange.currencies), market
        expected = {"id": "BTC-PERPETUAL", "base": "BTC", "quote": "USD", "settle": "USD", "type": "swap", "contractSize": 10.0}
        equal(exchange.market(SYMBOL), expected | {"precision": {"amount": 10.0, "price": 0.5}, "maker": 0.0, "taker": 0.0})
        spot = exchange.market("BTC/USDC")
        equal(spot, {"id": "BTC_USDC", "type": "spot", "spot": True, "contract": False, "linear": None})


async def fetches_time_status_ticker_book_and_trades(url):
    async with trader(url) as exchange:
        assert abs(await exchange.fetch_time() - exchange.milliseconds()) < 10_000
        assert (await exchange.fetch_status())["status"] == "ok"
        ticker = await exchange.fetch_ticker(SYMBOL)
        assert ticker["symbol"] == SYMBOL and ticker["bid"] < ticker["ask"], ticker
        book = await exchange.fetch_order_book(SYMBOL, 10)
        assert len(book["bids"]) == len(book["asks"]) == 10 and book["bids"][0][0] < book["asks"][0][0], book
        stream = Stream(lambda: exchange.watch_trades(SYMBOL))
        first = await stream.until(lambda trade: True)
        stream.stop()
        for trades in [
            await exchange.fetch_trades(SYMBOL, limit=100),
            await exchange.fetch_trades(SYMBOL, since=first["timestamp"], limit=1000),
        ]:
            assert first["id"] in [trade["id"] for trade in trades], (first, trades)


async def watches_tickers_and_quotes(url):
    async with trader(url) as exchange:
        last = {}
        for count in range(20):
            for ticker in [await exchange.watch_ticker(SYMBOL), *(await exchange.watch_bids_asks([SYMBOL, OTHER])).values()]:
                assert ticker["bid"] < ticker["ask"] and ticker["bidVolume"] > 0 and ticker["askVolume"] > 0, ticker
                assert ticker["timestamp"] >= last.get((ticker["symbol"], ticker["last"] is None), 0), ticker
                last[ticker["symbol"], ticker["last"] is None] = ticker["timestamp"]
        while set(exchange.bidsasks) != {SYMBOL, OTHER}:
            await exchange.watch_bids_asks([SYMBOL, OTHER])
        while len(exchange.tickers) < 6:
            await exchange.watch_tickers(sorted(exchange.markets))
        ticker = await exchange.watch_ticker(SYMBOL, {"interval": "raw"})
        assert ticker["high"] >= ticker["last"] >= ticker["low"] and ticker["markPrice"] > 0, ticker


async def watches_trades_in_order(url):
    async with trader(url) as exchange:
        for interval in ["100ms", "raw"]:
            # ccxt keeps the newest notification's trades alone: of two that come at once it tells the second.
            stream = Stream(lambda: exchange.watch_trades(SYMBOL, params={"interval": interval}))
            await stream.until(lambda trade: len(stream.seen) >= 20)
            stream.stop()
            numbers = [trade["info"]["trade_seq"] for trade in stream.seen]
            assert all(before < after for before, after in zip(numbers, numbers[1:])), numbers
            fetched = {trade["id"]: trade for trade in await exchange.fetch_trades(SYMBOL, limit=256)}
            for trade in stream.seen:
                assert trade == fetched[trade["id"]] and trade["side"] in ("buy", "sell"), trade
                assert abs(trade["cost"] - trade["price"] * trade["amount"]) < 1e-6, trade


def levels(book):
    return [[level[:2] for level in book[side]] for side in ("bids", "asks")]


async def its_order_book_is_the_servers(url):
    async with trader(url) as exchange:
        states, news = collections.deque(maxlen=10_000), asyncio.Event()

        async def follow_book():
            while True:
                book = await exchange.watch_order_book(SYMBOL, params={"interval": "raw"})
                states.append((book["timestamp"], levels(book)))
                news.set()

        async with asyncio.TaskGroup() as group:
            following = group.create_task(follow_book())
            # Of books that come at once ccxt tells the last alone, so that the server's is not always among them.
            matches = 0
            while matches < 3:
                whole = await exchange.fetch_order_book(SYMBOL, 10_000)
                while not states or states[-1][0] <= whole["timestamp"]:
                    news.clear()
                    await news.wait()
                matches += levels(whole) in [state for _, state in states]
            following.cancel()


async def its_order_book_of_100_ms_stays_a_book(url):
    async with trader(url) as exchange:
        for depth in [None, 5]:
            for _ in range(10):
                book = await exchange.watch_order_book(SYMBOL, depth)
                bids, asks = ([level[0] for level in side] for side in levels(book))
                assert bids == sorted(bids, reverse=True) and asks == sorted(asks) and bids[0] < asks[0], book
                assert all(level[1] > 0 for side in levels(book) for level in side), book


async def logs_in_over_websocket_and_http(url):
    async with trader(url) as exchange:
        reply = await exchange.authenticate()
        assert "trade:read_write" in reply["result"]["scope"], reply
        accounts = {key["account"] for key in (await exchange.privateGetListApiKeys())["result"]}
        assert accounts == {"demo"}, accounts
    async with trader(url, {"apiKey": "demo", "secret": "guess"}) as exchange:
        await fails_with(errors.AuthenticationError, 13004, exchange.privateGetListApiKeys())


async def an_order_is_created_watched_edited_and_cancelled(url):
    async with trader(url) as exchange:
        (orders,) = await follow(exchange, exchange.watch_orders)
        price, amount = await low_price(exchange), AMOUNT[SYMBOL]
        resting = {"symbol": SYMBOL, "side": "buy", "type": "limit", "timeInForce": "GTC", "postOnly": False, "status": "open"}
        resting |= {"price": price, "amount": amount, "filled": 0.0, "remaining": amount, "average": None, "trades": []}
        created = await exchange.create_order(SYMBOL, "limit", "buy", amount, price, {"label": f"{RUN} rests"})
        equal(created, resting)
        order = created["id"]
        assert isinstance(order, str) and created["info"]["label"] == f"{RUN} rests", created
        equal(await orders.until(lambda told: told["id"] == order), resting)
        equal(await exchange.fetch_order(order, SYMBOL), resting)
        for found in [await exchange.fetch_open_orders(SYMBOL), await exchange.fetch_open_orders()]:
            (mine,) = [each for each in found if each["id"] == order]
            equal(mine, resting)

        edited = {"amount": 2 * amount, "price": price - 0.5, "remaining": 2 * amount, "status": "open", "id": order}
        equal(await exchange.edit_order(order, SYMBOL, "limit", "buy", 2 * amount, price - 0.5), edited)
        equal(await orders.until(lambda told: told["id"] == order and told["price"] == price - 0.5), edited)

        cancelled = edited | {"status": "canceled", "filled": 0.0}
        equal(await exchange.cancel_order(order, SYMBOL), cancelled)
        equal(await orders.until(lambda told: told["id"] == order and told["status"] == "canceled"), cancelled)
        equal(await exchange.fetch_order(order), cancelled)
        assert order not in [each["id"] for each in await exchange.fetch_open_orders(SYMBOL)]
        try:
            await exchange.cancel_order(order)
            raise AssertionError("a cancelled order was cancelled")
        except errors.InvalidOrder:  # OrderNotFound is one
            pass
        orders.stop()


async def size_of(exchange):
    return (await exchange.fetch_position(SYMBOL))["contracts"]


async def a_market_order_fills_and_moves_the_position(url):
    async with trader(url) as exchange:
        orders, trades = await follow(exchange, exchange.watch_orders, exchange.watch_my_trades)
        amount, before = AMOUNT[SYMBOL], await size_of(exchange)
        bought = await exchange.create_order(SYMBOL, "market", "buy", amount)
        equal(bought, {"status": "closed", "type": "market", "side": "buy", "filled": amount, "remaining": 0.0, "price": bought["average"]})
        fills = bought["trades"]
        assert sum(fill["amount"] for fill in fills) == amount and bought["average"] > 0, bought
        assert abs(sum(fill["cost"] for fill in fills) - bought["cost"]) < 1e-3, bought
        for fill in fills:
            equal(fill, {"order": bought["id"], "side": "buy", "takerOrMaker": "taker", "symbol": SYMBOL, "type": "market"})
            assert fill["fee"] == {"cost": 0.0, "currency": "USD"}, fill
        ids = sorted(fill["id"] for fill in fills)
        assert len(set(ids)) == len(ids), ids
        told = await trades.until(lambda trade: trade["order"] == bought["id"])
        assert told["id"] in ids, told
        await orders.until(lambda order: order["id"] == bought["id"] and order["status"] == "closed")
        for found in [
            await exchange.fetch_my_trades(SYMBOL, limit=100),
            await exchange.fetch_my_trades(SYMBOL, since=bought["timestamp"], limit=100),
            await exchange.fetch_my_trades(limit=100),
        ]:
            assert sorted(trade["id"] for trade in found if trade["order"] == bought["id"]) == ids, found
        public = {trade["id"] for trade in await exchange.fetch_trades(SYMBOL, since=bought["timestamp"], limit=1000)}
        assert set(ids) <= public, "the market does not know of our trades"
        equal(await exchange.fetch_order(bought["id"]), {"status": "closed", "filled": amount, "average": bought["average"]})
        assert bought["id"] in [order["id"] for order in await exchange.fetch_closed_orders(SYMBOL)]

        (position,) = await exchange.fetch_positions([SYMBOL])
        equal(position, {"contracts": before + amount, "side": "long", "contractSize": 10.0})
        assert position["entryPrice"] > 0 and position["markPrice"] > 0 and position["unrealizedPnl"] is not None, position
        sold = await exchange.create_order(SYMBOL, "market", "sell", amount, None, {"reduceOnly": True})
        equal(sold, {"status": "closed", "filled": amount, "side": "sell"})
        assert await size_of(exchange) == before
        for stream in (orders, trades):
            stream.stop()


async def balances_are_fetched(url):
    async with trader(url) as exchange:
        every, one = await exchange.fetch_balance(), await exchange.fetch_balance({"code": "USD"})
        for balance in (every, one):
            assert all(isinstance(balance["USD"][name], float) for name in ("free", "used", "total")), balance
        assert {"USD", "USDC"} <= set(every["total"]), every["total"]


async def time_in_force_and_post_only_are_kept(url):
    async with trader(url) as exchange:
        price, amount = await low_price(exchange), AMOUNT[SYMBOL]
        gone = await exchange.create_order(SYMBOL, "limit", "buy", amount, price, {"timeInForce": "IOC"})
        equal(gone, {"status": "canceled", "filled": 0.0, "timeInForce": "IOC"})
        try:
            killed = await exchange.create_order(SYMBOL, "limit", "buy", amount, price, {"timeInForce": "FOK"})
            equal(killed, {"status": "canceled", "filled": 0.0, "timeInForce": "FOK"})
        except errors.ExchangeError as error:
            assert type(error) in (errors.ExchangeError, errors.InvalidOrder), error
        posted = await exchange.create_order(SYMBOL, "limit", "buy", amount, price, {"postOnly": True})
        equal(posted, {"status": "open", "postOnly": True, "price": price})
        await exchange.cancel_order(posted["id"])
        crossing = (await exchange.fetch_ticker(SYMBOL))["ask"] * 1.01
        await fails_with(errors.InvalidOrder, 11054, exchange.create_order(SYMBOL, "limit", "buy", amount, crossing, {"postOnly": True}))
        filled = await exchange.create_order(SYMBOL, "limit", "buy", amount, crossing, {"timeInForce": "FOK"})
        equal(filled, {"status": "closed", "filled": amount, "timeInForce": "FOK"})
        await exchange.create_order(SYMBOL, "market", "sell", amount, None, {"reduceOnly": True})


async def a_label_places_one_order(url):
    async with trader(url) as exchange:
        order = (SYMBOL, "limit", "buy", AMOUNT[SYMBOL], await low_price(exchange), {"label": f"{RUN} once"})
        first, second = await exchange.create_order(*order), await exchange.create_order(*order)
        assert first["id"] == second["id"], (first, second)
        assert [each["id"] for each in await exchange.fetch_open_orders(SYMBOL)].count(first["id"]) == 1
        await exchange.cancel_order(first["id"])


async def all_orders_are_cancelled_of_one_market_and_of_all(url):
    async with trader(url) as exchange:
        placed = {symbol: [] for symbol in (SYMBOL, OTHER)}
        for symbol in (SYMBOL, OTHER, SYMBOL):
            order = await exchange.create_limit_buy_order(symbol, AMOUNT[symbol], await low_price(exchange, symbol))
            placed[symbol].append(order["id"])
        (cancelled,) = await exchange.cancel_all_orders(SYMBOL)
        assert cancelled["info"]["result"] == 2, cancelled
        assert await exchange.fetch_open_orders(SYMBOL) == []
        assert [order["id"] for order in await exchange.fetch_open_orders(OTHER)] == placed[OTHER]
        (cancelled,) = await exchange.cancel_all_orders()
        assert cancelled["info"]["result"] == 1, cancelled
        for order in placed[SYMBOL] + placed[OTHER]:
            equal(await exchange.fetch_order(order), {"status": "canceled"})


async def refusals_have_ccxts_classes(url):
    async with trader(url) as exchange:
        price, amount = await low_price(exchange), AMOUNT[SYMBOL]

        def buy(**params):
            """ccxt rounds what it is given, but not `params`."""
            return exchange.create_order(SYMBOL, "limit", "buy", amount, price, params)

        await fails_with(errors.OrderNotFound, 10004, exchange.fetch_order("1"))
        await fails_with(errors.OrderNotFound, 10004, exchange.cancel_order("1"))
        await fails_with(errors.OrderNotFound, 10004, exchange.edit_order("1", SYMBOL, "limit", "buy", amount, price))
        await fails_with(errors.InvalidOrder, 10043, buy(price=f"{price + 0.3:.1f}"))
        await fails_with(errors.InvalidOrder, 10007, buy(price=f"{price * 2:.1f}"))
        await fails_with(errors.InvalidOrder, 10021, buy(amount="7"))
        await fails_with(errors.InvalidOrder, 10021, buy(amount="10000000000"))
        await fails_with(errors.ExchangeError, 13020, buy(instrument_name="NO-SUCH"))
        await fails_with(errors.BadRequest, -32602, buy(time_in_force="for_ever"))
        assert await exchange.fetch_open_orders(SYMBOL) == []
    async with trader(url, {"apiKey": "demo", "secret": "guess"}) as exchange:
        for _ in range(20):
            await fails_with(errors.AuthenticationError, 13004, exchange.fetch_open_orders(SYMBOL))
        await fails_with(errors.DDoSProtection, 10028, exchange.fetch_open_orders(SYMBOL))


CHECKS = [
    markets_are_what_the_gateway_lists,
    fetches_time_status_ticker_book_and_trades,
    watches_tickers_and_quotes,
    watches_trades_in_order,
    its_order_book_is_the_servers,
    its_order_book_of_100_ms_stays_a_book,
    logs_in_over_websocket_and_http,
    an_order_is_created_watched_edited_and_cancelled,
    a_market_order_fills_and_moves_the_position,
    balances_are_fetched,
    time_in_force_and_post_only_are_kept,
    a_label_places_one_order,
    all_orders_are_cancelled_of_one_market_and_of_all,
    refusals_have_ccxts_classes,
]

sys.exit(asyncio.run(run("ccxt", CHECKS, globals(), sys.argv[1])))
