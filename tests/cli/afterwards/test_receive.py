"""`gotsurge receive`: events come in, changes go out, and it ends cleanly."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest
from aiohttp import web

from gotsurge_async import Limits, Order
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push
from gotsurge_async.cli.afterwards.receive import _print_events
from gotsurge_async.cli.afterwards.serving import forwarding, listening
from gotsurge_async.cli.shared.output import AS_JSON
from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import START, ManualClock, simulated
from gotsurge_async.transports.base import Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from gotsurge_async.webhooks.forward import Forwarder, new_secret, signed
from gotsurge_async.webhooks.inbox import Inbox
from tests.cli.afterwards.receiving import NEXT, TOKEN, receiving
from tests.cli.test_streams import HOWS, broken
from tests.support.commands import Runner, finish, gotsurge, local, start
from tests.support.orders import order, orders
from tests.webhooks.kit import event


@pytest.fixture
async def here() -> AsyncIterator[Simulator]:
    async with Simulator(options=SimulatorOptions()) as simulator:
        yield simulator


@pytest.mark.slow
async def test_from_an_event_to_a_line(here: Simulator, tmp_path: Path) -> None:
    """Each status that a task enters is printed once, in order; the simulator's events are answered 200."""
    async with receiving(here, tmp_path, "--read-rate", "100") as receiver:
        here.set_webhook(receiver.hook)
        async with simulated(simulator=here) as gs:
            (task,) = (await gs.tasks.create(orders(1))).tasks
        for status in ("accepted", "pending_pickup"):
            here.move(task.id, status)
        async with asyncio.timeout(60):
            while len(receiver.printed) < 3:
                receiver.spoke.clear()
                await receiver.spoke.wait()
        assert [(each["tracking_id"], each["status"]) for each in receiver.printed] == [
            ("T-0", "broadcasting"),
            ("T-0", "accepted"),
            ("T-0", "pending_pickup"),
        ]
        numbers = [each["number"] for each in receiver.printed]
        assert numbers == sorted(set(numbers))
        await here.webhooks_settled()
        assert here.audit()["webhooks"]["delivered"] == 3
        assert await receiver.end() == 0
        assert TOKEN not in "".join(receiver.said)
    listed = await gotsurge("inbox", "list", "--ledger", tmp_path / "ledger.db", "--json", cwd=tmp_path)
    assert {each["state"] for each in listed.document} <= {"done", "waiting"}


@pytest.mark.slow
async def test_a_crash_between_two_lines(here: Simulator, tmp_path: Path) -> None:
    """What was kept before kill -9 is read afterwards; what was printed then is not printed again."""
    async with simulated(simulator=here) as gs:
        (task,) = (await gs.tasks.create(orders(1))).tasks
    body = json.dumps({"data": {"id": task.id}, "timestamp": "1"}).encode()
    async with receiving(here, tmp_path, "--read-rate", "0.001") as receiver, aiohttp.ClientSession() as session:
        async with session.post(receiver.hook, data=body) as answer:
            assert answer.status == 200
        receiver.process.kill()
    async with receiving(here, tmp_path, "--read-rate", "100") as receiver:
        async with asyncio.timeout(30):
            await receiver.spoke.wait()
        assert await receiver.end() == 0
        assert [each["status"] for each in receiver.printed] == ["broadcasting"]


