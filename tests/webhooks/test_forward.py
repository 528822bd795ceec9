"""Events and changes that are sent on: signed, in order, until they are taken."""

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme
from aiohttp import web

from gotsurge_async import ConfigError, Secret
from gotsurge_async.cli.afterwards import serving
from gotsurge_async.cli.afterwards.serving import forwarding, listening
from gotsurge_async.clock import SystemClock
from gotsurge_async.testing import ManualClock
from gotsurge_async.testing.peers import Connection, Peer, peer
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from gotsurge_async.webhooks import follow
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.follow import AT_ONCE, PARK_AFTER, Worker
from gotsurge_async.webhooks.forward import Forwarder, NotDelivered, key_of, new_secret, signed
from gotsurge_async.webhooks.inbox import EventState, Stored
from gotsurge_async.webhooks.store import Store, StoreError
from tests.support.orders import answer
from tests.support.threads import Threads
from tests.webhooks.book.kit import ACCOUNT, START, WAY, after
from tests.webhooks.kit import event

URL = "https://example.com/hooks/S3CRET?key=S3CRET"


def test_the_example_of_the_specification() -> None:
    """The signature is that which the specification's own libraries give for their test message."""
    key = key_of(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_!!!", base64.b64encode(b"x" * 32).decode(), "whsec_" + base64.b64encode(b"x" * 8).decode()],
)
def test_what_is_no_secret(secret: str) -> None:
    """It is refused, and not told."""
    with pytest.raises(ConfigError) as told:
        key_of(Secret(secret))
    assert len(secret) < 8 or secret not in str(told.value)


def test_a_new_secret_is_one() -> None:
    """Two are never the same."""
    assert len(key_of(new_secret())) == 32
    assert new_secret() != new_secret()


class HastyClock(ManualClock):
    """Nobody waits."""

    async def sleep(self, seconds: float) -> None:
        self._elapsed += seconds


async def test_until_it_is_taken() -> None:
    """An event is sent again until it is answered 2xx: the same id and body, each try with its own time."""
    target = MemoryTransport(
        [NothingSent("refused"), answer(status=500), MaybeSent("reset"), answer(status=302), answer()]
    )
    stored = Stored(
        id=7,
        account="a",
        state=EventState.DONE,
        task_id="T",
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        body=event(),
    )
    assert await Forwarder("http://127.0.0.1:1/x", new_secret(), target, HastyClock()).send(stored) == 5
    assert {request.headers["webhook-id"] for request in target.sent} == {"gotsurge_7"}
    assert {request.body for request in target.sent} == {event()}
    assert len({request.headers["webhook-timestamp"] for request in target.sent}) > 1


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "https://", "http://", "https:///x", "https://exa mple/x", "https://h/S3CRET x",
        "https://h/\n", "https://<h>/x", "https://h\\x/", "https://h:0/", "https://h:99999/", "https://[::1/", "h/x",
        "https://a..b/", "https://.../",
    ],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    """Only http and https, with a host, and without what a request cannot have; the rest of the URL is not shown."""
    with pytest.raises(ConfigError, match="https") as told:
        Forwarder(url, new_secret(), MemoryTransport([]), ManualClock())
    assert "S3CRET" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTPS://user:word@exämple.com:8443/a%20b?key=ü#x",
        "http://[::1]:1/",
        "http://service_a/x",
    ],
)
def test_what_is_a_url(url: str) -> None:
    """Hosts, ports, users and paths as other programs take them."""
    Forwarder(url, new_secret(), MemoryTransport([]), ManualClock())


# --- changes ----------------------------------------------------------------------------------------------------------


