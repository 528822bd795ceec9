"""``gotsurge drafts``, ``tracking``, ``orgs`` and ``users``: commands for platform partners besides tasks."""

from collections.abc import Sequence

import click

from gotsurge_async.cli.shared.connect import Target, call, takes_platform
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.shared.options import json_option, option
from gotsurge_async.cli.shared.outcomes import Results, Updates, pairs_of, takes_orders, words_of
from gotsurge_async.cli.shared.output import print_list, print_one, shown
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import UsageError
from gotsurge_async.models.platform import Organization, Role
from gotsurge_async.models.tasks import Message, Order


@click.group()
def drafts() -> None:
    """Create drafts, and broadcast them to drivers (platform partners).

    The way to create tasks that can be repeated: a lost answer leaves drafts that nobody uses, and broadcasting acts
    only on what is still a draft.
    """


@drafts.command("create", short_help="Create drafts of 1 to 20 orders.")
@takes_platform
@takes_orders
@json_option
def create_drafts(target: Target, orders: Sequence[Order]) -> Exit:
    """Create drafts of the 1 to 20 orders of FILE; - reads standard input. No driver is asked.

    FILE is as for gotsurge tasks create. Broadcast the ids that are printed.
    """
    return call(target, lambda gs: Results.of(gs.platform.drafts.create_all(orders))).print()


@drafts.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="TASK_ID[=TRACKING_ID]...")
@takes_platform
@json_option
def broadcast(target: Target, task_ids: Sequence[str]) -> Exit:
    """Broadcast drafts: drivers are asked from now on. Repeating it does no harm.

    With TASK_ID=TRACKING_ID each draft gets its tracking id as it is broadcast. A single - reads a line for each task
    from standard input. Exit code 1: some were not broadcast.
    """
    words = words_of(task_ids)
    pairs = pairs_of(words) if any("=" in word for word in words) else None

    async def work(gs: GotSurge) -> Updates:
        if pairs is None:
            return await Updates.of(gs.platform.drafts.broadcast_all(words))
        return await Updates.of(gs.platform.drafts.broadcast_all_with_tracking(pairs))

    return call(target, work).print()


@click.group()
def tracking() -> None:
    """Change the tracking ids of tasks (platform partners)."""


@tracking.command()
@click.argument("pairs", nargs=-1, required=True, metavar="TASK_ID=TRACKING_ID...")
@takes_platform
@json_option
def patch(target: Target, pairs: Sequence[str]) -> Exit:
    """Give tasks other tracking ids. Repeating it does no harm.

    A single - reads a line for each task from standard input. Exit code 1: some were not changed.
    """
    tracking_ids = pairs_of(words_of(pairs))
    return call(target, lambda gs: Updates.of(gs.platform.tasks.patch_all_tracking_ids(tracking_ids))).print()


@click.group()
def orgs() -> None:
    """Create and show the organizations that a platform partner manages."""


@orgs.command("list")
@takes_platform
@json_option
def list_(target: Target) -> None:
    """List the organizations."""

    async def work(gs: GotSurge) -> list[Organization]:
        return [organization async for organization in gs.platform.organizations.list()]

    listed = call(target, work)
    print_list(
        listed, ("id", "business_name", "created"), [(one.id, one.business_name, one.created_at) for one in listed]
    )


@orgs.command()
@click.argument("org_id")
@takes_platform
@json_option
def get(target: Target, org_id: str) -> None:
    """Show an organization. The service does not tell the currency of its amounts."""
    _print(call(target, lambda gs: gs.platform.organizations.get(org_id)))


@orgs.command()
@click.argument("business_name")
@takes_platform
@json_option
def create(target: Target, business_name: str) -> None:
    """Create an organization with this name.

    A name consists of letters, digits, space, dash and underscore, and no two organizations have the same. Exit code 3:
    the answer was lost, and the list does not show the organization; look again before you create it.
    """
    _print(call(target, lambda gs: gs.platform.organizations.create(business_name)))


@orgs.command()
@click.argument("org_id")
@takes_platform
@json_option
def roles(target: Target, org_id: str) -> None:
    """List what a user can be in an organization."""
    listed = call(target, lambda gs: gs.platform.organizations.roles(org_id))
    print_list(listed, ("id", "name"), [(role.id, role.name) for role in listed])


def _print(organization: Organization) -> None:
    print_one(
        organization,
        [
            ("id", organization.id),
            ("business_name", organization.business_name),
            ("squad price", organization.squad_price),
            ("least price", organization.min_price),
            ("greatest price", organization.max_price),
            ("squad code", organization.squad_code),
            ("fleets", organization.fleet_types),
            ("created", organization.created_at),
            ("updated", organization.updated_at),
        ],
    )


@click.group()
def users() -> None:
    """Invite people into the organizations of a platform partner."""


@users.command()
@click.argument("emails", nargs=-1, required=True, metavar="EMAIL...")
@option("--org ORG_ID", "The id of the organization, as gotsurge orgs list shows it.", name="org_id", required=True)
@option("--role ROLE", "The id or the name of a role, as gotsurge orgs roles shows it.", required=True)
@takes_platform
@json_option
def invite(target: Target, emails: Sequence[str], org_id: str, role: str) -> None:
    """Invite people by email.

    Exit code 3: the answer was lost, and they may have been invited.
    """

    async def work(gs: GotSurge) -> Message:
        role_id = _role_id(role, await gs.platform.organizations.roles(org_id))
        return await gs.platform.users.invite(emails, org_id=org_id, role_id=role_id)

    message = call(target, work)
    print_one(message, shown(message.message) or "invited")


def _role_id(text: str, roles: Sequence[Role]) -> str:
    """The id of the role with this id or name."""
    for role in roles:
        if text == role.id or text.lower() == (role.name or "").lower():
            return role.id
    names = ", ".join(role.name or role.id for role in roles) or "none"
    raise UsageError(f"the organization has no role {text!r}; its roles are: {names}", "E415")
