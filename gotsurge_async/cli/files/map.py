"""``gotsurge map``: maps for reading a user's own tables: stored, shown and proposed."""

from pathlib import Path

import attrs
import click

from gotsurge_async.cli.shared.options import PATH, GroupedCommand, in_group, json_option, together
from gotsurge_async.cli.shared.output import as_json, print_json, print_list, prose, say
from gotsurge_async.cli.shared.push_options import file_or_query, takes_table
from gotsurge_async.errors import Coded, ConfigError, code_of
from gotsurge_async.tables import STDIN, FileMap, SourceOptions, open_grid
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.formats.lines import BadFile
from gotsurge_async.tables.maps.draft import Draft, draft_map
from gotsurge_async.tables.maps.kept import find_map, keep_map, kept_maps, maps_folder, write_map

_DELIMITERS = (None, ";", "\t", "|")

_where = in_group("The map")
_force = _where("--force", "Replace the map if it exists.")


@click.group()
def map() -> None:  # noqa: A001 - the command's name
    """Say how the columns of your own tables are read: propose, keep, list and show maps.

    A map is a TOML file. push and plan take it by --map: its file, or the name under which it is kept. GOTSURGE_MAPS
    names the folder of those that are kept. docs/tables.md shows all that may stand in a map.
    """


@map.command("list")
@json_option
def list_() -> None:
    """List the maps that are kept."""
    rows = [(name, str(maps_folder() / f"{name}.toml")) for name in kept_maps()]
    print_list([{"name": name, "file": file} for name, file in rows], ("name", prose("file")), rows)


@map.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a map: one that is kept, or a file. It is checked too."""
    path = find_map(name)
    FileMap.load(path)
    click.echo(path.read_text(encoding="utf-8"), nl=False)


@map.command()
@click.argument("file", type=PATH)
@click.argument("name")
@_force
def keep(file: Path, name: str, force: bool) -> None:
    """Check the map in FILE, and keep it as NAME."""
    FileMap.load(file)
    say(f"kept as {name}: {keep_map(name, file.read_bytes(), replace=force)}")


@map.command(cls=GroupedCommand, short_help="Propose a map for a table.")
@click.argument("file", metavar="[FILE]", required=False)
@together(
    _where("-o, --output MAP.toml", "Write the map to this file, not to standard output.", type=PATH),
    _where("--name NAME", "Keep the map under this name, which --map takes."),
    _force,
)
@takes_table
@json_option
def draft(file: str | None, output: Path | None, name: str | None, force: bool, source: SourceOptions) -> None:
    """Propose a map for the table in FILE, from its header and its first 500 rows.

    Header words in English, German, French, Spanish and Chinese are known. What the rows do not prove is a comment in
    the map: choose from these lines, and try the map with gotsurge push FILE --map MAP.toml --dry-run.
    """
    draft = _best_draft(file_or_query(file, source), source)
    text = draft.text.encode()
    if output is not None:
        write_map(output, text, replace=force)
    if name is not None:
        say(f"kept as {name}: {keep_map(name, text, replace=force)}")
    if as_json():
        print_json({"map": draft.text, "sure": draft.sure, "choose": draft.choose, "unknown": draft.unknown})
    elif output is None and name is None:
        click.echo(draft.text, nl=False)
    if draft.sure:
        say(f"{number_of(len(draft.sure), 'column is', 'columns are')} recognized: {', '.join(draft.sure)}")
    if draft.choose:
        columns = number_of(len(draft.choose), "column needs", "columns need")
        say(f"{columns} a decision: in the map, remove the # before the right lines")
        for column, readings in draft.choose.items():
            say(f"  {column}: {', or '.join(readings)}")
    if draft.unknown:
        say(f"{number_of(len(draft.unknown), 'column is', 'columns are')} unknown:")
        for column, why in draft.unknown.items():
            say(f"  {column}: {why}")


def _best_draft(file: str, source: SourceOptions) -> Draft:
    """The draft with the delimiter by which most columns are recognized, unless ``source`` has one."""
    delimiters = _DELIMITERS if source.delimiter is None and file != STDIN else (source.delimiter,)
    drafts: list[Draft] = []
    refused: list[Coded] = []
    for delimiter in delimiters:
        options = attrs.evolve(source, delimiter=delimiter)
        try:
            with open_grid(file, options=options) as grid:
                drafts.append(draft_map(grid, options.dialect(), options.timezone))
                if grid.form.format != "csv":
                    break
        except (BadFile, ConfigError) as error:
            refused.append(Coded(str(error).removeprefix(f"{file}: "), code_of(error)))
    if not drafts:
        raise ConfigError(f"{file}: {refused[0]}", refused[0].explain_code)
    return max(drafts, key=lambda draft: len(draft.sure) + len(draft.choose) / 2)
