"""A program that uses every method of the client. It is read by type checkers, and by nobody else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

import attrs

from gotsurge_async import (
    Address,
    CargoDetail,
    Contact,
    Created,
    Credentials,
    FileStore,
    Finding,
    GotSurge,
    InDoubt,
    Item,
    Limits,
    Money,
    NotUpdated,
    Order,
    Organization,
    Quote,
    Receipt,
    Refused,
    RetryPolicy,
    Stop,
    Task,
    Timeouts,
    TimeWindow,
    Tokens,
    TooLateToCancel,
    Unprocessed,
    Updated,
    VehiclePreference,
    VersionConflict,
    check_order,
)
from gotsurge_async.bulk import Changed, Desk, Outcome
from gotsurge_async.hooks import CallStarted, Event, RequestDone
from gotsurge_async.models.answers import CreatedTasks
from gotsurge_async.models.auth import PartnerDetail
from gotsurge_async.models.platform import OrganizationPage, Role, TaskPage, UpdatedTask, UpdatedTasks
from gotsurge_async.models.tasks import Message
from gotsurge_async.telemetry import Tracing
from gotsurge_async.testing import simulated


def an_order(number: int) -> Order:
    """An order with every kind of field."""
    start = datetime(2030, 3, 4, 1, tzinfo=UTC)
    return Order(
        tracking_id=f"T-{number}",
        from_address=Address(street_address="1 Pioneer Rd", latitude=1.3, longitude=103.7),
        from_time_window=TimeWindow(start_time_utc=start, end_time_utc=start + timedelta(hours=2)),
        to_address=Address(zip_code="619110"),
        to_contact=Contact(vessel_name="MV EXAMPLE", vessel_imo=9074729),
        broadcast_preference="marine",
        vehicle_preference="van_1.7m",
        service_type="ftl",
        price=Money.of("48.50", "SGD"),
        items=[Item(name="Rope", quantity=2)],
        client_time_utc=start,
    )


def typing_errors(order: Order) -> None:
    """What a checker finds: each line is wrong, and without its comment the checker says so."""
    attrs.evolve(order, vehicle_preference="van_1.7")  # type: ignore[arg-type]
    attrs.evolve(order, price=48.5)  # type: ignore[arg-type]
    Order(
        from_address=order.from_address,
        from_time_window=order.from_time_window,
        to_address=order.to_address,
        broadcast_preference="everybody",  # type: ignore[arg-type]
        vehicle_preference=VehiclePreference("hovercraft"),  # a value that is newer than this client
        service_type="FTL",  # type: ignore[arg-type]
        client_time_utc=order.client_time_utc,
    )
    GotSurge("staging")  # type: ignore[arg-type]


async def orders() -> AsyncIterator[Order]:
    """Any number of orders, as they come."""
    for number in range(1000):
        yield an_order(number)


def listen(event: Event) -> None:
    """A hook."""
    match event:
        case CallStarted(operation=operation):
            assert_type(operation, str)
        case RequestDone(status=status):
            assert_type(status, int | None)
        case _:
            pass


async def main() -> None:
    """Every method once."""
    client = GotSurge(
        "sandbox",
        credentials=Credentials(client_key="key", secret_key="secret"),
        token_store=FileStore(Path("tokens.json")),
        timeouts=Timeouts(read=30),
        retry=RetryPolicy(attempts=3),
        limits=Limits(concurrency=8, rate=50),
        hooks=[listen, Tracing()],
        ledger="orders.db",
    )
    assert_type(GotSurge("sandbox", timeouts=10, retry=3, limits=8).limits, Limits)
    async with client as gs:
        await sign_in(gs)
        await plain(gs)
        await push(gs)
        await single_orders(gs)
        await organizations(gs)
        await platform_tasks(gs)
        await drafts(gs)
        with gs.raw() as answers:
            await gs.tasks.get("id")
        assert_type(answers[-1].status, int)


async def sign_in(gs: GotSurge) -> None:
    """Tokens, and who one is."""
    assert_type(gs.oauth.authorization_url("https://example.com/back", state="s"), str)
    await gs.sign_in("code")
    tokens = await gs.oauth.exchange("code")
    assert_type(tokens, Tokens)
    if tokens.refresh is not None:
        assert_type(await gs.oauth.refresh(tokens.refresh), Tokens)
    signed_in = await gs.sso.exchange("session id")
    await gs.adopt("another", signed_in.tokens)
    assert_type(gs.as_account("another"), GotSurge)
    assert_type(await gs.partner.detail(signature="hex"), PartnerDetail)


async def plain(gs: GotSurge) -> None:
    """What any partner may do."""
    created = await gs.tasks.create([an_order(1)])
    assert_type(created, CreatedTasks)
    task = await gs.tasks.get(created.tasks[0].id)
    assert_type(task, Task)
    assert_type(task.price, Money | None)
    assert_type(await gs.tasks.wait(task.id, until="accepted", timeout=60), Task)
    assert_type(await gs.tasks.wait(task.id, until=["complete", "cancelled"]), Task)
    await gs.tasks.wait(task.id, until="delivered")  # type: ignore[arg-type]
    as_dict = {"tracking_id": "T-2", "from_address": {"zip_code": "619110"}}
    assert_type(
        await gs.tasks.create([an_order(1), as_dict], validate=True, max_price=Money.of(2500, "SGD")), CreatedTasks
    )
    assert_type(check_order(an_order(1), now=datetime.now(UTC)), list[Finding])
    try:
        assert_type(await gs.tasks.cancel(task.id, reason="Wrong information"), Message)
    except TooLateToCancel as error:
        print(error.task)
    quote = await gs.prices.recommend(
        stops=[Stop(latitude=1.3, longitude=103.7), Address(zip_code="619110"), {"latitude": 1.3}], service_type="car"
    )
    assert_type(quote, Quote)
    assert_type(quote.total_fee, Money | None)


async def push(gs: GotSurge) -> None:
    """Any number of orders."""
    async for result in gs.push(orders(), concurrency=4, validate=True, max_price=Money.of(2500, "SGD")):
        match result:
            case Created(order=order, receipt=receipt):
                assert_type(order, Order)
                assert_type(receipt, Receipt)
            case Refused(error=error) | InDoubt(error=error) | Unprocessed(error=error):
                print(error)
            case Changed(fields=fields):
                assert_type(fields, tuple[str, ...])


async def single_orders(gs: GotSurge) -> None:
    """Orders that a ledger remembers."""
    assert_type(gs.orders, Desk)
    assert_type(await gs.as_account("another").orders.create(an_order(1), timeout=20), Outcome)
    await gs.orders.submit(an_order(2), key="K-2")
    async with gs.push(orders(), key=lambda order: order.tracking_id if isinstance(order, Order) else None) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome)


async def organizations(gs: GotSurge) -> None:
    """The merchants of a platform partner."""
    organization = await gs.platform.organizations.create("ABC Merchant")
    assert_type(organization, Organization)
    listing = gs.platform.organizations.list(per_page=50)
    async for each in listing:
        assert_type(each, Organization)
    async for page in listing.pages():
        assert_type(page, OrganizationPage)
    assert_type(await listing.page(2), OrganizationPage)
    assert_type(await gs.platform.organizations.get(organization.id), Organization)
    roles = await gs.platform.organizations.roles(organization.id)
    assert_type(roles, tuple[Role, ...])
    invited = await gs.platform.users.invite(["a@example.com"], org_id=organization.id, role_id=roles[0].id)
    assert_type(invited, Message)


async def platform_tasks(gs: GotSurge) -> None:
    """Tasks of a platform partner."""
    assert_type(await gs.platform.tasks.create([an_order(1)]), CreatedTasks)
    async for result in gs.platform.tasks.create_all(orders()):
        print(result)
    async for task in gs.platform.tasks.list(order="desc"):
        assert_type(task, Task)
    async for page in gs.platform.tasks.list().pages():
        assert_type(page, TaskPage)
    read = await gs.platform.tasks.get("id")
    assert_type(await gs.platform.tasks.wait("id", until=lambda task: task.driver is not None), Task)
    try:
        changed = await gs.platform.tasks.update(
            read,
            group_tag="MV Example",
            to_contact=None,
            price=Money.of("52", "SGD"),
            cargo_details=[CargoDetail(name="Rope"), {"quantity": 2}],
            to_address={"zip_code": "619110"},
        )
        assert_type(changed, Task)
    except VersionConflict as error:
        await gs.platform.tasks.update("id", version_rev="0-a", group_tag=str(error))
    assert_type(await gs.platform.tasks.patch_tracking_ids({"id": "T-1"}), UpdatedTasks)
    async for patched in gs.platform.tasks.patch_all_tracking_ids([("id", "T-1")]):
        match patched:
            case Updated(item=item, task=updated):
                assert_type(item, tuple[str, str])
                assert_type(updated, UpdatedTask)
            case NotUpdated(error=failed):
                print(failed)


async def options() -> None:
    """Options by name: mypy finds a wrong one, or the ignore here would be one too many."""
    GotSurge.from_env(timeouts=10, account="acme")
    GotSurge.from_env(timeout=10)  # type: ignore[call-arg]
    async with simulated("platform", accounts=["acme"], retry=1, ledger=Path("orders.db")) as gs:
        assert_type(gs, GotSurge)
    simulated(retries=1)  # type: ignore[call-arg]


async def drafts(gs: GotSurge) -> None:
    """Drafts, and their broadcast."""
    created = await gs.platform.drafts.create([an_order(1)])
    ids = [task.id for task in created.tasks]
    async for result in gs.platform.drafts.create_all(orders()):
        print(result)
    assert_type(await gs.platform.drafts.broadcast(ids), UpdatedTasks)
    async for broadcast in gs.platform.drafts.broadcast_all(ids):
        assert_type(broadcast, Updated[str] | NotUpdated[str])
    tracking_ids = dict.fromkeys(ids, "T-1")
    assert_type(await gs.platform.drafts.broadcast_with_tracking(tracking_ids), UpdatedTasks)
    async for tracked in gs.platform.drafts.broadcast_all_with_tracking(tracking_ids):
        print(tracked)
