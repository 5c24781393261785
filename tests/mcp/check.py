"""The official client for Python through the gateway: python check.py URL, http:// or ws:// (the latter by a release before 2)."""

import asyncio
import json
import sys

from mcp import ClientSession


def transport(url):
    if url.startswith("http"):
        try:
            from mcp.client.streamable_http import streamable_http_client as client
        except ImportError:
            from mcp.client.streamable_http import streamablehttp_client as client
    else:
        from mcp.client.websocket import websocket_client as client
    return client(url)


def text(result):
    return "\n".join(part.text for part in result.content)


async def main(url):
    async with asyncio.timeout(120), transport(url) as streams, ClientSession(streams[0], streams[1]) as session:
        await session.initialize()
        names = {tool.name for tool in (await session.list_tools()).tools}
        for name in ("everything__echo", "memory__read_graph", "files__read_text_file", "time__get_current_time", "remote__echo"):
            assert name in names, f"{name} is not among {sorted(names)}"
        print("ok: lists the tools of all servers under their prefixes")
        assert text(await session.call_tool("everything__echo", {"message": "hällo"})) == "Echo: hällo"
        assert text(await session.call_tool("remote__echo", {"message": "far"})) == "Echo: far"
        assert "Asia/Tokyo" in text(await session.call_tool("time__get_current_time", {"timezone": "Asia/Tokyo"}))
        assert "files" in text(await session.call_tool("files__list_allowed_directories", {}))
        assert "entities" in text(await session.call_tool("memory__read_graph", {}))
        print("ok: calls tools of five servers")
        book = await session.call_tool("order_book", {"instrument_name": "BTC-PERPETUAL", "depth": 1})
        assert json.loads(text(book))["instrument_name"] == "BTC-PERPETUAL", book
        refused = await session.call_tool("cancel_order", {"order_id": "1"})
        assert "unauthorized" in text(refused), refused
        print("ok: calls the gateway's own tools")
        answers = await asyncio.gather(
            *(session.call_tool("everything__echo", {"message": f"n{n}"}) for n in range(20))
        )
        assert [text(answer) for answer in answers] == [f"Echo: n{n}" for n in range(20)]
        print("ok: many calls at a time each have their own answer")


asyncio.run(main(sys.argv[1]))
