#!/usr/bin/env python3
"""Reads the frames of samples.txt by the schema, with the decoder `sbedecoder`, and compares what it finds with what samples.rs wrote.

usage: check.py SCHEMA SAMPLES

Every field of every message that the schema has must be expected here, and every sample be read. What `sbedecoder` passes over, texts behind
the groups, is read by the length before it, which is all that a text has.
"""

import struct
import sys

from sbedecoder import SBEMessage, SBESchema

EPOCH = 1795242557732
NS = 1795242557734542168


def decimal(mantissa, exponent=-9):
    """A composite; a mantissa that is none is told as None."""
    return {"mantissa": mantissa, "exponent": exponent}


def market(seq, **fields):
    return {"epoch": EPOCH, "seq": seq, "sending_time": NS, **fields}


def level(price, amount, **fields):
    return {"price": decimal(price), "amount": decimal(amount), **fields}


def trade(seq, side, tick):
    return {
        "trade_seq": seq,
        "event_time": NS - seq,
        **level(64000 * 10**9, 10 * 10**9),
        "mark_price": decimal(64000250000000),
        "side": side,
        "tick_direction": tick,
    }


ORDER_PRICE = decimal(64000500000000)

# By the name of a message: its fields, its groups, its texts.
EXPECTED = {
    "Heartbeat": ({"sending_time": NS, "kind": "TestRequest"}, {}, []),
    "GapNotice": (
        {
            "epoch": EPOCH,
            "begin_seq": 6,
            "end_seq": 8,
            "sending_time": NS,
            "instrument_id": None,
            "channel": "UserTrades",
            "interval": None,
            "group_ticks": 250,
            "depth": 20,
        },
        {},
        [],
    ),
    "Ticker": (
        market(
            1,
            event_time=NS - 1,
            instrument_id=7,
            interval="Ms100",
            state="Open",
            bid_price=decimal(64000500000000),
            bid_amount=decimal(30 * 10**9),
            ask_price=decimal(None),
            ask_amount=decimal(0),
            last_price=decimal(-1),
            mark_price=decimal(64000250000000),
            high=decimal(None),
            low=decimal(63000 * 10**9),
            volume=decimal(5500000000),
            # 12345678901234567890123e-9 with the digits that fit 64 bits.
            turnover=decimal(1234567890123456789, -5),
            price_change=decimal(None, 0),
        ),
        {},
        [],
    ),
    "Quote": (
        market(
            2,
            event_time=NS - 2,
            instrument_id=8,
            bid_price=decimal(None),
            bid_amount=decimal(0),
            ask_price=decimal(1121050000),
            ask_amount=decimal(1),
        ),
        {},
        [],
    ),
    "Trade": (
        market(3, instrument_id=7, interval="Raw"),
        {"trades": [trade(4, "Buy", "ZeroPlus"), trade(5, "Sell", "Minus")]},
        [],
    ),
    "BookSnapshot": (
        market(
            4,
            event_time=NS - 3,
            change_id=11,
            checksum=2**32 - 1,
            instrument_id=7,
            group_ticks=0,
            depth=None,
            interval="Agg2",
        ),
        {"bids": [level(9, 1), level(8, 2)], "asks": [level(10, 3)]},
        [],
    ),
    "BookDelta": (
        market(
            5, event_time=NS - 3, change_id=12, prev_change_id=11, checksum=None, instrument_id=7, interval="Raw"
        ),
        {"bids": [], "asks": [level(2, 3, action="New"), level(4, 0, action="Delete")]},
        [],
    ),
    "NewOrder": (
        {
            "correlation_id": 101,
            "price": ORDER_PRICE,
            "amount": decimal(30 * 10**9),
            "valid_until": None,
            "instrument_id": 7,
            "side": "Sell",
            "ord_type": "Limit",
            "time_in_force": "FillOrKill",
            "post_only": "Slide",
            "flags": "reduceOnly",
        },
        {},
        ["Ordre n° 7"],
    ),
    "AmendOrder": (
        {
            "correlation_id": 102,
            "order_id": None,
            "price": decimal(None),
            "amount": decimal(20 * 10**9),
            "valid_until": NS,
            "instrument_id": 7,
            "post_only": None,
            "reduce_only": "Yes",
        },
        {},
        ["mine-1"],
    ),
    "CancelOrder": ({"correlation_id": 103, "order_id": 17, "valid_until": None}, {}, []),
    "OrderAck": (
        {
            "correlation_id": 101,
            "received_time": NS - 9,
            "sending_time": NS,
            "order_id": 17,
            "price": decimal(None),
            "amount": decimal(30 * 10**9),
            "filled_amount": decimal(10 * 10**9),
            "average_price": ORDER_PRICE,
            "created_time": NS - 8,
            "updated_time": NS - 7,
            "instrument_id": 7,
            "ord_status": "PartiallyFilled",
            "side": "Buy",
            "ord_type": "Market",
            "time_in_force": "ImmediateOrCancel",
            "post_only": "No",
            "cancel_reason": None,
            "flags": "replaced, selfTrade",
        },
        {
            "fills": [
                {
                    "trade_seq": 9,
                    "event_time": NS - 7,
                    **level(64000500000000, 10 * 10**9),
                    "mark_price": decimal(64000250000000),
                    "profit": decimal(-2500000000),
                    "liquidity": "Taker",
                    "tick_direction": "Plus",
                }
            ]
        },
        ["mine-1"],
    ),
    "Reject": (
        {
            "correlation_id": None,
            "received_time": NS - 9,
            "sending_time": NS,
            "order_id": None,
            "code": -32602,
            "credits_left": 0,
            "retry_after_ms": 250,
            "ref_template_id": 20,
        },
        {},
        ["Invalid params", "wrong format", "side"],
    ),
    "ExecutionReport": (
        {
            "epoch": EPOCH,
            "seq": 30,
            "prev_seq": 28,
            "sending_time": NS,
            "order_id": 17,
            "price": ORDER_PRICE,
            "amount": decimal(None),
            "filled_amount": decimal(10 * 10**9),
            "average_price": decimal(None),
            "created_time": None,
            "updated_time": NS - 7,
            "trade_seq": 9,
            "last_price": ORDER_PRICE,
            "last_amount": decimal(10 * 10**9),
            "mark_price": decimal(None),
            "profit": decimal(0),
            "instrument_id": 7,
            "exec_type": "Trade",
            "ord_status": "Unknown",
            "side": "Sell",
            "ord_type": "Limit",
            "time_in_force": None,
            "post_only": "Reject",
            "cancel_reason": "Halted",
            "flags": "repeated",
            "liquidity": "Maker",
            "tick_direction": None,
        },
        {},
        [""],
    ),
}
HEADER = ["block_length", "template_id", "schema_id", "version"]


