"""An intent is durable before the first byte of its request leaves: by the system calls, and by a server's log."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.ledger.states import LETTERS, OrderState
from tests.promise.at_hand import AtHand, Worded, at_hand
from tests.promise.judge import CREATED
from tests.promise.test_postgres import OnServer
from tests.support.postgres import Server, server

CHUNK = 20
DURABLE = "durable"
INTENTS = {
    Mode.DIRECT: (("/tasks", OrderState.SENDING),),
    Mode.TWO_PHASE: (("/drafts", OrderState.DRAFTING), ("/broadcast", OrderState.BROADCASTING)),
}
"""What is sent for the orders of a chunk, and the state that says so before."""


def late(events: Sequence[str], mode: Mode) -> list[str]:
    """The requests, of those that must be there, that left before what is meant with them was durable.

    Args:
        events: in their order: a request by its path, the states of a chunk when they are written, and `DURABLE`.
    """
    found = []
    for path, state in INTENTS[mode]:
        intent = LETTERS[state] * CHUNK
        sent = next(at for at, event in enumerate(events) if event.endswith(path))
        before = list(events[:sent])
        if intent not in before or DURABLE not in before[before.index(intent) :]:
            found.append(path)
    return found


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["s" * 20, DURABLE, "/v1/tasks", DURABLE], []),
        (["s" * 20, "/v1/tasks", DURABLE], ["/tasks"]),
        ([DURABLE, "/v1/tasks", "s" * 20, DURABLE], ["/tasks"]),
    ],
)
def test_a_late_intent_is_seen(events: list[str], told: list[str]) -> None:
    """The control: an intent that is written or durable only after its request left is found."""
    assert late(events, Mode.DIRECT) == told


@pytest.fixture
def place() -> Iterator[AtHand]:
    """A service."""
    with at_hand() as made:
        yield made


def words(mode: Mode) -> dict[str, Any]:
    """One chunk of orders."""
    return {"mode": mode, "prefix": f"{mode}-first-", "count": CHUNK}


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
def test_in_a_file(place: AtHand, folder: Path, mode: Mode) -> None:
    """The write-ahead log has the intent, and `fdatasync` has returned, before the request is given to its socket."""
    experiment = Worded(place, folder / "push", words=("--batch-size", str(CHUNK)), **words(mode))
    log = experiment.file.with_name("strace.log")
    calls = "trace=pwrite64,fdatasync,sendto,sendmsg,write,writev"
    done = experiment.push(below=["strace", "-f", "-y", "-s", "9000", "-o", str(log), "-e", calls])
    assert done.code == CREATED, done
    events = []
    with log.open(errors="replace") as lines:
        for line in lines:
            if "ledger.db-wal" in line and "pwrite64(" in line:
                events += [letters for letters in intents(mode) if letters in line]
            elif "fdatasync" in line and line.rstrip().endswith("= 0"):
                events.append(DURABLE)
            elif '"POST /' in line:
                events.append(line.partition('"POST ')[2].partition(" ")[0])
    assert late(events, mode) == [], events


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
def test_on_a_server(place: AtHand, folder: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    """The server has logged the end of the intent's COMMIT before the client begins the request."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    with server(log_min_duration_statement="0") as running:
        tell_requests(running, monkeypatch)
        experiment = OneChunk(place, folder / "push", url=running.url, **words(mode))
        done = experiment.push()
        assert done.code == CREATED, done
        events = []
        for line in running.log.splitlines():
            if "Parameters:" in line or "parameters:" in line:
                events += [letters for letters in intents(mode) if f"'{letters}'" in line]
            elif "duration:" in line and line.rstrip().endswith("COMMIT"):
                events.append(DURABLE)
            elif line.startswith("POST "):
                events.append(line.partition(" ")[2])
    assert late(events, mode) == [], events


@attrs.define
class OneChunk(OnServer):
    """A push of one chunk, on a server."""

    @property
    def _small(self) -> tuple[str, ...]:
        return (*super()._small, "--batch-size", str(CHUNK))


def intents(mode: Mode) -> list[str]:
    """The states of a chunk that are intents."""
    return [LETTERS[state] * CHUNK for _, state in INTENTS[mode]]


def tell_requests(running: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have requests written into the server's own log, before they leave."""
    request: Any = aiohttp.ClientSession._request

    async def told(self: Any, method: str, url: Any, **options: Any) -> Any:
        with running.log_file.open("a") as log:
            log.write(f"{method} {str(url).partition('?')[0]}\n")
        return await request(self, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", told)
