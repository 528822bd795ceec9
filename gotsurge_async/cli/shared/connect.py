"""From options and environment variables to a client that is signed in."""

import os
import shlex
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import click
import msgspec
import platformdirs

from gotsurge_async.auth.stores import MemoryStore, TokenStore
from gotsurge_async.calls.outcome import service_message
from gotsurge_async.cli.shared.credentials import find_credentials
from gotsurge_async.cli.shared.exits import Unreachable
from gotsurge_async.cli.shared.token_store import account_name, open_token_store
from gotsurge_async.client import GotSurge
from gotsurge_async.config import Credentials, Environment, Limits, Settings, from_env
from gotsurge_async.errors import CallError, SignInFailed, SignInNeeded, Unauthorized
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Request, TransportError

F = TypeVar("F", bound=Callable[..., Any])

SIMULATED = "simulator"
"""The name of the books of ``--simulate``: every throw-away simulator is the same one to the ledger."""


def how_to_sign_in(environment: str, account: str | None = None, api_base: str | None = None) -> str:
    """What a person types where there is no token that works."""
    words = [
        f"--env {environment}",
        *([f"--account {shlex.quote(account)}"] if account else []),
        *([f"--api-base {shlex.quote(api_base)}"] if api_base else []),
    ]
    if environment == "local":
        logout = f"`{' '.join(['gotsurge auth logout', *words])}`"
        return f"a simulator signs in by itself, unless a token is kept ({logout}) or set (GOTSURGE_BEARER_TOKEN)"
    return f"run `{' '.join(['gotsurge auth login', *words])}`"


@attrs.frozen(kw_only=True)
class Target:
    """Which GotSurge to talk to, as the options say."""

    simulate: bool = False
    env: str | None = None
    api_base: str | None = None
    account: str | None = None
    accept_assumed: bool = False

    def check(self) -> None:
        """Refuse what contradicts itself, and what does not say where to.

        Raises:
            click.UsageError: what to say instead.
        """
        if self.simulate and (self.env or self.api_base):
            raise click.UsageError("--simulate brings its own GotSurge: leave --env and --api-base out")
        if not self.simulate and not self.env and not os.environ.get("GOTSURGE_ENV"):
            raise click.UsageError("say where to: --simulate, or --env local, sandbox or production")

    def check_place(self) -> None:
        """`check`, where there is no ``--simulate``."""
        if not self.env and not os.environ.get("GOTSURGE_ENV"):
            raise click.UsageError("say where to: --env local, sandbox or production")

    @property
    def books(self) -> str:
        """The name under which the ledger keeps the keys."""
        return SIMULATED if self.simulate else self.env or os.environ.get("GOTSURGE_ENV", SIMULATED)

    @property
    def is_real(self) -> bool:
        """Whether orders call real drivers, or GotSurge's own sandbox."""
        return self.books not in (SIMULATED, "local")


def target_options(command: F) -> F:
    """The options that choose a GotSurge."""
    command = place_options(command)
    return click.option("--simulate", is_flag=True, help="Start a throw-away simulator and talk to it.")(command)


def place_options(command: F) -> F:
    """The same where a throw-away simulator would be of no use."""
    for option in (
        click.option(
            "--accept-assumed-endpoints",
            is_flag=True,
            help="Create in production on paths that no profile has confirmed.",
        ),
        click.option(
            "--account",
            metavar="NAME",
            help="The account: plain or platform of a simulator (default plain), else one of the token file.",
        ),
        click.option("--api-base", metavar="URL", help="The URL that the API's paths stand on."),
        click.option(
            "--env",
            type=click.Choice(("local", "sandbox", "production")),
            help="The GotSurge to talk to; local is a simulator that runs at --api-base.",
        ),
    ):
        command = option(command)
    return command


def default_ledger(target: Target, out: Path) -> Path:
    """Where the ledger is unless said: one for all real pushes of a user, one beside the results of simulated ones."""
    if os.environ.get("GOTSURGE_LEDGER"):
        return Path(os.environ["GOTSURGE_LEDGER"])
    if target.is_real:
        return platformdirs.user_data_path("gotsurge") / "ledger.db"
    return out / "ledger.db"


def server_of(api_base: str) -> str:
    """What is the same of two API bases that are one server."""
    parts = urlsplit(api_base)
    host = (parts.hostname or "").rstrip(".")
    host = "127.0.0.1" if host in ("localhost", "::1") else host
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{host}:{port}{parts.path.rstrip('/')}"


