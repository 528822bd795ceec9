"""``gotsurge doctor``: what this machine would do, on which assumptions, and whether GotSurge answers."""

import os
import platform
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

import attrs
import click

from gotsurge_async.api.assumptions import ASSUMPTIONS
from gotsurge_async.api.endpoints import PARTNER_DETAIL, TASKS_GET, Endpoint
from gotsurge_async.auth.stores import Tokens
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger.errors import RegisterUnusable
from gotsurge_async.bulk.ledger.upkeep.register import Register
from gotsurge_async.calls.outcome import Attempt, attempt
from gotsurge_async.calls.session import build_request
from gotsurge_async.cli.shared.connect import (
    Target,
    connected,
    given_tokens,
    how_to_sign_in,
    may_show_secret_key,
    read_settings,
    takes_target,
)
from gotsurge_async.cli.shared.credentials import account_name, find_credentials, open_token_store
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import print_json, print_record, shown
from gotsurge_async.config import Credentials, Settings
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.resources.partner import signature_of
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.aiohttp import AiohttpTransport, proxy_of_environment
from gotsurge_async.transports.base import Transport
from gotsurge_async.version import __version__

NO_TASK = "00000000-0000-0000-0000-000000000000"
"""The nil UUID: no task can have it."""
_NOWHERE = attrs.evolve(TASKS_GET, name="nowhere", path="/gotsurge-doctor/no-such-path", bearer=False)
NOT_PROBED = "not probed: it is no GET"
_PACKAGES = ("aiohttp", "attrs", "cattrs", "msgspec", "click", "rich")


@attrs.frozen(kw_only=True)
class Probe:
    """One GET, and what its answer says. ``problem`` is the exit code that it stands for, None if all is well."""

    operation: str
    request: str
    status: int | None
    verdict: str
    problem: Exit | None = None


@attrs.frozen(kw_only=True)
class Diagnosis:
    """All that was found."""

    versions: dict[str, str]
    environment: dict[str, Any]
    credentials: dict[str, Any]
    token: dict[str, Any]
    register: dict[str, Any]
    """Where the register of ledgers is, and the newest of them."""
    endpoints: dict[str, list[str]]
    """Their names, the ``confirmed`` and the ``assumed`` ones."""
    probes: tuple[Probe, ...]

    @property
    def exit_code(self) -> Exit:
        """What does not answer as it should comes before a missing sign-in, which may be the consequence."""
        problems = [probe.problem for probe in self.probes if probe.problem is not None]
        if Exit.REFUSED in problems:
            return Exit.REFUSED
        if Exit.SIGN_IN in problems or self.token["state"] not in ("good", "renewable"):
            return Exit.SIGN_IN
        return Exit.CREATED

    def document(self) -> dict[str, Any]:
        """All of it as plain values."""
        probes = [
            {**attrs.asdict(probe, filter=lambda field, _: field.name != "problem"), "ok": probe.problem is None}
            for probe in self.probes
        ]
        assumptions = [{"topic": topic, "choice": choice} for topic, choice in ASSUMPTIONS.items()]
        ok = self.exit_code is Exit.CREATED
        return {"ok": ok, **attrs.asdict(self), "probes": probes, "assumptions": assumptions}


@click.command()
@takes_target
@click.option("--offline", is_flag=True, help="Send nothing: show only what is set and what is assumed.")
@click.option("--partner", is_flag=True, help="Ask for Partner Detail too: the secret key stands in its path.")
@json_option
@asynchronous
async def doctor(target: Target, offline: bool, partner: bool, as_json: bool) -> Exit:
    """Show environment, profile, token, register of ledgers and every assumption, and see whether GotSurge answers.

    It sends nothing but GETs that change nothing: the detail of a task that cannot exist; a path that cannot exist, to
    tell a wrong path from a wrong task; and Partner Detail, where the credentials are known and the profile confirms
    its path, or with --partner. Tokens and keys are never shown, and no token is renewed. Without --env the
    environment is GOTSURGE_ENV, else sandbox.

    \b
    Exit codes:
      0 GotSurge answers as it should
      1 it does not answer, or not on these paths
      2 settings that cannot be right
      4 there is no token, or it is refused
    """
    if target.simulate:
        target.check()
    found = await diagnose(target, offline=offline, partner=partner)
    if as_json:
        print_json(found.document())
    else:
        _tell(found, target)
    return found.exit_code


