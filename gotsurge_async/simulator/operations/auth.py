"""Tokens (section "Authentication")."""

import msgspec

from ..checks import read_body
from ..replies import Call, Reply, json_reply
from ..service import Service


class ExchangeBody(msgspec.Struct):
    """The body of Exchange Token."""

    client_key: str
    secret_key: str
    code: str


class RefreshBody(msgspec.Struct):
    """The body of Refresh Token."""

    client_key: str
    refresh_token: str


def exchange(service: Service, call: Call) -> Reply:
    """Exchange Token: a code for a bearer and a refresh token."""
    body: ExchangeBody = read_body(call.body, ExchangeBody)
    service.check_client(body.client_key, body.secret_key)
    pair = service.sign_in.exchange_code(body.client_key, body.code, call.now)
    return json_reply(
        {
            "bearer_token": pair.bearer_token,
            "refresh_token": pair.refresh_token,
            "server_time": service.instant(call.now),
        }
    )


def refresh(service: Service, call: Call) -> Reply:
    """Refresh Token: a new bearer token, and a new refresh token where they rotate."""
    body: RefreshBody = read_body(call.body, RefreshBody)
    service.check_client(body.client_key, None)
    bearer, refresher = service.sign_in.refresh(body.client_key, body.refresh_token, call.now)
    answer = {"bearer_token": bearer}
    if refresher is not None:
        answer["refresh_token"] = refresher
    return json_reply(answer)
