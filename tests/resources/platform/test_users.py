import msgspec
import pytest

from gotsurge_async import Forbidden, InvalidData, OutcomeUnknown
from gotsurge_async.transports.base import MaybeSent
from tests.support.clients import client
from tests.support.orders import answer
from tests.support.world import world


async def test_one_address_is_a_list_of_one() -> None:
    """A single address is one person, not a list of letters."""
    async with client([answer({"message": "done"})]) as (gs, transport):
        await gs.platform.users.invite("a@example.com", org_id="o", role_id="r")
        user = msgspec.json.decode(transport.sent[0].body or b"")["user"]
        assert user["emails"] == ["a@example.com"]


@pytest.mark.parametrize(
    ("emails", "path"),
    [([], "emails"), (["a@example.com", "b"], "emails[1]"), ("", "emails[0]"), ("a b@example.com", "emails[0]")],
)
async def test_what_is_no_address_is_not_sent(emails: list[str], path: str) -> None:
    """An address that cannot be one is named by its place, and nobody is invited."""
    async with client([]) as (gs, transport):
        with pytest.raises(InvalidData) as caught:
            await gs.platform.users.invite(emails, org_id="o", role_id="r")
        assert [problem.path for problem in caught.value.problems] == [path]
        assert transport.sent == []


async def test_a_lost_answer_is_not_repeated() -> None:
    """An invitation whose answer is lost is sent once, and in doubt."""
    async with client([MaybeSent("broke")]) as (gs, transport):
        with pytest.raises(OutcomeUnknown):
            await gs.platform.users.invite("a@example.com", org_id="o", role_id="r")
        assert len(transport.sent) == 1


async def test_only_a_platform_partner_may() -> None:
    """A plain partner is forbidden to invite."""
    async with world("plain") as place:
        with pytest.raises(Forbidden):
            await place.gs.platform.users.invite("a@example.com", org_id="o", role_id="r")
