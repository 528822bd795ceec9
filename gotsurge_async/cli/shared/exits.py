"""Exit codes, and the one way to them from an error or a signal; with ``--json`` an error is a document, too.

Commands raise errors, and `reported` prints them, so docstrings of commands do not list errors.
"""

import asyncio
import functools
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import IO, Any

import click

from gotsurge_async.api.endpoints import ENDPOINTS, Replay
from gotsurge_async.cli.shared.output import HAS_DOCUMENT, as_json, meta, print_json, say
from gotsurge_async.cli.streams import Unread
from gotsurge_async.errors import (
    CallError,
    Coded,
    EndpointsAssumed,
    Forbidden,
    GotSurgeError,
    NotSent,
    OutcomeUnknown,
    SignInFailed,
    SignInNeeded,
    Unauthorized,
    code_of,
)
from gotsurge_async.models.words import printable, printable_lines
from gotsurge_async.starting import Terminated
from gotsurge_async.system import loops


class Exit(IntEnum):
    """The exit codes of the command."""

    CREATED = 0
    """Everything is done; for a push, every order is created."""
    REFUSED = 1
    """Some orders were refused, or a call was."""
    USAGE = 2
    """The command or its input cannot be right; nothing was sent."""
    IN_DOUBT = 3
    """It is not known whether some orders were created."""
    SIGN_IN = 4
    """There is no token that works."""
    STOPPED = 5
    """A part was not sent: a limit stopped the push, or rows with faults were left out."""
    HELD = 6
    """Another process has the run."""
    CHANGED = 7
    """Some rows differ from those that were sent under their keys: their present content was not sent."""
    UNREACHABLE = 8
    """The service cannot be reached, or does not answer; nothing is in doubt, and unsent orders may be sent."""
    RESULTS_FAILED = 9
    """Everything was sent, and the result files could not be written; the ledger has everything."""
    AWAY = 10
    """The ledger's database was away for too long: the supervisor of the worker should start it again."""
    INTERRUPTED = 130
    """Ctrl-C."""
    UNREAD = 141
    """The reader of standard output has left."""
    TERMINATED = 143
    """SIGTERM."""


class Unreachable(GotSurgeError):
    """No server answers at the address of the service."""


class WrongUse(click.UsageError):
    """Options or arguments that contradict each other, unless they have an error code of their own."""

    def __init__(self, message: str, explain_code: str | None = "E103") -> None:
        super().__init__(Coded(message, explain_code))


