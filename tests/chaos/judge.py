"""The judge of a push by many workers: what the service has, held against every order and every word of the ledger."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

WAITING = frozenset({"pending", "drafting", "drafted", "superseded", "loading"})
ON_ITS_WAY = frozenset({"sending", "broadcasting"})


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of the orders of a push.

    Attributes:
        doubled: more than one driver was called for them.
        lost: nothing is known of them, or they still wait: nobody was called, and nobody will be.
        untrue: what the ledger says of them is not so.
        in_doubt: the ledger does not know, and says so.
        states: how many orders are in each state of the ledger.
    """

    doubled: Collection[str]
    lost: Collection[str]
    untrue: Collection[str]
    in_doubt: Collection[str]
    states: Mapping[str, int]

    @property
    def faults(self) -> str:
        """What is wrong, for people; "" if nothing is."""
        found = {"doubled": self.doubled, "lost": self.lost, "untrue": self.untrue}
        return "; ".join(f"{len(keys)} {name}: {sorted(keys)[:5]}" for name, keys in found.items() if keys)


def judged(
    keys: Iterable[str], rows: Iterable[tuple[str, str, str | None]], tasks: Iterable[Mapping[str, Any]]
) -> Verdict:
    """Judge a push.

    Args:
        keys: the tracking ids of the file.
        rows: of each order of the ledger its key, its state and its task.
        tasks: those of the service, see `Simulator.tasks`.
    """
    ledger = {key: (state, task_id) for key, state, task_id in rows}
    drivers: Counter[str] = Counter()
    names: dict[str, str] = {}
    for task in tasks:
        drivers[task["tracking_id"]] += not task["draft"]
        names[task["id"]] = task["tracking_id"]
    wanted = set(keys)
    lost, untrue, in_doubt = set(), set(), set()
    for key in wanted:
        state, task_id = ledger.get(key, ("unknown", None))
        if state in WAITING | ON_ITS_WAY | {"unknown"}:
            lost.add(key)
        if state == "in_doubt":
            in_doubt.add(key)
        is_there = drivers[key] > 0
        if (state == "created") != is_there and state != "in_doubt":
            untrue.add(key)
        if task_id is not None and names.get(task_id) != key:
            untrue.add(key)
    return Verdict(
        doubled={key for key, times in drivers.items() if times > 1},
        lost=lost,
        untrue=untrue | (drivers.keys() - wanted),
        in_doubt=in_doubt,
        states=Counter(state for state, _ in ledger.values()),
    )
