"""The tables of the reference, each made from the program's own: there is no second list to keep.

Every function gives the Markdown of one table. What code writes in double backticks, as docstrings do, is single here.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sphinx.pycode import ModuleAnalyzer

from gotsurge_async.after.results import FILES, Reason, Summary
from gotsurge_async.api.assumptions import ASSUMPTIONS
from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.cli.help.explain import EXIT_CODES, MAP
from gotsurge_async.cli.variables import OTHERS, VARIABLES
from gotsurge_async.ledger.states import TRANSITIONS, Mode, OrderState, RunState, word_of
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.simulator import SWITCHES
from gotsurge_async.simulator.faults import CALL_KINDS, EVENT_KINDS
from gotsurge_async.tables.columns import all_columns
from gotsurge_async.tables.fields import FEEDBACK
from gotsurge_async.tables.options import ENDINGS
from gotsurge_async.webhooks.alerts import AlertKind
from gotsurge_async.webhooks.inbox import EventState


def docs_of(owner: type) -> dict[str, str]:
    """What is written below each attribute of a class, in its source."""
    found = ModuleAnalyzer.for_module(owner.__module__).find_attr_docs()
    return {name: plain(" ".join(lines)) for (of, name), lines in found.items() if of == owner.__qualname__}


def plain(text: str) -> str:
    """A text of the code as Markdown on one line of a table."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table of Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def code(value: object) -> str:
    """A value as code."""
    return f"`{value}`"


def exit_codes() -> str:
    """All exit codes of the command, each with a link to what it means."""
    rows = (
        (f"[`{int(each)}`](../troubleshooting.md#exit-{int(each)})", plain(text)) for each, text in EXIT_CODES.items()
    )
    return table(("code", "meaning"), rows)


def environment() -> str:
    """Every variable that the command heeds, each with a name that links can lead to."""
    return "".join(
        f"```{{eval-rst}}\n.. envvar:: {name}\n\n   {text}\n```\n\n" for name, text in (VARIABLES | OTHERS).items()
    )


def order_states() -> str:
    """The states of an order in the ledger."""
    about = docs_of(OrderState)
    return table(
        ("state", "told as", "what it means", "what may follow"),
        (
            (
                code(state.value),
                code(word_of(state)),
                about.get(state.name, ""),
                ", ".join(code(after.value) for after in OrderState if after in TRANSITIONS[state]),
            )
            for state in OrderState
        ),
    )


def modes() -> str:
    """The modes of a push."""
    return _enum(Mode)


def run_states() -> str:
    """The states of a run."""
    return _enum(RunState)


def event_states() -> str:
    """The states of an event in the inbox."""
    return _enum(EventState)


def alert_kinds() -> str:
    """The kinds of alerts."""
    return _enum(AlertKind)


def _enum(kind: Any) -> str:
    about = docs_of(kind)
    return table(("value", "what it means"), ((code(each.value), about.get(each.name, "")) for each in kind))


def task_statuses() -> str:
    """The statuses of a task at GotSurge."""
    return table(
        ("status", "no driver was asked yet", "nothing more happens"),
        (
            (code(status.value), "yes" if status.is_draft else "", "yes" if status.is_terminal else "")
            for status in TaskStatus.__members__.values()
        ),
    )


def result_files() -> str:
    """The files of a run, and which orders stand in which."""
    holds: dict[str, list[str]] = {}
    for word, name in FILES.items():
        holds.setdefault(name, []).append(code(word.value))
    rows = [(code(f"RUN-{name}.csv"), ", ".join(words)) for name, words in holds.items()]
    added = ", ".join(map(code, FEEDBACK))
    return table(("file", "its orders are"), rows) + f"\nColumns that are added behind those of the source: {added}.\n"


def summary() -> str:
    """The summary of a run, as JSON has it."""
    return _fields(Summary) + "\nEach of `reasons`:\n\n" + _fields(Reason)


def _fields(kind: type) -> str:
    about = docs_of(kind)
    return table(
        ("key", "type", "meaning"),
        ((code(name), code(_type(hint)), about.get(name, "")) for name, hint in kind.__annotations__.items()),
    )


def _type(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind).rpartition(".")[2]


def columns() -> str:
    """Every column of a table of orders and of items; columns that differ only in their beginning share a row."""
    names: dict[tuple[object, ...], list[str]] = {}
    sections: dict[str, list[tuple[tuple[object, ...], str]]] = {}
    for column in all_columns():
        kind = column.type if not column.allowed else f"one of {', '.join(map(code, column.allowed))}"
        kind = f"{kind}; {column.unit}" if column.unit else kind
        key = (column.name.rpartition(".")[2], plain(kind), column.required, plain(column.meaning))
        if key not in names:
            sections.setdefault(column.section, []).append((key, code(column.example) if column.example else ""))
        names.setdefault(key, []).append(code(column.name))
    heads = ("column", "type", "required", "meaning", "example")
    tables = {
        section: table(heads, ((", ".join(names[key]), *key[1:], example) for key, example in rows))
        for section, rows in sections.items()
    }
    return "".join(f"### {section}\n\n{rows}\n" for section, rows in tables.items())


def formats() -> str:
    """What a file is by its ending."""
    return table(("ending", "format"), ((code(ending), code(kind)) for ending, kind in ENDINGS.items()))


def map_file() -> str:
    """A map with every section."""
    _, _, rest = MAP.partition("\n\n")
    toml, _, below = rest.rpartition("\n\n")
    lines = "\n".join(line.removeprefix("  ") for line in toml.splitlines())
    return f"```toml\n{lines}\n```\n\n{below.replace('ignore = [', '`ignore = [').replace(']', ']`')}\n"


def operations() -> str:
    """Every operation of the service."""
    return table(
        ("operation, verb and path", "section of GotSurge's document", "if the answer is lost", "token"),
        (
            (
                f"{code(endpoint.name)} {code(f'{endpoint.verb} {endpoint.path}')}",
                plain(endpoint.section),
                endpoint.replay.value,
                "yes" if endpoint.bearer else "no",
            )
            for endpoint in ENDPOINTS.values()
        ),
    )


def assumptions() -> str:
    """What the document leaves open."""
    return table(("open", "what is done"), ((plain(topic), plain(choice)) for topic, choice in ASSUMPTIONS.items()))


def switches() -> str:
    """The switches of the simulator."""
    return table(
        ("switch", "values, the default first", "what is open"),
        (
            (code(switch.name), ", ".join(code(_shown(value)) for value in switch.values), plain(switch.meaning))
            for switch in SWITCHES.values()
        ),
    )


def _shown(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def fault_kinds() -> str:
    """The kinds of faults."""
    rows = [("of calls", CALL_KINDS), ("of events", EVENT_KINDS)]
    return table(("faults", "`kind`"), ((name, ", ".join(map(code, kinds))) for name, kinds in rows))


FACTS: dict[str, Callable[[], str]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        *(exit_codes, environment, order_states, modes, run_states, event_states, alert_kinds, task_statuses),
        *(result_files, summary, columns, formats, map_file, operations, assumptions, switches, fault_kinds),
    )
}
"""Each table by the name that a page calls it by."""
