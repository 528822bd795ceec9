"""What all commands that make calls share: where to, signed in, errors told, and how many went wrong."""

import asyncio
import functools
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import attrs
import click

from gotsurge_async.api.endpoints import ENDPOINTS, Replay
from gotsurge_async.cli.shared.connect import Target, connected, place_options, target_options
from gotsurge_async.cli.shared.exits import Exit, Failure, told
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import OutcomeUnknown

T = TypeVar("T")


def takes_target(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a GotSurge; it gets them as one `Target`, its argument ``target``."""
    return target_options(_with_target(command))


def takes_place(command: Callable[..., None]) -> Callable[..., None]:
    """The same without ``--simulate``: for commands about earlier runs, of which a new simulator knows nothing."""
    return place_options(_with_target(command))


def _with_target(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def with_target(
        *,
        simulate: bool = False,
        env: str | None,
        api_base: str | None,
        accept_assumed_endpoints: bool,
        **rest: Any,
    ) -> None:
        target = Target(
            simulate=simulate,
            env=env,
            api_base=api_base,
            account=rest.pop("account"),
            accept_assumed=accept_assumed_endpoints,
        )
        command(target=target, **rest)

    return with_target


def for_platform(target: Target) -> Target:
    """The target of a command for platform partners: on a simulator that is another account than the plain one."""
    return target if target.is_real or target.account else attrs.evolve(target, account="platform")


def call(target: Target, work: Callable[[GotSurge], Awaitable[T]]) -> T:
    """Sign in, do the work, and give what came; what goes wrong is told on stderr and ends the process.

    The exit codes are those of `Exit`: 3 where the service may have acted and must not be asked again.
    """
    target.check()
    with told(), warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _warn
        try:
            return asyncio.run(_work(target, work))
        except OutcomeUnknown as error:
            raise _unknown(error) from None
        except KeyboardInterrupt:
            raise Failure("interrupted: what was in flight may have been done", Exit.INTERRUPTED) from None


async def _work(target: Target, work: Callable[[GotSurge], Awaitable[T]]) -> T:
    async with connected(target) as gs:
        return await work(gs)


def _unknown(error: OutcomeUnknown) -> Failure:
    endpoint = ENDPOINTS.get(error.operation)
    if endpoint is not None and endpoint.replay is Replay.SAFE:
        return Failure(f"{error}\nit does no harm to try again", Exit.UNREACHABLE)
    return Failure(f"{error}\nthe service may have done it: look before you try again", Exit.IN_DOUBT)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"warning: {message}", err=True)