@attrs.define
class Sending:
    """A book whose changes need a target, by a clock that the test turns.

    Attributes:
        answers: what the target answers to a change, from its document: a status, or what goes wrong.
        hangs: whether it answers nothing.
        got: the documents that it got, each with its webhook-id.
    """

    book: Book
    clock: ManualClock
    threads: Threads
    answers: Callable[[dict[str, object]], int | BaseException] = lambda _: 204
    hangs: bool = False
    got: list[tuple[str, dict[str, object]]] = attrs.field(factory=list)

    async def send(self, request: Request) -> Response:
        """Be a transport."""
        assert request.body is not None
        self.got.append((request.headers["webhook-id"], json.loads(request.body)))
        if self.hangs:
            await asyncio.Event().wait()
        answer = self.answers(self.got[-1][1])
        if isinstance(answer, BaseException):
            raise answer
        return Response(status=answer)

    async def close(self) -> None:
        """Nothing is open."""

    def taken(self, task_id: str) -> list[object]:
        """The statuses of a task that were sent."""
        return [document["status"] for _, document in self.got if document["task_id"] == task_id]

    async def turn(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass."""
        await self.threads.pass_time(self.clock, self.clock.sleep(seconds), step)


@asynccontextmanager
async def sending(folder: Path, clock: ManualClock | None = None) -> AsyncIterator[Sending]:
    """A worker that sends, inside the block."""
    threads, clock = Threads(), clock or ManualClock(START)
    async with Book.open(folder / "book.db", clock=clock) as book:
        here = Sending(book, clock, threads)
        forwarder = Forwarder(URL, new_secret(), here, clock)
        worker = Worker(book, forwarder.send_change, accounts=[ACCOUNT], clock=clock)
        working = asyncio.create_task(worker.work())
        try:
            yield here
        finally:
            working.cancel()
            await asyncio.wait([working])


async def test_changes_are_sent_in_order_for_each_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A task whose change is refused waits, under the same webhook-id, and no other task does; one line a minute."""
    async with sending(tmp_path) as here:
        failures = [500, 302, 404, NothingSent("refused"), MaybeSent("reset"), MaybeSent("no answer in time"), 500]
        left = iter(failures)
        here.answers = lambda document: next(left, 200) if document["task_id"] == "T-1" else 200
        for number in range(3):
            await here.book.observe(ACCOUNT, after(3, f"T-{number}", tracking_id="TRK"))
        await here.turn(30)
        assert here.taken("T-0") == here.taken("T-2") == list(WAY[:3])
        assert set(here.taken("T-1")) == {"broadcasting"}
        await here.turn(120)
        assert here.taken("T-1") == [WAY[0]] * len(failures) + list(WAY[:3])
        assert len({name for name, document in here.got if document["task_id"] == "T-1"}) == 3
        assert here.got[0][1] == {
            "number": 1,
            "at": "2026-01-02T00:00:00Z",
            "account": ACCOUNT,
            "task_id": "T-0",
            "tracking_id": "TRK",
            "status": "broadcasting",
            "previous": None,
            "late": False,
        }
        assert await here.book.waiting() == []
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.partition("(")[2].partition(")")[0] for line in lines] == [
        "HTTP 500", "HTTP 302", "HTTP 404", "refused", "reset", "no answer in time", "HTTP 500"
    ]  # fmt: skip
    assert "https://example.com" in lines[0]
    assert "S3CRET" not in caplog.text


