"""`gotsurge_async.testing.recorded`: answers that were recorded once, and are played without a network."""

import stat
from pathlib import Path

import pytest

from gotsurge_async import CallError, GotSurge, NotFound, OutcomeUnknown
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import simulated
from gotsurge_async.testing.recorded import Recorded, Recorder
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import MaybeSent, NothingSent, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import make
from tests.support.orders import order

NOBODY = "00000000-0000-4000-8000-0000000000ff"


async def use(gs: GotSurge) -> list[str]:
    """What a program does, and sees."""
    created = await gs.tasks.create([order()])
    seen = [created.tasks[0].id, str((await gs.tasks.get(created.tasks[0].id)).current_status)]
    for failing in (gs.tasks.get(NOBODY), gs.tasks.create([order("T-2")])):
        try:
            await failing
        except (NotFound, OutcomeUnknown) as error:
            seen.append(f"{type(error).__name__} {error}")
    return seen


async def test_a_recording_plays_as_it_was(tmp_path: Path) -> None:
    """Against the simulator and from the file the program sees the same, refusals and lost answers too."""
    path = tmp_path / "answers.jsonl"
    async with Simulator() as simulator:
        lost = Fault(operation="tasks.create", when="after", kind="reset", after_calls=1, times=1)
        recorder = Recorder(AiohttpTransport(), path)
        async with simulated(simulator=simulator, faults=[lost], transport=recorder) as gs:
            seen = await use(gs)
            bearer = (await gs.tokens.bearer()).reveal()
    assert len(seen) == 4
    recorded = Recorded(path)
    async with make(recorded) as gs:
        assert await use(gs) == seen
    assert recorded.left == []
    text = path.read_text()
    assert bearer not in text
    assert "oauth2" not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_token_that_is_quoted_is_hidden(tmp_path: Path) -> None:
    """What the service repeats of a token is not written, nor is any header that may hold a secret."""
    answer = Response(status=400, headers={"X-Secret": "planted-2"}, body=b'{"error":"no such token planted-bearer"}')
    async with make(Recorder(MemoryTransport([answer]), tmp_path / "a")) as gs:
        with pytest.raises(Exception, match="no such token"):
            await gs.tasks.get("t")
    assert "planted" not in (tmp_path / "a").read_text()


@pytest.mark.parametrize("failure", [NothingSent("refused"), MaybeSent("reset")])
async def test_a_failure_is_played(tmp_path: Path, failure: NothingSent | MaybeSent) -> None:
    """Whether anything was sent is kept with the reason."""
    path = tmp_path / "a"
    async with make(Recorder(MemoryTransport([failure] * 2), path)) as gs:
        with pytest.raises(CallError, match=failure.reason) as recorded:
            await gs.tasks.get("t")
    async with make(Recorded(path)) as gs:
        with pytest.raises(CallError, match=failure.reason) as played:
            await gs.tasks.get("t")
        with pytest.raises(AssertionError, match="GET /api/partnership/v1/tasks/other was not recorded"):
            await gs.tasks.get("other")
    assert (played.type, str(played.value)) == (recorded.type, str(recorded.value))


def test_a_recording_is_not_written_over(tmp_path: Path) -> None:
    """A file that is there stays as it is; a line that is none of a recording is named."""
    path = tmp_path / "a"
    path.write_text('{"method":"GET","url":"/x"}\n{"method":5}\n')
    with pytest.raises(FileExistsError):
        Recorder(MemoryTransport([]), path)
    with pytest.raises(ValueError, match=r"a, line 2: not of a recording"):
        Recorded(path)
