"""``gotsurge orgs``: the merchants whom a platform partner manages."""

import click

from gotsurge_async.cli.shared.connect import Target, call, takes_platform
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import print_json, print_record, print_table
from gotsurge_async.client import GotSurge
from gotsurge_async.models.platform import Organization


@click.group()
def orgs() -> None:
    """Create and show the organizations that a platform partner manages."""


@orgs.command("list")
@takes_platform
@json_option
def list_(target: Target, as_json: bool) -> None:
    """List the organizations."""

    async def work(gs: GotSurge) -> list[Organization]:
        return [organization async for organization in gs.platform.organizations.list()]

    organizations = call(target, work)
    if as_json:
        print_json(organizations)
        return
    rows = [(organization.id, organization.business_name, organization.created_at) for organization in organizations]
    print_table(("id", "business_name", "created"), rows)


@orgs.command()
@click.argument("org_id")
@takes_platform
@json_option
def get(target: Target, org_id: str, as_json: bool) -> None:
    """Show an organization. The service does not tell the currency of its amounts."""
    _print(call(target, lambda gs: gs.platform.organizations.get(org_id)), as_json=as_json)


@orgs.command()
@click.argument("business_name")
@takes_platform
@json_option
def create(target: Target, business_name: str, as_json: bool) -> None:
    """Create an organization with this name.

    A name consists of letters, digits, space, dash and underscore, and no two organizations have the same. Exit code 3:
    the answer was lost, and the list does not show the organization; look again before you create it.
    """
    _print(call(target, lambda gs: gs.platform.organizations.create(business_name)), as_json=as_json)


@orgs.command()
@click.argument("org_id")
@takes_platform
@json_option
def roles(target: Target, org_id: str, as_json: bool) -> None:
    """List what a user can be in an organization."""
    roles = call(target, lambda gs: gs.platform.organizations.roles(org_id))
    if as_json:
        print_json(roles)
    else:
        print_table(("id", "name"), [(role.id, role.name) for role in roles])


def _print(organization: Organization, *, as_json: bool) -> None:
    if as_json:
        print_json(organization)
        return
    print_record(
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
        ]
    )
