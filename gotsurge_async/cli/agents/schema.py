"""``gotsurge schema``: what commands print with ``--json``."""

import click

from gotsurge_async.cli.agents.schemas import DOCUMENTS, PRINTED_BY, schema_named
from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.output import print_json, print_table, prose


@click.command()
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema of what a command prints with --json; without NAME list the schemas.

    The tools of gotsurge mcp answer with the same documents. The version in a schema's $id is raised when a field goes
    or changes its meaning; more fields may come at any time.
    """
    if name is None:
        rows = [(each, f"gotsurge {PRINTED_BY.get(each, each)} --json") for each in DOCUMENTS]
        print_table(("NAME", prose("PRINTED BY")), rows)
        return
    if name not in DOCUMENTS:
        raise WrongUse(f"there is no schema {name}: there are {', '.join(DOCUMENTS)}", "E102")
    print_json(schema_named(name))
