"""Exit codes, and errors told to people."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import IO, Any

import click

from gotsurge_async.bulk.ledger import RunHeld
from gotsurge_async.errors import (
    CallError,
    ConfigError,
    EndpointsAssumed,
    Forbidden,
    GotSurgeError,
    SignInFailed,
    SignInNeeded,
    Unauthorized,
    UsageError,
)


class Exit(IntEnum):
    """What the command's exit code says."""

    CREATED = 0
    """All done; for a push, every order is created."""
    REFUSED = 1
    """Some orders were refused, or a call was."""
    USAGE = 2
    """The command or its input cannot be right; nothing was sent."""
    IN_DOUBT = 3
    """Of some orders nobody knows whether they were created."""
    SIGN_IN = 4
    """There is no token that works."""
    STOPPED = 5
    """Stopped by a limit before the end; the rest was not sent."""
    HELD = 6
    """Another process has the run."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM."""


class Failure(click.ClickException):
    """An error that is told on stderr, and ends the process with a code of its own."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell the error, and leave: click's own exit code is one for the whole class."""
        super().show(file)
        raise SystemExit(int(self.code))


def exit_code_of(error: GotSurgeError) -> Exit:
    """The exit code that an error stands for."""
    if isinstance(error, RunHeld):
        return Exit.HELD
    if isinstance(error, SignInNeeded | SignInFailed | Unauthorized | Forbidden):
        return Exit.SIGN_IN
    if isinstance(error, ConfigError | UsageError):
        return Exit.USAGE
    return Exit.REFUSED if isinstance(error, CallError) else Exit.USAGE


@contextmanager
def told() -> Iterator[None]:
    """Turn our errors into a sentence on stderr and an exit code."""
    try:
        yield
    except EndpointsAssumed as error:
        hint = "GOTSURGE_PROFILE names a profile; --accept-assumed-endpoints creates all the same"
        raise Failure(f"{error}\n{hint}", Exit.USAGE) from None
    except GotSurgeError as error:
        raise Failure(str(error), exit_code_of(error)) from None
