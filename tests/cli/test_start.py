"""Ctrl-C and SIGTERM while the command is still being loaded."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import environment, write_orders

LOADED = (
    "gotsurge_async.errors",
    "aiohttp",
    "gotsurge_async",
    "click",
    "gotsurge_async.cli.app",
    "filelock",
    "gotsurge_async.cli.pushes.push",
    "gotsurge_async.simulator",
    "aiohttp.web",
)
"""What a push loads, from the first to the last."""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("loaded", LOADED)
async def test_an_interrupt_at_the_start_has_its_code_and_no_traceback(
    tmp_path: Path, loaded: str, number: int, code: int
) -> None:
    """Whatever is being loaded when the signal comes, nothing was sent, and no traceback is shown."""
    write_orders(tmp_path / "orders.csv", range(3))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-v",  # tells what was imported
        *("-m", "gotsurge_async", "push", "orders.csv", "--simulate", "--quiet"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_interrupts,
        limit=2**20,
    )
    assert process.stderr is not None
    said = b""
    async for line in process.stderr:
        said += line
        if line.startswith(f"import '{loaded}' ".encode()):
            break
    process.send_signal(number)
    said += await process.stderr.read()
    assert await process.wait() == code
    assert b"Traceback" not in said
    assert not list(tmp_path.glob("gotsurge-results/*.csv"))


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_program_that_imports_the_package_keeps_its_signals() -> None:
    """Only the command changes what Ctrl-C does."""
    code = (
        "import signal; before = signal.getsignal(2), signal.getsignal(15); import gotsurge_async; "
        "print(before == (signal.getsignal(2), signal.getsignal(15)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
