"""`gotsurge_async.simulator.webhooks`: what events are sent, in what order, and what becomes of those that fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gotsurge_async.simulator import Fault, Life, Simulator, SimulatorOptions
from gotsurge_async.simulator.webhooks import BACK_OFF

from .kit import Client, FakeTime, order, signed_in
from .receiver import Receiver, receiving

DAY = 86_400.0


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@asynccontextmanager
async def sending(receiver: Receiver, account: str = "plain", **options: Any) -> AsyncIterator[Client]:
    """A client of a simulator that sends its events to a receiver."""
    async with signed_in(account, SimulatorOptions(webhook_url=receiver.url, **options)) as client:
        yield client


async def create(client: Client, *names: str) -> list[str]:
    answer = await client.create(*map(order, names))
    return [task["id"] for task in answer.json["tasks"]]


async def settled(client: Client) -> list[dict[str, Any]]:
    await client.simulator.webhooks_settled()
    return client.simulator.webhooks()


async def test_each_status_is_sent_as_the_document_says(receiver: Receiver) -> None:
    """Every status that a task enters is posted as JSON to the partner's URL, with what the document names."""
    async with sending(receiver) as client:
        (task_id,) = await create(client, "A")
        client.simulator.advance(60)
        client.simulator.move(task_id, "accepted")
        await settled(client)
        audit = client.simulator.audit()["webhooks"]
    assert receiver.got[1] == {
        "type": "update",
        "model_name": "Task",
        "data": {"id": task_id, "tracking_id": "A", "invoice_number": "INV-1", "current_status": "accepted"},
        "updates": {"current_status": "accepted"},
        "timestamp": "2026-01-01T00:01:00Z",
    }
    assert receiver.statuses_got == ["broadcasting", "accepted"]
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in receiver.headers[0]
    assert audit == {"events": 2, "sent": 2, "delivered": 2, "waiting": 0, "lost": 0, "given_up": 0}


@pytest.mark.parametrize("account", ["plain", "platform"])
async def test_an_account_has_its_own_url(receiver: Receiver, account: str) -> None:
    """A URL can be set for one account, is shown by Partner Detail, and it gets no other account's tasks."""
    async with signed_in(account) as client:
        answer = await client.call("POST", "/_simulator/webhooks", {"url": receiver.url, "account": "platform"})
        assert answer.json == {"urls": {"plain": "", "platform": receiver.url}}
        await create(client, "A")
        await settled(client)
        signature = "cGxhdGZvcm0tY2xpZW50LWtleTpwbGF0Zm9ybS1zZWNyZXQta2V5"
        assert (await client.get(f"/partners/{signature}"))["webhook_url"] == receiver.url
        client.simulator.set_webhook("")
        await create(client, "B")
        await settled(client)
    assert [event["data"]["tracking_id"] for event in receiver.got] == (["A"] if account == "platform" else [])


async def test_drafts_are_sent_when_they_are_broadcast(receiver: Receiver) -> None:
    """A new draft is no event; its broadcast is one, with the tracking id that it got by it; so is its cancel."""
    async with sending(receiver, "platform") as client:
        first, second = await client.draft(order("A"), order("B"))
        body = {"tasks": [{"id": first, "tracking_id": "NEW"}]}
        await client.call("POST", "/platform/tasks/drafts/broadcast-with-tracking", body)
        await client.call("POST", f"/tasks/{second}/cancel", {"reason": "x"})
        await settled(client)
    assert [(event["data"]["tracking_id"], event["updates"]["current_status"]) for event in receiver.got] == [
        ("NEW", "broadcasting"),
        ("B", "cancelled"),
    ]


async def test_events_that_a_receiver_causes_are_waited_for(receiver: Receiver) -> None:
    """Nothing is on its way after `webhooks_settled`, also where each event makes the receiver move another task."""
    async with sending(receiver) as client:
        ids = await create(client, *(f"ORDER-{number}" for number in range(12)))
        await settled(client)
        left = list(ids)

        async def move_the_next(_: web.Request) -> web.Response:
            if left:
                client.simulator.move(left.pop(), "accepted")
            return web.Response()

        receiver.answer = move_the_next
        client.simulator.move(left.pop(), "accepted")
        states = [event["state"] for event in await settled(client)]
    assert states == ["delivered"] * 2 * len(ids)


