"""The tasks to read, in which order, and how often: for `gotsurge_async.webhooks.reads`.

No flood keeps real tasks waiting: tasks that the book knows go first, then those whose events name a known order. The
sweep has its share, however many unknown ids wait, and so have these: by the addresses of their senders, of each
the newest first.

No account keeps the others waiting: in a lane the accounts have turns, and one that cannot be read is set aside.
"""

import asyncio
import heapq
import math
from collections import Counter, OrderedDict, UserDict
from collections.abc import Mapping, MutableMapping
from itertools import count
from types import MappingProxyType
from typing import TypeAlias

import attrs

Key: TypeAlias = tuple[str, str]
"""An account, and the id of a task of it."""

MOST_EVENTS = 20
"""The most events that wait for a task which the service did not know; further ones add nothing."""
MOST_UNKNOWN = 5000
"""The most unknown ids in memory; more wait in the inbox."""
MOST_OF_A_NAME = 5
"""The most waiting tasks that take precedence by one name: a second one is a double, and hundreds are forged."""
MOST_HELD = 50_000
"""The most events whose reads are in memory."""
_COUNT_AGAIN = 256
"""The unknown tasks that make room before the senders are counted again."""
_TURNS: Mapping[int, int] = MappingProxyType({1: 1, 5: 1, 9: 1, 13: 1, 3: 2, 11: 2, 7: 3, 15: 4})
"""The lane that comes first in some of sixteen turns."""


@attrs.define(eq=False)
class Wanted:
    """A task that must be read, and the events that hint at it.

    Attributes:
        tries: the number of failed reads.
        absences: the number of times that the service did not know it.
        lags: the number of reads that did not show the status that an event claims.
        known: whether the book knows it: then it takes precedence.
        sender: the address from which an event of it came, if that is known.
        name: if the task is unknown, the name of a known order in its event.
        due: when it must be read, if it was postponed.
    """

    key: Key
    events: list[int] = attrs.field(factory=list)
    tries: int = 0
    absences: int = 0
    lags: int = 0
    known: bool = True
    sender: str = ""
    name: str | None = None
    due: float = 0.0


class Lane(UserDict[Key, Wanted]):
    """Tasks to read in their order, also account by account."""

    def __init__(self) -> None:
        self.of_account: dict[str, dict[Key, None]] = {}
        super().__init__()

    def __setitem__(self, key: Key, wanted: Wanted) -> None:
        self.of_account.setdefault(key[0], {})[key] = None
        super().__setitem__(key, wanted)

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        mine = self.of_account[key[0]]
        del mine[key]
        if not mine:
            del self.of_account[key[0]]


