"""A desk for crash tests: it creates or submits the orders of a file one by one, and prints each outcome."""

import asyncio
import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec

from gotsurge_async import Created, GotSurge, InDoubt, Refused, Unprocessed, UsageError
from gotsurge_async.bulk import Changed, Desk, LedgerError, OrderChanged, SourceOptions, open_source
from gotsurge_async.cli.shared.connect import Target, connected
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import Limits
from gotsurge_async.push.desk.outcomes import Outcome

WORDS = {Created: "created", Refused: "refused", InDoubt: "in_doubt", Unprocessed: "unprocessed", Changed: "changed"}


def main() -> None:
    """Be a desk."""
    parser = ArgumentParser()
    for name in ("file", "--api-base", "--account", "--mode", "--ledger", "--price", "--timeout"):
        parser.add_argument(name)
    parser.add_argument("--callers", type=int, default=2)
    parser.add_argument("--submit", action="store_true")
    parser.add_argument("--outcomes", action="store_true")
    parser.add_argument("--client", action="store_true", help="a client with a ledger, without a desk's options")
    words = parser.parse_args(sys.argv[1:])
    orders = [
        msgspec.json.decode(row.payload)
        for row in open_source(Path(words.file), options=SourceOptions(now=SystemClock().now())).rows()
    ]
    try:
        asyncio.run(_work(words, orders))
    except LedgerError as error:  # it cannot be opened: a process that stands still keeps it locked
        sys.exit(f"{error}")


async def _work(words: Any, orders: list[dict[str, Any]]) -> None:
    timeout = None if words.timeout is None else float(words.timeout)
    target = Target(env="local", api_base=words.api_base, account=words.account)
    async with (
        connected(target, Limits(concurrency=1)) as gs,
        await (
            _client_of(gs, words.ledger) if words.client else Desk.open(gs, words.ledger, mode=words.mode)
        ) as opened,
    ):
        desk = opened.orders if isinstance(opened, GotSurge) else opened

        async def ask(order: dict[str, Any]) -> None:
            if words.price is not None:
                order = order | {"price": int(words.price)}
            try:
                if words.submit:
                    await desk.submit(order)
                    print(json.dumps({"key": order["tracking_id"], "word": "submitted", "task": None}), flush=True)
                if words.submit or words.outcomes:
                    outcome = await desk.outcome(order["tracking_id"])
                else:
                    outcome = await desk.create(order, timeout=timeout)
                told = _told(order["tracking_id"], outcome)
            except UsageError as error:
                word = "changed" if isinstance(error, OrderChanged) else "unknown"
                told = {"key": order["tracking_id"], "word": word, "task": None, "why": str(error)}
            except LedgerError as error:  # the server has ended its connection
                told = {"key": order["tracking_id"], "word": "error", "task": None, "why": str(error)}
            print(json.dumps(told), flush=True)

        half = len(orders) // 2
        for some in (orders[:half], orders[half:]):
            await asyncio.gather(*(ask(order) for order in some for _ in range(words.callers)))
        if isinstance(opened, GotSurge):  # each was asked for, so this is the same again
            async for outcome in opened.push(orders):
                print(json.dumps(_told(str(outcome.order.tracking_id), outcome)), flush=True)


async def _client_of(gs: GotSurge, ledger: str) -> GotSurge:
    """A client with a ledger, signed in as another one is."""
    tokens = await gs.tokens.current()
    assert tokens is not None
    return GotSurge(
        gs.environment,
        credentials=gs.oauth.credentials,
        bearer_token=tokens.bearer,
        refresh_token=tokens.refresh,
        limits=gs.limits,
        account=gs.tokens.account,
        ledger=ledger,
    )


def _told(key: str, outcome: Outcome) -> dict[str, Any]:
    task = outcome.receipt.id if isinstance(outcome, Created) else None
    return {"key": key, "word": WORDS[type(outcome)], "task": task, "why": str(getattr(outcome, "error", ""))}