@asynccontextmanager
async def connected(target: Target, limits: Limits | None = None) -> AsyncIterator[GotSurge]:
    """A client that is signed in. A token that is refused inside the block is an error with a note on what to do.

    Raises:
        SignInNeeded: there is no token that works.
        Unreachable: no simulator answers where one should.
        ConfigError: the environment variables or the profile cannot be right.
    """
    try:
        async with _connected(target, limits) as gs:
            yield gs
    except (SignInNeeded, SignInFailed, Unauthorized) as error:
        how = how_to_sign_in(target.books, target.account, target.api_base)
        if not target.simulate and how not in str(error):
            error.add_note(how)
        raise


@asynccontextmanager
async def _connected(target: Target, limits: Limits | None) -> AsyncIterator[GotSurge]:
    if target.simulate:
        from gotsurge_async.simulator import Simulator  # with a web server, which nothing else needs

        async with Simulator() as simulator:
            environment = Environment.named("local", api_base=simulator.api_base)
            async with _simulated(Settings(environment=environment), target.account, limits) as gs:
                yield gs
        return
    settings = read_settings(target)
    has_token = settings.bearer_token is not None or settings.refresh_token is not None
    async with _token_store(has_token) as store:
        account = account_name(settings.environment, target.account)
        if settings.environment.name == "local" and not has_token and await store.load(account) is None:
            async with _simulated(settings, target.account, limits) as gs:
                yield gs
            return
        async with GotSurge(
            settings.environment,
            credentials=find_credentials(settings, target.account),
            bearer_token=settings.bearer_token,
            refresh_token=settings.refresh_token,
            token_store=store,
            account=account,
            limits=limits,
            profile=settings.profile,
            assumed_endpoints="accept" if target.accept_assumed else None,
        ) as gs:
            if await gs.tokens.current() is None:
                how = how_to_sign_in(settings.environment.name, target.account, target.api_base)
                raise SignInNeeded(
                    f"not signed in: {how}, or set GOTSURGE_BEARER_TOKEN; to try without credentials use --simulate"
                )
            yield gs


@asynccontextmanager
async def _token_store(has_token: bool) -> AsyncIterator[TokenStore]:
    if has_token:  # tokens of the environment variables are not written anywhere
        yield MemoryStore()
        return
    async with open_token_store() as store:
        yield store


def read_settings(target: Target) -> Settings:
    """The settings of the environment variables, as the options change them.

    Raises:
        ConfigError: they cannot be right.
    """
    variables = dict(os.environ)
    if target.env:
        variables["GOTSURGE_ENV"] = target.env
    if target.api_base:
        variables["GOTSURGE_API_BASE"] = target.api_base
    return from_env(variables)


@asynccontextmanager
async def _simulated(settings: Settings, account: str | None, limits: Limits | None) -> AsyncIterator[GotSurge]:
    """Have a simulator consent, and exchange its code as any partner would."""
    parts = urlsplit(settings.environment.api_base)
    key = await _back_door(f"{parts.scheme}://{parts.netloc}", "/_simulator/code", {"account": account or "plain"})
    async with GotSurge(
        settings.environment,
        credentials=Credentials(client_key=key["client_key"], secret_key=Secret(key["secret_key"])),
        limits=limits,
        profile=settings.profile,
    ) as gs:
        try:
            await gs.sign_in(key["code"])
        except CallError as error:
            error.add_note(f"the simulator at {parts.netloc} does not sign in: start it anew with `gotsurge simulator`")
            raise
        yield gs


async def _back_door(origin: str, path: str, body: Mapping[str, str]) -> dict[str, str]:
    transport = AiohttpTransport()
    try:
        headers = {"Content-Type": "application/json"}
        request = Request(method="POST", url=origin + path, headers=headers, body=msgspec.json.encode(body))
        answer = await transport.send(request)
    except TransportError as error:
        raise Unreachable(f"no simulator at {origin} ({error.reason}): start one with `gotsurge simulator`") from None
    finally:
        await transport.close()
    if answer.status != 200:
        raise SignInNeeded(f"the simulator at {origin} does not sign in: {service_message(answer.body)}")
    return msgspec.json.decode(answer.body, type=dict[str, str])
