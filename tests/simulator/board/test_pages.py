"""The board's pages and parts, as plain HTML."""

import asyncio
import json
import re
import time
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args
from urllib.parse import urlencode

import pytest
from aiohttp import web
from attrs import fields_dict
from yarl import URL

from gotsurge_async.simulator import Fault, SimulatorOptions
from gotsurge_async.simulator.board.orders import PAGE_SIZE
from gotsurge_async.simulator.board.pages import CARDS, SHOWN
from gotsurge_async.simulator.faults import BENDING_KINDS, CALL_KINDS, EVENT_KINDS, KINDS, When

from ..kit import Answer, Client, FakeTime, order, signed_in
from ..receiver import receiving

ROOT = Path(__file__).parents[3]
HOSTILE = """"><img src=x onerror=alert(1)><script>alert(1)</script>'&\u202e\x7f$id"""
ALL = "strip,flags,orders,failing,requests,webhooks,faults,faulty"


class Tags(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names.update(name for name, _ in attrs)


async def page(client: Client, path: str, status: int = 200) -> str:
    async with client.session.get(client.simulator.origin + path) as answer:
        assert answer.status == status
        check_headers(Answer(answer.status, answer.headers, b""))
        return await answer.text()


async def parts(client: Client, names: str = ALL, **query: str) -> dict[str, str]:
    async with client.session.get(
        f"{client.simulator.origin}/board/parts?{urlencode({'names': names, **query})}"
    ) as answer:
        assert answer.status == 200
        found: dict[str, str] = (await answer.json())["parts"]
        return found


def check_headers(answer: Answer) -> None:
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_board_shows_what_there_is(platform: Client) -> None:
    """Orders with their statuses, requests, faults and the clock are on the page before any script runs."""
    await platform.create(order("T-SHOWN"))
    platform.simulator.order_fault(Fault(kind="status", status=503, times=4))
    assert (await platform.create(order("T-NOT"))).status == 503
    text = await page(platform, "/")
    for shown in (
        "T-SHOWN",
        "MV EXAMPLE",
        "Marina South Pier",
        "3 of 4 left",
        "503",
        "platform.tasks.create",
        "08:00:00",
    ):
        assert shown in text, shown
    assert "T-NOT" not in text


async def test_every_kind_of_fault_is_on_the_page(platform: Client) -> None:
    """The form offers each kind, and the list and docs/simulator.md or docs/testing.md name it."""
    form = (await page(platform, "/")).split('id="fault"')[1].split("</form>")[0]
    offered = set(re.findall(r'<option value="(\w+)">', form.split('name="kind"')[1].split("</select>")[0]))
    assert offered == {*CALL_KINDS, *EVENT_KINDS} == set(KINDS)
    assert all(kind.words in form for kind in KINDS.values())
    assert set(re.findall(r'name="when" value="(\w+)"', form)) == set(get_args(When))
    assert set(re.findall(r'name="(\w+)"', form)) == set(fields_dict(Fault)) - {
        "spares",
        "headers",
        "after_calls",
        "seed",
    }
    docs = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("simulator.md", "testing.md"))
    assert [kind for kind in BENDING_KINDS if f"`{kind}`" not in docs] == []


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (Fault(operation="tasks.cancel", when="late", seconds=5), "tasks.cancel, the effect 5 s late"),
        (Fault(kind="hidden", seconds=2.5, every=3), "new tasks hidden, 2.5 s</h3>"),
        (Fault(kind="hidden", seconds=2.5, every=3), "every call, every 3rd</span>"),
        (Fault(kind="outdated", seconds=7, when="late"), "older state read, 7 s</h3>"),
        (Fault(kind="restored", seconds=60, every=12), "every call, every 12th</span>"),
        (Fault(kind="silent", when="after"), "every call, after the effect</span>"),
    ],
)
async def test_a_fault_of_time_says_what_it_does(platform: Client, fault: Fault, shown: str) -> None:
    """The list names a fault's seconds, and when its effect comes."""
    platform.simulator.order_fault(fault)
    assert shown in await page(platform, "/")


async def test_a_late_call_is_listed_until_it_acts(platform: Client) -> None:
    """The list of faults has the calls that are still to take effect, with their time and their order."""
    task = (await platform.create(order("A"))).json["tasks"][0]
    platform.simulator.order_fault(Fault(operation="tasks.cancel", when="late", kind="status", seconds=5, times=1))
    await platform.call("POST", f"/tasks/{task['id']}/cancel", {"reason": "x"})
    platform.simulator.clear_faults()
    text = await page(platform, "/")
    assert "tasks.cancel takes effect late" in text
    assert "at 08:00:05" in text
    platform.simulator.advance(5)
    assert "takes effect late" not in await page(platform, "/")


async def test_an_empty_board_says_what_to_do(plain: Client) -> None:
    """Without orders, events and faults it says so, and offers a day of orders."""
    text = await page(plain, "/")
    assert "No orders yet" in text
    assert 'data-call="/_simulator/seed"' in text


