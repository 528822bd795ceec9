"""Tokens (section "Authentication")."""

import base64

import msgspec

from gotsurge_async.simulator.operations.checks import read_body
from gotsurge_async.simulator.replies import Call, Problem, RefusedError, Reply, json_reply
from gotsurge_async.simulator.state.partners import ACCOUNTS, Account, account_with
from gotsurge_async.simulator.state.service import Service


class ExchangeBody(msgspec.Struct):
    """The body of Exchange Token."""

    client_key: str
    secret_key: str
    code: str


class RefreshBody(msgspec.Struct):
    """The body of Refresh Token."""

    client_key: str
    refresh_token: str


class SessionBody(msgspec.Struct):
    """The body of SSO Exchange Token."""

    session_id: str


def exchange(service: Service, call: Call) -> Reply:
    """Exchange Token: a code for a bearer and a refresh token."""
    body = read_body(call.body, ExchangeBody)
    _check_client(body.client_key, body.secret_key)
    tokens = service.sign_in.exchange_code(body.client_key, body.code, call.now)
    return json_reply({**tokens, "server_time": service.instant(call.now)})


def refresh(service: Service, call: Call) -> Reply:
    """Refresh Token: a new bearer token, and a new refresh token where they rotate."""
    body = read_body(call.body, RefreshBody)
    _check_client(body.client_key)
    return json_reply(service.sign_in.refresh(body.client_key, body.refresh_token, call.now))


def exchange_session(service: Service, call: Call) -> Reply:
    """SSO Exchange Token: a session id for tokens, and who signed in."""
    session_id = read_body(call.body, SessionBody).session_id
    tokens, caller = service.sign_in.exchange_session(session_id, call.now)
    user = caller.user
    view = {"id": user.id, "email": user.email, "name": user.name, "roles": user.roles, "org_id": user.org_id}
    return json_reply({**tokens, "user": view})


def partner_detail(service: Service, call: Call) -> Reply:
    """Partner Detail: who a signature belongs to."""
    account = next((each for each in ACCOUNTS.values() if call.path["signature"] in _signatures(each)), None)
    if account is None:
        raise RefusedError(401, "invalid_signature", "The signature is not that of a partner")
    since = service.instant(0)
    return json_reply(
        {
            "id": account.org_id,
            "client_key": account.client_key,
            "secret_key": account.secret_key,
            "webhook_url": service.webhook_urls[account.name],
            "name": account.business_name,
            "created_at": since,
            "updated_by": "",
            "updated_at": since,
        }
    )


def _check_client(client_key: str, secret_key: str | None = None) -> None:
    """Refuse a partner's credentials when no account has them; a secret of None is not looked at."""
    account = account_with(client_key)
    if account is None or secret_key not in (None, account.secret_key):
        problem = Problem(None, "client_key", "is not known, or its secret_key is another")
        raise RefusedError(401, "invalid_client", "The client_key or secret_key is wrong", (problem,))


def _signatures(account: Account) -> set[str]:
    """A partner's signature in every way in which the document can be read."""
    plain = f"{account.client_key}:{account.secret_key}".encode()
    standard, for_urls = base64.b64encode(plain), base64.urlsafe_b64encode(plain)
    texts = [form.decode() for form in (standard, for_urls)]
    return {*texts, *(text.rstrip("=") for text in texts), plain.hex(), standard.hex()}
