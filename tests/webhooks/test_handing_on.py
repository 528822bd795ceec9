"""Handing changes on: how it ends."""

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from gotsurge_async.webhooks import follow
from gotsurge_async.webhooks.book import Change
from tests.support.orders import order
from tests.webhooks.follow_kit import followed, follower


@pytest.mark.slow
async def test_a_handler_that_does_not_heed_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that goes on when it is cancelled is left alone, which is told; its change is handed on again."""
    monkeypatch.setattr(follow, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(follow, "CANCEL_SECONDS", 0.05)
    begun, over = asyncio.Event(), asyncio.Event()
    async with followed(tmp_path, following=False) as kit:
        (task_id,) = await kit.create(order("T-0"))

        async def stubborn(_: Change) -> None:
            begun.set()
            while not over.is_set():
                with suppress(asyncio.CancelledError):
                    await over.wait()
            raise ValueError("in the end it failed")

        await kit.event(task_id)
        try:
            with caplog.at_level(logging.ERROR):
                async with asyncio.timeout(60):
                    async with follower(kit, on_status=stubborn):
                        await begun.wait()
        finally:
            over.set()  # a loop waits for each of its tasks when it closes
        assert "handlers were cancelled, but are still running: gotsurge change" in caplog.text
        async with follower(kit):
            await kit.until(lambda: kit.statuses(task_id) == ["broadcasting"])


@pytest.mark.slow
async def test_ends_of_the_process_are_no_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a process ends while a handler runs, its change is handed on by the next one as if it were new."""
    monkeypatch.setattr(follow, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(follow, "_AGAIN", follow.RetryPolicy(base=0.01, cap=0.01))  # type: ignore[attr-defined]
    async with followed(tmp_path, following=False) as kit:
        (task_id,) = await kit.create(order("T-0"))
        await kit.event(task_id)
        for _ in range(3):
            begun = asyncio.Event()

            async def hangs(_: Change, begun: asyncio.Event = begun) -> None:
                begun.set()
                await asyncio.Event().wait()

            async with follower(kit, on_status=hangs, park_after=timedelta(microseconds=1)):
                await asyncio.wait_for(begun.wait(), 60)
        assert await kit.book.parked_changes() == []
        async with follower(kit):
            await kit.until(lambda: kit.statuses(task_id) == ["broadcasting"])
        assert (kit.seen[0].attempts, kit.seen[0].why) == (0, None)
