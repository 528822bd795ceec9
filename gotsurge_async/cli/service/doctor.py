"""``gotsurge doctor``: the settings of this machine, the assumptions, and a check whether GotSurge answers."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import attrs
import click
from msgspec import Struct, structs

from gotsurge_async.api.assumptions import ASSUMPTIONS
from gotsurge_async.api.endpoints import PARTNER_DETAIL, TASKS_GET, Endpoint
from gotsurge_async.auth.stores import Tokens
from gotsurge_async.calls.outcome import Attempt, attempt
from gotsurge_async.calls.tries import build_request
from gotsurge_async.cli.shared.connect import (
    Target,
    connected,
    given_tokens,
    how_to_sign_in,
    may_show_secret_key,
    may_take_place,
    read_settings,
)
from gotsurge_async.cli.shared.credentials import account_name, find_credentials, open_token_store
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.options import json_option, option
from gotsurge_async.cli.shared.output import print_one, print_record, shown
from gotsurge_async.config import Credentials, Settings
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.resources.partner import signature_of
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Transport

NO_TASK = "00000000-0000-0000-0000-000000000000"
"""The nil UUID: no task can have it."""
_NOWHERE = attrs.evolve(TASKS_GET, name="nowhere", path="/gotsurge-doctor/no-such-path", bearer=False)
NOT_PROBED = "not probed: it is no GET"


class Probe(Struct, frozen=True):
    """One GET, and the meaning of its answer. ``problem`` is the exit code of a problem, None if there is none."""

    endpoint: Endpoint[Any]
    verdict: str
    problem: Exit | None = None
    status: int | None = None

    @property
    def request(self) -> str:
        """The verb and the template of the path, never the path itself, which may hold the signature."""
        return f"{self.endpoint.verb} {self.endpoint.path}"

    def document(self) -> dict[str, Any]:
        """The fields of the JSON document."""
        own = {"operation": self.endpoint.name, "request": self.request, "status": self.status}
        return {**own, "verdict": self.verdict, "ok": self.problem is None}


class _Subject(Struct, frozen=True, kw_only=True):
    """The settings and the sign-in to examine."""

    settings: Settings
    account: str
    credentials: Credentials | None = None
    tokens: Tokens | None = None
    kept_in: str
    trouble: str = ""


@click.command()
@may_take_place
@option("--offline", "Send nothing: show only what is set and what is assumed.")
@option("--partner", "Ask for Partner Detail too: the secret key stands in its path.")
@json_option
@asynchronous
async def doctor(target: Target, offline: bool, partner: bool) -> Exit:
    """Show environment, profile, token and every assumption, and see whether GotSurge answers.

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
    async with AsyncExitStack() as stack:
        subject = await _subject(target, stack, offline=offline)
        probes = [] if offline else [probe async for probe in _probes(subject, partner=partner)]
    endpoints = list(subject.settings.profile)
    state: dict[str, Any] = {
        "environment": _environment(subject.settings),
        "credentials": {
            "client_key": subject.credentials is not None,
            "secret_key": subject.credentials is not None and subject.credentials.secret_key is not None,
        },
        "token": _token(subject, datetime.now(UTC)),
        "endpoints": {
            "confirmed": [endpoint.name for endpoint in endpoints if not endpoint.assumed],
            "assumed": [endpoint.name for endpoint in endpoints if endpoint.assumed],
        },
    }
    code = _exit_code([probe.problem for probe in probes], state["token"])
    document = {
        "ok": code is Exit.CREATED,
        **state,
        "probes": [probe.document() for probe in probes],
        "assumptions": [{"topic": topic, "choice": choice} for topic, choice in ASSUMPTIONS.items()],
    }
    how = how_to_sign_in(state["environment"]["name"], target.account, target.api_base)
    print_one(document, lambda: _print(state, probes, how))
    return code


def _exit_code(problems: list[Exit | None], token: Mapping[str, Any]) -> Exit:
    """The worst exit code. A service that does not answer comes before a missing sign-in, which may follow from it."""
    if Exit.REFUSED in problems:
        return Exit.REFUSED
    if Exit.SIGN_IN in problems or token["state"] not in ("good", "renewable"):
        return Exit.SIGN_IN
    return Exit.CREATED


def _print(state: Mapping[str, Any], probes: list[Probe], how: str) -> None:
    environment = state["environment"]
    assumed, number = len(state["endpoints"]["assumed"]), sum(map(len, state["endpoints"].values()))
    are_assumed = f"{assumed} of {number} operations are assumed (gotsurge endpoints list)"
    print_record(
        [
            ("environment", environment["name"] + (" (production)" if environment["production"] else "")),
            ("API base", f"{environment['api_base']} ({environment['api_base_is']})"),
            ("consent page", environment["consent_page"]),
            ("profile", environment["profile"] or "none"),
            ("endpoints", are_assumed if assumed else "all confirmed by the profile"),
            ("credentials", _credentials_text(**state["credentials"])),
            ("token", _token_text(state["token"], how)),
            *((f"probe {probe.endpoint.name}", f"{probe.request}: {probe.verdict}") for probe in probes),
        ]
    )
    click.echo("\nWhat GotSurge's document leaves open, and what is done about it:")
    print_record(ASSUMPTIONS.items())


