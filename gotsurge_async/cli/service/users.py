"""``gotsurge users``: people of a platform partner's organizations."""

from collections.abc import Sequence

import click

from gotsurge_async.cli.shared.connect import Target, call, takes_platform
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import print_json, shown
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import UsageError
from gotsurge_async.models.platform import Role
from gotsurge_async.models.tasks import Message


@click.group()
def users() -> None:
    """Invite people into the organizations of a platform partner."""


@users.command()
@click.argument("emails", nargs=-1, required=True, metavar="EMAIL...")
@click.option(
    "--org",
    "org_id",
    required=True,
    metavar="ORG_ID",
    help="The id of the organization, as gotsurge orgs list shows it.",
)
@click.option(
    "--role", required=True, metavar="ROLE", help="The id or the name of a role, as gotsurge orgs roles shows it."
)
@takes_platform
@json_option
def invite(target: Target, emails: Sequence[str], org_id: str, role: str, as_json: bool) -> None:
    """Invite people by email.

    Exit code 3: the answer was lost, and they may have been invited.
    """

    async def work(gs: GotSurge) -> Message:
        role_id = _role_id(role, await gs.platform.organizations.roles(org_id))
        return await gs.platform.users.invite(emails, org_id=org_id, role_id=role_id)

    message = call(target, work)
    if as_json:
        print_json(message)
    else:
        click.echo(shown(message.message) or "invited")


def _role_id(text: str, roles: Sequence[Role]) -> str:
    """The id of the role with this id or name."""
    for role in roles:
        if text == role.id or text.lower() == (role.name or "").lower():
            return role.id
    names = ", ".join(role.name or role.id for role in roles) or "none"
    raise UsageError(f"the organization has no role {text!r}; its roles are: {names}", "E415")
