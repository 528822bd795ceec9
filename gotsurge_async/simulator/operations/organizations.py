"""Organizations, roles and invitations (section "Platform Partners")."""

import uuid
from typing import Any

import msgspec

from gotsurge_async.simulator.operations.checks import read_body
from gotsurge_async.simulator.operations.views import page_of
from gotsurge_async.simulator.replies import Call, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.state.partners import Caller, Organization, User
from gotsurge_async.simulator.state.service import Service

INVITED_PASSWORD = "invited-password"  # noqa: S105 - nobody reads the mail in which a real one would be chosen
"""What every invited person signs in with."""


class OrganizationBody(msgspec.Struct):
    """The body of Create Associated Organization."""

    business_name: str


class Invitation(msgspec.Struct):
    """Whom to invite, into which organization, as what."""

    emails: list[str]
    org_id: str
    role_id: str


class InvitationBody(msgspec.Struct):
    """The body of Invite User."""

    user: Invitation


def create(service: Service, call: Call, caller: Caller) -> Reply:
    """Create Associated Organization."""
    name = read_body(call.body, OrganizationBody).business_name
    text = service.organizations.name_problem(name)
    if text is not None:
        raise invalid(Problem(None, "business_name", text))
    created = service.organizations.create(caller.account.name, name, call.now)
    return json_reply({"organization": _view(service, created)}, service.options.created_status)


def list_all(service: Service, call: Call, caller: Caller) -> Reply:
    """Associated Organization List: those that the partner created."""
    rows, meta = page_of(service.organizations.created_by(caller.account.name), call, service.options)
    return json_reply({"meta": meta, "organizations": [_view(service, found) for found in rows]})


def get(service: Service, call: Call, caller: Caller) -> Reply:
    """Associated Organization Detail."""
    return json_reply({"organization": _view(service, _find(service, call, caller))})


def roles(service: Service, call: Call, caller: Caller) -> Reply:
    """List Roles."""
    found = _find(service, call, caller).roles
    return json_reply({"roles": [{"id": role_id, "name": name} for role_id, name in found.items()]})


def invite(service: Service, call: Call, caller: Caller) -> Reply:
    """Invite User: all emails, or none when one of them cannot be invited."""
    invitation = read_body(call.body, InvitationBody).user
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
    found = service.organizations.managed(caller.account.name, call.path["org_id"])
    if found is None:
        raise RefusedError(404, "not_found", "There is no such organization")
    return found


def _view(service: Service, organization: Organization) -> dict[str, Any]:
    return organization.shown(service.instant(organization.created_at))