async def test_the_address_says_what_is_shown(platform: Client) -> None:
    """Statuses, marks, words, sort and view of the address are those of the page."""
    await platform.create(order("T-ONE"), order("T-TWO"))
    platform.simulator.move(platform.simulator.tasks()[0]["id"], "accepted")
    for query, shown in (
        ("status=accepted", {"T-ONE"}),
        ("status=accepted,broadcasting", {"T-ONE", "T-TWO"}),
        ("q=two", {"T-TWO"}),
        ("q=nothing", set()),
        ("kind=late", set()),
        ("view=columns", {"T-ONE", "T-TWO"}),
        ("sort=vessel", {"T-ONE", "T-TWO"}),
    ):
        found = set(re.findall(r">(T-\w+)</a>", await page(platform, f"/?{query}")))
        assert found == shown, query


async def test_one_order_is_shown_whole(platform: Client) -> None:
    """Its history with notes, what may happen next as buttons, its JSON, and the requests about it are on its page."""
    (task,) = (await platform.create(order("T-1"))).json["tasks"]
    platform.simulator.move(task["id"], "pickup_arriving", through=True, note="at the gate")
    await platform.get(f"/tasks/{task['id']}")
    text = await page(platform, f"/orders/{task['id']}")
    assert "at the gate" in text
    enabled = re.findall(r'<button type="button" data-k="move-(\w+)"(?:(?!disabled).)*?>', text)
    assert set(enabled) == {"pending_delivery", "unsuccessful_pickup"}
    assert "tasks.get" in text
    assert '"current_status": "pickup_arriving"' in unescape(text)
    assert "SGD 5.00" in text
    assert "9074729 (check digit right)" in text


async def test_an_order_that_is_not_there(platform: Client) -> None:
    """An unknown order is answered 404 with a page that leads back; its part is null: so an open page knows."""
    assert "No such order" in await page(platform, "/orders/none", 404)
    assert await parts(platform, "order", task="none") == {"order": None}
    assert await parts(platform, "request", number="99") == {"request": None}
    assert await parts(platform, "event", number="x") == {"event": None}
    assert await parts(platform, "nothing,orders,nothing") == {"orders": (await parts(platform, "orders"))["orders"]}


async def test_who_looks_sees_what_is_due() -> None:
    """A look at the board has happen what is due by then, and its events are sent."""
    time = FakeTime()
    async with receiving() as receiver, signed_in("plain", SimulatorOptions(webhook_url=receiver.url), time) as client:
        await client.create(order("T-1"))
        time.seconds += 2 * 86_400
        assert ">Expired</span>" in (await parts(client))["orders"]
        await client.simulator.webhooks_settled()
        assert receiver.statuses_got == ["broadcasting", "expired"]


async def test_hostile_texts_stay_texts() -> None:
    """Whatever an order, a request, a note or a receiver's answer says, no element and no handler comes of it."""
    contact = {"name": HOSTILE, "vessel_name": HOSTILE, "berth_no": HOSTILE, "vessel_imo": 9074729}
    texts = dict.fromkeys(("tracking_id", "invoice_number", "group_tag", "pickup_note_to_driver"), HOSTILE)
    address = {"street_address": HOSTILE, "building_name": HOSTILE}
    items = [{"name": HOSTILE, "description": HOSTILE, "weight_unit": HOSTILE, "quantity": 1, "weight": 2}]
    hostile = order(to_contact=contact, to_address=address, from_address=address, items=items, **texts)
    clean = order("T-CLEAN", to_contact={**contact, "vessel_name": "MV CLEAN"})

    async def talk_back(_: web.Request) -> web.Response:
        return web.Response(status=500, text=HOSTILE)

    async with receiving() as receiver:
        receiver.answer = talk_back
        async with signed_in("platform", SimulatorOptions(webhook_url=receiver.url)) as client:
            ids = [task["id"] for task in (await client.create(hostile, clean)).json["tasks"]]
            for task_id in ids:
                client.simulator.move(task_id, "complete", through=True, note=HOSTILE)
            await client.call("POST", "/tasks", HOSTILE.encode())
            await client.call("GET", "/tasks/%3Cimg%20src=x%20onerror=alert(1)%3E?q=%3Cscript%3E")
            await client.simulator.webhooks_settled()
            pages = [await page(client, path) for path in ("/", f"/?{urlencode({'q': HOSTILE})}", f"/orders/{ids[0]}")]
            details = [
                (await parts(client, name, number=str(number)))[name]
                for name in ("request", "event")
                for number in range(1, 4)
            ]
            for text in (pages[0], pages[2], *details[3:]):
                assert "onerror=alert(1)" in unescape(text)  # it is shown, as a text
    for html in (*pages, *details):
        found = Tags(html)
        assert not {name for name in found.names if name.startswith("on")}
        assert not found.tags & {"img", "iframe", "style"}
        assert html.count("<script") == (1 if html.startswith("<!doctype") else 0)