@pytest.mark.parametrize("status", [201, 204, 301, 404, 500])
async def test_only_200_ends_the_tries(receiver: Receiver, status: int) -> None:
    """Anything but 200 is tried again later by the clock, less and less often, and in the end given up."""
    receiver.statuses = [status] * 99
    async with sending(receiver) as client:
        await client.create(order("A", broadcast_preference="marine"))  # which has no second event, that it expired
        for wait in BACK_OFF:
            (event,) = await settled(client)
            assert event["state"] == "waiting"
            client.simulator.advance(wait - 1)
            (again,) = await settled(client)
            assert again["tries"] == event["tries"]
            client.simulator.advance(1)
        (event,) = await settled(client)
        client.simulator.advance(30 * DAY)
        assert (await settled(client))[0] == event
    assert (event["state"], len(event["tries"]), event["next_at"]) == ("given up", len(BACK_OFF) + 1, None)
    assert {each["status"] for each in event["tries"]} == {status}
    assert all(each == receiver.got[0] for each in receiver.got)
    assert len(receiver.got) == len(event["tries"])


async def test_a_later_try_may_succeed(receiver: Receiver) -> None:
    """An event that was refused first is delivered by a later try, and what its tries were answered is kept."""
    receiver.statuses = [500, 200]
    async with sending(receiver) as client:
        await create(client, "A")
        await settled(client)
        client.simulator.advance(BACK_OFF[0])
        (event,) = await settled(client)
        client.simulator.advance(3600)
        assert await settled(client) == [event]
    assert event["state"] == "delivered"
    assert [(each["status"], each["answer"]) for each in event["tries"]] == [(500, "thank you"), (200, "thank you")]
    assert receiver.statuses_got == ["broadcasting", "broadcasting"]


async def test_a_receiver_that_is_not_there_is_tried_again(receiver: Receiver) -> None:
    """Where nobody listens the try has status 0, and the receiver's secret is in no answer that is kept."""
    async with signed_in(options=SimulatorOptions(webhook_url="http://127.0.0.1:9/webhooks/secret-token")) as client:
        await create(client, "A")
        (event,) = await settled(client)
        assert (event["state"], event["tries"][0]["status"]) == ("waiting", 0)
        assert "secret" not in str(event)
        client.simulator.set_webhook(receiver.url)
        client.simulator.advance(BACK_OFF[0])
        assert (await settled(client))[0]["state"] == "delivered"


async def test_a_receiver_that_hangs_holds_up_nobody_else(receiver: Receiver) -> None:
    """A receiver that does not answer keeps neither the API nor the end waiting, and its try is over in time."""
    hanging = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = hang
    async with sending(receiver) as client:
        await create(client, "A")
        await hanging.wait()
        await create(client, "B")
        client.simulator._sender._timeout = aiohttp.ClientTimeout(total=0.01)
        assert client.simulator.audit()["webhooks"]["delivered"] == 0
    async with sending(receiver) as client:
        client.simulator._sender._timeout = aiohttp.ClientTimeout(total=0.05)
        await create(client, "A")
        (event,) = await settled(client)
        assert event["tries"][0]["answer"] == "no answer in 0.05 s"


async def test_a_long_answer_is_not_read(receiver: Receiver) -> None:
    """Of an answer no more than two kilobytes are read and kept."""

    async def talk(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except (ConnectionError, asyncio.CancelledError):
            return response

    receiver.answer = talk
    async with sending(receiver) as client:
        await create(client, "A")
        (event,) = await settled(client)
    assert event["state"] == "delivered"
    assert len(event["tries"][0]["answer"]) <= 2048


async def test_events_of_a_task_keep_their_order(receiver: Receiver) -> None:
    """The events of one task come in the order in which they happened, one after the other, whatever else is sent."""
    async with sending(receiver, life=Life()) as client:
        await client.create(*(order(f"L-{n}") for n in range(20)))
        client.simulator.advance(3 * DAY)
        events = await settled(client)
        truth = {task["tracking_id"]: [status for status, _ in task["history"]] for task in client.simulator.tasks()}
    got: dict[str, list[str]] = {}
    for event in receiver.got:
        got.setdefault(event["data"]["tracking_id"], []).append(event["updates"]["current_status"])
    assert got == truth
    assert all(event["state"] == "delivered" for event in events)


async def test_an_event_comes_after_the_answer(receiver: Receiver) -> None:
    """Who creates a task has the answer before its event is sent, also where the answer takes long."""
    answered = asyncio.Event()
    early: list[bool] = []

    async def note(_: web.Request) -> web.Response:
        early.append(not answered.is_set())
        return web.Response()

    receiver.answer = note
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(when="after", kind="delay", seconds=0.05))
        await create(client, "A", "B")
        answered.set()
        await settled(client)
    assert early == [False, False]


async def test_an_early_event_comes_before_the_answer(receiver: Receiver) -> None:
    """With the fault `early` the partner gets the event, and has answered, before the create is answered."""
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(operation="webhook", kind="early"))
        await create(client, "A")
        assert receiver.statuses_got == ["broadcasting"]
        (event,) = await settled(client)
    assert (event["state"], event["faults"]) == ("delivered", ["early"])