def _tell(found: Diagnosis, target: Target) -> None:
    environment = found.environment
    assumed, number = len(found.endpoints["assumed"]), sum(map(len, found.endpoints.values()))
    are_assumed = f"{assumed} of {number} operations are assumed (gotsurge endpoints list)"
    print_record(
        [
            ("environment", environment["name"] + (" (production)" if environment["production"] else "")),
            ("API base", f"{environment['api_base']} ({environment['api_base_is']})"),
            ("proxy", environment["proxy"]),
            ("consent page", environment["consent_page"]),
            ("profile", environment["profile"] or "none"),
            ("endpoints", are_assumed if assumed else "all confirmed by the profile"),
            ("credentials", _credentials_text(found)),
            ("register", _register_text(found.register)),
            ("token", _token_text(found, how_to_sign_in(environment["name"], target.account, target.api_base))),
            *((f"probe {probe.operation}", f"{probe.request}: {probe.verdict}") for probe in found.probes),
            ("versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
        ]
    )
    click.echo("\nWhat GotSurge's document leaves open, and what is done about it:")
    print_record(ASSUMPTIONS.items())


def _credentials_text(found: Diagnosis) -> str:
    if not found.credentials["client_key"]:
        return "none"
    return "client key and secret key" if found.credentials["secret_key"] else "client key, no secret key"


def _register_text(register: dict[str, Any]) -> str:
    if register["trouble"]:
        return str(register["trouble"])
    ledgers = register["ledgers"]
    newest = f"; the newest to {ledgers[0]['service']}: {ledgers[0]['ledger']}" if ledgers else ""
    return f"{register['path']}: {number_of(len(ledgers), 'ledger')}{newest}"


def _token_text(found: Diagnosis, how: str) -> str:
    token = found.token
    if token["state"] == "none":
        return token["trouble"] or f"none for {token['account']}: {how}"
    until = f"until {shown(token['expires_at'])}"
    told = {
        "good": f"good {until}{', renews itself' if token['renews_itself'] else ''}",
        "renewable": "has ended, and is renewed at the next call",
        "ended": f"has ended ({until}): {how}",
    }[token["state"]]
    return f"{told} ({token['account']}, in {token['kept_in']})"


# --- what is found out -----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Subject:
    """Whom to examine."""

    settings: Settings
    credentials: Credentials | None
    tokens: Tokens | None
    kept_in: str
    account: str
    trouble: str = ""


async def diagnose(target: Target, *, offline: bool, partner: bool = False) -> Diagnosis:
    """Find everything out. Nothing is sent when ``offline``; else only GETs, save for signing in to a simulator.

    Raises:
        ConfigError: settings that cannot be right.
    """
    async with AsyncExitStack() as stack:
        subject = await _subject(target, stack, offline=offline)
        endpoints = list(subject.settings.profile)
        return Diagnosis(
            versions=_versions(),
            environment=_environment(target, subject.settings),
            credentials={
                "client_key": subject.credentials is not None,
                "secret_key": subject.credentials is not None and subject.credentials.secret_key is not None,
            },
            token=_token(subject, datetime.now(UTC)),
            register=_register(),
            endpoints={
                "confirmed": [endpoint.name for endpoint in endpoints if not endpoint.assumed],
                "assumed": [endpoint.name for endpoint in endpoints if endpoint.assumed],
            },
            probes=() if offline else await _probes(subject, partner=partner),
        )


async def _subject(target: Target, stack: AsyncExitStack, *, offline: bool) -> _Subject:
    if target.simulate:
        gs = await stack.enter_async_context(connected(target))
        return _Subject(
            settings=Settings(environment=gs.environment),
            credentials=gs.oauth.credentials,
            tokens=await gs.tokens.current(),
            kept_in="this simulator",
            account=target.account or "plain",
        )
    settings = read_settings(target)
    credentials = find_credentials(settings, target.account)
    account = account_name(settings.environment, target.account)
    subject = _Subject(
        settings=settings,
        credentials=credentials,
        tokens=given_tokens(settings),
        kept_in="the environment variables",
        account=account,
    )
    if subject.tokens is not None:
        return subject
    store = await stack.enter_async_context(open_token_store())
    stored = await store.load(account)
    if stored is None and settings.environment.name == "local" and not offline:
        return await _signed_in(target, stack, subject)
    return attrs.evolve(subject, tokens=stored, kept_in="the token store")


async def _signed_in(target: Target, stack: AsyncExitStack, subject: _Subject) -> _Subject:
    """A running simulator signs everybody in, as it does for every command."""
    try:
        gs = await stack.enter_async_context(connected(target))
    except GotSurgeError as error:
        return attrs.evolve(subject, kept_in="", trouble=str(error))
    return attrs.evolve(
        subject, tokens=await gs.tokens.current(), credentials=gs.oauth.credentials, kept_in="the simulator"
    )


# --- what is told ----------------------------------------------------------------------------------------------------


def _versions() -> dict[str, str]:
    found = {"gotsurge-async": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _environment(target: Target, settings: Settings) -> dict[str, Any]:
    environment = settings.environment
    if target.simulate or environment.name == "local":
        source = "the simulator's"
    elif settings.api_base:
        source = "given"
    else:
        source = "the profile's" if settings.profile.api_base else "assumed"
    return {
        "name": environment.name,
        "consent_page": f"{environment.consent_base}/oauth2/auth",
        "api_base": environment.api_base,
        "api_base_is": source,
        "production": environment.is_production,
        "proxy": _proxy(environment.api_base),
        "profile": os.environ.get("GOTSURGE_PROFILE") or None,
    }


def _proxy(api_base: str) -> str | None:
    """The proxy that carries the connections, without the password that may stand in its URL."""
    parts = urlsplit(api_base)
    proxy = proxy_of_environment(parts.hostname or "") if parts.scheme == "https" else None
    return None if proxy is None else f"{proxy.scheme}://{proxy.host}:{proxy.port}"


def _register() -> dict[str, Any]:
    register = Register()
    try:
        ledgers = [{"service": service, "ledger": str(entry)} for service, entry in register.ledgers()]
    except RegisterUnusable as error:
        return {"path": str(register.path), "ledgers": [], "trouble": str(error)}
    return {"path": str(register.path), "ledgers": ledgers, "trouble": ""}


def _token(subject: _Subject, now: datetime) -> dict[str, Any]:
    tokens = subject.tokens
    if tokens is None:
        return {"account": subject.account, "state": "none", "kept_in": subject.kept_in, "trouble": subject.trouble}
    renews = tokens.refresh is not None and tokens.refused_at is None
    ended = "renewable" if renews else "ended"
    return {
        "account": subject.account,
        "state": "good" if tokens.expires_at > now else ended,
        "kept_in": subject.kept_in,
        "issued_at": tokens.issued_at,
        "expires_at": tokens.expires_at,
        "renews_itself": renews,
    }


# --- probes ----------------------------------------------------------------------------------------------------------


async def _probes(subject: _Subject, *, partner: bool) -> tuple[Probe, ...]:
    transport = AiohttpTransport()
    try:
        task = await _probe_task(transport, subject)
        if task.status is None or subject.credentials is None or subject.credentials.secret_key is None:
            return (task,)
        if not partner and not may_show_secret_key(subject.settings):
            return (_probe(PARTNER_DETAIL, None, "not probed: the secret key stands in its path, see --partner"), task)
        return (await _probe_partner(transport, subject, subject.credentials), task)
    finally:
        await transport.close()


async def _probe_partner(transport: Transport, subject: _Subject, credentials: Credentials) -> Probe:
    endpoint = subject.settings.profile.resolve(PARTNER_DETAIL)
    if endpoint.verb != "GET":
        return _probe(endpoint, None, NOT_PROBED)
    signature = signature_of(credentials, "base64")
    done = await _get(transport, subject, endpoint, {"signature": signature.reveal()})
    if done.status == 200:
        return _probe(endpoint, done.status, "the path answers, and the credentials are known")
    return _probe(endpoint, done.status, f"{_said(done)}: the path, or the credentials, are not known", Exit.REFUSED)


async def _probe_task(transport: Transport, subject: _Subject) -> Probe:
    endpoint = subject.settings.profile.resolve(TASKS_GET)
    if endpoint.verb != "GET":
        return _probe(endpoint, None, NOT_PROBED)
    bearer = subject.tokens.bearer if subject.tokens else None
    done = await _get(transport, subject, endpoint, {"task_id": NO_TASK}, bearer or None)
    if done.response is None:
        return _probe(endpoint, done.status, f"no answer: {done.reason}", Exit.REFUSED)
    nowhere = await _get(transport, subject, _NOWHERE, {}, bearer or None)
    same = nowhere.response is not None and (nowhere.status, nowhere.response.body) == (done.status, done.response.body)
    verdict, problem = _verdict(done.status, same=same, signed=bool(bearer))
    return _probe(
        endpoint, done.status, verdict or f"{_said(done)}: not what a task that is not there should give", problem
    )


def _verdict(status: int | None, *, same: bool, signed: bool) -> tuple[str, Exit | None]:
    """What the answer about a task that cannot be says; ``same``: a path that cannot be gets the same one."""
    if status in (401, 403) and signed:
        return "the token is refused", Exit.SIGN_IN
    if status in (401, 403):
        unclear = "a token is wanted first; whether the path is right cannot be told without one"
        return unclear if same else "the path answers, and wants a token", None
    if status == 404 and same:
        return "every path gets this answer: the path, or the API base, is not the right one", Exit.REFUSED
    if status == 404:
        return "the path answers" + (", and the token is taken" if signed else ""), None
    return "", Exit.REFUSED


async def _get(
    transport: Transport, subject: _Subject, endpoint: Endpoint[Any], path: dict[str, str], bearer: Secret | None = None
) -> Attempt:
    url = subject.settings.environment.api_base + endpoint.url_path(path)
    return await attempt(transport, build_request(endpoint.verb, url, bearer=bearer))


def _probe(endpoint: Endpoint[Any], status: int | None, verdict: str, problem: Exit | None = None) -> Probe:
    # The template of the path, never the path itself: it may hold the signature.
    request = f"{endpoint.verb} {endpoint.path}"
    return Probe(operation=endpoint.name, request=request, status=status, verdict=verdict, problem=problem)


def _said(done: Attempt) -> str:
    return done.reason or f"HTTP {done.status}"
