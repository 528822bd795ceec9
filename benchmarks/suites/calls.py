"""Benchmarks in which peers make the same calls: push, ledger, create, get, pages."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import attrs

from benchmarks.processes import Server
from benchmarks.rounds import Entrant, Outcome, compete
from benchmarks.server import PAGE, PAGES
from benchmarks.suites import Size

BY_HAND = "aiohttp + orjson by hand (b)"
OURS = "gotsurge_async"

PUSH = (
    Entrant(BY_HAND, "by_hand:Dicts"),
    Entrant("aiohttp, ready bytes", "by_hand:ReadyBytes"),
    Entrant(OURS, "ours:Push"),
    Entrant("attrs + stock cattrs on aiohttp", "stock_cattrs:Push", 0.5),
    Entrant("httpx + pydantic, receipts", "httpx_pydantic:Push", 0.5),
    Entrant("httpx + pydantic, whole tasks", "httpx_pydantic:Create", 0.5),
    Entrant("openai client, generic post", "openai_client:Push", 0.5),
    Entrant("requests, 20 tasks a call", "requests_loop:Twenty", 0.5),
    Entrant("requests, 1 task a call", "requests_loop:One", 0.1),
)
LEDGER = (
    Entrant(BY_HAND, "by_hand:Dicts"),
    Entrant(OURS, "ours:Push"),
    Entrant("gotsurge_async, durable ledger", "ours:LedgerPush"),
)
LEDGER_POSTGRESQL = Entrant("gotsurge_async, ledger in PostgreSQL", "ours:PostgresLedgerPush")
POSTGRESQL = "GOTSURGE_BENCH_POSTGRESQL"
"""The variable that names a database for it."""
CREATE = (
    Entrant(BY_HAND, "by_hand:Dicts"),
    Entrant(OURS, "ours:Create"),
    Entrant("attrs + stock cattrs on aiohttp", "stock_cattrs:Create", 0.5),
    Entrant("httpx + pydantic", "httpx_pydantic:Create", 0.5),
    Entrant("openai client, its own models", "openai_client:Create", 0.5),
)
DESK = (
    Entrant("gotsurge_async: tasks.create of one order", "ours:OneByOne"),
    Entrant("gotsurge_async: desk.create", "desks:AtDesk"),
    Entrant("gotsurge_async: desk.create, known keys", "desks:Replayed"),
    Entrant("tasks.create with a table by hand", "desks:OwnTable"),
    Entrant("a table by hand, known keys", "desks:OwnTableKnown"),
)
DESK_POSTGRESQL = (
    Entrant("gotsurge_async: desk.create, PostgreSQL", "desks:PostgresAtDesk"),
    Entrant("gotsurge_async: desk.create, known keys, PostgreSQL", "desks:PostgresReplayed"),
)
KNOWN = (
    Entrant("gotsurge_async: desk.create, known keys of a small ledger", "desks:KnownOfFew"),
    Entrant("gotsurge_async: desk.create, known keys, 1,000 times as many orders", "desks:KnownOfMany"),
)
CALLERS = (1, 16, 64, 256)
GET = (
    Entrant("aiohttp + orjson by hand", "by_hand:Get"),
    Entrant(OURS, "ours:Get"),
    Entrant("aiohttp + orjson, lucky process", "by_hand:LuckyGet"),
    Entrant("httpx + pydantic", "httpx_pydantic:Get"),
    Entrant("openai client, generic get", "openai_client:Get"),
    Entrant("requests", "requests_loop:Get"),
)
PAGES_READ = (
    Entrant("aiohttp + orjson by hand", "by_hand:Pages"),
    Entrant(OURS, "ours:Pages"),
    Entrant("attrs + stock cattrs on aiohttp", "stock_cattrs:Pages"),
    Entrant("httpx + pydantic", "httpx_pydantic:Pages"),
)

UVLOOP = (
    Entrant(OURS, "ours:Push"),
    Entrant("gotsurge_async on uvloop", "ours:UvloopPush"),
    Entrant("gotsurge_async, durable ledger", "ours:LedgerPush"),
    Entrant("gotsurge_async, durable ledger, on uvloop", "ours:UvloopLedgerPush"),
    Entrant(BY_HAND, "by_hand:Dicts"),
    Entrant("aiohttp + orjson by hand on uvloop", "by_hand:UvloopDicts"),
)


def push(server: Server, size: Size) -> Mapping[str, Any]:
    """Orders out, receipts in; no ledger."""
    units = size.units(4000, 20)
    return told("order", compete(PUSH, units=units, rounds=size.times(9), server=server, multiple=20, processes=3))


def ledger(server: Server, size: Size) -> Mapping[str, Any]:
    """The same push through a durable ledger: loaded, admitted, claimed, sent and recorded."""
    units = size.units(20_000, 20)  # a new ledger costs some 30 ms, which few orders would have to bear
    entrants = (*LEDGER, LEDGER_POSTGRESQL) if os.environ.get(POSTGRESQL) else LEDGER
    return told("order", compete(entrants, units=units, rounds=size.times(7), server=server, multiple=20))


def create(server: Server, size: Size) -> Mapping[str, Any]:
    """Creates of 20 tasks whose answers are read whole."""
    units = size.units(4000, 20)
    return told("order", compete(CREATE, units=units, rounds=size.times(9), server=server, multiple=20, processes=3))


def desk(server: Server, size: Size) -> Mapping[str, Any]:
    """Single orders by 1 to 256 callers, with and without a memory; answers at once, and after 20 ms."""
    entrants = (*DESK, *DESK_POSTGRESQL) if os.environ.get(POSTGRESQL) else DESK
    found: list[Outcome] = []
    for latency in (0.0, 0.02):
        for callers in CALLERS:
            units = size.units(200 if callers == 1 else 2000)
            outcomes = compete(
                entrants, units=units, rounds=size.times(7), server=server, concurrency=callers, latency=latency
            )
            place = f"{callers} {'caller' if callers == 1 else 'callers'}, {latency * 1000:g} ms"
            found += [attrs.evolve(outcome, name=f"{outcome.name}: {place}") for outcome in outcomes]
    return told("order", found)


def desk_known(server: Server, size: Size) -> Mapping[str, Any]:
    """Known keys of a small ledger, and of one with a thousand times as many: ten million, if asked for."""
    units = size.units(500 if size.million else 50)
    return told("order", compete(KNOWN, units=units, rounds=size.times(7), server=server, concurrency=16))


def get(server: Server, size: Size) -> Mapping[str, Any]:
    """One small GET after another: latency and CPU of a call."""
    units = size.units(300)
    return told("call", compete(GET, units=units, rounds=size.times(15), server=server, concurrency=1, processes=15))


def pages(server: Server, size: Size) -> Mapping[str, Any]:
    """Lists in pages of 200 tasks, read into whole objects."""
    units = size.units(2000, PAGE * PAGES)
    return told("task", compete(PAGES_READ, units=units, rounds=size.times(9), server=server, multiple=PAGE * PAGES))


def on_uvloop(server: Server, size: Size) -> Mapping[str, Any]:
    """The same pushes on asyncio's event loop and, if it is installed, on that of uvloop."""
    there = find_spec("uvloop") is not None
    entrants = [each for each in UVLOOP if there or "uvloop" not in each.name]
    units = size.units(8000, 20)
    return told("order", compete(entrants, units=units, rounds=size.times(9), server=server, multiple=20, processes=3))


def told(unit: str, outcomes: list[Outcome]) -> Mapping[str, Any]:
    """What a table needs."""
    return {"unit": unit, "outcomes": [attrs.asdict(outcome) for outcome in outcomes]}
