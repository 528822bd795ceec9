"""A core for the server and another one for the client, where the system lets a process choose."""

import os
import sys


def cores() -> list[int]:
    """The cores that this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


def pin_server() -> bool:
    """Keep this process to the last core; False where that cannot be."""
    return _pin(-1)


def pin_client() -> bool:
    """Keep this process, and those that it starts, to the first core; False where that cannot be."""
    return _pin(0)


def _pin(place: int) -> bool:
    mine = cores()
    if len(mine) < 2 or sys.platform != "linux":
        return False
    os.sched_setaffinity(0, {mine[place]})
    return True
