"""The pictures of docs/simulator.md, taken anew: python -m tests.simulator.board.pictures"""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, expect

from gotsurge_async import CallError, GotSurge, OutcomeUnknown, TimeWindow
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from tests.simulator.board.test_chromium import DESKTOP, PHONE, Afternoon
from tests.simulator.receiver import receiving
from tests.support.chromium import chromium
from tests.support.orders import order

PICTURES = Path(__file__).parents[3] / "docs" / "pictures"


async def a_day_of_calls(gs: GotSurge, simulator: Simulator) -> None:
    """What a program under test may have done: orders, reads, a refusal, an answer that was lost."""
    now = datetime.fromtimestamp(simulator.now(), UTC).replace(second=0, microsecond=0)
    times = {
        "from_time_window": TimeWindow(start_time_utc=now + timedelta(hours=1), end_time_utc=now + timedelta(hours=2)),
        "to_time_window": TimeWindow(start_time_utc=now + timedelta(hours=3), end_time_utc=now + timedelta(hours=4)),
    }
    created = await gs.platform.tasks.create([order(tracking_id=f"CALL-{n}-ROPE", **times) for n in (7, 8)])
    drafts = await gs.platform.drafts.create([order(tracking_id="CALL-9-ROPE", **times)])
    await gs.platform.drafts.broadcast([drafts.tasks[0].id])
    simulator.order_fault(Fault(operation="platform.tasks.create", when="after", kind="reset", times=3))
    try:
        await gs.platform.tasks.create([order(tracking_id="CALL-10-ROPE", **times)])
    except OutcomeUnknown:
        await anext(aiter(gs.platform.tasks.list()))
    for task in created.tasks:
        await gs.tasks.get(task.id)
    try:
        await gs.tasks.get("00000000-0000-4000-8000-0000000000ff")
    except CallError:
        simulator.move(created.tasks[0].id, "accepted")
    await gs.tasks.cancel(created.tasks[1].id, reason="wrong berth")
    simulator.order_fault(Fault(operation="webhook", kind="doubled", rate=0.2))


async def take(browser: Browser, simulator: Simulator, name: str, path: str, size: Any) -> None:
    """One picture, in few colours."""
    context = await browser.new_context(viewport=size, reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(simulator.origin + path)
    await expect(page.locator("#live")).to_have_text("Live")
    await page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    picture.quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        PICTURES / f"{name}.png", optimize=True
    )
    await context.close()


async def main() -> None:
    """Take all of them."""
    PICTURES.mkdir(exist_ok=True)
    async with (
        receiving() as receiver,
        Simulator(options=SimulatorOptions(webhook_url=receiver.url, seed=50), clock=Afternoon()) as simulator,
        simulated("platform", simulator=simulator) as gs,
        chromium() as browser,
    ):
        receiver.statuses = [200, 200, 500, 200, 404]
        simulator.seed_a_day(40)
        await a_day_of_calls(gs, simulator)
        await simulator.webhooks_settled()
        (shown, *_) = (task["id"] for task in simulator.tasks() if task["history"][-1][0] == "pickup_arriving")
        await take(browser, simulator, "board", "/", DESKTOP)
        await take(browser, simulator, "order", f"/orders/{shown}", DESKTOP)
        await take(browser, simulator, "phone", "/", PHONE)


if __name__ == "__main__":
    asyncio.run(main())
