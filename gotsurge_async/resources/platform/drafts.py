"""`gs.platform.drafts`: tasks that no driver sees until they are broadcast."""

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence

from msgspec import Struct

from gotsurge_async.api.endpoints import CHUNK, DRAFTS_CREATE
from gotsurge_async.calls.create import PushStream
from gotsurge_async.calls.session import Session
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.models.platform import UpdatedTasks
from gotsurge_async.models.tasks import CreatedTasks
from gotsurge_async.money import Money
from gotsurge_async.resources.converging import broadcast
from gotsurge_async.resources.platform.batches import TrackingPair, TrackingPairs, UpdateStream, tracking_stream
from gotsurge_async.resources.reading import check_task_id, check_tracking_ids, several, task_ids_of
from gotsurge_async.resources.tasks import create

__all__ = ["Drafts"]


class Drafts(Struct, frozen=True):
    """Create drafts, and broadcast them. Only the platform partner's OrgAdmin may.

    This is the way to create tasks that can be repeated: a lost answer to `create` leaves drafts that are never used,
    and `broadcast` acts only on what is still a draft.
    """

    _session: Session

    async def create(
        self,
        orders: Sequence[OrderLike],
        *,
        validate: bool = False,
        max_price: Money | None = None,
        timeout: float | None = None,
    ) -> CreatedTasks:
        """Create 1 to 20 drafts in one call (section "Create Draft Tasks"). No driver is asked.

        Not repeated automatically when the answer was lost; creating them again leaves the first ones unused.

        Returns:
            One draft for each order, in the order of ``orders``. An answer that names another order, fewer or more
            drafts than orders, or one draft twice is never returned: it is `OutcomeUnknown`.

        Args:
            orders: each an `Order`, or a dict of its fields as the API writes them.
            validate: refuse orders that `gotsurge push` would refuse, see `check_order`, before anything is sent.
            max_price: with ``validate`` the greatest amount that an order may have, see `check_order`; without it 1000
                units of the order's currency.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            InvalidData: a value that is not an order, or a faulty order; every fault with its path. Nothing was sent.
            UsageError: ``max_price`` is not `Money`, or given without ``validate``. Nothing was sent.
            TooManyInOneCall: more than 20: `create_all` takes any number.
            Rejected: the service refused the chunk.
            OutcomeUnknown: the drafts may exist, and their ids are not known. If an answer came that does not fit the
                orders, the error's ``done`` holds the drafts that are certain, and ``rows`` the indices of the other
                orders.
        """
        session = self._session.within(timeout)
        any_number = "gs.platform.drafts.create_all(orders)"
        return await create(session, DRAFTS_CREATE, orders, any_number, validate=validate, max_price=max_price)

    def create_all(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
        validate: bool = False,
        max_price: Money | None = None,
    ) -> PushStream:
        """Create any number of drafts (section "Create Draft Tasks"): chunks of at most 20, results as they arrive.

        The results are those of `GotSurge.push`.

        Args:
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: orders in a call, 1 to 20.
            validate, max_price: see `GotSurge.push`.
        """
        return PushStream(
            self._session,
            DRAFTS_CREATE,
            orders,
            size=chunk,
            concurrency=concurrency,
            validate=validate,
            max_price=max_price,
        )

    async def broadcast(self, task_ids: Sequence[str], *, timeout: float | None = None) -> UpdatedTasks:
        """Broadcast 1 to 20 drafts: drivers are asked from now on (section "Broadcast Draft Tasks"). Safe to repeat.

        The document does not say whether the service refuses a task that is no longer a draft, leaves it out or accepts
        it. So a task that the answer does not name is read, and after a refusal those that are still drafts are sent
        again.

        Args:
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Returns:
            All of the tasks. Their ``current_status`` is known where the answer names it, or the task was read.

        Raises:
            TooManyInOneCall: more than 20: `broadcast_all` takes any number.
            UsageError: an id that can name no task; nothing was sent.
            NotFound: an id is no task of this account's, and no other was broadcast.
            PartlyDone: some are broadcast: its ``done`` names them, its ``failed`` why others are not known to be.
            Rejected: the service refused drafts that it could have broadcast, or tasks that do not show their status.
            OutcomeUnknown: neither the answers nor the tasks show that they are broadcast.
        """
        checked = task_ids_of(task_ids, "gs.platform.drafts.broadcast_all(task_ids)")
        return await broadcast(self._session.within(timeout), checked)

    def broadcast_all(
        self, task_ids: Iterable[str] | AsyncIterable[str], *, concurrency: int | None = None, chunk: int = CHUNK
    ) -> UpdateStream[str]:
        """`broadcast` for any number (section "Broadcast Draft Tasks"): chunks of at most 20, results as they arrive.

        Args:
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: tasks in a call, 1 to 20.
        """
        return UpdateStream(
            several(task_ids, "task_ids"),
            call=self.broadcast,
            check=check_task_id,
            task_id=str,
            size=chunk,
            concurrency=self._session.limiter.at_most(concurrency),
        )

    async def broadcast_with_tracking(
        self, tracking_ids: Mapping[str, str], *, timeout: float | None = None
    ) -> UpdatedTasks:
        """Broadcast 1 to 20 drafts, each with its tracking id (section "Broadcast with Tracking"). Safe to repeat.

        As `broadcast`. The service gives tracking ids only to tasks that this very call broadcasts: a task that an
        earlier call has broadcast, and that does not show its tracking id, receives it by Patch Tracking IDs.

        Args:
            tracking_ids: the tracking id of each draft, by the draft's id.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            TooManyInOneCall: more than 20: `broadcast_all_with_tracking` takes any number.
            UsageError, InvalidData: an id that can name no task, or no tracking id; nothing was sent.
            NotFound: an id is no task of this account's, and no other was broadcast.
            PartlyDone: some are broadcast: its ``done`` names them, its ``failed`` why others are not known to be.
            Rejected: the service refused drafts that it could have broadcast, or a tracking id.
        """
        check_tracking_ids(tracking_ids, "gs.platform.drafts.broadcast_all_with_tracking(pairs)")
        return await broadcast(self._session.within(timeout), list(tracking_ids), tracking_ids)

    def broadcast_all_with_tracking(
        self,
        tracking_ids: TrackingPairs,
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
    ) -> UpdateStream[TrackingPair]:
        """`broadcast_with_tracking` for any number (section "Broadcast with Tracking"): results as they arrive.

        Args:
            tracking_ids: pairs of a draft's id and its tracking id, or a mapping.
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: tasks in a call, 1 to 20.
        """
        in_flight = self._session.limiter.at_most(concurrency)
        return tracking_stream(tracking_ids, self.broadcast_with_tracking, size=chunk, concurrency=in_flight)
