"""Running the command as a person does: a process of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

EXAMPLES = Path(__file__).parents[2] / "examples"

HEADER = (
    "tracking_id,from_address.street_address,to_address.street_address,from_time_window.start_time_utc,"
    "from_time_window.end_time_utc,to_time_window.start_time_utc,to_time_window.end_time_utc,broadcast_preference,"
    "vehicle_preference,service_type,client_time_utc,price,currency"
)
ROW = (
    "{key},{key} Loyang Way,Marina South Pier,2030-03-04T01:00:00Z,2030-03-04T02:00:00Z,2030-03-04T03:00:00Z,"
    "2030-03-04T04:00:00Z,squad,car,ftl,2030-03-04T00:00:00Z,48.50,SGD"
)


@attrs.frozen
class Finished:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def write_orders(path: Path, keys: range | list[str]) -> Path:
    """A CSV of good orders."""
    rows = [ROW.format(key=f"T-{key}" if isinstance(key, int) else key) for key in keys]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def environment(**variables: str) -> dict[str, str]:
    """The environment of a command: this one's, without any setting of GotSurge but those given."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GOTSURGE_")}
    return plain | variables


async def start(*words: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    """Start ``gotsurge WORDS``."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gotsurge_async",
        *map(str, words),
        cwd=cwd,
        env=environment(**(env or {})),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """Let Ctrl-C be heard, also where the tests run in the background of a shell, which ignores it for them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def finish(process: asyncio.subprocess.Process, stdin: bytes = b"") -> Finished:
    """Wait for a command."""
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


async def gotsurge(*words: str | Path, cwd: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Finished:
    """Run ``gotsurge WORDS`` to its end."""
    return await finish(await start(*words, cwd=cwd, env=env), stdin)
