"""The board in a real browser: live, with buttons that do what they say, for keyboards, screen readers and phones."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, expect

from gotsurge_async import GotSurge, OutcomeUnknown, TimeWindow
from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator import Fault, Life, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from tests.support.chromium import chromium
from tests.support.orders import order

from ..receiver import Receiver, receiving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
HOSTILE = "'\"><img src=x onerror='document.title=1'><script>document.title=1</script>"


class Afternoon(SystemClock):
    """The machine's time, moved to an afternoon in Singapore: what is late does not depend on when the tests run."""

    def __init__(self) -> None:
        self._moved = datetime(2026, 11, 18, 6, 32, 7, tzinfo=UTC) - datetime.now(UTC)

    def now(self) -> datetime:
        """The present, moved."""
        return datetime.now(UTC) + self._moved


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def simulator(receiver: Receiver) -> AsyncIterator[Simulator]:
    options = SimulatorOptions(webhook_url=receiver.url, life=Life(), seed=3)
    async with Simulator(options=options, clock=Afternoon()) as simulator:
        yield simulator


@pytest.fixture
async def gs(simulator: Simulator) -> AsyncIterator[GotSurge]:
    async with simulated("platform", simulator=simulator) as gs:
        yield gs


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def context(browser: Browser) -> BrowserContext:
    return await browser.new_context(viewport=DESKTOP, permissions=["clipboard-read", "clipboard-write"])


class Watched:
    """What pages complain of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def open(self, context: BrowserContext, simulator: Simulator, path: str = "/") -> Page:
        """A page that is live."""
        page = await context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        await page.goto(simulator.origin + path)
        await expect(page.locator("#live")).to_have_text("Live", timeout=20_000)
        return page


@pytest.fixture
def watched() -> Watched:
    return Watched()


def soon(simulator: Simulator, tracking_id: str, **changes: Any) -> Any:
    """An order for the next hours of the simulator's clock."""
    now = datetime.fromtimestamp(simulator.now(), UTC)
    return order(
        tracking_id=tracking_id,
        **{
            "from_time_window": window(now + timedelta(hours=2), now + timedelta(hours=3)),
            "to_time_window": window(now + timedelta(hours=4), now + timedelta(hours=5)),
            **changes,
        },
    )


def window(start: datetime, end: datetime) -> Any:
    """A time window of the SDK's."""
    return TimeWindow(start_time_utc=start, end_time_utc=end)


async def test_an_order_appears_moves_and_is_sent(
    simulator: Simulator, gs: GotSurge, receiver: Receiver, context: BrowserContext, watched: Watched
) -> None:
    """An order that the SDK creates appears without a reload; a button moves it; its webhook is listed and resent."""
    page = await watched.open(context, simulator)
    await expect(page.get_by_text("No orders yet")).to_be_visible()
    created = await gs.platform.tasks.create([soon(simulator, "T-LIVE")])
    row = page.locator("tr", has_text="T-LIVE")
    await expect(row).to_contain_text("Broadcasting")
    await expect(page.locator("#requests .ev").first).to_contain_text("platform.tasks.create")
    await row.get_by_role("link", name="T-LIVE").click()
    await expect(page.locator("#live")).to_have_text("Live")
    await page.get_by_role("button", name="Accept").click()
    await expect(page.get_by_role("status")).to_contain_text("T-LIVE is now Accepted")
    await expect(page.locator(".hist")).to_contain_text("by hand, on the board")
    assert (await gs.platform.tasks.get(created.tasks[0].id)).current_status == "accepted"
    await expect(page.get_by_role("button", name="Set off")).to_be_enabled()
    await expect(page.get_by_role("button", name="Cancel")).to_be_disabled()
    await page.get_by_role("link", name="Board").click()
    await expect(page.locator("tr", has_text="T-LIVE")).to_contain_text("Accepted")
    await page.get_by_role("tab", name="Webhooks").click()
    event = page.locator("#webhooks .ev", has_text="Accepted")
    await expect(event).to_contain_text("200")
    await event.locator("summary").click()
    await expect(event).to_contain_text('"current_status": "accepted"')
    before = len(receiver.got)
    await event.get_by_role("button", name="Resend").click()
    await expect(event).to_contain_text("2 tries")
    await expect(event.locator(".try")).to_have_count(2)
    assert [got["updates"] for got in receiver.got[before:]] == [{"current_status": "accepted"}]
    assert watched.said == []


