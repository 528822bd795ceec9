"""The receiver on real servers: aiohttp.web, Starlette under uvicorn, and a plain ASGI application."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from gotsurge_async.database import Database
from gotsurge_async.errors import ConfigError
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks import receive as module
from gotsurge_async.webhooks.inbox import EventState, Inbox
from gotsurge_async.webhooks.receive import Receiver
from tests.webhooks.kit import NEXT, SERVERS, TOKEN, Served, event


@attrs.frozen
class Service:
    """A running receiver, its inbox, and who posts to it."""

    url: str
    inbox: Inbox
    session: aiohttp.ClientSession

    async def post(self, body: bytes, token: str = TOKEN, **options: object) -> tuple[int, str]:
        """The answer's status and text."""
        async with self.session.post(self.url + token, data=body, **options) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.text()

    async def kept(self) -> int:
        """How many events there are."""
        return sum((await self.inbox.counts()).values())


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = SERVERS[request.param]
    return found


@asynccontextmanager
async def service(served: Served, tmp_path: Path, **options: object) -> AsyncIterator[Service]:
    """A service with a receiver of its own."""
    async with Inbox.open(tmp_path / "inbox.db") as inbox, aiohttp.ClientSession() as session:
        receiver = Receiver(inbox, **{"tokens": [TOKEN, NEXT], "account": "acme", **options})  # type: ignore[arg-type]
        async with served(receiver) as url:
            yield Service(url, inbox, session)


async def test_an_event_is_kept_and_confirmed(served: Served, tmp_path: Path) -> None:
    """Both tokens are good; each event is durable, under the receiver's account, when it is answered 200."""
    async with service(served, tmp_path) as here:
        for number, token in enumerate((TOKEN, NEXT)):
            assert await here.post(event(f"task-{number}"), token) == (200, "ok\n")
            with sqlite3.connect(tmp_path / "inbox.db") as other:
                found = other.execute("SELECT account, task_id, state FROM inbox_events ORDER BY id DESC").fetchone()
            other.close()
            assert found == ("acme", f"task-{number}", "waiting")
        assert (await here.post(event("task-0")))[0] == 200
        assert await here.kept() == 2


@pytest.mark.parametrize("body", [b"", b"hello", b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000, b"\xff"])
async def test_malformed_with_the_right_token(served: Served, tmp_path: Path, body: bytes) -> None:
    """What is no event is kept for a person, and confirmed: to send it again would not mend it."""
    async with service(served, tmp_path) as here:
        assert (await here.post(body))[0] == 200
        assert await here.inbox.counts() == {EventState.WAITING: 0, EventState.DONE: 0, EventState.DEAD: 1}