@pytest.mark.parametrize("kind", ["reset", "garbage", "half"])
async def test_a_lost_answer_loses_no_event(receiver: Receiver, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A create whose answer is lost has its event all the same, and nothing is logged."""
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(operation="tasks.create", when="after", kind=kind))
        with pytest.raises(aiohttp.ClientError):
            await create(client, "A")
        (event,) = await settled(client)
    assert event["state"] == "delivered"
    assert not caplog.records


async def test_a_lost_event_is_never_sent(receiver: Receiver) -> None:
    """Of lost events nothing is sent, unless somebody has them sent again; the audit counts them."""
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(operation="webhook", kind="lost", times=1))
        await create(client, "A", "B")
        client.simulator.advance(DAY)
        lost, kept = await settled(client)
        assert [lost["state"], kept["state"]] == ["lost", "delivered"]
        assert client.simulator.audit()["webhooks"]["lost"] == 1
        client.simulator.resend(lost["number"])
        assert [event["state"] for event in await settled(client)] == ["delivered", "delivered"]
    assert [event["data"]["tracking_id"] for event in receiver.got] == ["B", "A"]


async def test_a_doubled_event_is_sent_twice(receiver: Receiver) -> None:
    """A doubled event is posted twice with the same body, though the first was answered 200."""
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(operation="webhook", kind="doubled", times=1))
        await create(client, "A", "B")
        first, _ = await settled(client)
    assert [each["status"] for each in first["tries"]] == [200, 200]
    assert sorted(event["data"]["tracking_id"] for event in receiver.got) == ["A", "A", "B"]


async def test_a_reordered_event_comes_after_the_next(receiver: Receiver) -> None:
    """A reordered event is sent after the next one of its task, or after its seconds when none comes."""
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(operation="webhook", kind="reordered", seconds=600, times=1))
        (first,) = await create(client, "A")
        client.simulator.move(first, "accepted")
        await settled(client)
        assert receiver.statuses_got == ["accepted", "broadcasting"]
        client.simulator.order_fault(Fault(operation="webhook", kind="reordered", seconds=600, times=1))
        await create(client, "B")
        assert [event["state"] for event in await settled(client)][-1] == "waiting"
        client.simulator.advance(600)
        assert [event["state"] for event in await settled(client)][-1] == "delivered"


async def test_a_delayed_event_waits_for_the_clock(receiver: Receiver) -> None:
    """A delayed event is sent so many seconds of the simulator's clock later, which may be after later ones."""
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(operation="webhook", kind="delay", seconds=3600, times=1))
        (task_id,) = await create(client, "A")
        client.simulator.move(task_id, "accepted")
        await settled(client)
        client.simulator.advance(3600)
        await settled(client)
    assert receiver.statuses_got == ["accepted", "broadcasting"]


async def test_an_event_can_be_sent_again(receiver: Receiver) -> None:
    """Any event can be sent again over HTTP, with the body that it had; an unknown one is not there."""
    async with sending(receiver) as client:
        (task_id,) = await create(client, "A")
        client.simulator.move(task_id, "accepted")
        await settled(client)
        assert (await client.call("POST", "/_simulator/webhooks/1/resend")).status == 200
        events = await settled(client)
        assert (await client.call("GET", "/_simulator/webhooks")).json["events"] == events
        for number in ("3", "x", "-1", "9" * 50):
            answer = await client.call("POST", f"/_simulator/webhooks/{number}/resend")
            assert answer.status == 404
    assert receiver.got[2] == receiver.got[0]
    assert len(events[0]["tries"]) == 2


async def test_a_reset_just_before_the_end_leaves_nothing_behind() -> None:
    """However a simulator is reset, closed and started again, no task is left, and a later start sends again."""
    before = asyncio.all_tasks()
    async with receiving() as receiver:
        simulator = Simulator(options=SimulatorOptions(webhook_url=receiver.url))
        for _ in range(2):
            async with simulator, aiohttp.ClientSession() as session:
                client = await Client(session, simulator).sign_in()
                await create(client, "A")
                await simulator.webhooks_settled()
                simulator.reset()
            assert len(receiver.got) == 1
            receiver.got.clear()
        simulator._sender.start()
        simulator.reset()
        await simulator._sender.close()
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_reset_forgets_what_was_to_be_sent(receiver: Receiver) -> None:
    """After a reset, and after a second one, nothing of before is sent, and events are counted from 1 again."""
    receiver.statuses = [500, 500]
    async with sending(receiver) as client:
        await create(client, "A", "B")
        await settled(client)
        client.simulator.reset()
        client.simulator.reset()
        client.simulator.advance(DAY)
        assert await settled(client) == []
        await client.sign_in()
        await create(client, "C")
        assert [event["number"] for event in await settled(client)] == [1]
    assert [event["data"]["tracking_id"] for event in receiver.got] == ["A", "B", "C"]


