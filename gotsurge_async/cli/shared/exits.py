"""Exit codes, and errors told to people; with ``--json`` also to programs, as one document on standard output."""

import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import IO, Any, TypeVar

import click

from gotsurge_async.api.endpoints import ENDPOINTS, Replay
from gotsurge_async.cli.shared.output import DOCUMENT_GIVEN, print_json, say
from gotsurge_async.cli.streams import Unread
from gotsurge_async.errors import (
    CallError,
    ConfigError,
    EndpointsAssumed,
    Forbidden,
    GotSurgeError,
    NotSent,
    OutcomeUnknown,
    SignInFailed,
    SignInNeeded,
    Unauthorized,
    UsageError,
)
from gotsurge_async.starting import Terminated
from gotsurge_async.system import loops

T = TypeVar("T")


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
    """A part was not sent: a limit stopped it before the end, or rows with faults were left out."""
    HELD = 6
    """Another process has the run."""
    CHANGED = 7
    """Some rows differ from what was sent under their keys: what they say now was not sent."""
    UNREACHABLE = 8
    """The service cannot be reached, or does not answer; nothing is in doubt, and what was not sent may be sent."""
    RESULTS_FAILED = 9
    """All was sent that was to be, and the result files could not be written; the ledger has everything."""
    AWAY = 10
    """The ledger's database was away for too long: whoever started the worker starts it again."""
    INTERRUPTED = 130
    """Ctrl-C."""
    UNREAD = 141
    """Who read standard output has gone."""
    TERMINATED = 143
    """SIGTERM."""


class Unreachable(GotSurgeError):
    """There is nobody at the address of the service."""


class Failure(click.ClickException):
    """An error that is told on stderr, and ends the process with a code of its own.

    Args:
        run: the run that it is about.
        more: what else the document of ``--json`` says; the commands that it has as ``next`` are told below the error.
        told: people have read it already.
    """

    def __init__(
        self,
        message: str,
        code: Exit,
        *,
        run: str | None = None,
        more: Mapping[str, Any] | None = None,
        told: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.run = run
        self.more: Mapping[str, Any] = more or {}
        self._told = told

    def format_message(self) -> str:
        """The error, and below it what to type next."""
        return "\n".join([self.message, *(f"next: {command}" for command in self.more.get("next", ()))])

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell the error, and leave: click's own exit code is one for the whole class."""
        if not self._told:
            super().show(file)
        raise SystemExit(int(self.code))


def exit_code_of(error: GotSurgeError) -> Exit:
    """The exit code that an error stands for."""
    from gotsurge_async.bulk.ledger import (  # with the ledger, for which `gotsurge --help` need not wait
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
    if isinstance(error, ConfigError | UsageError):
        return Exit.USAGE
    return Exit.REFUSED if isinstance(error, CallError) else Exit.USAGE


def is_unreachable(error: GotSurgeError) -> bool:
    """Whether an error says that the service was not reached, or did not answer a call that may be repeated freely."""
    if isinstance(error, OutcomeUnknown):
        endpoint = ENDPOINTS.get(error.operation)
        return endpoint is not None and endpoint.replay in (Replay.SAFE, Replay.HARMLESS)
    return isinstance(error, NotSent | Unreachable)


@contextmanager
def told(run: Callable[[], str | None] = lambda: None, *, interrupted: str = "interrupted") -> Iterator[None]:
    """Turn our errors, Ctrl-C and SIGTERM into a sentence on stderr and an exit code.

    Args:
        run: gives the id of the run that the block is about, once it is known.
        interrupted: what Ctrl-C or SIGTERM left.
    """
    try:
        yield
    except EndpointsAssumed as error:
        hint = "GOTSURGE_PROFILE names a profile; --accept-assumed-endpoints sends it all the same"
        raise Failure(f"{error}\n{hint}", Exit.USAGE, run=run()) from None
    except GotSurgeError as error:
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        raise Failure(text, exit_code_of(error), run=run()) from None
    except KeyboardInterrupt as came:
        raise Failure(interrupted, _code_of(came), run=run()) from None
    except Failure as error:
        error.run = error.run or run()
        raise


def _code_of(came: KeyboardInterrupt) -> Exit:
    return Exit.TERMINATED if isinstance(came, Terminated) else Exit.INTERRUPTED


def run_told(work: Coroutine[Any, Any, T], run: Callable[[], str | None] = lambda: None) -> T:
    """Run something to its end; what goes wrong is `told`, and ends the process."""
    with told(run):
        return loops.run(work)


def asynchronous(
    command: Callable[..., Coroutine[Any, Any, Exit | None]], *, interrupted: str = "interrupted"
) -> Callable[..., None]:
    """An async function as a command: errors are `told`, and the process ends with the exit code that it gives."""

    @functools.wraps(command)
    def to_its_end(**given: Any) -> None:
        with told(lambda: given.get("run_id"), interrupted=interrupted):
            code = loops.run(command(**given))
        if code is not None:
            raise SystemExit(int(code))

    return to_its_end


@contextmanager
def always_a_document(context: click.Context, wanted: bool) -> Iterator[None]:
    """With ``--json`` give a document also where a command ends with an error before it printed its own.

    Ctrl-C and SIGTERM end with codes of their own and without a traceback, wherever they strike.
    """
    try:
        try:
            yield
        except KeyboardInterrupt as came:
            raise Failure("interrupted", _code_of(came)) from None
        except click.Abort as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):  # at a question
                raise Failure("interrupted: nothing was changed", _code_of(ended.__context__)) from None
            raise
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        codes = _explained_by(error)
        if wanted and not context.meta.get(DOCUMENT_GIVEN):
            print_json({**_error_document(error), "explain": codes})
        raise _Explained(error, codes) from error
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code and not wanted and not isinstance(ended, Unread):
            _tell_where([*context.meta.get(_TOLD, ()), f"exit-{ended.code}"])
        raise


def explained_too(messages: Iterable[str]) -> None:
    """Name what explains some messages, which are told apart from an error, when the command ends."""
    from gotsurge_async.catalogue import codes_of  # when something is told, and not before

    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta.setdefault(_TOLD, []).extend(codes_of(messages))


_TOLD = "gotsurge_async.cli.what_explains_what_was_told"
_MOST = 3
"""How many codes are named: more than that nobody looks up."""


class _Explained(click.ClickException):
    """An error, and below it where it is explained."""

    def __init__(self, error: click.ClickException, codes: Sequence[str]) -> None:
        super().__init__(error.message)
        self._error = error
        self._codes = codes

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell both, and leave with the code of the error: a `Failure` would leave before the second."""
        try:
            self._error.show(file)
        finally:
            _tell_where(self._codes)
        raise SystemExit(self._error.exit_code)


def _tell_where(codes: Sequence[str]) -> None:
    say(f"see: gotsurge explain {' '.join(codes[:_MOST])}")


def _explained_by(error: click.ClickException) -> list[str]:
    """The codes of what explains an error; of a file with faults, those of its faults; else that of its exit code."""
    from gotsurge_async.catalogue import codes_of

    groups = error.more.get("groups", ()) if isinstance(error, Failure) else ()
    said = error.message if isinstance(error, Failure) else error.format_message()  # not what to type next
    found = codes_of([group["rule"] for group in groups] or said.splitlines())
    return found or [f"exit-{int(error.code) if isinstance(error, Failure) else error.exit_code}"]


def _error_document(error: click.ClickException) -> dict[str, Any]:
    if isinstance(error, Failure):
        return {"error": error.message, "exit": int(error.code), "run": error.run, **error.more}
    return {"error": error.format_message(), "exit": error.exit_code, "run": None}
