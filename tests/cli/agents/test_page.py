"""The page of proposals over HTTP: only its own forms decide, and only for a person who knows the code."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gotsurge_async.cli.afterwards.serving import listening
from gotsurge_async.cli.agents.page import ProposalsPage

from .kit import Office, order

HOSTILE = "'\"><img src=x onerror='document.title=1'><script>document.title=1</script>"


@asynccontextmanager
async def serving(office: Office) -> AsyncIterator[ProposalsPage]:
    """The page of an office, served."""
    page = ProposalsPage(office.ledger, "amy")
    async with listening("127.0.0.1", 0, [web.route("*", "/{path:.*}", page.answer)]) as page.origin:
        yield page


def knowing(page: ProposalsPage) -> aiohttp.ClientSession:
    """A browser of a person who knows the code."""
    credentials = b64encode(f"amy:{page.code}".encode()).decode()
    return aiohttp.ClientSession(page.origin, headers={"Authorization": f"Basic {credentials}"})


@pytest.fixture
async def page(office: Office) -> AsyncIterator[ProposalsPage]:
    async with serving(office) as page:
        yield page


@pytest.fixture
async def browser(page: ProposalsPage) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of a person who knows the code."""
    async with knowing(page) as session:
        yield session


async def form_of(browser: aiohttp.ClientSession, decision: str = "approve") -> dict[str, str]:
    """The fields of the first form on the page."""
    async with browser.get("/") as answer:
        text = await answer.text()
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text)[:3])
    return {name: unescape(value) for name, value in hidden.items()} | {"decision": decision, "read": "yes"}


async def decide(page: ProposalsPage, browser: aiohttp.ClientSession, form: dict[str, str], **headers: Any) -> int:
    """The status of a form that is sent from the page, unless headers say otherwise."""
    headers = {"Origin": page.origin, "Sec-Fetch-Site": "same-origin"} | headers
    sent = {name: value for name, value in headers.items() if value is not None}
    async with browser.post("/decide", data=form, headers=sent, allow_redirects=False) as answer:
        return answer.status


async def proposed(office: Office, **changes: Any) -> dict[str, Any]:
    """A proposal of one order."""
    async with office.agent() as agent:
        return await agent.propose("create_orders", orders=[order(**changes)])


async def test_a_person_approves_on_the_page(
    office: Office, page: ProposalsPage, browser: aiohttp.ClientSession
) -> None:
    """What was shown is sent once; the page says what became of it."""
    made = await proposed(office)
    form = await form_of(browser)
    assert (form["proposal"], form["digest"]) == (made["proposal"], made["digest"])
    assert [await decide(page, browser, form) for _ in range(2)] == [303, 303]
    proposal = await office.ledger.proposals.get(made["proposal"])
    assert (proposal.state, proposal.decided_by) == ("done", "amy")
    async with browser.get("/") as answer:
        text = await answer.text()
    assert f"Proposal {made['proposal']} is done." in text
    assert "can be neither approved nor rejected" in text
    assert len(office.simulator.tasks()) == 1


async def test_a_person_rejects_on_the_page(
    office: Office, page: ProposalsPage, browser: aiohttp.ClientSession
) -> None:
    """With a reason, which the agent gets."""
    made = await proposed(office)
    form = await form_of(browser, "reject")
    assert await decide(page, browser, {**form, "why": "wrong berth"}) == 303
    proposal = await office.ledger.proposals.get(made["proposal"])
    assert (proposal.state, proposal.outcome) == ("rejected", '{"rejected":"wrong berth"}')
    assert office.calls == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Authorization": "Basic YW15Ondyb25n"}, 401),
        ({"Authorization": "Basic !"}, 401),
        ({"Authorization": "Bearer x"}, 401),
    ],
)
async def test_strangers_decide_nothing(
    office: Office, page: ProposalsPage, browser: aiohttp.ClientSession, headers: dict[str, Any], status: int
) -> None:
    """Another site, another name or port of this machine, or one who does not know the code."""
    made = await proposed(office)
    form = await form_of(browser)
    if "Authorization" in headers:
        async with aiohttp.ClientSession(page.origin) as stranger:
            assert await decide(page, stranger, form, **headers) == status
            async with stranger.get("/") as answer:
                assert (answer.status, made["digest"] in await answer.text()) == (401, False)
    else:
        assert await decide(page, browser, form, **headers) == status
    assert (await office.ledger.proposals.get(made["proposal"])).state == "proposed"
    assert office.calls == {}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token": "x"}, 403),
        ({"token": ""}, 403),
        ({"digest": "0" * 64}, 303),
        ({"proposal": "other"}, 303),
        ({"decision": "both"}, 303),
        ({"read": ""}, 303),
        ({"why": "x" * 9_000}, 413),
    ],
)
async def test_a_form_of_another_page_decides_nothing(
    office: Office, page: ProposalsPage, browser: aiohttp.ClientSession, change: dict[str, str], status: int
) -> None:
    """Without the page's token, of another content, or when nobody says that it was read."""
    made = await proposed(office)
    assert await decide(page, browser, {**await form_of(browser), **change}) == status
    assert (await office.ledger.proposals.get(made["proposal"])).state == "proposed"
    assert office.calls == {}


async def test_hostile_texts_stay_texts(office: Office, browser: aiohttp.ClientSession) -> None:
    """What an order says is escaped; no script and no other site may be loaded."""
    await proposed(office, pickup_note_to_driver=HOSTILE)
    async with browser.get("/") as answer:
        text = await answer.text()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "<img" not in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


async def test_no_text_turns_the_letters_of_the_page_around(
    office: Office, page: ProposalsPage, browser: aiohttp.ClientSession
) -> None:
    """Neither the command nor its outcome, nor the reason of a rejection, has a mark of direction."""
    async with office.agent() as agent:
        await agent.propose("cancel_order", task="T-1\u202e987-T\u202c", reason="late\u2066")
    for _ in range(2):
        async with browser.get("/") as answer:
            text = await answer.text()
        assert "987-T" in text
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        form = {**await form_of(browser, "reject"), "why": "no\u202eon"}
        assert await decide(page, browser, form) in (303, 403)


async def test_the_page_has_every_field_of_an_order(office: Office, browser: aiohttp.ClientSession) -> None:
    """So what the lines of an order leave out is read before it is sent; and the account is named."""
    made = await proposed(office, to_contact={"name": "The Thief", "phone": "+6591234567"})
    async with browser.get("/") as answer:
        text = unescape(await answer.text())
    assert '"name": "The Thief"' in text
    assert f"local, account {made['account']}" in text


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded; charset=none-such"],
)
async def test_what_is_no_form_is_refused(
    page: ProposalsPage, browser: aiohttp.ClientSession, content_type: str
) -> None:
    """With 400, and the page stays."""
    headers = {"Origin": page.origin, "Content-Type": content_type}
    async with browser.post("/decide", data=b"token=x", headers=headers) as answer:
        assert answer.status == 400