async def test_a_reset_forgets_events_whose_answer_is_still_to_go_out(receiver: Receiver) -> None:
    """The events of a call that is still being answered when everything is reset are not sent either."""
    async with sending(receiver) as client:
        client.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="delay", seconds=0.05))
        creating = asyncio.create_task(create(client, "A"))
        async with asyncio.timeout(60):
            while not client.simulator.webhooks():  # noqa: ASYNC110 - nothing else shows that the call has acted
                await asyncio.sleep(0)
        client.simulator.reset()
        await creating
        await settled(client)
    assert receiver.got == []


async def test_a_reset_breaks_off_what_is_on_its_way(receiver: Receiver) -> None:
    """A reset while the receiver hangs ends that try; what comes afterwards is sent at once."""
    hanging = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        receiver.answer = None
        hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = hang
    async with sending(receiver) as client:
        await create(client, "A")
        await hanging.wait()
        client.simulator.reset()
        await client.sign_in()
        await create(client, "A")
        (event,) = await settled(client)
    assert event["state"] == "delivered"


@pytest.mark.parametrize(
    "url",
    ["https://example.com/hook", "http://127.0.0.1.evil.example/", "ftp://127.0.0.1/", "http://u@127.0.0.1/", "x"],
)
async def test_events_stay_on_this_machine(url: str, plain: Client) -> None:
    """A URL of another machine is refused, as an option and by a call, unless the options allow it."""
    with pytest.raises(ValueError, match="not on this machine"):
        Simulator(options=SimulatorOptions(webhook_url=url))
    answer = await plain.call("POST", "/_simulator/webhooks", {"url": url})
    assert (answer.status, plain.simulator.audit().get("webhooks")) == (422, None)
    if url.startswith("https"):
        Simulator(options=SimulatorOptions(webhook_url=url, webhooks_anywhere=True))
    else:
        with pytest.raises(ValueError, match="account"):
            plain.simulator.set_webhook("", "nobody")


async def test_many_events_arrive_whole() -> None:
    """Of a day's events under every fault at once each that is not lost arrives, and doubled ones twice."""
    async with receiving() as receiver, sending(receiver, life=Life()) as client:
        for kind, rate in (("lost", 0.05), ("doubled", 0.2), ("reordered", 0.1), ("delay", 0.1), ("early", 0.1)):
            client.simulator.order_fault(Fault(operation="webhook", kind=kind, rate=rate, seconds=900))
        for batch in range(10):
            await client.create(*(order(f"{batch}-{n}") for n in range(20)))
        client.simulator.advance(3 * DAY)
        await settled(client)
        client.simulator.advance(DAY)
        events = await settled(client)
        counted = client.simulator.audit()["webhooks"]
        truth = {(t["tracking_id"], status) for t in client.simulator.tasks() for status, _ in t["history"]}
    got = [(event["data"]["tracking_id"], event["updates"]["current_status"]) for event in receiver.got]
    lost = {(event["tracking_id"], event["status"]) for event in events if "lost" in event["faults"]}
    assert set(got) == truth - lost
    assert counted["waiting"] == counted["given_up"] == 0
    assert counted["sent"] == len(got) > len(set(got))
    assert counted["events"] == len(truth) > 1000
    assert 0.02 < len(lost) / len(truth) < 0.09


async def test_a_fate_depends_on_the_seed_alone() -> None:
    """The n-th event is struck or not by the fault's seed and n."""

    async def fates(seed: int) -> list[Any]:
        async with signed_in(options=SimulatorOptions(webhook_url="http://127.0.0.1:9/x"), time=FakeTime()) as client:
            client.simulator.order_fault(Fault(operation="webhook", kind="lost", rate=0.5, seed=seed))
            await client.create(*(order(f"{n}") for n in range(20)))
            return [event["faults"] for event in client.simulator.webhooks()]

    assert await fates(1) == await fates(1) != await fates(2)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"operation": "webhook", "kind": "reset"},
            "a fault of 'webhook' must be one of delay, lost, doubled, reordered, early",
        ),
        ({"operation": "*", "kind": "lost"}, "a fault of '*' must be one of reset, delay, status, garbage, half"),
    ],
)
async def test_calls_and_events_have_faults_of_their_own(plain: Client, fault: dict[str, str], message: str) -> None:
    """A fault that does not fit what it is about is refused, and says which do."""
    answer = await plain.call("POST", "/_simulator/faults", fault)
    assert answer.status == 422
    assert message in answer.json["message"]
