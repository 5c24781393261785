"""What the gateway owes to a client that nobody here wrote: python check.py ws://127.0.0.1:PORT/ws

Prints a line per check; fails with the first wrong answer of each.
"""

import asyncio
import os
import sys
import time

from gateway import Book, Client, RpcError, Sequences
from running import run

INSTRUMENT = "BTC-PERPETUAL"
# No topic has a past: each process and check names its own.
RUN = f"py{os.getpid()}"


async def fails_with(code, awaitable):
    try:
        result = await awaitable
    except RpcError as error:
        assert error.code == code, f"error {error.code}, expected {code}"
    else:
        raise AssertionError(f"{result}, expected error {code}")


async def greets_and_tells_the_time(url):
    client = await Client.open(url)
    hello = await client.call("public/hello", {"client_name": "check.py", "client_version": "1"})
    assert isinstance(hello["version"], str), hello
    assert await client.call("public/test") == await client.call("public/test", {})
    now_ms = await client.call("public/get_time")
    assert abs(now_ms - time.time() * 1000) < 10_000, now_ms
    reply = await client.reply("public/test", None, request_id="a \u20ac string")
    assert reply["usIn"] <= reply["usOut"] and reply["usDiff"] == reply["usOut"] - reply["usIn"], reply
    names = [each["instrument_name"] for each in await client.call("public/get_instruments", {"currency": "BTC"})]
    assert INSTRUMENT in names, names
    async with asyncio.timeout(10):
        await (await client.ws.ping(b"beat"))
    await client.close()
    assert client.ws.close_code == 1000, client.ws.close_code


async def answers_errors_as_json_rpc_says(url):
    client = await Client.open(url)
    await fails_with(-32601, client.call("public/no_such_method", {}))
    await fails_with(-32602, client.call("public/get_order_book", {}))
    await fails_with(-32602, client.call("public/get_order_book", {"instrument_name": 7}))
    await fails_with(13020, client.call("public/get_order_book", {"instrument_name": "NO-SUCH"}))
    await fails_with(-32602, client.call("public/subscribe", {"channels": "ticker.*.raw"}))
    await fails_with(-32602, client.call("topic/publish", {"topic": "alerts"}))
    broken = ['{"jsonrpc":"2.0","id":1,', '{"jsonrpc":"2.0","id":1,"method":"topic/publish","params":{"topic":"a","data":{]}}']
    for text in broken:
        await client.ws.send(text)
        stray = await client.stray()
        assert stray["id"] is None and stray["error"]["code"] == -32700, stray
    for text in ['[]', '{"jsonrpc":"2.0","method":1,"params":"bar"}', '1']:
        await client.ws.send(text)
        stray = await client.stray()
        assert stray["id"] is None and stray["error"]["code"] == -32600, (text, stray)
    assert "version" in await client.call("public/test")
    await client.close()


async def answers_batches_as_json_rpc_says(url):
    client = await Client.open(url)
    test = '"jsonrpc":"2.0","method":"public/test"'
    await client.ws.send(f'[{{{test},"id":"a"}},{{{test}}},1,{{"jsonrpc":"2.0","method":"no/such","id":"b"}}]')
    batch = await client.stray()
    assert isinstance(batch, list) and len(batch) == 3, batch
    by_id = {reply["id"]: reply for reply in batch}
    assert "version" in by_id["a"]["result"], batch
    assert by_id["b"]["error"]["code"] == -32601, batch
    assert by_id[None]["error"]["code"] == -32600, batch
    # Nothing answers a notification, alone or in a batch: the next message is the reply to what follows.
    await client.ws.send(f"{{{test}}}")
    await client.ws.send(f"[{{{test}}},{{{test}}}]")
    assert "version" in await client.call("public/test")
    assert client.strays.empty(), client.strays
    await client.close()


async def market_data_comes_in_order(url):
    client = await Client.open(url)
    channels = ["ticker.*.raw", "trades.*.raw"]
    assert await client.call("public/subscribe", {"channels": channels, "class": "lossless"}) == channels
    sequences, seen = Sequences(), {"ticker": {}, "trades": {}}
    while sum(seen["ticker"].values()) < 300 or sum(seen["trades"].values()) < 10 or len(seen["ticker"]) < 6:
        note = await client.note()
        sequences.follow(note)
        kind, instrument, interval = note.channel.split(".")
        assert interval == "raw", note.channel
        rows = note.data if kind == "trades" else [note.data]
        assert rows and all(row["instrument_name"] == instrument for row in rows), note.text
        seen[kind][instrument] = seen[kind].get(instrument, 0) + 1
    await client.call("public/unsubscribe_all")
    await client.close()


