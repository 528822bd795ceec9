"""Orders that no name distinguishes are kept apart: in different calls, so that each has an answer of its own."""

from collections.abc import Callable, Sequence

from gotsurge_async.calls.create import Identity, other_name


def share_a_name(mine: Identity, theirs: Identity) -> bool:
    """Whether two orders have the same tracking id, or the same invoice number."""
    return any(one and one == other for one, other in zip(mine, theirs, strict=True))


def are_alike(mine: Identity, theirs: Identity) -> bool:
    """Whether two orders share a name, and no name distinguishes them."""
    return share_a_name(mine, theirs) and not other_name(mine, theirs)


def apart(identities: Sequence[Identity], clash: Callable[[Identity, Identity], bool]) -> list[list[int]]:
    """Divide orders, by their indices, into groups in which no two clash; only orders that share a name may clash."""
    names = [[name for name in column if name] for column in zip(*identities, strict=True)]
    if all(len(set(column)) == len(column) for column in names):
        return [[*range(len(identities))]]
    groups: list[list[int]] = []
    for row, identity in enumerate(identities):
        for group in groups:
            if not any(clash(identity, identities[other]) for other in group):
                group.append(row)
                break
        else:
            groups.append([row])
    return groups
