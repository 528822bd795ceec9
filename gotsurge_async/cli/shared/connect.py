"""Makes a signed-in client from options and environment variables."""

import os
import shlex
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import click
import msgspec
from msgspec import Struct, structs

from gotsurge_async.api.endpoints import ENDPOINTS, PARTNER_DETAIL, Replay
from gotsurge_async.auth.oauth import tokens_from
from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.cli.shared.credentials import account_name, find_credentials, open_token_store
from gotsurge_async.cli.shared.exits import Exit, Failure, Unreachable, WrongUse, interruptible
from gotsurge_async.cli.shared.options import WHERE, Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import say
from gotsurge_async.client import GotSurge
from gotsurge_async.config import MOST_SETTLE, Credentials, Environment, Limits, Settings, Timeouts, from_env
from gotsurge_async.errors import CallError, ConfigError, OutcomeUnknown, SignInFailed, SignInNeeded, Unauthorized
from gotsurge_async.secrets import Secret
from gotsurge_async.system import loops
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Request, TransportError

T = TypeVar("T")

SIMULATED = "simulator"
"""The environment of ``--simulate``, which is the same for all throw-away simulators in the ledger."""


def is_real(environment: str) -> bool:
    """Whether an environment is GotSurge's, not a simulator."""
    return environment not in (SIMULATED, "local")


def how_to_sign_in(environment: str, account: str | None = None, api_base: str | None = None) -> str:
    """The commands that a person types if no token works."""
    where = f"--env {environment}"
    where += f" --account {shlex.quote(account)}" if account else ""
    where += f" --api-base {shlex.quote(api_base)}" if api_base else ""
    if environment == "local":
        return (
            "a simulator signs you in automatically, unless a token is stored or set: "
            f"run `gotsurge auth logout {where}`, or unset GOTSURGE_BEARER_TOKEN"
        )
    return f"run `gotsurge auth login {where}`"


class Target(Struct, frozen=True, kw_only=True):
    """The GotSurge that the options choose."""

    simulate: bool = False
    env: str | None = None
    api_base: str | None = None
    account: str | None = None
    accept_assumed_endpoints: bool = False

    def check(self, how: str = "--simulate, or --env") -> "Target":
        """Refuse options that contradict each other, or name no place."""
        if self.simulate and (self.env or self.api_base):
            raise WrongUse("--simulate starts its own GotSurge: leave out --env and --api-base")
        if not self.simulate and not self.env and not os.environ.get("GOTSURGE_ENV"):
            raise WrongUse(f"no environment is named: {how} local, sandbox or production", "E104")
        return self

    @classmethod
    def of_place(cls, **options: Any) -> "Target":
        """The target from options without ``--simulate``."""
        return cls(**options).check("--env")

    @property
    def environment(self) -> str:
        """The name under which the ledger stores the keys."""
        return SIMULATED if self.simulate else self.env or os.environ.get("GOTSURGE_ENV", SIMULATED)

    @property
    def is_real(self) -> bool:
        """Whether orders call real drivers, or GotSurge's own sandbox."""
        return is_real(self.environment)

    def words(self, *, account: bool = True) -> list[str]:
        """The options of a command for the same GotSurge; without ``account`` only those that name the place."""
        options = {"env": self.environment, "api-base": self.api_base, "account": self.account if account else None}
        words = [f"--{name}={value}" for name, value in options.items() if value]
        return [*words, "--accept-assumed-endpoints"] if account and self.accept_assumed_endpoints else words

    def for_platform(self) -> "Target":
        """The same target for a command of platform partners, who have their own account on a simulator."""
        return self if self.is_real or self.account else structs.replace(self, account="platform")


_place = in_group(WHERE)
account_options: tuple[Decorator[Any], ...] = (
    _place(
        "--env",
        "Which GotSurge to talk to (or GOTSURGE_ENV). local is a simulator that runs at --api-base.",
        type=click.Choice(("local", "sandbox", "production")),
    ),
    _place("--api-base URL", "The URL before the paths of the API (or GOTSURGE_API_BASE).  [default: that of --env]"),
    _place(
        "--account NAME",
        "The name that this account has in gotsurge auth login, if you have several. A simulator has plain, the "
        "default, and platform.",
    ),
)
"""The options that choose an account of a GotSurge."""
_places = (
    *account_options,
    _place(
        "--accept-assumed-endpoints",
        "Let production create, broadcast, cancel and update on assumed paths, too: no profile has confirmed them "
        "(gotsurge endpoints).",
    ),
)
_simulate = _place(
    "--simulate",
    "Start a simulator for this command alone, and talk to it: nothing is real, and no credentials are needed.",
)