async def compare_books(client, book, sequences, count):
    """Lets the book advance and compares it with the server's own, `count` times."""
    for _ in range(count):
        goal = len(book.states) + 20
        while len(book.states) < goal:
            await advance(client, book, sequences)
        whole = await client.call("public/get_order_book", {"instrument_name": INSTRUMENT, "depth": 1000})
        while book.change_id < whole["change_id"]:
            await advance(client, book, sequences)
        bids, asks = book.states[whole["change_id"]]
        assert [list(level) for level in bids] == whole["bids"], (bids, whole["bids"])
        assert [list(level) for level in asks] == whole["asks"], (asks, whole["asks"])


async def advance(client, book, sequences):
    note = await client.note()
    sequences.follow(note)
    book.apply(note.data)


async def a_book_of_deltas_is_the_servers_book_and_survives_a_cut(url):
    channel = f"book.{INSTRUMENT}.raw"
    client = await Client.open(url)
    await client.call("public/subscribe", {"channels": [channel], "class": "lossless"})
    book, sequences = Book(), Sequences()
    first = await client.note()
    assert first.data["type"] == "snapshot", first.text
    sequences.follow(first)
    book.apply(first.data)
    await compare_books(client, book, sequences, 5)
    for _ in range(4):
        client.cut()
        client = await Client.open(url)
        assert await client.resume(channel, sequences.last[channel]) is True
        await compare_books(client, book, sequences, 1)
    await client.close()


async def a_place_that_is_unknown_is_not_resumed_but_started_over(url):
    channel = f"book.{INSTRUMENT}.raw"
    client = await Client.open(url)
    assert await client.resume(channel, {"epoch": 1, "seq": 1}) is False
    book, sequences = Book(), Sequences()
    first = await client.note()
    assert first.data["type"] == "snapshot", first.text
    sequences.follow(first)
    book.apply(first.data)
    await compare_books(client, book, sequences, 1)
    await client.close()


async def the_checksum_is_that_of_the_top_ten(url):
    client = await Client.open(url)
    params = {"channels": [f"book.{INSTRUMENT}.raw"], "class": "lossless", "checksum": True}
    await client.call("public/subscribe", params)
    book, sequences = Book(), Sequences()
    for _ in range(100):
        note = await client.note()
        assert "checksum" in note.data, note.text
        sequences.follow(note)
        book.apply(note.data)
    await client.close()


def payload(publisher, number):
    """Any JSON, in spellings that a parser would not give back."""
    shapes = [
        f'{{"p":{publisher},"n":{number}, "price" : 4810.250000 ,"caf\\u00e9":"\\"data\\":}}]","big":12345678901234567890123}}',
        f'[{publisher},\t{number},[[[{{}}]]],1E-7,-0.0,true,null]',
        f'"{publisher} {number} \u20ac \U0001f4c8 \\u20ac \\/"',
        f'{{"dup":{publisher},"dup":{number},"":""}}',
    ]
    return shapes[number % len(shapes)]


async def every_subscriber_gets_every_message_in_one_order(url):
    topic, publishers, count = f"{RUN}fan", 4, 50
    readers = [await Client.open(url) for _ in range(16)]
    channel = f"topic.{topic}"
    for reader in readers:
        assert await reader.call("public/subscribe", {"channels": [channel]}) == [channel]
    writers = [await Client.open(url) for _ in range(publishers)]
    origin = {payload(p, n): (p, n) for p in range(publishers) for n in range(count)}
    assert len(origin) == publishers * count
    sending = [writers[p].publish(topic, raw) for raw, (p, _) in origin.items()]

    async def read(reader):
        sequences, order = Sequences(), []
        for _ in origin:
            note = await reader.note()
            assert note.channel == channel, note.channel
            sequences.follow(note)
            order.append((note.epoch, note.seq, origin[note.raw_data()]))
        return order

    *orders, places = await asyncio.gather(*map(read, readers), asyncio.gather(*sending))
    assert all(order == orders[0] for order in orders), "two subscribers saw different orders"
    told = [(place["epoch"], place["seq"], at) for place, at in zip(places, origin.values())]
    assert sorted(told, key=lambda each: each[1]) == orders[0], "a publisher was told another place than its subscribers"
    for p in range(publishers):
        numbers = [n for _, _, (publisher, n) in orders[0] if publisher == p]
        assert numbers == list(range(count)), f"publisher {p}: {numbers}"
    for client in readers + writers:
        await client.close()


