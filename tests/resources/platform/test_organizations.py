import pytest

from gotsurge_async import InvalidData, OutcomeUnknown, Rejected
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import MaybeSent
from tests.support.clients import client
from tests.support.orders import answer
from tests.support.world import world

ABC = {"id": "o-1", "business_name": "ABC Merchant"}


@pytest.mark.parametrize("name", ["ABC Merchant", "a-b_c 9", "Société 7", "administrator", "rooted"])
async def test_a_good_name_is_sent(name: str) -> None:
    """Letters, digits, space, dash and underscore pass; a reserved word is only reserved when it stands alone."""
    async with client(lambda _: answer({"organization": {**ABC, "business_name": name}})) as (gs, _):
        assert (await gs.platform.organizations.create(name)).business_name == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "blank"),
        ("  ", "blank"),
        ("A & B", "'&'"),
        ("A/B", "'/'"),
        ("SysAdmin", "reserved"),
        ("FREELANCEDRIVER", "reserved"),
        ("My GotSurge", "'gotsurge'"),
        ("VersaFleet two", "'versafleet'"),
    ],
)
async def test_a_bad_name_is_not_sent(name: str, reason: str) -> None:
    """A name that breaks a rule is refused here, with the rule."""
    async with client([]) as (gs, transport):
        with pytest.raises(InvalidData, match=reason) as caught:
            await gs.platform.organizations.create(name)
        assert caught.value.problems[0].path == "business_name"
        assert transport.sent == []


async def test_every_broken_rule_is_reported() -> None:
    """All faults of a name are reported."""
    async with client([]) as (gs, _):
        with pytest.raises(InvalidData) as caught:
            await gs.platform.organizations.create("GotSurge & VersaFleet")
        assert len(caught.value.problems) == 3


async def test_a_lost_answer_is_looked_up_by_name() -> None:
    """When the answer is lost after the effect, the organization is found by its name, and was created once."""
    async with world() as place:
        place.simulator.order_fault(
            Fault(operation="platform.organizations.create", when="after", kind="reset", times=1)
        )
        created = await place.gs.platform.organizations.create("ABC Merchant")
        listed = [each async for each in place.gs.platform.organizations.list()]
        assert [each.id for each in listed] == [created.id]
        assert place.simulator.audit()["calls"]["platform.organizations.create"] == 1


async def test_a_lost_answer_that_cannot_be_looked_up() -> None:
    """When the list does not show it, or cannot be read, the outcome stays unknown: nothing is created again."""
    async with world() as place:
        place.simulator.order_fault(Fault(operation="platform.organizations.create", when="before", kind="reset"))
        with pytest.raises(OutcomeUnknown) as caught:
            await place.gs.platform.organizations.create("ABC Merchant")
        assert caught.value.operation == "platform.organizations.create"
        assert place.simulator.audit()["calls"]["platform.organizations.create"] == 1
    async with client([MaybeSent("broke"), answer({"message": "no"}, 403)]) as (gs, _):
        with pytest.raises(OutcomeUnknown, match="broke"):
            await gs.platform.organizations.create("ABC Merchant")


async def test_a_name_that_is_taken() -> None:
    """The service's refusal of a second organization of that name is its own error."""
    async with world() as place:
        await place.gs.platform.organizations.create("ABC Merchant")
        with pytest.raises(Rejected, match="taken"):
            await place.gs.platform.organizations.create("abc merchant")
