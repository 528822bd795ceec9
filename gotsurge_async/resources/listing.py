"""Lists that come in pages: all items, or page by page."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs
import msgspec
from msgspec import Struct, structs

from gotsurge_async.api.endpoints import PLATFORM_TASKS_LIST, Endpoint
from gotsurge_async.calls.session import Session
from gotsurge_async.codec import Codec
from gotsurge_async.errors import BadRequest, NotFound, UsageError
from gotsurge_async.models.base import NOT_GIVEN
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.resources.reading import reader
from gotsurge_async.transports.base import Response

if TYPE_CHECKING:
    from gotsurge_async.models.answers import Task
    from gotsurge_async.models.platform import Organization, OrganizationPage, TaskPage

__all__ = ["Listing"]


PageT = TypeVar("PageT", bound="OrganizationPage | TaskPage")
ItemT = TypeVar("ItemT", bound="Organization | Task")


class Listing(Generic[PageT, ItemT]):
    """A list of the service, read page by page as it is asked for::

        async for organization in gs.platform.organizations.list(): ...
        async for page in gs.platform.organizations.list().pages(): ...

    Each loop reads the list again. Pages shift while they are read, when items come and go: an item that was seen is
    left out the second time, and a missing one proves nothing. Reading ends at a page without a new item: a service may
    have fewer on a page than it was asked for. It ends earlier if the service's total is reached, and an earlier page
    showed that this is not the total of the page. Every page is safe to repeat.

    Attributes:
        gap: why the newest loop that came to its end did not see the whole list; "" if nothing shows that.

    Raises:
        UsageError: a page of no items.

    Raises, in the loop:
        Rejected, NotSent, OutcomeUnknown: a page could not be read, as often as it was tried.
    """

    def __init__(self, read: Callable[[int], Awaitable[PageT]], items: str, per_page: int) -> None:
        if per_page < 1:
            raise UsageError(f"a page must have at least one item, not {per_page}", "E903")
        self._read = read
        self._items = items
        self.gap: str = ""

    async def page(self, number: int) -> PageT:
        """One page as the service returns it, from 1.

        Raises:
            UsageError: a number below 1.
        """
        if number < 1:
            raise UsageError(f"pages are counted from 1: there is no page {number}", "E903")
        return await self._read(number)

    async def pages(self, *, first: int = 1) -> AsyncGenerator[PageT, None]:
        """Page by page, with its other fields; each without the items of the pages before.

        Args:
            first: the page to begin with, after an interruption; then ``gap`` is always "".
        """
        seen: set[str] = set()
        self.gap = ""
        number = first - 1
        total: int | None = None
        expected: int | None = None
        while True:
            number += 1
            try:
                page = await self.page(number)
            except (BadRequest, NotFound) as error:  # a service may refuse a page behind the end
                if not seen:
                    raise
                if first == 1 and total is None:
                    self.gap = f"page {number} was refused: {error}"
                return
            items = self._of(page)
            new = {item.id: item for item in items if item.id not in seen}
            seen.update(new)
            total = page.meta.total if page.meta is not None else None
            if first == 1:
                total_shown = expected if total is None else total
                self.gap = self._gap(page, number, total_shown, repeated=bool(items) and not new, seen=len(seen))
            if not new and number > 1:
                return
            evolve: Any = structs.replace if isinstance(page, Struct) else attrs.evolve
            yield cast("PageT", evolve(page, **{self._items: tuple(new.values())}))
            if not new or (total == expected == len(seen)):
                return
            expected = total if total is not None and total > len(seen) else None

    async def __aiter__(self) -> AsyncGenerator[ItemT, None]:
        pages = self.pages()
        try:
            async for page in pages:
                for item in self._of(page):
                    yield item
        finally:
            await pages.aclose()

    def _of(self, page: PageT) -> tuple[ItemT, ...]:
        return cast("tuple[ItemT, ...]", getattr(page, self._items))

    def _gap(self, page: PageT, number: int, total: int | None, *, repeated: bool, seen: int) -> str:
        """The reason why items are missing, if this page is the last one; "" if none seem to be."""
        if getattr(page, self._items) is NOT_GIVEN:
            return f"page {number} does not tell its {self._items}"
        if total is not None and seen < total:
            return f"of {total} {self._items} only {seen} were shown"
        return f"page {number} repeats what earlier ones showed" if repeated else ""


def listing(
    session: Session,
    endpoint: Endpoint[PageT],
    read: Callable[[Codec, Response], PageT],
    items: str,
    *,
    per_page: int,
    query: Mapping[str, str] = {},
) -> "Listing[PageT, Any]":
    """The list that an endpoint serves; ``read`` reads its pages, which have their items in the field ``items``."""

    async def page(number: int) -> PageT:
        whole_query: dict[str, str | int] = {"page": number, "per_page": per_page, **query}
        return await session.call(endpoint, query=whole_query, read=read)

    return Listing(page, items, per_page)


class _Named(Struct, gc=False):
    id: str
    tracking_id: str
    current_status: TaskStatus | None = None


class _Meta(Struct, gc=False):
    total: int | None = None


class _NamedPage(Struct, gc=False):
    tasks: tuple[_Named, ...]
    meta: _Meta | None = None


_named_page = msgspec.json.Decoder(_NamedPage).decode


def read_names(codec: Codec, answer: Response) -> "TaskPage":
    """A page of tasks that may have only their ids, tracking ids and statuses, which takes a tenth of the time."""
    try:
        return cast("TaskPage", _named_page(answer.body))
    except ValueError:  # not a usual answer, or a task without a tracking id
        return reader(PLATFORM_TASKS_LIST.response)(codec, answer)