async def test_a_browser_holds_no_more_than_a_page(platform: Client) -> None:
    """However many orders, requests and events there are, a page shows a hundred orders, fifteen cards, sixty lines."""
    platform.simulator.seed_a_day(3000)
    for _ in range(SHOWN + 10):
        await platform.call("GET", "/tasks/x")
    first = await parts(platform)
    assert first["orders"].count('data-id="') == PAGE_SIZE
    assert first["requests"].count('data-k="call-') == SHOWN
    last = (await parts(platform, "orders", page="99999"))["orders"]
    assert 0 < last.count('data-id="') <= PAGE_SIZE
    assert "2,901 to 3,000 of 3,000" in last
    columns = (await parts(platform, "orders", view="columns"))["orders"]
    assert columns.count('data-id="') <= 12 * CARDS
    assert "more</p>" in columns


async def test_the_badge_counts_all_events() -> None:
    """It has every event that was not delivered, also those that are older than the listed ones."""
    async with signed_in("platform", SimulatorOptions(webhook_url="http://127.0.0.1:9/none")) as client:
        client.simulator.order_fault(Fault(operation="webhook", kind="lost"))
        for call in range(4):
            await client.create(*(order(f"T-{call}-{number}") for number in range(20)))
        counted = client.simulator._service.events.count()
        assert counted["lost"] > SHOWN
        assert (await parts(client, "failing"))["failing"] == f'<span class="n">{counted["lost"]:,} open</span>'


async def test_long_texts_are_cut(platform: Client) -> None:
    """Texts of an order may be as long as a body: a line of the board, and an order's page, stay short."""
    long = "x" * 100_000
    contact = {"name": long, "vessel_name": long, "berth_no": long}
    content = order(long, group_tag=long, invoice_number=long, to_contact=contact, items=[{"name": long}])
    task_id = (await platform.create(content)).json["tasks"][0]["id"]
    group = re.search(r'<a href="/\?q=x+">(x+…)</a>', await page(platform, f"/orders/{task_id}"))
    assert group is not None
    assert len(group[1]) == 80
    for view in ("table", "columns"):
        assert len((await parts(platform, view=view))["orders"]) < 10_000
    assert len(await page(platform, f"/orders/{task_id}")) < 250_000


@pytest.mark.slow
async def test_a_board_of_many_orders_is_quick(platform: Client) -> None:
    """A look at 10,000 orders takes a fraction of a second of CPU, once they were read."""
    platform.simulator.seed_a_day(10_000)
    await parts(platform)
    began = time.process_time()
    await parts(platform)
    assert time.process_time() - began < 1


async def test_secrets_are_masked(plain: Client) -> None:
    """Neither a token, nor a code, nor a secret key, nor a signature is in the log of requests or in a curl of it."""
    keys = plain.simulator.accounts["plain"]
    code = plain.simulator.new_code("plain")
    body = {"client_key": keys.client_key, "secret_key": keys.secret_key, "code": code}
    tokens = (await plain.call("POST", "/oauth2/token", body)).json
    await plain.call("POST", "/oauth2/token", b'{"secret_key": "plain-secret-key", ')
    await plain.call("GET", "/partners/cGxhaW4tY2xpZW50LWtleTpwbGFpbi1zZWNyZXQta2V5")
    await plain.call(
        "POST", "/oauth2/refresh", {"client_key": keys.client_key, "refresh_token": tokens["refresh_token"]}
    )
    requests = (await plain.call("GET", "/_simulator/requests")).json["requests"]
    shown = str(requests) + await page(plain, "/")
    for number in range(1, 6):
        shown += (await parts(plain, "request", number=str(number)))["request"]
    for secret in (code, keys.secret_key, tokens["bearer_token"], tokens["refresh_token"], plain.token, "cGxhaW4t"):
        assert secret not in shown
    assert "***" in shown
    assert "$GOTSURGE_BEARER_TOKEN" in shown


async def test_a_curl_makes_the_call_again(plain: Client) -> None:
    """Copy as curl gives a command for a shell: the same body, whatever is in it, and the token as a variable."""
    name = """O'Brien "$HOME" `id` \\ é"""
    await plain.create(order("T-1", invoice_number=name))
    html = (await parts(plain, "request", number="2"))["request"]
    command = unescape(re.findall(r'data-copy="([^"]*)"', html)[0])
    process = await asyncio.create_subprocess_shell(
        command.replace("curl", "curl -s"),
        env={"GOTSURGE_BEARER_TOKEN": plain.token, "PATH": "/usr/bin:/bin", "no_proxy": "*"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert json.loads(out)["tasks"][0]["invoice_number"] == name
    assert plain.simulator.audit()["by_tracking_id"] == {"T-1": 2}


@pytest.mark.parametrize(
    "name", ["../templates/parts.html", "parts.html", "glyphs.svg", "..%2f..%2fpages.py", "x", "%00"]
)
async def test_only_the_boards_files_are_served(plain: Client, name: str) -> None:
    """No other file is served, wherever a path leads."""
    async with plain.session.get(URL(f"{plain.simulator.origin}/board/{name}", encoded=True)) as answer:
        assert answer.status == 404
    for file in ("board.css", "board.js", "icon.svg"):
        async with plain.session.get(f"{plain.simulator.origin}/board/{file}") as answer:
            assert answer.status == 200
            check_headers(Answer(answer.status, answer.headers, b""))