async def test_a_page_outlives_a_simulator(browser: Browser, watched: Watched) -> None:
    """A page whose simulator has ended says so, and is live again, and right, with the next one at the same port."""
    context = await browser.new_context()
    async with Simulator() as simulator:
        simulator.seed_a_day(5)
        (task_id, *_) = (task["id"] for task in simulator.tasks())
        board = await watched.open(context, simulator)
        shown = await watched.open(context, simulator, f"/orders/{task_id}")
        port = int(simulator.origin.rpartition(":")[2])
    for page in (board, shown):
        await expect(page.locator("#live")).to_have_text("Connecting")
    async with Simulator(port) as simulator:
        for page in (board, shown):
            await expect(page.locator("#live")).to_have_text("Live", timeout=20_000)
        await expect(board.get_by_text("No orders yet")).to_be_visible()
        await expect(shown.get_by_role("heading", name="No such order")).to_be_attached()
        simulator.seed_a_day(3)
        await expect(board.locator("tr[data-id]")).to_have_count(3)
    await context.close()


async def test_the_clock_moves_orders(
    simulator: Simulator, gs: GotSurge, context: BrowserContext, watched: Watched
) -> None:
    """The clock's buttons turn it, and orders live on; it can be stopped, and runs on after another choice."""
    page = await watched.open(context, simulator)
    await gs.platform.tasks.create([soon(simulator, f"T-{number}") for number in range(20)])
    await expect(page.locator("#main tbody tr[data-id]")).to_have_count(20)
    await page.get_by_role("button", name="+1 day").click()
    await expect(page.locator("[data-status=complete] b")).not_to_have_text("0")
    await page.get_by_label("Speed of the clock").select_option("0")
    await expect(page.locator(".clock.frozen")).to_be_visible()
    shown = await page.locator("#time").text_content()
    stood = simulator.now()
    await page.get_by_role("button", name="+1 h", exact=True).click()
    await expect(page.locator("#time")).not_to_have_text(shown or "")
    assert simulator.now() == stood + 3600
    await page.get_by_label("Speed of the clock").select_option("600")
    await expect(page.locator(".clock.frozen")).to_have_count(0)
    assert watched.said == []


async def test_faults_are_ordered_and_taken_back(
    simulator: Simulator, gs: GotSurge, context: BrowserContext, watched: Watched
) -> None:
    """A preset fills the form, the fault is listed, strikes, and goes by its button; a wrong one is refused."""
    page = await watched.open(context, simulator)
    await page.get_by_role("tab", name="Faults").click()
    await page.get_by_role("button", name="503 busy").click()
    await page.get_by_role("button", name="Add fault").click()
    await expect(page.locator(".fault")).to_contain_text("3 of 3 left")
    with pytest.raises(OutcomeUnknown):
        await gs.platform.tasks.create([soon(simulator, "T-1")])
    await expect(page.locator(".fault")).to_contain_text("2 of 3 left")
    await page.get_by_role("button", name="Remove fault 1").click()
    await expect(page.get_by_text("No faults", exact=True)).to_be_visible()
    await page.get_by_label("What happens").select_option("lost")
    await page.get_by_role("button", name="Add fault").click()
    await expect(page.get_by_role("status")).to_contain_text("a fault of '*' must be one of")
    await page.get_by_role("button", name="Lost events").click()
    await page.get_by_role("button", name="Add fault").click()
    await expect(page.locator(".fault")).to_contain_text("never sent")
    assert len(watched.said) == 1  # that a call was answered 422