takes_target: Decorator[Any] = gathered("target", Target, _simulate, *_places)
"""The options that choose a GotSurge; the command gets them as its argument ``target``."""
takes_platform: Decorator[Any] = gathered(
    "target", lambda **options: Target(**options).for_platform(), _simulate, *_places
)
"""The options of `takes_target`, for a command of platform partners."""
takes_place: Decorator[Any] = gathered("target", Target.of_place, *_places)
"""The options of `takes_target` without ``--simulate``: a new simulator knows nothing of earlier runs."""
may_take_place: Decorator[Any] = gathered("target", Target, *_places)
"""The options of `takes_place`, for commands that may need no calls, and then no place."""


@asynccontextmanager
async def connected(
    target: Target, limits: Limits | None = None, timeouts: Timeouts | None = None
) -> AsyncIterator[GotSurge]:
    """Open a signed-in client. If a token is refused inside the block, the error gets a note on what to do."""
    try:
        async with _connected(target, _settling(limits), timeouts) as gs:
            yield gs
    except (SignInNeeded, SignInFailed, Unauthorized) as error:
        how = how_to_sign_in(target.environment, target.account, target.api_base)
        if not target.simulate and how not in str(error):
            error.add_note(how)
        raise


def _settling(limits: Limits | None) -> Limits | None:
    """The limits with the time of GOTSURGE_SETTLE, after which a request without an answer can no longer act."""
    text = os.environ.get("GOTSURGE_SETTLE", "").strip()
    if not text:
        return limits
    try:
        return attrs.evolve(limits or Limits(), settle=float(text))
    except (ValueError, ConfigError):
        why = f"GOTSURGE_SETTLE must be a number of seconds from 0 to {MOST_SETTLE:.0f}, not {text}"
        raise ConfigError(why, "E102") from None


@asynccontextmanager
async def _connected(target: Target, limits: Limits | None, timeouts: Timeouts | None) -> AsyncIterator[GotSurge]:
    if target.simulate:
        from gotsurge_async.simulator import Simulator  # with a web server, which only this needs

        async with Simulator() as simulator:
            environment = Environment.named("local", api_base=simulator.api_base, temporary=True)
            async with _simulated(Settings(environment=environment), target.account, limits, timeouts) as gs:
                yield gs
        return
    settings = read_settings(target)
    _note_profiles_host(settings)
    has_token = settings.bearer_token is not None or settings.refresh_token is not None
    # Tokens of the environment variables are not written anywhere.
    async with nullcontext(MemoryStore()) if has_token else open_token_store() as store:
        account = account_name(settings.environment, target.account)
        if settings.environment.name == "local" and not has_token and await store.load(account) is None:
            async with _simulated(settings, target.account, limits, timeouts) as gs:
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
            timeouts=timeouts,
            profile=settings.profile,
            assumed_endpoints="accept" if target.accept_assumed_endpoints else None,
        ) as gs:
            if await gs.tokens.current() is None:
                how = how_to_sign_in(settings.environment.name, target.account, target.api_base)
                why = f"not signed in: {how}, or set GOTSURGE_BEARER_TOKEN; to try without credentials use --simulate"
                raise SignInNeeded(why)
            yield gs


def _note_profiles_host(settings: Settings) -> None:
    """Print the destination of calls and tokens, if a profile leads them away from GotSurge's own host."""
    if settings.api_base or not settings.profile.api_base or settings.environment.name == "local":
        return
    host, own = urlsplit(settings.environment.api_base).hostname, urlsplit(settings.environment.consent_base).hostname
    if host != own:
        say(f"note: calls and tokens of {settings.environment.name} go to {host}, as the profile says, not to {own}")


def read_settings(target: Target) -> Settings:
    """The settings from the environment variables and the options."""
    variables = dict(os.environ)
    if target.env:
        variables["GOTSURGE_ENV"] = target.env
    if target.api_base:
        variables["GOTSURGE_API_BASE"] = target.api_base
    return from_env(variables)


