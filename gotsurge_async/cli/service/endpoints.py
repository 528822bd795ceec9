"""``gotsurge endpoints``: the table of operations, and the profile that confirms it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from gotsurge_async.api.endpoints import ENDPOINTS, Endpoint
from gotsurge_async.api.openapi import document_text
from gotsurge_async.api.profile import Profile
from gotsurge_async.api.profile_import import Imported, import_document, profile_text
from gotsurge_async.cli.shared.exits import Exit, Failure, told
from gotsurge_async.cli.shared.options import PATH, json_option
from gotsurge_async.cli.shared.output import print_json, print_table, prose
from gotsurge_async.config import checked_base
from gotsurge_async.errors import ConfigError

_profile_option = click.option(
    "--profile",
    type=PATH,
    envvar="GOTSURGE_PROFILE",
    metavar="FILE",
    help="A profile of confirmed verbs and paths (or GOTSURGE_PROFILE).",
)
_output_option = click.option(
    "-o", "--output", type=PATH, metavar="FILE", help="Write to FILE, not to standard output."
)


@click.group()
def endpoints() -> None:
    """Which verbs and paths are used, and which of them are confirmed.

    GotSurge's published page shows neither verbs nor paths. Until a profile confirms them they are assumed, and in
    production nothing is created, broadcast, cancelled or changed on an assumed path unless you say so. Partners can
    download an OpenAPI file from that page: import it, and name the profile in GOTSURGE_PROFILE.
    """


@endpoints.command("list")
@_profile_option
@json_option
def list_(profile: Path | None, as_json: bool) -> None:
    """Show every operation: verb, path, and what is assumed.

    "replay" says what may be done when an answer was lost: safe = repeat; never = a repeat may act twice; converge =
    read first; harmless = a repeat leaves an unused draft.
    """
    with told():
        rows = [_row(endpoint) for endpoint in _profile(profile)]
    if as_json:
        print_json(rows)
    else:
        columns = [prose(name) if name == "path" else name for name in rows[0]]
        print_table(columns, [list(row.values()) for row in rows])


@endpoints.command(short_help="Write an OpenAPI document of all operations.")
@_output_option
@_profile_option
def openapi(output: Path | None, profile: Path | None) -> None:
    """Write an OpenAPI document of the operations, as they are known here.

    It is this program's own document, not GotSurge's: what is assumed is marked with x-gotsurge-assumed.
    """
    with told():
        text = document_text(_profile(profile))
        if output is None:
            click.echo(text, nl=False)
        else:
            _write(output, text)


@endpoints.command("import", short_help="Make a profile of an OpenAPI file.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE")
@_output_option
@click.option(
    "--server", metavar="URL", help="The URL before the paths of the API, if FILE names several servers or none."
)
@click.option("--force", is_flag=True, help="Replace the file of -o if it exists.")
@json_option
def import_(file: Path, output: Path | None, server: str | None, force: bool, as_json: bool) -> None:
    """Make a profile of an OpenAPI FILE (JSON or YAML, version 3 or Swagger 2; - reads standard input).

    Its operations are matched to ours by title, group, bodies and path. The profile takes up what is sure. What is
    unsure stands in it as comments: compare, and take the # signs away where it is right.

    \b
    Without -o the profile goes to stdout and the report to stderr.

    \b
    Exit codes:
      0 every operation was found
      1 some were not, or are unsure: read the report
      2 FILE is no OpenAPI document, or none of its operations is ours; nothing was written
    """
    with told():
        imported = import_document(_read(file))
        if not imported.matches:
            raise ConfigError(f"none of the operations of {imported.title} is one of ours: nothing was written")
        api_base = _api_base(imported, server)
        if output is not None:
            _write(output, profile_text(imported, api_base=api_base), force=force)
        elif not as_json:
            click.echo(profile_text(imported, api_base=api_base), nl=False)
    if as_json:
        print_json(_report(imported, api_base))
    else:
        _tell(imported, api_base, output)
    raise SystemExit(int(Exit.CREATED if len(imported.sure) == len(ENDPOINTS) else Exit.REFUSED))


def _profile(path: Path | None) -> Profile:
    return Profile() if path is None else Profile.load(path)


def _row(endpoint: Endpoint[Any]) -> dict[str, Any]:
    return {
        "operation": endpoint.name,
        "verb": endpoint.verb,
        "path": endpoint.path,
        "bearer": endpoint.bearer,
        "replay": endpoint.replay.value,
        "assumed": endpoint.assumed,
    }


# --- import ----------------------------------------------------------------------------------------------------------


def _read(file: Path) -> Any:
    with _told_by_name(file), click.open_file(str(file), "rb") as stream:
        content = stream.read()
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_yaml(file, content)


def _read_yaml(file: Path, content: bytes) -> Any:
    import yaml  # here, so that the other commands do not wait for it

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise ConfigError(f"{file} is neither JSON nor YAML{where}") from None


def _api_base(imported: Imported, server: str | None) -> str | None:
    if server is not None:
        return checked_base(server)
    if len(imported.servers) != 1:
        return None
    try:
        return checked_base(imported.servers[0])
    except ConfigError:
        return None


def _write(path: Path, text: str, *, force: bool = True) -> None:
    with _told_by_name(path), path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
        file.write(text)


@contextmanager
def _told_by_name(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise Failure(f"{path} is there already: --force replaces it", Exit.USAGE) from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}", Exit.USAGE) from None


def _report(imported: Imported, api_base: str | None) -> dict[str, Any]:
    found = [
        {
            "operation": match.endpoint.name,
            "verb": match.found.verb,
            "path": match.path,
            "score": round(match.score, 2),
            "sure": match.sure,
            "doubt": match.doubt,
        }
        for match in imported.matches
    ]
    return {
        "title": imported.title,
        "api_base": api_base,
        "servers": list(imported.servers),
        "found": found,
        "missing": [endpoint.name for endpoint in imported.missing],
        "left_over": list(map(str, imported.left_over)),
    }


def _tell(imported: Imported, api_base: str | None, output: Path | None) -> None:
    """The report: on stdout, unless the profile stands there."""
    err = output is None
    rows = [
        [match.endpoint.name, str(match.found), f"{match.score:.2f}", match.doubt or "sure"]
        for match in imported.matches
    ]
    print_table(["operation", prose("found as"), "score", prose("verdict")], [*rows, *_not_found(imported)], err=err)
    if imported.left_over:
        click.echo(f"none of ours: {', '.join(map(str, imported.left_over))}", err=err)
    if api_base is not None:
        click.echo(f"API base: {api_base}", err=err)
    elif imported.servers:
        click.echo(f"API base: not written, say --server; the document names {', '.join(imported.servers)}", err=err)
    else:
        click.echo("API base: not written, the document names none; say --server", err=err)
    counts = f"{len(imported.sure)} of {len(ENDPOINTS)} operations found"
    unsure = f", {len(imported.unsure)} unsure" if imported.unsure else ""
    click.echo(f"{counts}{unsure}{f': {output}' if output else ''}", err=err)


def _not_found(imported: Imported) -> list[list[str]]:
    return [[endpoint.name, "", "", "not found"] for endpoint in imported.missing]