async def test_time_goes_wrong_by_buttons(
    simulator: Simulator, gs: GotSurge, context: BrowserContext, watched: Watched
) -> None:
    """A late effect is ordered by its preset and listed until it comes; a restore puts orders back."""
    page = await watched.open(context, simulator)
    await page.get_by_role("tab", name="Faults").click()
    await page.get_by_role("button", name="Late cancel").click()
    await page.get_by_label("What it strikes").select_option("platform.tasks.create")
    await page.get_by_label("Every n-th call").fill("2")
    await page.get_by_label("Seconds", exact=True).fill("500")
    await page.get_by_role("button", name="Add fault").click()
    await expect(page.locator(".fault")).to_contain_text("platform.tasks.create, every 2nd, the effect 500 s late")
    await gs.platform.tasks.create([soon(simulator, "T-1")])
    with pytest.raises(OutcomeUnknown):
        await gs.platform.tasks.create([soon(simulator, "T-2")])
    await expect(page.locator(".fault").last).to_contain_text("platform.tasks.create takes effect late")
    simulator.run_at(0)
    await page.get_by_role("button", name="+1 h").click()
    await expect(page.locator(".fault")).to_have_count(1)
    await expect(page.locator("tr[data-id]")).to_have_count(2)
    await page.get_by_label("State from how many seconds ago").fill("3599")
    await page.get_by_role("button", name="Restore").click()
    await expect(page.locator("tr[data-id]")).to_have_count(1)
    assert [task["tracking_id"] for task in simulator.tasks()] == ["T-1"]
    assert watched.said == []


async def test_requests_are_read_and_copied(
    simulator: Simulator, gs: GotSurge, context: BrowserContext, watched: Watched
) -> None:
    """A request opens with its bodies and stays open when others come; copying gives a command without the token."""
    page = await watched.open(context, simulator)
    await gs.platform.tasks.create([soon(simulator, "T-1")])
    line = page.locator("#requests .ev", has_text="platform.tasks.create")
    await line.locator("summary").click()
    await expect(line).to_contain_text('"tracking_id": "T-1"')
    async for _ in gs.platform.tasks.list():
        pass
    await expect(page.locator("#requests .ev").first).to_contain_text("platform.tasks.list")
    await expect(line).to_contain_text('"tracking_id": "T-1"')
    await line.get_by_role("button", name="Copy as curl").click()
    await expect(page.get_by_role("status")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl -X POST {simulator.api_base}/platform/tasks ")
    assert '"Authorization: Bearer $GOTSURGE_BEARER_TOKEN"' in copied
    await page.get_by_label("Filter requests").fill("list")
    await expect(page.locator("#requests .ev")).to_have_count(2)  # the page, and an empty one
    assert watched.said == []


async def test_the_keyboard_does_it_all(
    simulator: Simulator, gs: GotSurge, context: BrowserContext, watched: Watched
) -> None:
    """Finding, filtering, views, tabs and menus need no mouse, and the focus stays as parts change and menus close."""
    simulator.seed_a_day(40)
    page = await watched.open(context, simulator)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the orders")).to_be_focused()
    await page.keyboard.press("/")
    await page.keyboard.type("GS-24108")
    await expect(page.locator("tr[data-id]")).to_have_count(1)
    await page.keyboard.press("Escape")
    await page.locator("#clear").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("tr[data-id]")).to_have_count(40)
    status = page.locator("[data-status=broadcasting]")
    await status.focus()
    await page.keyboard.press("Space")
    await expect(status).to_have_attribute("aria-pressed", "true")
    await gs.platform.tasks.create([soon(simulator, "T-1")])
    await expect(page.locator("tr", has_text="T-1")).to_be_visible()
    await expect(status).to_be_focused()
    assert "status=broadcasting" in page.url
    await page.reload()
    await expect(status).to_have_attribute("aria-pressed", "true")
    await page.locator("#tab-requests").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Webhooks")).to_be_focused()
    await expect(page.locator("#webhooks")).to_be_visible()
    await page.locator("summary", has_text="Data").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Reset everything")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Reset everything")).to_be_hidden()
    await expect(page.locator("summary", has_text="Data")).to_be_focused()
    await page.keyboard.press("Enter")
    row = page.locator("tr[data-id] a").first
    await row.focus()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Reset everything")).to_be_hidden()
    await expect(row).to_be_focused()
    await page.locator("summary", has_text="Data").focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Seed a day").press("Enter")
    await expect(page.locator("summary", has_text="Data")).to_be_focused()
    await page.keyboard.press("v")
    await expect(page.locator(".columns")).to_be_visible()
    assert watched.said == []


