"""Tokens (section "Authentication"), and organizations, roles and invitations (section "Platform Partners")."""

import base64
import uuid
from typing import Any

import msgspec

from gotsurge_async.simulator.operations.checks import read_body
from gotsurge_async.simulator.operations.views import page_of
from gotsurge_async.simulator.replies import Call, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.state.accounts import ACCOUNTS, Account, Caller, Organization, User, account_with
from gotsurge_async.simulator.state.service import Service

INVITED_PASSWORD = "invited-password"  # noqa: S105 - nobody reads the mail in which a real one would be chosen
"""The password of every invited person."""


class _Exchange(msgspec.Struct):
    client_key: str
    secret_key: str
    code: str


class _Refresh(msgspec.Struct):
    client_key: str
    refresh_token: str


class _Session(msgspec.Struct):
    session_id: str


class _NewOrganization(msgspec.Struct):
    business_name: str


class _Invitation(msgspec.Struct):
    emails: list[str]
    org_id: str
    role_id: str


class _Invite(msgspec.Struct):
    user: _Invitation


def exchange(service: Service, call: Call) -> Reply:
    """Exchange Token: a code for a bearer and a refresh token."""
    body = read_body(call.body, _Exchange)
    _check_client(body.client_key, body.secret_key)
    tokens = service.sign_in.exchange_code(body.client_key, body.code, call.now)
    return json_reply({**tokens, "server_time": service.instant(call.now)})


def refresh(service: Service, call: Call) -> Reply:
    """Refresh Token: a new bearer token, and with rotation a new refresh token."""
    body = read_body(call.body, _Refresh)
    _check_client(body.client_key)
    return json_reply(service.sign_in.refresh(body.client_key, body.refresh_token, call.now))


def exchange_session(service: Service, call: Call) -> Reply:
    """SSO Exchange Token: a session id for tokens, and the person who signed in."""
    session_id = read_body(call.body, _Session).session_id
    tokens, caller = service.sign_in.exchange_session(session_id, call.now)
    user = caller.user
    view = {"id": user.id, "email": user.email, "name": user.name, "roles": user.roles, "org_id": user.org_id}
    return json_reply({**tokens, "user": view})


def partner_detail(service: Service, call: Call) -> Reply:
    """Partner Detail: the partner to whom a signature belongs."""
    account = next((known for known in ACCOUNTS.values() if call.path["signature"] in _signatures(known)), None)
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


def create_organization(service: Service, call: Call, caller: Caller) -> Reply:
    """Create Associated Organization."""
    name = read_body(call.body, _NewOrganization).business_name
    text = service.organizations.name_problem(name)
    if text is not None:
        raise invalid(Problem(None, "business_name", text))
    created = service.organizations.create(caller.account.name, name, call.now)
    return json_reply({"organization": _view(service, created)}, service.options.created_status)


def list_organizations(service: Service, call: Call, caller: Caller) -> Reply:
    """Associated Organization List: the organizations that the partner created."""
    page, meta = page_of(service.organizations.created_by(caller.account.name), call, service.options)
    return json_reply({"meta": meta, "organizations": [_view(service, organization) for organization in page]})


def get_organization(service: Service, call: Call, caller: Caller) -> Reply:
    """Associated Organization Detail."""
    return json_reply({"organization": _view(service, _find(service, call, caller))})


def list_roles(service: Service, call: Call, caller: Caller) -> Reply:
    """List Roles."""
    roles = _find(service, call, caller).roles
    return json_reply({"roles": [{"id": role_id, "name": name} for role_id, name in roles.items()]})


def invite(service: Service, call: Call, caller: Caller) -> Reply:
    """Invite User: all emails, or none if one of them cannot be invited."""
    invitation = read_body(call.body, _Invite).user
    organization = service.organizations.managed(caller.account.name, invitation.org_id)
    if organization is None:
        raise invalid(Problem(None, "user.org_id", "is not an organization of yours"))
    role = organization.roles.get(invitation.role_id)
    if role is None:
        raise invalid(Problem(None, "user.role_id", "is not a role of this organization"))
    _check_emails(service, invitation.emails)
    for email in invitation.emails:
        service.users[email] = User(
            id=str(uuid.uuid4()),
            account=caller.account.name,
            org_id=organization.id,
            email=email,
            name=email.partition("@")[0],
            password=INVITED_PASSWORD,
            roles=(role,),
        )
    return json_reply({"message": f"Successfully invited {len(invitation.emails)} user(s)"})


def _check_client(client_key: str, secret_key: str | None = None) -> None:
    """Refuse a partner's credentials if no account has them; a secret of None is not checked."""
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


def _check_emails(service: Service, emails: list[str]) -> None:
    if not emails:
        raise invalid(Problem(None, "user.emails", "Name at least one email"))
    problems = []
    for position, email in enumerate(emails):
        name, _, host = email.partition("@")
        if not name or "." not in host:
            problems.append(Problem(None, f"user.emails[{position}]", "is not an email"))
        elif email in service.users or email in emails[:position]:
            problems.append(Problem(None, f"user.emails[{position}]", "is a user already"))
    if problems:
        raise invalid(*problems)


def _find(service: Service, call: Call, caller: Caller) -> Organization:
    organization = service.organizations.managed(caller.account.name, call.path["org_id"])
    if organization is None:
        raise RefusedError(404, "not_found", "There is no such organization")
    return organization


def _view(service: Service, organization: Organization) -> dict[str, Any]:
    return organization.shown(service.instant(organization.created_at))
