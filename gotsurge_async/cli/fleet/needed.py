"""What every command about many machines needs: a ledger in PostgreSQL, and the queue's library."""

from types import ModuleType

import click

from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.cli.shared.ledger import find_ledger
from gotsurge_async.database import Kind, Place
from gotsurge_async.errors import ConfigError


def of_many_machines(given: Place | None) -> Place:
    """The ledger that was named, by the option or GOTSURGE_LEDGER; it must be one that many machines can share.

    Raises:
        click.UsageError: it is a file.
    """
    found = find_ledger(given, Target())
    if found.kind is not Kind.POSTGRESQL:
        raise click.UsageError(
            "many machines share a ledger in PostgreSQL: give --ledger postgresql://USER@HOST/NAME, or set "
            "GOTSURGE_LEDGER"
        )
    return found


def fleet_of() -> ModuleType:
    """The package of the fleet.

    Raises:
        ConfigError: what it needs is not installed.
    """
    try:
        from gotsurge_async import fleet
    except ModuleNotFoundError as error:
        raise ConfigError(f'many machines need {error.name}: pip install "gotsurge-async[fleet]"') from None
    return fleet
