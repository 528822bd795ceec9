"""Forged events over HTTP, from the socket to the order book: nothing changes, and none costs more than a read."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gotsurge_async.testing import simulated
from gotsurge_async.webhooks import reads as reads_module
from gotsurge_async.webhooks.receive import Receiver
from tests.support.orders import order
from tests.support.threads import eventually
from tests.webhooks.follow_kit import Followed, followed
from tests.webhooks.kit import SERVERS, TOKEN, Served, event

UNKNOWN = "99999999-0000-4000-8000-000000000000"
ALLOWED = "203.0.113.7"
HUNDRED_MB = 100 * 1024 * 1024


async def hundred_mb() -> AsyncIterator[bytes]:
    """Far more than any event."""
    for _ in range(HUNDRED_MB // 65_536):
        yield b" " * 65_536


async def post(session: aiohttp.ClientSession, url: str, body: object, **headers: str) -> int:
    """The answer's status; 413 also where the server hung up before all was sent."""
    try:
        async with session.post(url, data=body, headers={k.replace("_", "-"): v for k, v in headers.items()}) as answer:
            return answer.status
    except aiohttp.ClientConnectionError:
        return 413


async def what_is_known(kit: Followed) -> dict[str, list[str]]:
    """Every task of the book with its steps."""
    known = {each.task_id: await kit.book.history(each) async for each in kit.book.orders()}
    return {task_id: [str(step.status) for step in steps] for task_id, steps in known.items()}


@pytest.mark.parametrize("served", SERVERS.values(), ids=SERVERS)
async def test_nothing_that_is_forged_changes_anything(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown and others' ids, impossible statuses, huge and deep bodies, wrong tokens and addresses."""
    monkeypatch.setattr(reads_module, "PAUSES", (3600.0, 3600.0))  # an id that nobody knows is asked for again later
    async with followed(tmp_path) as kit, aiohttp.ClientSession() as session:
        async with simulated("platform", simulator=kit.here.simulator) as other:
            (others,) = (await other.platform.tasks.create([order("O-0")])).tasks
        (mine,) = await kit.create(order("T-0"))
        async with (
            served(Receiver(kit.inbox, tokens=[TOKEN], account="default")) as url,
            served(Receiver(kit.inbox, tokens=[TOKEN], account="default", allow=[ALLOWED])) as fenced,
        ):
            assert await post(session, url + TOKEN, event(mine, "accepted")) == 200
            await kit.until(lambda: len(kit.seen) == 1)
            known, kept = await what_is_known(kit), sum((await kit.inbox.counts()).values())
            reads = kit.reads()

            hints = [event(UNKNOWN), event(others.id, "complete"), event(mine, "complete"), event(mine, "moored")]
            for number, hint in enumerate(hints, start=1):
                assert await post(session, url + TOKEN, hint) == 200

                async def is_read(most: int = reads + number) -> bool:
                    return kit.reads() >= most

                await eventually(is_read)
                assert kit.reads() == reads + number
            for body, status in ((hundred_mb(), 413), (b"[" * 10_000 + b"]" * 10_000, 200)):
                assert await post(session, url + TOKEN, body) == status
            assert await post(session, url + TOKEN[:-1] + "x", event(mine, "complete")) == 404
            assert await post(session, fenced + TOKEN, event(mine, "complete")) == 403
            # As a proxy writes it, which uvicorn here takes a peer on this machine for: first what the forger says.
            spoofed = f"{ALLOWED}, 198.51.100.9"
            assert await post(session, fenced + TOKEN, event(mine, "complete"), X_Forwarded_For=spoofed) == 403

            assert sum((await kit.inbox.counts()).values()) == kept + len(hints) + 1  # and the deep one, for a person
        assert kit.reads() == reads + len(hints)
        assert await what_is_known(kit) == known
        assert len(kit.seen) == 1