def may_show_secret_key(settings: Settings) -> bool:
    """Whether Partner Detail, with the secret key in its path, may be called although no person asked for it.

    A path that is not confirmed may lead anywhere, for example into a log.
    """
    return settings.environment.name == "local" or not settings.profile.resolve(PARTNER_DETAIL).assumed


def given_tokens(settings: Settings) -> Tokens | None:
    """The tokens in the environment variables; a bearer token is assumed to be valid for 30 days from now."""
    now = datetime.now(UTC)
    if settings.bearer_token is not None:
        return tokens_from(settings.bearer_token.reveal(), refresh=settings.refresh_token, issued_at=now)
    if settings.refresh_token is not None:
        return Tokens(bearer=Secret(""), refresh=settings.refresh_token, issued_at=now, expires_at=now)
    return None


@asynccontextmanager
async def _simulated(
    settings: Settings, account: str | None, limits: Limits | None, timeouts: Timeouts | None
) -> AsyncIterator[GotSurge]:
    """Get the consent of a simulator, and exchange its code as any partner would."""
    parts = urlsplit(settings.environment.api_base)
    origin = f"{parts.scheme}://{parts.netloc}"
    key = await ask_simulator(f"{origin}/_simulator/code", {"account": account or "plain"}, _Consent)
    if isinstance(key, Refusal):
        raise SignInNeeded(f"the simulator at {origin} refuses to sign you in: {key.message}", "E302")
    async with GotSurge(
        settings.environment,
        credentials=Credentials(client_key=key.client_key, secret_key=Secret(key.secret_key)),
        account=account_name(settings.environment, account) if account else "default",
        limits=limits,
        timeouts=timeouts,
        profile=settings.profile,
    ) as gs:
        again = f"restart the simulator with `gotsurge simulator{_at_port(origin)}`"
        try:
            await gs.sign_in(key.code)
        except OutcomeUnknown as error:
            text = f"the simulator at {parts.netloc} does not answer the sign-in: {again}"
            raise Unreachable(f"{text} ({error})", error.explain_code) from None
        except CallError as error:
            error.add_note(f"the sign-in at the simulator {parts.netloc} failed: {again}")
            raise
        yield gs


class _Consent(Struct):
    """The code of a simulator's consent page, and the credentials with which it is exchanged."""

    code: str
    client_key: str
    secret_key: str


class Refusal(Struct):
    """The reason why a simulator does not do what a request asks."""

    message: str


async def ask_simulator(url: str, content: object, kind: type[T]) -> T | Refusal:
    """The answer of a simulator, of some kind, to a request of ours, which no other service knows."""
    transport = AiohttpTransport(Timeouts(pool=10, connect=10, read=10))
    headers = {"Content-Type": "application/json"}
    try:
        request = Request(method="POST", url=url, headers=headers, body=msgspec.json.encode(content))
        answer = await transport.send(request)
        return msgspec.json.decode(answer.body, type=kind if answer.status == 200 else Refusal)
    except (TransportError, msgspec.MsgspecError, RecursionError) as error:
        reason = error.reason if isinstance(error, TransportError) else "another program answers"
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        why = f"there is no simulator at {origin} ({reason}): start one with `gotsurge simulator{_at_port(origin)}`"
        raise Unreachable(why, "E851") from None
    finally:
        await transport.close()


def _at_port(origin: str) -> str:
    """The option that starts a simulator where one should be."""
    port = urlsplit(origin).port
    return f" --port {port}" if port else ""


def call(target: Target, work: Callable[[GotSurge], Awaitable[T]]) -> T:
    """Sign in, run ``work``, and return its result."""
    target.check()

    async def connect() -> T:
        async with connected(target) as gs:
            return await work(gs)

    with interruptible("interrupted: calls in flight may have taken effect"), warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        try:
            return loops.run(connect())
        except OutcomeUnknown as error:
            raise _unknown(error) from None


def _unknown(error: OutcomeUnknown) -> Failure:
    endpoint, more = ENDPOINTS.get(error.operation), {"explain": [error.explain_code]}
    if endpoint is not None and endpoint.replay is Replay.SAFE:
        return Failure(f"{error}\nit is safe to try again", Exit.UNREACHABLE, more=more)
    return Failure(f"{error}\nGotSurge may have acted: check before you try again", Exit.IN_DOUBT, more=more)
