import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async import NotFound, Organization, OutcomeUnknown, UsageError
from gotsurge_async.codec import Codec
from gotsurge_async.models.platform import OrganizationPage, PageMeta, TaskPage
from gotsurge_async.resources.listing import Listing, read_names
from gotsurge_async.resources.reading import reader
from tests.support.clients import client
from tests.support.orders import answer

TOTALS = (False, True, "of the page")


class Service:
    """A service that serves some ids in pages, and counts what it is asked."""

    def __init__(self, ids: list[str], *, most: int = 1000, **shown: bool | str) -> None:
        self.ids = ids
        self.most = most
        self.shown = shown
        self.asked: list[int] = []

    def listing(self, per_page: int = 2) -> Listing[OrganizationPage, Organization]:
        """The list as a client reads it."""
        self.size = min(per_page, self.most)
        return Listing(self.read, "organizations", per_page)

    async def read(self, number: int) -> OrganizationPage:
        self.asked.append(number)
        assert len(self.asked) < 200, "this does not end"
        ids = self.page(number)
        meta: dict[str, Any] = {"page": number}
        if self.shown.get("per_page", True):
            meta["per_page"] = self.size
        if self.shown.get("total"):
            meta["total"] = len(ids) if self.shown["total"] == "of the page" else len(self.ids)
        return OrganizationPage(meta=PageMeta(**meta), organizations=tuple(Organization(id=each) for each in ids))

    def page(self, number: int) -> list[str]:
        return self.ids[(number - 1) * self.size : number * self.size]


class Stuck(Service):
    """Answers the first page whatever page it is asked for."""

    def page(self, number: int) -> list[str]:
        return super().page(1)


class Shifting(Service):
    """A new item stands in front after every page, so each page begins with the end of the one before."""

    def page(self, number: int) -> list[str]:
        found = super().page(number)
        self.ids.insert(0, f"new {number}")
        return found


async def ids_of(listing: Listing[OrganizationPage, Organization]) -> list[str]:
    return [each.id async for each in listing]


@given(st.integers(0, 9), st.integers(1, 4), st.sampled_from(TOTALS), st.booleans(), st.integers(1, 4))
async def test_every_item_comes_once(
    count: int, per_page: int, total: bool | str, per_page_shown: bool, most: int
) -> None:
    """All items come, in order and once, whatever a page holds and whatever the service tells of it."""
    service = Service([f"o{number}" for number in range(count)], most=most, total=total, per_page=per_page_shown)
    listing = service.listing(per_page)
    assert await ids_of(listing) == service.ids
    assert listing.gap == ""


async def test_the_total_ends_it() -> None:
    """With a total of more than one page no page is asked for in vain, also when the last one is full."""
    service = Service(["a", "b", "c", "d"], total=True)
    assert await ids_of(service.listing(2)) == ["a", "b", "c", "d"]
    assert service.asked == [1, 2]


async def test_a_total_of_one_page_does_not_end_it() -> None:
    """It may be the number of items on the page, so one more page is read."""
    service = Service(["a", "b"], total=True)
    assert await ids_of(service.listing(9)) == ["a", "b"]
    assert service.asked == [1, 2]


async def test_an_empty_page_ends_it() -> None:
    """Without a total, a page that is not full may be as long as the service allows; an empty list is one page."""
    service = Service(["a", "b", "c"])
    assert await ids_of(service.listing(2)) == ["a", "b", "c"]
    assert service.asked == [1, 2, 3]
    nothing = Service([])
    assert await ids_of(nothing.listing(2)) == []
    assert nothing.asked == [1]


@pytest.mark.parametrize("total", TOTALS)
async def test_a_page_that_never_changes_ends_it(total: bool | str) -> None:
    """A service that answers the same page for ever ends the list, which may be incomplete, whatever its total is."""
    service = Stuck([f"o{number}" for number in range(50)], total=total)
    listing = service.listing(2)
    assert await ids_of(listing) == ["o0", "o1"]
    assert service.asked == [1, 2]
    assert listing.gap