@pytest.mark.slow
@pytest.mark.parametrize("how", HOWS)
async def test_what_could_not_be_printed_is_printed_later(here: Simulator, tmp_path: Path, how: str) -> None:
    """On a full disk events are received on; where the reader has left, it ends with 141; the next one prints all."""
    async with simulated(simulator=here) as gs:
        (task,) = (await gs.tasks.create(orders(1))).tasks
    here.move(task.id, "accepted")
    with broken(how) as stdout:
        async with receiving(here, tmp_path, stdout=stdout) as receiver, aiohttp.ClientSession() as session:
            async with session.post(receiver.hook, data=event(task.id)) as answer:
                assert answer.status == 200
            if how == "full":
                async with asyncio.timeout(60):
                    while "cannot be printed" not in "".join(receiver.said):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                async with session.post(receiver.hook, data=event("another")) as answer:
                    assert answer.status == 200
                assert await receiver.end() == 0
            else:
                assert await asyncio.wait_for(receiver.process.wait(), 30) == 141
        assert sum("be printed" in line or "was not printed" in line for line in receiver.said) == 1, receiver.said
    async with receiving(here, tmp_path) as receiver:
        async with asyncio.timeout(30):
            while len(receiver.printed) < 2:
                receiver.spoke.clear()
                await receiver.spoke.wait()
        assert [each["status"] for each in receiver.printed] == ["broadcasting", "accepted"]
        assert await receiver.end() == 0


async def test_pages(here: Simulator, tmp_path: Path) -> None:
    """Alive and ready are reported without a token; both tokens are good, and nothing else is there."""
    async with receiving(here, tmp_path) as receiver, aiohttp.ClientSession() as session:
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/", 404), ("/webhooks/wrong-wrong-wrong", 404)):
            async with session.get(receiver.url + path) as answer:
                assert answer.status == status, path
        async with session.get(f"{receiver.url}/readyz") as answer:
            state = await answer.json()
            assert state["ready"] is state["unknown"] is True
        for token in (TOKEN, NEXT):
            async with session.post(f"{receiver.url}/webhooks/{token}", data=b"no event") as answer:
                assert answer.status == 200


@pytest.mark.slow
async def test_orders_in_doubt_beside_a_receiver(here: Simulator, tmp_path: Path) -> None:
    """A plain partner's orders whose answers were lost are created in the ledger once their events came."""
    async with receiving(here, tmp_path, "--read-rate", "200") as receiver:
        here.set_webhook(receiver.hook)
        async with simulated(simulator=here) as gs, await Ledger.open(tmp_path / "ledger.db") as ledger:
            here.order_fault(Fault(operation="tasks.create", when="after", kind="reset", rate=0.5, seed=3))
            push = Push(gs, ledger, mode=Mode.DIRECT, chunk=2)
            run, _ = await push.load_orders(orders(20))
            async with run:
                await push.send(run)
            assert (await ledger.counts(run.id)).of([OrderState.IN_DOUBT])
            async with asyncio.timeout(60):
                while (await ledger.counts(run.id)).of([OrderState.IN_DOUBT]):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            assert (await ledger.counts(run.id)).of([OrderState.CREATED]) == 20
        assert here.audit()["doubled"] == {}
        assert await receiver.end() == 0