def found(field):
    """What the decoder says of a field: an enumeration's name, a composite's parts, else the value."""
    if hasattr(field, "parts"):
        return field.raw_value
    if hasattr(field, "enumerant") and field.raw_value not in (255, "\0"):
        return field.enumerant or f"unknown value {field.raw_value}"
    return None if hasattr(field, "enumerant") else field.value


def fields_of(message):
    return {field.name: found(field) for field in message.fields if field.name not in HEADER}


def groups_of(message):
    return {
        group.name: [{field.name: found(field) for field in entry.fields} for entry in group.repeating_groups]
        for group in message.groups
    }


def texts_of(message, frame):
    """The texts behind the last group: two bytes of length each, then UTF-8."""
    at = message.header_size + message.schema_block_length
    for group in message.groups:
        at += group.dimension_size + group.num_groups * group.block_length_field.value
    texts = []
    while at < len(frame):
        (length,) = struct.unpack_from("<H", frame, at)
        assert at + 2 + length <= len(frame), "a text ends behind the frame"
        texts.append(frame[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return texts


def main(schema_path, samples_path):
    schema = SBESchema()
    schema.parse(schema_path)
    assert sorted(kind.__name__ for kind in schema.message_map.values()) == sorted(EXPECTED), "a message is not expected here"
    seen = set()
    with open(samples_path, encoding="ascii") as lines:
        for name, text in (line.split() for line in lines):
            frame = bytes.fromhex(text)
            message = SBEMessage.parse_message(schema, frame)
            assert message.name == name, f"{message.name} instead of {name}"
            head = {field.name: field.value for field in message.fields if field.name in HEADER}
            assert (head["schema_id"], head["version"]) == (1, 0), head
            assert head["block_length"] == message.schema_block_length, head
            for what, got, expected in zip(
                ("fields", "groups", "texts"),
                (fields_of(message), groups_of(message), texts_of(message, frame)),
                EXPECTED[name],
            ):
                assert got == expected, f"{name}: {what}\n  found    {got}\n  expected {expected}"
            seen.add(name)
    assert seen == set(EXPECTED), f"no sample of {set(EXPECTED) - seen}"
    print(f"{len(seen)} messages, each read as it was written")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