class Lanes:
    """The tasks to read, each once; at most ``most_of_account`` of an account are read at the same time.

    Attributes:
        known: tasks that the book knows.
        named: unknown tasks with the name of an order that the book or the ledger knows.
        swept: tasks of the sweep.
        unknown: all other tasks, the newest last; they are read address by address, of each the newest first.
        again: such tasks that the service did not know shortly before.
    """

    def __init__(self, most_of_account: float = math.inf) -> None:
        self.known: Lane = Lane()
        self.named: Lane = Lane()
        self.swept: Lane = Lane()
        self.unknown: OrderedDict[Key, Wanted] = OrderedDict()
        self.again: Lane = Lane()
        self.ready: asyncio.Event = asyncio.Event()
        self._reading: set[Key] = set()
        self._later: dict[Key, Wanted] = {}
        self._due: list[tuple[float, int, Key]] = []
        self._numbers = count()
        self._most_of_account = most_of_account
        self._aside: dict[str, float] = {}
        self._turns: dict[str, int] = {}
        self._served: dict[str, int] = {}
        self._removed = 0
        self._crowd = ""

    def __contains__(self, key: Key) -> bool:
        return any(key in each for each in (*self._all(), self._later, self._reading))

    def _all(self) -> list[MutableMapping[Key, Wanted]]:
        return [self.known, self.named, self.swept, self.unknown, self.again]

    def add_unknown(self, key: Key, event: int, sender: str, *, newest: bool) -> list[int] | None:
        """Add an unknown task; returns the events of the task that was removed for it, None if there is no room."""
        if not newest and key not in self.unknown and len(self.unknown) >= MOST_UNKNOWN:
            return None
        self.add(key, self.unknown, event)
        if key in self.unknown:
            self.unknown[key].sender = self.unknown[key].sender or sender
            self.unknown.move_to_end(key, last=newest)
        return self._make_room() if len(self.unknown) > MOST_UNKNOWN else []

    def _make_room(self) -> list[int]:
        """Remove the oldest unknown task of the sender that has most; returns its events."""
        if self._removed % _COUNT_AGAIN == 0:
            ((self._crowd, _),) = Counter(wanted.sender for wanted in self.unknown.values()).most_common(1)
        self._removed += 1
        oldest = next(iter(self.unknown))
        key = next((key for key, wanted in self.unknown.items() if wanted.sender == self._crowd), oldest)
        return self.unknown.pop(key).events

    def set_aside(self, account: str, until: float) -> None:
        """Read nothing of an account until a time, and then one task at a time, until `readmit`."""
        self._aside[account] = until

    def readmit(self, account: str) -> None:
        """Read an account as the others."""
        if self._aside.pop(account, None) is not None:
            self.ready.set()

    def _may_read(self, account: str, now: float) -> bool:
        being_read = sum(key[0] == account for key in self._reading)
        is_aside = account in self._aside and (self._aside[account] > now or being_read)
        return not is_aside and being_read < self._most_of_account

    def _next(self, lane: Lane, now: float) -> Key | None:
        """The first task of the account whose last turn is the longest ago."""
        accounts = [account for account in lane.of_account if self._may_read(account, now)]
        for account in sorted(accounts, key=lambda account: self._turns.get(account, -1)):
            for key in lane.of_account[account]:
                if key not in self._reading:
                    return key
        return None

    def _next_unknown(self, now: float) -> Key | None:
        """The newest unknown task of the sender whose last turn is the longest ago."""
        may_be_read = {account: self._may_read(account, now) for account in {account for account, _ in self.unknown}}
        waiting = (key for key in reversed(self.unknown) if key not in self._reading and may_be_read[key[0]])
        key = min(waiting, key=lambda key: self._served.get(self.unknown[key].sender, -1), default=None)
        if key is not None:
            if len(self._served) > MOST_UNKNOWN:
                self._served.clear()
            self._served[self.unknown[key].sender] = next(self._numbers)
        return key

    def add(self, key: Key, lane: MutableMapping[Key, Wanted], event: int | None = None, most: int = MOST_HELD) -> bool:
        """Add a task once, or again if it is being read; returns whether the event is kept, up to ``most``."""
        if key in self._later and self._later[key].lags:
            lane[key] = self._later.pop(key)  # the event may be news: it is not put off
            lane[key].lags = 0
        wanted = self._later.get(key) or self.known.get(key)
        if wanted is None:
            found = next((each.pop(key) for each in self._all() if key in each), None)
            wanted = lane[key] = found or Wanted(key)
        self.ready.set()
        if event is None or len(wanted.events) >= most:
            return False
        wanted.events.append(event)
        return True

    def add_absent(self, key: Key, event: int, until: float) -> bool:
        """Add a task that the service did not know; returns whether the event adds anything to that."""
        wanted = self._later.get(key)
        if wanted is None and key in self:
            return self.add(key, self.again, event, MOST_EVENTS)
        if wanted is None:
            wanted = self._later[key] = Wanted(key, absences=1, known=False, due=until + 1.0)
        if wanted.absences and until < wanted.due:
            wanted.due = until
            heapq.heappush(self._due, (until, next(self._numbers), key))
            self.ready.set()
        if len(wanted.events) >= MOST_EVENTS:
            return False
        wanted.events.append(event)
        return True

    def put_off(self, wanted: Wanted, until: float) -> None:
        """Postpone a task; its events since then come along."""
        self._reading.discard(wanted.key)
        for lane in self._all():
            if (other := lane.pop(wanted.key, None)) is not None:
                wanted.events += other.events
        self._later[wanted.key] = wanted
        wanted.due = until
        heapq.heappush(self._due, (until, next(self._numbers), wanted.key))

    def take(self, now: float, turn: int) -> Wanted | None:
        """The task to read next.

        Of sixteen turns one is for unknown ids, one for those of them that the service did not know, two for the sweep,
        and four for known names. The others are for the first lane that is not empty.
        """
        while self._due and self._due[0][0] <= now:
            _, _, key = heapq.heappop(self._due)
            if key in self._later and self._later[key].due <= now:  # else it was put forward, or off again
                wanted = self._later.pop(key)
                (self.known if wanted.known else self.again)[key] = wanted
        lanes = self._all()
        first = _TURNS.get(turn % 16)
        if first is not None:
            lanes.insert(0, lanes[first])
        for lane in lanes:
            chosen = self._next(lane, now) if isinstance(lane, Lane) else self._next_unknown(now)
            if chosen is not None:
                self._turns[chosen[0]] = next(self._numbers)
                self._reading.add(chosen)
                wanted = lane.pop(chosen)
                wanted.known = lane is self.known or lane is self.swept
                return wanted
        self.ready.clear()
        return None

    def done(self, wanted: Wanted) -> None:
        """Note that a read has ended."""
        self._reading.discard(wanted.key)
        if any(self._all()):
            self.ready.set()

    def next_due(self, now: float) -> float:
        """Seconds until a postponed task, or an account that was set aside, is due; a while if there is none."""
        times = [*(until for until in self._aside.values() if until > now), *(due for due, _, _ in self._due[:1])]
        return max(0.0, min(times) - now) if times else 60.0
