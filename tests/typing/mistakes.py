"""Mistakes that a type shows. Each line that is marked is wrong, and every checker says so; it is never run."""

from datetime import timedelta

from gotsurge_async import Created, Credentials, GotSurge, Money, Order, OrderResult, TaskChanges, Timeouts
from gotsurge_async.bulk import Desk
from gotsurge_async.hooks import Event
from gotsurge_async.testing import simulated


async def listen(event: Event) -> None:
    """A hook that would have to be awaited."""


def settings() -> None:
    """Settings of a client."""
    GotSurge("staging")  # wrong: there is no such environment
    GotSurge(timeouts=timedelta(seconds=10))  # wrong: seconds are numbers
    GotSurge(retry="3")  # wrong: a number is no text
    GotSurge(limits="8")  # wrong: the same
    GotSurge(hooks=listen)  # wrong: one function instead of several
    GotSurge(hooks=[listen])  # wrong: nobody awaits it
    GotSurge(token_store="tokens.json")  # wrong: a store is an object
    GotSurge(credentials=("key", "secret"))  # wrong: keys have names
    GotSurge(ledger=8)  # wrong: a ledger is a place, or open
    GotSurge(assumed_endpoints="yes")  # wrong: accept or refuse
    Credentials(key="key")  # wrong: it is client_key
    Timeouts(read="5")  # wrong: seconds are numbers
    GotSurge.from_env(timeout=10)  # wrong (ty does not read Unpack yet): it is timeouts
    simulated(limit=8)  # wrong (ty does not read Unpack yet): it is limits


def orders(order: Order) -> None:
    """Fields of an order."""
    Order(
        price=48.5,  # wrong: a float is no money
        vehicle_preference="van_1.7",  # wrong: there is no such vehicle
        service_type="FTL",  # wrong: it is written small
        client_time_utc="2030-03-04",  # wrong: a time is no text
        from_address=order.from_address,
        from_time_window=order.from_time_window,
        to_address=order.to_address,
        broadcast_preference="marine",
    )
    Order(tracking_id="A-1")  # wrong: fields are missing
    TaskChanges(tracking="A-1")  # wrong: it is tracking_id
    Money.of(48.5, "SGD")  # wrong: a float is no amount


async def calls(gs: GotSurge, order: Order, result: OrderResult[Order]) -> None:
    """Calls, and what they return."""
    await Desk.open(gs, "ledger.db", modus="direct")  # wrong (ty does not read Unpack yet): it is mode
    await gs.orders.create([order])  # wrong: several orders instead of one
    gs.push(order)  # wrong: one order instead of several
    await gs.tasks.create(order)  # wrong: the same
    await gs.tasks.create([order], max_price=1000)  # wrong: a number is no money
    await gs.tasks.cancel("id")  # wrong: a reason is missing
    print(result.receipt)  # wrong: only a created order has one
    if isinstance(result, Created):
        print(result.receipt.tasks)  # wrong: a receipt has an id
    print(gs.tasks.get("id").price)  # wrong: it was not awaited
