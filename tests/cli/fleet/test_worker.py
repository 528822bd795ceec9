"""What the command of a worker tells."""

import asyncio
from typing import Any

import pytest
from procrastinate.exceptions import ConnectorException

from gotsurge_async.cli.fleet.worker import leave_out_the_queue


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