class Failure(click.ClickException):
    """An error that ends the process with its own exit code; ``printed``: its message is on stderr already.

    ``more`` are further fields of the ``--json`` document; commands in ``next`` are printed, codes in ``explain``
    named.
    """

    def __init__(
        self, message: str, code: Exit, *, more: Mapping[str, Any] | None = None, printed: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.more: Mapping[str, Any] = more or {}
        self._printed = printed

    def format_message(self) -> str:
        """The message, and below it the commands to type next."""
        lines = [self.message, *(f"next: {printable(command)}" for command in self.more.get("next", ()))]
        return printable_lines("\n".join(lines))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, unless it was printed before."""
        if not self._printed:
            super().show(file)


def exit_code_of(error: GotSurgeError) -> Exit:
    """The exit code that stands for an error."""
    from gotsurge_async.ledger import (  # with the ledger, for which `gotsurge --help` need not wait
        LedgerAway,
        RunHeld,
    )

    if isinstance(error, RunHeld):
        return Exit.HELD
    if isinstance(error, SignInNeeded | SignInFailed | Unauthorized | Forbidden):
        return Exit.SIGN_IN
    if is_unreachable(error):
        return Exit.UNREACHABLE
    if isinstance(error, LedgerAway):
        return Exit.AWAY
    return Exit.REFUSED if isinstance(error, CallError) else Exit.USAGE


def is_unreachable(error: GotSurgeError) -> bool:
    """Whether the service was not reached, or did not answer a call that may be repeated freely."""
    if isinstance(error, OutcomeUnknown):
        endpoint = ENDPOINTS.get(error.operation)
        return endpoint is not None and endpoint.replay in (Replay.SAFE, Replay.HARMLESS)
    return isinstance(error, NotSent | Unreachable)


# --- how a command ends ----------------------------------------------------------------------------------------------

_RUN = "gotsurge_async.cli.run"
_CODES = "gotsurge_async.cli.codes_of_printed_messages"
_MOST_CODES = 3


def about_run(run_id: str | None) -> None:
    """Note the run that the command is about; the ``--json`` document of an error contains it."""
    meta()[_RUN] = run_id


def explained_too(codes: Iterable[str | None]) -> None:
    """Name these codes when the command ends, because they explain text that is already printed."""
    meta().setdefault(_CODES, []).extend(filter(None, codes))


def asynchronous(
    command: Callable[..., Coroutine[Any, Any, Exit | None]], *, interrupted: str = "interrupted"
) -> Callable[..., Exit | None]:
    """Make a command from an async function; ``interrupted`` is the message at Ctrl-C and SIGTERM."""

    @functools.wraps(command)
    def run(**options: Any) -> Exit | None:
        about_run(options.get("run_id"))
        with interruptible(interrupted):
            return loops.run(command(**options))

    return run


@contextmanager
def interruptible(interrupted: str) -> Iterator[None]:
    """Use this message for Ctrl-C and SIGTERM inside the block."""
    try:
        yield
    except KeyboardInterrupt as signalled:
        raise Failure(Coded(interrupted, code_of(interrupted) or "E112"), _code_of(signalled)) from None


@contextmanager
def reported() -> Iterator[None]:
    """Report every error of a command: its message and codes on stderr, its exit code, and with ``--json``
    a document, unless the command has printed its own."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as raised:
        error = raised
    except KeyboardInterrupt as raised:
        error = Failure(Coded("interrupted", "E112"), _code_of(raised))
    except click.Abort as raised:  # at a question
        error = Failure(Coded("you gave no answer: nothing was changed", "E112"), Exit.USAGE)
        if isinstance(raised.__context__, KeyboardInterrupt):
            error = Failure(Coded("interrupted: nothing was changed", "E112"), _code_of(raised.__context__))
    except GotSurgeError as raised:
        error = _failure_of(raised)
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code and not as_json() and not isinstance(ended, Unread):
            _name_codes([*meta().get(_CODES, ()), f"exit-{ended.code}"])
        raise
    else:
        return
    if isinstance(error, Failure):
        document = {"error": str(error.message), "exit": int(error.code), "run": meta().get(_RUN), **error.more}
        codes = list(dict.fromkeys(filter(None, error.more.get("explain") or [code_of(error.message)])))
    else:
        document = {"error": str(error.format_message()), "exit": error.exit_code, "run": None}
        is_value = isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter)
        codes = [code_of(error.message) or ("E102" if is_value else "E101")]
    document["explain"] = codes or [f"exit-{document['exit']}"]
    if as_json() and not meta().get(HAS_DOCUMENT):
        print_json(document)
    error.show()
    _name_codes(document["explain"])
    raise SystemExit(document["exit"])


def _failure_of(error: GotSurgeError) -> Failure:
    lines = [str(error), *getattr(error, "__notes__", ())]
    if isinstance(error, EndpointsAssumed):
        lines.append("set GOTSURGE_PROFILE to a profile, or, to send anyway, pass --accept-assumed-endpoints")
    return Failure(Coded("\n".join(lines), error.explain_code), exit_code_of(error))


def _code_of(signalled: KeyboardInterrupt) -> Exit:
    return Exit.TERMINATED if isinstance(signalled, Terminated) else Exit.INTERRUPTED


def _name_codes(codes: Sequence[str]) -> None:
    say(f"see: gotsurge explain {' '.join(list(dict.fromkeys(codes))[:_MOST_CODES])}")


# --- signals ---------------------------------------------------------------------------------------------------------


class Interrupts:
    """Turns the first Ctrl-C or SIGTERM into a request to stop, and the second one into a cancellation of the task.

    The first signal sets ``code``, and calls ``on_stop``; without it the task is cancelled immediately.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.code: Exit | None = None
        self.on_stop: Callable[[], None] | None = None
        self.words: Mapping[Exit, str] = {}
        self._say = say
        self._task = asyncio.current_task()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals inside the block."""
        codes = {signal.SIGINT: Exit.INTERRUPTED} | dict.fromkeys(loops.ending_signals(), Exit.TERMINATED)
        with loops.heeded({number: functools.partial(self._received, code) for number, code in codes.items()}):
            yield

    def _received(self, code: Exit) -> None:
        first = self.code is None
        self.code = self.code or code
        if first and self.on_stop is not None:
            usual = (
                "stopping: waiting for calls under way; to abort them, stop once more (their orders are then in doubt)"
            )
            self._say(self.words.get(code, usual))
            self.on_stop()
        elif self._task is not None:
            self._task.cancel()