@pytest.mark.slow
async def test_two_tasks_of_one_name_are_reported(here: Simulator, tmp_path: Path) -> None:
    """One that was in doubt and is settled, one that was pushed again: said once, and an alert without a receiver."""
    limits = Limits(settle=0)  # a person may say at once that an order was not created
    async with simulated(simulator=here, limits=limits) as gs, await Ledger.open(tmp_path / "ledger.db") as ledger:
        push = Push(gs, ledger, mode=Mode.DIRECT)

        async def pushed(*given: Order) -> str:
            run, _ = await push.load_orders(given)
            async with run:
                await push.send(run)
            return run.id

        here.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        lost = await pushed(order("TW"), order("RE"))
        here.clear_faults()
        await ledger.resolve(lost, {"RE": None}, by="Mei")
        again = await pushed(order("RE"))
        (second,) = (await gs.tasks.create([order("TW")])).tasks
        ids = {each["id"]: each["tracking_id"] for each in here.tasks()}
        first = next(each for each, name in ids.items() if name == "TW" and each != second.id)
        async with receiving(here, tmp_path, "--read-rate", "50") as receiver, aiohttp.ClientSession() as session:

            async def comes(task_id: str) -> None:
                async with session.post(receiver.hook, data=event(task_id)) as answer:
                    assert answer.status == 200

            await comes(first)
            async with asyncio.timeout(30):
                while not (await ledger.counts(lost)).of([OrderState.CREATED]):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            for _ in range(2):
                for task_id in ids:
                    await comes(task_id)
            async with asyncio.timeout(30):
                while len([line for line in receiver.said if "is a double" in line]) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert await receiver.end() == 0
        doubles = sorted(line for line in receiver.said if "is a double" in line)
        assert [line.split(" is a double")[0] for line in doubles] == ["order RE", "order TW"]
        assert f"run {again}, key RE" in doubles[0]
        assert f"task {first} (run {lost}, key TW, " in doubles[1]
        assert all(task_id in doubles[name == "TW"] for task_id, name in ids.items())
        words = ("--ledger", str(tmp_path / "ledger.db"))
        alerts = await gotsurge("alerts", "--json", *words, cwd=tmp_path)
        assert alerts.code == 1, alerts.err
        found = [each for each in alerts.document if each["kind"] == "double"]
        assert sorted(each["tracking_id"] for each in found) == ["RE", "TW"]
        assert {task_id for each in found for task_id in each["tasks"]} == set(ids)
        shown = await gotsurge("orders", "TW", *words, cwd=tmp_path)
        assert f"TW is a double: 2 living tasks with the same name: task {first}" in shown.err


@pytest.mark.slow
async def test_what_keeps_it_from_starting(here: Simulator, tmp_path: Path) -> None:
    """No token, one that could be guessed, a port that is taken: exit code 2, and what to do."""
    async with receiving(here, tmp_path) as receiver:
        taken = receiver.url.rpartition(":")[2]
        for words, token, message in (
            ((), "", "GOTSURGE_WEBHOOK_TOKEN"),
            ((), "short", "token_urlsafe"),
            (("--allow", "gotsurge.co"), TOKEN, "neither an address"),
            (("--port", taken), TOKEN, "cannot listen"),
        ):
            env = {"GOTSURGE_WEBHOOK_TOKEN": token} if token else {}
            options = [*local(here), "--ledger", tmp_path / "other.db", "--port", "0", *words]
            done = await gotsurge("receive", *options, cwd=tmp_path, env=env)
            assert (done.code, message in done.err) == (2, True), done.err


async def test_a_damaged_ledger_does_not_keep_events_out(here: Simulator, tmp_path: Path) -> None:
    """Where the ledger cannot be used, events are received all the same, and it is said."""
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    async with (
        receiving(here, tmp_path, "--book", str(tmp_path / "b.db")) as receiver,
        aiohttp.ClientSession() as session,
    ):
        async with session.post(receiver.hook, data=b"{}") as answer:
            assert answer.status == 200
        assert "none in doubt is settled" in "".join(receiver.said)