async def test_hostile_orders_stay_texts(
    simulator: Simulator, gs: GotSurge, context: BrowserContext, watched: Watched
) -> None:
    """An order whose texts are markup runs nothing on any page, and is shown as it is."""
    await gs.platform.tasks.create([soon(simulator, HOSTILE, invoice_number=HOSTILE, group_tag=HOSTILE)])
    task_id = simulator.tasks()[0]["id"]
    simulator.move(task_id, "accepted", note=HOSTILE)
    for path in ("/", "/?view=columns", f"/orders/{task_id}"):
        page = await watched.open(context, simulator, path)
        await expect(page.locator("main")).to_contain_text("<script>document.title=1</script>")
        for line in await page.locator(".ev > summary:visible").all():
            await line.click()
        await expect(page.locator("img, iframe")).to_have_count(0)
        assert await page.title() != "1"
    assert watched.said == []


async def test_ten_thousand_orders_stay_usable(
    simulator: Simulator, gs: GotSurge, context: BrowserContext, watched: Watched
) -> None:
    """With 10,000 orders the page holds few elements, is turned, and still shows at once what is new."""
    simulator.seed_a_day(10_000)
    page = await watched.open(context, simulator)
    assert await page.evaluate("document.querySelectorAll('*').length") < 5000
    await expect(page.locator(".pager")).to_contain_text("1 to 100 of 10,000")
    await page.get_by_role("button", name="More").click()
    await expect(page.locator(".pager")).to_contain_text("101 to 200")
    await page.get_by_label("Find orders").fill("T-NEW")
    await expect(page.get_by_text("No order matches")).to_be_visible()
    await gs.platform.tasks.create([soon(simulator, "T-NEW")])
    await expect(page.locator("tr", has_text="T-NEW")).to_be_visible()
    assert watched.said == []


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
async def test_nobody_is_shut_out(
    simulator: Simulator, gs: GotSurge, browser: Browser, watched: Watched, scheme: Any, size: Any
) -> None:
    """axe finds nothing on the board, in each of its views and panels, nor on an order, on a desktop and on a phone."""
    simulator.seed_a_day(60)
    simulator.order_fault(Fault(kind="status", status=503, times=2))
    for _ in range(3):
        with suppress(OutcomeUnknown):
            await gs.platform.tasks.create([soon(simulator, "T-1")])
    await simulator.webhooks_settled()
    context = await browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page = await watched.open(context, simulator)
    await check(page)
    await page.locator("summary", has_text="Data").click()
    await check(page)
    await page.keyboard.press("Escape")
    for tab in ("Requests", "Webhooks", "Faults"):
        await page.get_by_role("tab", name=tab).click()
        if tab != "Faults":
            await page.locator(f"#{tab.lower()} .ev > summary").first.click()
            await expect(page.locator(f"#{tab.lower()} .more").first).not_to_be_empty()
        await check(page)
    await page.goto(f"{simulator.origin}/?view=columns")
    await check(page)
    for task in simulator.tasks("GS-")[:12:4]:
        await page.goto(f"{simulator.origin}/orders/{task['id']}")
        await expect(page.locator("#live")).to_have_text("Live")
        await check(page)
    await page.goto(f"{simulator.origin}/orders/none")
    await check(page)
    assert [text for text in watched.said if "404" not in text] == []


async def check(page: Page) -> None:
    """Nothing is wrong for who cannot see well, or uses no mouse; and nothing is wider than the window."""
    results = (await Axe().run(page)).response
    found = [
        f"{violation['impact']}: {violation['id']} {[node['target'] for node in violation['nodes']][:3]}"
        for violation in results["violations"]
        if violation["impact"] in ("serious", "critical", "moderate")
    ]
    assert found == [], page.url
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.url


async def test_the_pictures_of_the_documents_are_of_this_board() -> None:
    """docs/simulator.md shows pictures that are there, small, and have words for who cannot see them."""
    docs = Path(__file__).parents[3] / "docs"
    shown = re.findall(r"!\[([^\]]+)\]\(([^)]+\.png)\)", (docs / "simulator.md").read_text(encoding="utf-8"))
    assert len(shown) == 3
    for words, name in shown:
        assert len(words) > 20
        assert (docs / name).stat().st_size < 150_000