async def resumes_after_a_cut_without_loss_or_repetition(url):
    topic, cuts = f"{RUN}cut", 8
    channel = f"topic.{topic}"
    writer, reader = await Client.open(url), await Client.open(url)
    await reader.call("public/subscribe", {"channels": [channel]})
    sequences, received, sent = Sequences(), [], 0

    async def publish(count):
        nonlocal sent
        for _ in range(count):
            sent += 1
            await writer.publish(topic, str(sent))

    async def take(count):
        for _ in range(count):
            note = await reader.note()
            sequences.follow(note)
            received.append(note.data)

    for _ in range(cuts):
        # Some are processed, some arrive unprocessed, some are published while nobody is there, some come during the resume.
        await publish(20)
        await take(11)
        reader.cut()
        await publish(15)
        storm = asyncio.create_task(publish(20))
        reader = await Client.open(url)
        assert await reader.resume(channel, sequences.last[channel]) is True
        await take(13)
        await storm
    await take(sent - len(received))
    assert received == list(range(1, sent + 1)), received
    await writer.publish(topic, '"last"')
    await take(1)
    assert received[-1] == "last" and reader.notes.empty(), received[-1]
    await writer.close()
    await reader.close()


async def what_is_compressed_is_what_is_not(url):
    channels = ["ticker.*.raw", "trades.*.raw", f"book.{INSTRUMENT}.raw", f"topic.{RUN}both"]
    clients = [await Client.open(url), await Client.open(url, compressed=False)]
    for client in clients:
        await client.call("public/subscribe", {"channels": channels, "class": "lossless"})
    await clients[0].publish(f"{RUN}both", '["text", "' + "compressible " * 500 + '"]')
    told, begun = [{}, {}], [set(), set()]
    while sum(key in told[1] for key in told[0]) < 300 or not any("topic" in key[0] for key in told[0]):
        for client, texts, channels_begun in zip(clients, told, begun):
            note = await client.note()
            # What a ticker or a book starts with is told to each when it comes, and says when.
            if note.channel in channels_begun or note.channel.startswith(("trades.", "topic.")):
                texts[note.channel, note.epoch, note.seq] = note.text
            channels_begun.add(note.channel)
    for key in told[0].keys() & told[1].keys():
        assert told[0][key] == told[1][key], key
    for client in clients:
        await client.close()


async def only_a_conflated_subscription_sees_gaps(url):
    topic, count, filler = f"{RUN}slow", 400, "x" * 32_000
    channel = f"topic.{topic}"
    writer, lossless = await Client.open(url), await Client.open(url)
    stalled = await Client.open(url, receive_buffer_bytes=4096)
    await lossless.call("public/subscribe", {"channels": [channel]})
    await stalled.call("public/subscribe", {"channels": [channel], "class": "latest"})
    stalled.reads.clear()
    sequences = Sequences()
    for number in range(count):
        await writer.publish(topic, f'{{"n":{number},"filler":"{filler}"}}')
        note = await lossless.note()
        sequences.follow(note)
        assert note.data["n"] == number, note.data["n"]
    stalled.reads.set()
    seqs, last = [], None
    while last is None or last.data["n"] != count - 1:
        last = await stalled.note()
        seqs.append(last.seq)
    assert all(before < after for before, after in zip(seqs, seqs[1:])), seqs
    assert last.position() == sequences.last[channel], (last.position(), sequences.last)
    assert len(seqs) < count, "13 MB fitted into the buffers of a reader that did not read: nothing was conflated"
    # Conflation is over once the reader keeps up: what follows comes without a gap.
    for number in range(3):
        await writer.publish(topic, f'{{"n":{number}}}')
        note = await stalled.note()
        assert note.seq == last.seq + 1, (note.seq, last.seq)
        last = note
    for client in (writer, lossless, stalled):
        await client.close()


CHECKS = [
    greets_and_tells_the_time,
    answers_errors_as_json_rpc_says,
    answers_batches_as_json_rpc_says,
    market_data_comes_in_order,
    a_book_of_deltas_is_the_servers_book_and_survives_a_cut,
    a_place_that_is_unknown_is_not_resumed_but_started_over,
    the_checksum_is_that_of_the_top_ten,
    every_subscriber_gets_every_message_in_one_order,
    resumes_after_a_cut_without_loss_or_repetition,
    what_is_compressed_is_what_is_not,
    only_a_conflated_subscription_sees_gaps,
]


sys.exit(asyncio.run(run("python", CHECKS, globals(), sys.argv[1])))