@pytest.mark.slow
async def test_changes_are_sent_on(here: Simulator, tmp_path: Path) -> None:
    """To a service that fails first: in order, signed, once taken not again; sent again from a number beside it."""
    got: list[tuple[str, dict[str, Any]]] = []
    key = b"k" * 32

    async def take(request: web.Request) -> web.Response:
        body, name = await request.read(), request.headers["webhook-id"]
        seconds = int(request.headers["webhook-timestamp"])
        assert request.headers["webhook-signature"] == signed(key, name, seconds, body)["webhook-signature"]
        got.append((name, json.loads(body)))
        return web.Response(status=503 if len(got) == 1 else 200)

    async def came(number: int) -> None:
        async with asyncio.timeout(30):
            while len(got) < number:  # noqa: ASYNC110 - another process sends it
                await asyncio.sleep(0.05)

    secret = {"GOTSURGE_FORWARD_SECRET": f"whsec_{base64.b64encode(key).decode()}"}
    async with listening("127.0.0.1", 0, [web.post("/hooks", take)]) as target:
        words = ("--read-rate", "100", "--forward-to", f"{target}/hooks?key=S3CRET")
        async with receiving(here, tmp_path, *words, env=secret) as receiver, simulated(simulator=here) as gs:
            here.set_webhook(receiver.hook)
            (task,) = (await gs.tasks.create(orders(1))).tasks
            await came(2)
            here.move(task.id, "accepted")
            await came(3)
            receiver.process.kill()
        assert f"was not accepted by {target} (HTTP 503)" in "".join(receiver.said)
        async with receiving(here, tmp_path, *words, env=secret) as receiver:
            again = await gotsurge("inbox", "resend", "--from", "1", "--ledger", tmp_path / "ledger.db", cwd=tmp_path)
            assert "2 of 2 resent" in again.out, again.err
            await came(5)
            assert await receiver.end() == 0
            assert receiver.printed == []
    assert [document["status"] for _, document in got[-4:]] == ["broadcasting", "accepted"] * 2
    assert len({name for name, _ in got}) == 2
    assert "S3CRET" not in "".join(receiver.said)
    assert f"changes are sent to {target}" in "".join(receiver.said)


@pytest.mark.parametrize(
    ("words", "secret", "message"),
    [
        ((), "", "GOTSURGE_FORWARD_SECRET"),
        ((), "whsec_S3CRET", "24 to 64 bytes"),
        (("--json",), "", "choose one"),
    ],
)
def test_what_cannot_be_sent_on(run: Runner, tmp_path: Path, words: tuple[str, ...], secret: str, message: str) -> None:
    """Without a secret, with one that is none, and with an option for what is printed: exit code 2, and what to do."""
    env = {"GOTSURGE_WEBHOOK_TOKEN": TOKEN, "GOTSURGE_FORWARD_SECRET": secret}
    options = ("--env", "local", "--port", "0", "--book", tmp_path / "b.db", "--ledger", tmp_path / "l.db")
    done = run("receive", "--forward-to", "http://127.0.0.1:1/x", *options, *words, **env)
    assert (done.exit_code, message in done.output) == (2, True), done.output
    assert "S3CRET" not in done.output


@pytest.mark.parametrize("command", ["receive", "listen"])
def test_a_variable_may_name_where_to_send(run: Runner, tmp_path: Path, command: str) -> None:
    """The URL, which may hold a secret, need not stand in the list of processes; it is not printed."""
    env = {"GOTSURGE_WEBHOOK_TOKEN": TOKEN, "GOTSURGE_ENV": "local", "GOTSURGE_FORWARD_URL": "ftp://x/S3CRET"}
    env["GOTSURGE_FORWARD_SECRET"] = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
    done = run(command, "--port", "0", "--book", tmp_path / "b.db", "--ledger", tmp_path / "l.db", **env)
    assert (done.exit_code, "whole URL" in done.output, "S3CRET" in done.output) == (2, True, False), done.output


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://example.com:8080/S3CRET", True),
        ("http://8.8.8.8/", True),
        ("https://example.com/", False),
        ("http://localhost:3000/", False),
        ("http://[::1]/", False),
        ("http://10.0.0.7/", False),
        ("http://service/", False),
    ],
)
async def test_plain_http_to_elsewhere(capsys: pytest.CaptureFixture[str], url: str, warns: bool) -> None:
    """A warning says that what is sent can be read on its way; this machine and private networks need none."""
    async with forwarding(url, new_secret(), SystemClock()):
        said = capsys.readouterr().err
    assert ("example.com:8080" in said or "8.8.8.8" in said, "S3CRET" in said) == (warns, False)
    assert bool(said) is warns