def _credentials_text(*, client_key: bool, secret_key: bool) -> str:
    if not client_key:
        return "none"
    return "client key and secret key" if secret_key else "client key, no secret key"


def _token_text(token: Mapping[str, Any], how: str) -> str:
    if token["state"] == "none":
        return token["trouble"] or f"none for {token['account']}: {how}"
    until = f"until {shown(token['expires_at'])}"
    text = {
        "good": f"good {until}{', renews itself' if token['renews_itself'] else ''}",
        "renewable": "has ended, and is renewed at the next call",
        "ended": f"has ended ({until}): {how}",
    }[token["state"]]
    return f"{text} ({token['account']}, in {token['kept_in']})"


async def _subject(target: Target, stack: AsyncExitStack, *, offline: bool) -> _Subject:
    settings = read_settings(target)
    subject = _Subject(
        settings=settings,
        account=account_name(settings.environment, target.account),
        credentials=find_credentials(settings, target.account),
        tokens=given_tokens(settings),
        kept_in="the environment variables",
    )
    if subject.tokens is not None:
        return subject
    store = await stack.enter_async_context(open_token_store())
    stored = await store.load(subject.account)
    if stored is not None or settings.environment.name != "local" or offline:
        return structs.replace(subject, tokens=stored, kept_in="the token store")
    try:  # a running simulator signs everybody in, as it does for every command
        gs = await stack.enter_async_context(connected(target))
    except GotSurgeError as error:
        return structs.replace(subject, kept_in="", trouble=str(error))
    tokens = await gs.tokens.current()
    return structs.replace(subject, tokens=tokens, credentials=gs.oauth.credentials, kept_in="the simulator")


def _environment(settings: Settings) -> dict[str, Any]:
    environment = settings.environment
    if environment.name == "local":
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
        "profile": os.environ.get("GOTSURGE_PROFILE") or None,
    }


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


async def _probes(subject: _Subject, *, partner: bool) -> AsyncIterator[Probe]:
    """The probes: of the partner, if the credentials are known, and of a task."""
    transport = AiohttpTransport()
    try:
        task = await _probe_task(transport, subject)
        if task.status is not None and subject.credentials is not None and subject.credentials.secret_key is not None:
            if partner or may_show_secret_key(subject.settings):
                yield await _probe_partner(transport, subject, subject.credentials)
            else:
                yield Probe(PARTNER_DETAIL, "not probed: the secret key stands in its path, see --partner")
        yield task
    finally:
        await transport.close()


async def _probe_partner(transport: Transport, subject: _Subject, credentials: Credentials) -> Probe:
    endpoint = subject.settings.profile.resolve(PARTNER_DETAIL)
    if endpoint.verb != "GET":
        return Probe(endpoint, NOT_PROBED)
    signature = signature_of(credentials, "base64")
    done = await _get(transport, subject, endpoint, signature=signature.reveal())
    if done.status == 200:
        return Probe(endpoint, "the path answers, and the credentials are known", None, done.status)
    why = f"{_answer(done)}: the path, or the credentials, are not known"
    return Probe(endpoint, why, Exit.REFUSED, done.status)


async def _probe_task(transport: Transport, subject: _Subject) -> Probe:
    endpoint = subject.settings.profile.resolve(TASKS_GET)
    if endpoint.verb != "GET":
        return Probe(endpoint, NOT_PROBED)
    done = await _get(transport, subject, endpoint, task_id=NO_TASK)
    if done.response is None:
        return Probe(endpoint, f"no answer: {done.reason}", Exit.REFUSED, done.status)
    nowhere = await _get(transport, subject, _NOWHERE)
    same = nowhere.response is not None and (nowhere.status, nowhere.response.body) == (done.status, done.response.body)
    verdict, problem = _verdict(done, same=same, signed=bool(subject.tokens and subject.tokens.bearer))
    return Probe(endpoint, verdict, problem, done.status)


def _verdict(done: Attempt, *, same: bool, signed: bool) -> tuple[str, Exit | None]:
    """The meaning of the answer about a task that cannot exist; ``same``: an impossible path gets the same answer."""
    if done.status in (401, 403) and signed:
        return "the token is refused", Exit.SIGN_IN
    if done.status in (401, 403):
        unclear = "a token is needed first: without one the path cannot be checked"
        return unclear if same else "the path answers, and wants a token", None
    if done.status == 404 and same:
        return "every path gets this answer: the path, or the API base, is not the right one", Exit.REFUSED
    if done.status == 404:
        return "the path answers" + (", and the token is taken" if signed else ""), None
    return f"{_answer(done)}: not what a task that is not there should give", Exit.REFUSED


async def _get(transport: Transport, subject: _Subject, endpoint: Endpoint[Any], **path: str) -> Attempt:
    """Send a GET; it carries the bearer token, except for Partner Detail."""
    url = subject.settings.environment.api_base + endpoint.url_path(path)
    bearer = subject.tokens.bearer if subject.tokens and endpoint.name != PARTNER_DETAIL.name else None
    return await attempt(transport, build_request(endpoint.verb, url, bearer=bearer or None))


def _answer(done: Attempt) -> str:
    return done.reason or f"HTTP {done.status}"
