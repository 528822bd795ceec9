"""What the command of a worker tells."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from procrastinate.exceptions import ConnectorException

from gotsurge_async.cli.fleet.worker import leave_out_the_queue, report_unrecorded


@pytest.mark.parametrize(("error", "heard"), [(ConnectorException(), 0), (ValueError("a mistake"), 1), (None, 1)])
def test_what_the_queue_lost_is_no_traceback(
    error: Exception | None, heard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was struck off while a worker was frozen is not reported at length; what else nobody awaited is."""
    reported: list[dict[str, Any]] = []
    loop = asyncio.new_event_loop()
    try:
        monkeypatch.setattr(loop, "default_exception_handler", reported.append)
        loop.set_exception_handler(leave_out_the_queue)
        loop.call_exception_handler({"message": "never retrieved", "exception": error})
    finally:
        loop.close()
    assert len(reported) == heard


class Unrecorded(AsyncExitStack):
    """A desk that could not record an answer."""

    unrecorded = {"S-1": "task-1"}  # noqa: RUF012


@pytest.mark.parametrize("error", [asyncio.CancelledError, OSError])
async def test_a_worker_that_is_aborted_names_what_is_not_recorded(
    error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that ends well does: the task is known to nobody else."""
    desk: Any = Unrecorded()
    with pytest.raises(error):
        async with report_unrecorded(desk):
            raise error
    assert "order S-1 is task task-1" in capsys.readouterr().err
