"""The loop of the command, and the signals that it heeds."""

import asyncio
import os
import signal
from contextlib import nullcontext
from typing import NoReturn

import pytest

from gotsurge_async.starting import Terminated
from gotsurge_async.system import loops

WINDOWS = "ProactorEventLoop"


def no_handlers(*_: object) -> NoReturn:
    """Windows' loops."""
    raise NotImplementedError


@pytest.mark.parametrize("windows", [False, True])
async def test_a_signal_is_heeded_inside_the_block_only(monkeypatch: pytest.MonkeyPatch, windows: bool) -> None:
    """Whether loops have handlers or not; what was there before is there again."""
    if windows:
        monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", no_handlers)
    before, came = signal.getsignal(signal.SIGTERM), asyncio.Event()
    with loops.heeded({signal.SIGTERM: came.set}):
        os.kill(os.getpid(), signal.SIGTERM)
        await came.wait()
    assert signal.getsignal(signal.SIGTERM) == before


async def test_a_block_in_a_block_gives_the_signal_back() -> None:
    """Inside, it alone hears of it; afterwards the outer one does again."""
    came: list[str] = []
    heard = asyncio.Event()

    def hear(name: str) -> None:
        came.append(name)
        heard.set()

    with loops.heeded({signal.SIGTERM: lambda: hear("outer")}):
        for blocks in (1, 0):
            with loops.heeded({signal.SIGTERM: lambda: hear("inner")}) if blocks else nullcontext():
                os.kill(os.getpid(), signal.SIGTERM)
                await heard.wait()
            heard.clear()
    assert came == ["inner", "outer"]


@pytest.mark.parametrize("times", [1, 2])
def test_sigterm_cancels_what_runs(times: int) -> None:
    """At the first one it may still clear up, as at Ctrl-C; a second one waits for nothing."""
    said: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            said.append("clears up")
            if times > 1:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.Event().wait()

    with pytest.raises(Terminated):
        loops.run(work())
    assert said == ["clears up"]


def test_ctrl_break_ends_as_sigterm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one."""
    assert loops.ending_signals() == (signal.SIGTERM,)
    monkeypatch.setattr(signal, "SIGBREAK", 21, raising=False)
    assert loops.ending_signals() == (signal.SIGTERM, 21)


def test_on_windows_psycopgs_loop_is_taken_and_kept_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would sleep through Ctrl-C; it ends with the work."""
    monkeypatch.setattr(asyncio, WINDOWS, object, raising=False)
    monkeypatch.setattr(loops, "WAKE_SECONDS", 0.001)

    async def work() -> int:
        assert isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop)
        return len(asyncio.all_tasks())

    assert loops.run(work()) == 2


def test_elsewhere_it_is_asyncios_own() -> None:
    """Without another task."""

    async def work() -> int:
        return len(asyncio.all_tasks())

    assert loops.run(work()) == 1