async def test_a_wrong_token_is_any_other_path(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not found, as a path that does not exist; nothing is kept, and the page names no token."""
    async with service(served, tmp_path) as here:
        for wrong in ("x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%00", "\ud7ff", "a" * 3000):
            status, text = await here.post(event(), wrong)
            assert (status, text.strip()) in ((404, "Not Found"), (404, "404: Not Found"))
        async with here.session.get(here.url + "x") as answer:
            assert answer.status == 404
        assert await here.kept() == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nobody-knows", "gzip, br"])
async def test_a_body_whose_encoding_is_a_lie(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: str
) -> None:
    """Whatever it says of its encoding: to strangers it is 404 without a word; with the right token it is kept."""
    headers = {"Content-Encoding": encoding}
    async with service(served, tmp_path) as here:
        for body in (b"\xff" * 100, b""):
            assert (await here.post(body, "wrong-wrong-wrong-wrong", headers=headers))[0] == 404
        assert caplog.records == []
        assert (await here.post(b"\xff" * 100, headers=headers))[0] == 200
        (dead,) = await here.inbox.newest()
        shown = await here.inbox.show(dead.id)
        assert shown is not None
        assert (shown.state, shown.body) == ("dead", b"\xff" * 100)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_posts_are_events(served: Served, tmp_path: Path, method: str) -> None:
    """Another method with the right token keeps nothing, and says what the address is for."""
    async with service(served, tmp_path) as here:
        async with here.session.request(method, here.url + TOKEN) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"
        assert await here.kept() == 0


async def test_no_log_and_no_page_shows_a_token(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Web servers write down the paths they serve: without the token, whatever is logged at any level."""
    caplog.set_level(logging.DEBUG)
    async with service(served, tmp_path) as here:
        texts = [await here.post(event()), await here.post(b"\xff"), await here.post(event(), NEXT + "?a=b")]
        async with here.session.get(here.url + TOKEN) as answer:
            texts.append((answer.status, await answer.text()))
        await asyncio.sleep(0.05)  # an access log is written after the answer
    told = [value for record in caplog.records for value in (record.getMessage(), str(record.__dict__))]
    assert any("/webhooks/***" in each for each in told)
    assert not [each for each in (*told, str(texts)) if TOKEN in each or NEXT in each]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_is_limited(served: Served, tmp_path: Path, chunked: bool) -> None:
    """A body of 100 MB is refused before it is read, also when its length is not told."""
    async with service(served, tmp_path) as here:

        async def blocks() -> AsyncIterator[bytes]:
            for _ in range(1600):
                yield b"x" * 65536

        try:
            async with here.session.post(
                here.url + TOKEN, data=blocks(), headers={} if chunked else {"Content-Length": str(1600 * 65536)}
            ) as answer:
                assert answer.status == 413
        except aiohttp.ClientConnectionError:
            pass  # the server has hung up while we were still talking
        assert await here.kept() == 0
        assert (await here.post(event()))[0] == 200


@pytest.mark.slow
async def test_who_posts_must_be_allowed(served: Served, tmp_path: Path) -> None:
    """Another address is refused, whatever its headers say; also with uvicorn, which puts forwarded addresses there."""
    async with service(served, tmp_path, allow=["203.0.113.7"], trusted_proxies=["10.0.0.1"]) as here:
        assert (await here.post(event()))[0] == 403
        for spoofed in ("127.0.0.1", "10.0.0.1", "203.0.113.7, 198.51.100.1"):
            assert (await here.post(event(), headers={"X-Forwarded-For": spoofed}))[0] == 403
        assert await here.kept() == 0
    async with service(served, tmp_path, allow=["203.0.113.7"], trusted_proxies=["127.0.0.1"]) as here:
        assert (await here.post(event(), headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}))[0] == 200
        assert (await here.post(event(), headers={"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}))[0] == 403
    async with service(served, tmp_path, allow=["127.0.0.0/8"]) as here:
        assert (await here.post(event()))[0] == 200


async def test_a_rate_is_held(served: Served, tmp_path: Path) -> None:
    """More than a burst is turned away, and taken again as time goes on."""
    clock = ManualClock()
    async with service(served, tmp_path, rate=0.5, clock=clock) as here:
        answers = [(await here.post(event(f"task-{number}")))[0] for number in range(7)]
        assert answers == [200] * 5 + [429] * 2
        await clock.advance(2)
        assert (await here.post(event("task-8")))[0] == 200


async def test_a_locked_store_is_503_and_then_200(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that could not be kept is not confirmed; the same one is taken when it comes again."""
    monkeypatch.setattr("gotsurge_async.webhooks.store.BUSY_SECONDS", 0.01)
    async with service(served, tmp_path) as here:
        other = sqlite3.connect(tmp_path / "inbox.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert (await here.post(event()))[0] == 503
        other.execute("ROLLBACK")
        other.close()
        assert (await here.post(event()))[0] == 200
        assert await here.kept() == 1


async def test_a_disk_that_takes_too_long_is_503(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever for a disk that stands still, also not who comes later; afterwards events are taken."""
    monkeypatch.setattr("gotsurge_async.webhooks.store.PATIENCE", 0.05)
    async with service(served, tmp_path) as here:
        free, put = threading.Event(), here.inbox._put

        def stands_still(db: Database, coming: Any) -> Any:
            free.wait()
            return put(db, coming)

        monkeypatch.setattr(here.inbox, "_put", stands_still)
        assert (await here.post(event()))[0] == 503
        assert (await here.post(event("task-2")))[0] == 503
        free.set()
        while (await here.post(event("task-3")))[0] != 200:
            pass
        assert await here.kept() == 2


async def test_a_trickled_body_is_not_waited_for(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends a byte now and then is sent away, and others are served meanwhile."""
    monkeypatch.setattr(module, "BODY_SECONDS", 0.2)
    async with service(served, tmp_path) as here:
        port = int(here.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /webhooks/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        assert (await here.post(event()))[0] == 200
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 60)
        writer.close()
        assert await here.kept() == 1


async def test_who_hangs_up_in_the_middle_is_not_kept(served: Served, tmp_path: Path) -> None:
    """Half a body is no event, and no dead letter."""
    async with service(served, tmp_path) as here:
        port = int(here.url.split(":")[2].split("/")[0])
        for head in ("Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n4\r\n{}{}\r\n"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"POST /webhooks/{TOKEN} HTTP/1.1\r\nHost: x\r\n{head}".encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert (await here.post(event()))[0] == 200
        assert await here.kept() == 1


@pytest.mark.slow
async def test_many_at_once(served: Served, tmp_path: Path) -> None:
    """Two hundred events from many connections are all there, each once, doubled or not."""
    async with service(served, tmp_path) as here:
        bodies = [event(f"task-{number}") for number in range(100)] * 2
        answers = await asyncio.gather(*map(here.post, bodies))
        assert {status for status, _ in answers} == {200}
        assert await here.kept() == 100


@pytest.mark.parametrize("tokens", [[], [""], ["short"], ["with a blank in the middle"], ["slash/slash/slash/slash"]])
async def test_a_token_that_could_be_guessed(tmp_path: Path, tokens: list[str]) -> None:
    """It is refused, without being told, and said how to make one."""
    async with Inbox.open(tmp_path / "inbox.db") as inbox:
        with pytest.raises(ConfigError, match="token_urlsafe") as told:
            Receiver(inbox, tokens=tokens)
        assert not any(token and token in str(told.value) for token in tokens)


async def test_a_receiver_that_is_gone_leaves_the_loggers(tmp_path: Path) -> None:
    """Nothing of it stays in the process."""
    before = {*logging.getLogger("aiohttp.access").filters}  # of other receivers that still wait for collection
    async with Inbox.open(tmp_path / "inbox.db") as inbox:
        receiver = Receiver(inbox, tokens=[TOKEN])
        (mask,) = {*logging.getLogger("aiohttp.access").filters} - before
        del receiver
    assert mask not in logging.getLogger("aiohttp.access").filters