@pytest.mark.parametrize(("total", "is_whole"), [(True, True), ("of the page", True), (False, False)])
async def test_a_refused_page_ends_it(total: bool | str, is_whole: bool) -> None:
    """A service may refuse a page behind the end: if its total was not shown, the list may be incomplete."""

    class Strict(Service):
        async def read(self, number: int) -> OrganizationPage:
            if number > 1:
                raise NotFound("no such page", status=404)
            return await super().read(number)

    listing = Strict(["a", "b"], total=total).listing(9)
    assert await ids_of(listing) == ["a", "b"]
    assert (listing.gap == "") is is_whole


async def test_pages_that_shift_bring_nothing_twice() -> None:
    """Items that move to the next page while it is asked for are not given again."""
    service = Shifting(["a", "b", "c", "d", "e"])
    found = await ids_of(service.listing(3))
    assert found == ["a", "b", "c", "d", "e"]
    assert len(found) == len(set(found))


async def test_page_by_page() -> None:
    """Pages come with what stands beside their items, each without what came before, and each loop begins anew."""
    service = Shifting(["a", "b", "c"])
    listing = service.listing(2)
    pages = [page async for page in listing.pages()]
    assert [[each.id for each in page.organizations] for page in pages] == [["a", "b"], ["c"]]
    assert [page.meta.page if page.meta else None for page in pages] == [1, 2]
    assert "new 1" in await ids_of(listing)


async def test_one_page() -> None:
    """A page can be read by its number; there is none below 1, and none of less than one item."""
    listing = Service(["a", "b", "c"]).listing(2)
    assert [each.id for each in (await listing.page(2)).organizations] == ["c"]
    with pytest.raises(UsageError, match="counted from 1"):
        await listing.page(0)
    with pytest.raises(UsageError, match="at least one item"):
        Service([]).listing(0)


async def test_an_error_of_a_page_ends_the_loop() -> None:
    """A page that cannot be read raises in the loop, after the items of the pages before."""
    found: list[str] = []

    async def read(listing: Listing[OrganizationPage, Organization]) -> None:
        async for each in listing:
            found.append(each.id)  # noqa: PERF401 - what came before the error counts

    good = answer({"organizations": [{"id": "a"}], "meta": {"total": 5}})
    async with client([good, answer(b"<html>", 200), answer(b"<html>", 200), answer(b"<html>", 200)]) as (gs, sent):
        with pytest.raises(OutcomeUnknown):
            await read(gs.platform.organizations.list(per_page=1))
        assert found == ["a"]
        assert [request.url.partition("?")[2] for request in sent.sent[:2]] == [
            "page=1&per_page=1",
            "page=2&per_page=1",
        ]


@pytest.mark.parametrize("total", [True, False])
async def test_a_reading_begins_with_any_page(total: bool) -> None:
    """One that was interrupted continues; behind the end there is nothing, and a gap is not invented."""
    service = Service(["a", "b", "c", "d", "e"], total=total)
    listing = service.listing(2)
    pages = [page async for page in listing.pages(first=2)]
    assert [[each.id for each in page.organizations] for page in pages] == [["c", "d"], ["e"]]
    assert listing.gap == ""
    assert [page async for page in listing.pages(first=9)] == []


@pytest.mark.parametrize(
    "second", ['{"id":"2","tracking_id":null}', '{"id":2,"tracking_id":"B"}', '{"id":"2","driver":3}']
)
def test_a_page_of_names_is_read_like_the_whole_page(second: str) -> None:
    """It has the same names and statuses, and the same end of the list, also where an answer is unusual."""
    task = '{"id":"1","tracking_id":"A","current_status":"new status","items":[{}],"driver":{"name":"D"}}'
    for tasks in (task, f"{task},{second}"):
        said = answer({"meta": {"page": 1, "per_page": 2, "total": 7}, "tasks": json.loads(f"[{tasks}]")})
        names, whole = read_names(Codec(), said), reader(TaskPage)(Codec(), said)
        assert (names.meta and names.meta.total) == (whole.meta and whole.meta.total) == 7
        assert list(map(_named, names.tasks)) == list(map(_named, whole.tasks))


def _named(task: Any) -> tuple[Any, ...]:
    return task.id, task.tracking_id, task.current_status, task.current_status and task.current_status.is_draft