@pytest.mark.slow
async def test_listening_and_sending_on(here: Simulator, tmp_path: Path) -> None:
    """What came earlier and what comes now is printed, and sent on in order, signed, until it is taken."""
    got: list[tuple[str, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.headers["webhook-id"], await request.read()))
        return web.Response(status=503 if len(got) == 1 else 200)

    async with Inbox.open(tmp_path / "b.db") as inbox:
        await inbox.put("acme", event("task-1"))
    async with listening("127.0.0.1", 0, [web.post("/hooks", take)]) as target:
        words = ["listen", "--port", "0", "--forward-to", f"{target}/hooks", "--since", "2h", "--json", "--book"]
        process = await start(*words, tmp_path / "b.db", cwd=tmp_path, env={"GOTSURGE_WEBHOOK_TOKEN": TOKEN})
        assert process.stderr is not None
        assert process.stdout is not None
        said = ""
        while "listening to" not in said:
            said += (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        url = said.partition("receiving at ")[2].partition("/webhooks")[0]
        async with aiohttp.ClientSession() as session, session.post(f"{url}/webhooks/{TOKEN}", data=b"\xff") as answer:
            assert answer.status == 200
        lines = [json.loads(await asyncio.wait_for(process.stdout.readline(), 30)) for _ in range(2)]
        async with asyncio.timeout(30):
            while "event 2 was taken" not in said:
                said += (await process.stderr.readline()).decode()
        process.terminate()
        assert (await finish(process)).code == 0
        async with Inbox.open(tmp_path / "b.db") as inbox:
            await inbox.put("acme", event("task-2"))
        words = ["listen", "--forward-to", f"{target}/hooks", "--book"]
        process = await start(*words, tmp_path / "b.db", cwd=tmp_path)
        async with asyncio.timeout(30):
            while len(got) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        process.terminate()
        ended = await finish(process)
        assert "continuing behind event 2" in ended.err
        assert got.pop() == ("gotsurge_3", event("task-2"))
    assert [(line["task_id"], line["state"]) for line in lines] == [("task-1", "waiting"), (None, "dead")]
    assert lines[0]["event"] == json.loads(event("task-1"))
    assert got == [("gotsurge_1", event("task-1"))] * 2 + [("gotsurge_2", b"\xff")]
    assert "whsec_" in said
    assert TOKEN not in said


@pytest.mark.parametrize("as_json", [True, False])
async def test_an_event_whose_body_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """Its number is printed, with that its body is gone; it is not sent on, which is said; the next one is."""
    taken = asyncio.Event()

    def take(_: Request) -> Response:
        taken.set()
        return Response(status=204)

    clock, transport = ManualClock(), MemoryTransport(take)
    forwarder = Forwarder("http://127.0.0.1/x", new_secret(), transport, clock)
    async with Inbox.open(tmp_path / "b.db", clock=clock) as inbox:
        for number in (1, 2, 3):
            await inbox.put("acme", event(f"task-{number}"))
        await inbox.drop_bodies([1])
        await inbox.not_ours([2], "of nobody")
        with click.Context(click.Command("listen")) as context:
            context.meta[AS_JSON] = as_json
            printing = asyncio.create_task(_print_events(inbox, START, 0, "name", forwarder, clock))
            await taken.wait()
            printing.cancel()
            await asyncio.wait([printing])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert ["its body is gone" in line for line in lines] == [True, True, False]
    assert "its body is gone; of nobody" in lines[1]
    assert [number for number in (1, 2, 3) if f"event {number} is not sent on: its body is gone" in err] == [1, 2]
    assert [request.headers["webhook-id"] for request in transport.sent] == ["gotsurge_3"]
    if as_json:
        assert [(line["id"], line["event"] is None) for line in map(json.loads, lines)] == [
            (1, True),
            (2, True),
            (3, False),
        ]


@pytest.mark.parametrize("words", [("--since", "yesterday"), ("--forward-to", "file:///x"), ("--port", "0")])
def test_what_cannot_be_listened_to(run: Runner, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A span that is none, a URL that is none, a port without a token."""
    assert run("listen", *words, "--book", tmp_path / "b.db").exit_code == 2