async def test_the_receiver_of_the_documents(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It takes a change once, however often it comes, and none with another signature."""
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    begin = page.index("import base64, hmac")
    exec(page[begin : page.index("```", begin)], names)  # noqa: S102 - our own page
    secret = Secret("whsec_" + base64.b64encode(names["key"]).decode())
    clock = SystemClock()
    async with (
        Book.open(tmp_path / "book.db") as book,
        listening("127.0.0.1", 0, [web.post("/", names["take"])]) as url,
    ):
        (change,) = await book.observe(ACCOUNT, after(1))
        async with forwarding(url, secret, clock) as forwarder:
            await forwarder.send_change(change)
            await forwarder.send_change(change)
        async with forwarding(url, new_secret(), clock) as forwarder:
            with pytest.raises(NotDelivered, match="HTTP 401"):
                await forwarder.send_change(change)
    assert capsys.readouterr().out.count("'status': 'broadcasting'") == 1


def _untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("answer", "tls", "why"),
    [
        (None, False, "no answer in time"),
        (None, True, "certificate"),
        (b"HTTP/1.1 307 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", False, "HTTP 307"),
    ],
    ids=["hangs", "tls", "redirects"],
)
async def test_a_target_that_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: Any, tls: bool, why: str
) -> None:
    """One that hangs, has a certificate that is not trusted, or redirects: a failure, and why is logged."""
    monkeypatch.setattr(serving, "TRY_SECONDS", 0.3)

    async def behaves(there: Peer, connection: Connection) -> None:
        await there.whole(connection)
        await (connection.say(answer) if answer else asyncio.Event().wait())

    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)  # asyncio's own, of TLS
    async with Book.open(tmp_path / "b.db") as book, peer(behaves, ssl=_untrusted() if tls else None) as there:
        (change,) = await book.observe(ACCOUNT, after(1))
        url = there.url.replace("http", "https") if tls else there.url
        async with forwarding(f"{url}/S3CRET?key=S3CRET", new_secret(), SystemClock()) as forwarder:
            with pytest.raises(NotDelivered, match=why):
                await forwarder.send_change(change)
    assert len(there.requests) == (0 if tls else 1)
    assert (why in caplog.text, "S3CRET" in caplog.text) == (True, False)


async def test_a_change_that_fails_for_three_days_is_parked(tmp_path: Path) -> None:
    """Later changes of its task wait behind it, new ones too; others go on; sent again, it comes first, they follow."""
    async with sending(tmp_path) as here:
        here.answers = lambda document: 400 if document["task_id"] == "T-1" else 200
        await here.book.observe(ACCOUNT, after(2))
        await here.turn(PARK_AFTER.total_seconds() - 3600, 300.0)
        while not (parked_changes := await here.book.parked_changes()):
            await here.turn(7200, 300.0)
        (parked,) = parked_changes
        assert parked.attempts == len(here.got) == 442
        assert here.clock.now() - START > PARK_AFTER
        assert (parked.status, parked.why) == ("broadcasting", "https://example.com: HTTP 400")
        tries = len(here.got)
        await here.book.observe(ACCOUNT, after(1, "T-2"))
        await here.book.observe(ACCOUNT, after(3))
        await here.turn(3600, 600.0)
        assert len(here.got) == tries + 1
        here.answers = lambda _: 200
        here.got.clear()
        assert await here.book.resend(parked.number)
        await here.turn(5)
        assert here.taken("T-1") == list(WAY[:3])


async def test_only_tries_park_a_change(tmp_path: Path) -> None:
    """Time in which no process runs does not count: not four days of it, between an hour of failures and others."""
    clock = ManualClock(START)
    async with sending(tmp_path, clock) as here:
        here.answers = lambda _: 503
        await here.book.observe(ACCOUNT, after(1))
        await here.turn(3600, 100.0)
    await clock.advance(4 * 86_400)
    async with sending(tmp_path, clock) as here:
        here.answers = lambda _: 503
        await here.turn(1200, 100.0)
        assert len(here.got) >= 1
        assert await here.book.parked_changes() == []


async def test_the_end_of_a_process_is_no_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is cut when the process ends leaves its change as it was, and it is sent again."""
    monkeypatch.setattr(follow, "GRACE_SECONDS", 0.0)
    clock = ManualClock(START)
    async with sending(tmp_path, clock) as here:
        here.hangs = True
        await here.book.observe(ACCOUNT, after(1))
        await here.turn(1)
    await clock.advance(2)
    async with Book.open(tmp_path / "book.db", clock=clock) as book:
        (change,) = await book.waiting()
        assert (change.attempts, change.failing_since, change.why) == (0, None, None)


@pytest.mark.parametrize("failure", [NothingSent, MaybeSent, NotDelivered, asyncio.CancelledError])
async def test_a_failure_without_words_is_one(tmp_path: Path, failure: type[BaseException]) -> None:
    """Whatever a transport or a handler raises, its change is not taken for delivered, and comes later and later."""
    async with sending(tmp_path) as here:
        here.answers = lambda _: failure()
        await here.book.observe(ACCOUNT, after(1))
        await here.turn(10)
        assert 1 < len(here.got) < 6


async def test_what_takes_nothing_is_tried_once_a_second(tmp_path: Path) -> None:
    """A target that is down gets few tries, however many changes wait, and all of them after its return."""
    async with sending(tmp_path) as here:
        here.answers = lambda _: NothingSent("refused")
        for number in range(200):
            await here.book.observe(ACCOUNT, after(1, f"T-{number}"))
        await here.turn(60)
        assert AT_ONCE < len(here.got) < 3 * 60
        here.answers = lambda _: 200
        here.got.clear()
        await here.turn(1200, 10.0)
        assert len(here.got) == 200


async def test_orders_that_are_refused_do_not_hold_up_the_others(tmp_path: Path) -> None:
    """A target that refuses 200 orders gets the changes of all others within half a minute."""
    async with sending(tmp_path) as here:
        here.answers = lambda document: 400 if str(document["task_id"]).startswith("BAD") else 200
        for number in range(200):
            await here.book.observe(ACCOUNT, after(1, f"BAD-{number}"))
        for number in range(20):
            await here.book.observe(ACCOUNT, after(1, f"T-{number}"))
        await here.turn(30)
        assert all(here.taken(f"T-{number}") for number in range(20))


async def test_a_book_that_fails_for_a_while_stops_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What became of a change is noted as soon as the book can be written again, and the rest of its task follows."""
    async with sending(tmp_path) as here:
        failing = True
        write = Store.write

        async def broken(store: Store, job: Any) -> Any:
            if failing:
                raise StoreError("the disk is full")
            return await write(store, job)

        def take(_: object) -> int:
            monkeypatch.setattr(Store, "write", broken)
            return 200

        here.answers = take
        await asyncio.gather(*(here.book.observe(ACCOUNT, after(3, f"T-{number}")) for number in range(3)))
        await here.turn(20)
        assert len(here.got) == 3
        failing = False
        await here.turn(60)
        assert [here.taken(f"T-{number}") for number in range(3)] == [list(WAY[:3])] * 3
        assert "the outcome cannot be recorded yet: the disk is full" in caplog.text
