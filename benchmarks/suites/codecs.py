"""Encode and decode alone, without a network."""

from collections.abc import Mapping
from typing import Any

from benchmarks.processes import Server
from benchmarks.rounds import Entrant, compete
from benchmarks.suites import Size
from benchmarks.suites.calls import told

ENCODE = (
    Entrant("orjson, dicts", "codecs:EncodeDicts"),
    Entrant("gotsurge_async", "codecs:EncodeOurs"),
    Entrant("attrs + stock cattrs", "codecs:EncodeCattrs"),
    Entrant("pydantic", "codecs:EncodePydantic"),
)
DECODE = (
    Entrant("orjson, dicts", "codecs:DecodeDicts"),
    Entrant("gotsurge_async, receipts", "codecs:DecodeReceipts"),
    Entrant("gotsurge_async, whole tasks", "codecs:DecodeOurs"),
    Entrant("attrs + stock cattrs, whole tasks", "codecs:DecodeCattrs"),
    Entrant("pydantic, receipts", "codecs:DecodePydanticReceipts"),
    Entrant("pydantic, whole tasks", "codecs:DecodePydantic"),
)


def encode(_: Server, size: Size) -> Mapping[str, Any]:
    """Orders to the bodies of creates, 20 at a time."""
    return told("order", compete(ENCODE, units=size.units(2000, 20), rounds=size.times(11), server=None, multiple=20))


def decode(_: Server, size: Size) -> Mapping[str, Any]:
    """The answers of creates, 20 tasks at a time."""
    return told("task", compete(DECODE, units=size.units(2000, 20), rounds=size.times(11), server=None, multiple=20))
