"""The changes of a book that must be handed on: each at least once, and those of a task in their order."""

import os
from collections.abc import Iterable
from datetime import datetime, timedelta

from gotsurge_async.clock import Clock, moved_by, to_microseconds
from gotsurge_async.database import Database
from gotsurge_async.webhooks.book.records import Change, changes_of, countable, keepable
from gotsurge_async.webhooks.store import Store

_NEVER = 2**62
"""The time at which changes behind a parked one are due again automatically, in microseconds: never."""


class Outbox:
    """The part of a `Book` that hands its changes on."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._holder = os.urandom(8).hex()
        self._held: set[int] = set()
        self._looked: set[frozenset[str] | None] = set()

    async def waiting(
        self,
        limit: int = 100,
        *,
        accounts: Iterable[str] | None = None,
        lease: timedelta = timedelta(seconds=60),
        newest: bool = False,
        pauses: timedelta | None = None,
    ) -> list[Change]:
        """Changes to hand on, oldest first, and those that failed last; of each task only the first that waits.

        The later changes of a task wait behind a parked one, too.

        The caller holds the returned changes, and no process receives them again while the caller asks again within
        ``lease``. If this process stops asking, another process may receive them after that time.

        Args:
            accounts: return only changes of these accounts' tasks.
            limit: the most changes to return.
            newest: those that came last, of those that have not failed.
            pauses: more than any pause between two tries: what waits for a later time was put off by a wrong clock,
                and is due. What was held until then at the first call is held for a ``lease`` more.
        """
        mine = None if accounts is None else list(accounts)
        which = None if mine is None else frozenset(mine)
        now = to_microseconds(self._clock.now())
        until = to_microseconds(self._clock.now() + lease)
        held = tuple(self._held)
        far = None if pauses is None else to_microseconds(moved_by(self._clock.now(), pauses))

        def take(db: Database) -> list[Change]:
            whose = {"no_accounts": int(mine is None), "accounts": db.listed(mine or ())}
            if far is not None:
                db.change("come_early", **whose, far=far, never=_NEVER)
                if which not in self._looked:  # at all changes
                    db.change("hold_briefly", **whose, far=far, until=until)
            if held:
                db.change("keep_held", until=until, holder=self._holder, numbers=db.listed(held))
            asked = {"now": now, "most": limit, **whose}
            heads = [
                number for (number,) in db.rows("newest_heads" if newest else "heads", **asked) if number not in held
            ]
            taken = [
                number for number in heads if db.rows("hold", number=number, now=now, until=until, holder=self._holder)
            ]
            return changes_of(db, taken)

        changes = await self._store.write(take)
        self._looked.update(() if far is None else [which])
        self._held.update(change.number for change in changes)
        return changes

    async def acknowledge(self, change: Change) -> None:
        """Note that a change was handed on: it comes again only if it, or an earlier one of its task, is resent."""
        mine = {"number": change.number, "holder": self._holder}

        def end(db: Database) -> None:
            if not db.change("acknowledge", **mine):
                db.change("put_back", **mine, again_at=0)

        await self._store.write(end)
        self._held.discard(change.number)

    async def failed(self, change: Change, why: str, again_at: datetime) -> None:
        """Note that a change could not be handed on: it is due again at ``again_at``; later ones of its task wait."""
        which = {"number": change.number, "again_at": to_microseconds(again_at)}
        now = to_microseconds(self._clock.now())

        def put_back(db: Database) -> None:
            db.change("failed", **which, holder=self._holder, why=keepable(why), now=now)
            db.change("put_off", **which)

        await self._store.write(put_back)
        self._held.discard(change.number)

    async def put_back(self, change: Change, again_at: datetime) -> None:
        """Make a change due again at ``again_at``, as if it had not been handed on."""
        which = {"number": change.number, "holder": self._holder, "again_at": to_microseconds(again_at)}
        await self._store.change("put_back", **which)
        self._held.discard(change.number)

    def let_go(self, change: Change) -> None:
        """Stop holding a change, without a write to the database: it comes again when its lease is over."""
        self._held.discard(change.number)

    async def park(self, change: Change, why: str) -> None:
        """Do not hand a change on until `resend`; the later changes of its task wait, also those still to come."""
        moment = to_microseconds(self._clock.now())

        def park(db: Database) -> None:
            if db.change("park", number=change.number, holder=self._holder, why=keepable(why), now=moment):
                db.change("put_off", number=change.number, again_at=_NEVER)

        await self._store.write(park)
        self._held.discard(change.number)

    async def parked_changes(self, limit: int = 1000) -> list[Change]:
        """The changes that are parked, oldest first, at most ``limit`` changes."""

        def ask(db: Database) -> list[Change]:
            return changes_of(db, [number for (number,) in db.rows("parked_changes", most=limit)])

        return await self._store.read(ask)

    async def resend(self, number: int | None = None) -> int:
        """Hand a parked change on again, or all parked ones; returns the number of these changes."""
        which = {"all": int(number is None), "number": countable(number)}

        def again(db: Database) -> int:
            db.change("come_again", **which, never=_NEVER)
            return db.change("resend", **which)

        return await self._store.write(again)

    async def skip(self, number: int) -> bool:
        """Acknowledge a parked change, so that later ones of its task are handed on; returns whether it was parked."""

        def skip(db: Database) -> bool:
            db.change("come_again", all=0, number=countable(number), never=_NEVER)
            return bool(db.change("skip", number=countable(number)))

        return await self._store.write(skip)

    async def resend_from(self, number: int) -> int:
        """Hand on again all changes from a number on, whatever their state; returns the number of these changes.

        All of them wait when this returns, or none does. A change that a process holds comes again afterwards.
        """

        def again(db: Database) -> int:
            db.script("lock_changes")  # what is acknowledged or forgotten at this moment is before all of it, or after
            return db.change("resend_from", number=countable(number))

        return await self._store.write(again)
