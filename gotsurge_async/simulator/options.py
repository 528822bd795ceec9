"""Switches for the points that the document leaves open: each value is one interpretation of the service.

The first value of every switch is the simulator's default. :data:`SWITCHES` lists them all, for a command
line that offers them and for tests that run a client over every value.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, cast, get_args, get_type_hints

from attrs import Attribute, field, fields, fields_dict, frozen, validators

from gotsurge_async.simulator.state.clock import MOST_SPEED
from gotsurge_async.simulator.state.life import Life

SwitchValue = str | int | bool


@frozen
class Switch:
    """One open point of the document: its name, the question, and the possible values."""

    name: str
    meaning: str
    values: tuple[SwitchValue, ...]

    @property
    def default(self) -> SwitchValue:
        """The simulator's own interpretation."""
        return self.values[0]


def _is_a_value(_: object, attribute: "Attribute[Any]", value: object) -> None:
    values = SWITCHES[attribute.name].values
    # True == 1: without the type, a switch of numbers would take a bool.
    if not any(value == allowed and type(value) is type(allowed) for allowed in values):
        raise ValueError(f"option {attribute.name}: {value!r} is not one of {', '.join(map(repr, values))}")


def _switch(default: SwitchValue, meaning: str) -> Any:
    return field(default=default, validator=_is_a_value, metadata={"meaning": meaning})


def _number(default: int) -> Any:
    return field(default=default, validator=[validators.instance_of(int), validators.ge(1)])


@frozen(kw_only=True)
class SimulatorOptions:
    """The simulator's interpretation of the document. Every field is a switch of :data:`SWITCHES`, save the last seven.

    ``redirect_urls`` are addresses that partners have registered besides those on this machine, which are all
    known: a consent or a session goes nowhere else. ``webhook_url`` is where the events of both accounts are sent,
    empty for nowhere; it leads to this machine unless ``webhooks_anywhere``. With a ``life`` there are drivers, and
    orders go through their statuses by the clock, which makes ``speed`` seconds of each one (0: it stands still).
    ``body_limit`` is the longest request body in bytes (longer ones are refused with 413); ``seed`` decides shuffles
    and the acts of drivers.
    """

    create_rule: Literal["all-or-nothing", "partial", "partial-refused"] = _switch(
        "all-or-nothing",
        "a create with a bad row: refused whole; or the good rows are created and the answer is 200 with an `errors` "
        "list; or the good rows are created although the answer is 422",
    )
    created_status: Literal[200, 201] = _switch(200, "the HTTP status of a create")
    pickup_end: Literal["any", "today", "past"] = _switch(
        "any",
        "when the pickup of a new task may end, which the document says to be before or equal to today's date-time: "
        "at any time; at the latest today, in UTC; at the latest now",
    )
    answer_order: Literal["same", "shuffled"] = _switch("same", "the order of the tasks in the answer of a create")
    tracking_id_echo: Literal["always", "reads", "never"] = _switch(
        "always", "whether answers carry tracking_id: all of them, all but those of a create, none"
    )
    tracking_id_unique: Literal["no", "tasks", "drafts-too"] = _switch(
        "no", "whether a tracking_id in use is refused: never; among broadcast tasks; among drafts as well"
    )
    draft_tasks: Literal["list", "map", "single"] = _switch(
        "list",
        "`tasks` in the answer of a draft create: a list; an object keyed by id; the task itself when there is one",
    )
    draft_status: Literal["pending_broadcast", "draft"] = _switch("pending_broadcast", "the status that a draft shows")
    drafts_listed: bool = _switch(True, "whether Task List shows drafts")
    rebroadcast: Literal["refused", "skipped", "passes"] = _switch(
        "refused",
        "a broadcast that names a task which is no draft: refused whole; left out of updated_tasks; listed there too",
    )
    updated_tasks: Literal["tasks", "ids", "objects", "nothing"] = _switch(
        "tasks", "what updated_tasks holds: whole tasks; ids; objects that name an id and nothing else; nothing"
    )
    error_shape: Literal[
        "errors", "message", "error-string", "error-object", "problem", "list", "text", "html", "empty"
    ] = _switch("errors", "the body of a refusal: JSON in six shapes, plain text, an HTML page, nothing")
    refusal_names_rows: bool = _switch(True, "whether a refusal says which rows and fields it is about")
    retry_after: Literal["seconds", "date"] = _switch("seconds", "the form of a Retry-After header")
    cancel_answer: Literal["message", "empty", "object", "null"] = _switch(
        "message",
        "the answer of a cancel: 200 with a message; 204 with nothing; 200 with {}; 200 with a message that is null",
    )
    price_failure: Literal["status", "code"] = _switch(
        "status", 'a route that cannot be priced: 422, or 200 with `code: "error"`'
    )
    dates: Literal["z", "offset", "fraction", "naive"] = _switch(
        "z", "date-times in answers: 12:00:00Z, 20:00:00+08:00, 12:00:00.123456Z, or UTC without saying so"
    )
    version_rev: Literal["version_rev", "_rev", "rev", "etag", "absent"] = _switch(
        "version_rev", "where a task shows its revision: a field of one of three names, the ETag header, nowhere"
    )
    tokens: Literal["opaque", "jwt"] = _switch("opaque", "bearer tokens: opaque, or JWTs that carry exp")
    refresh_rotation: bool = _switch(False, "whether a refresh hands out a new refresh token and ends the one it used")
    created_fields: Literal["all", "few"] = _switch(
        "all", "what the answer of a create shows of a task: all, or only its names, status and revision"
    )
    blanks: Literal["usual", "null", "empty", "absent"] = _switch(
        "usual",
        "what an answer shows for what has no value, be it an object, a list, a text or a window: now this, now that;"
        " null; {}, [] and ''; nothing",
    )
    envelope: Literal["told", "null", "absent"] = _switch("told", "whether answers say server_time and total_tasks")
    status_history: Literal["steps", "bare", "empty", "null", "absent"] = _switch(
        "steps", "what statuses of a task holds: each step with its time; without; []; null; it is not there"
    )
    unknown_statuses: bool = _switch(
        False,
        "whether tasks show statuses that the document does not list: one in place of broadcasting, and a step more",
    )
    unnamed_objects: Literal["empty", "filled", "lists"] = _switch(
        "empty",
        "objects whose fields the document does not show (org_transporter, vehicle_emissions, client, epod): empty, "
        "or with objects, lists, nulls and whole numbers as ids in them; or lists of such objects",
    )
    references: Literal["texts", "numbers"] = _switch(
        "texts", "the ids of what a task belongs to (org_id, task_creation_group, its driver's): texts, whole numbers"
    )
    attachments: Literal["empty", "objects", "links", "ids", "null"] = _switch(
        "empty", "what attachments of a task holds: nothing, objects, texts, whole numbers, or it is null"
    )
    measures: Literal["given", "decimal", "text"] = _switch(
        "given", 'how distances, weights and coordinates are written: 7357 as it was given, 7357.0, or "7357"'
    )
    misfits: Literal["none", "numbers", "texts", "lists", "objects", "windows", "times"] = _switch(
        "none",
        "fields of a task in another type than the document's: none; texts and ids as numbers; numbers and booleans as"
        " text; objects as lists; lists as objects; a window without edges; a time in seconds",
    )
    more_fields: Literal["none", "tasks", "everywhere"] = _switch(
        "none", "fields that the document does not name: none, in tasks, in every object"
    )
    quote_fields: Literal["all", "null", "list", "absent"] = _switch(
        "all",
        "a price: with all its fields; with null, or a list, for all but the fee; with the fee and its currency alone",
    )
    sso_user: Literal["names", "objects", "empty", "list", "null", "absent"] = _switch(
        "names",
        "`user` in the answer of SSO Exchange Token: roles as texts; as objects; {}; a list; null; it is not there",
    )
    meta: Literal["told", "empty", "list", "null", "absent"] = _switch(
        "told", "`meta` of a list: page and per_page; {}; a list; null; it is not there"
    )
    meta_total: bool = _switch(True, "whether meta of a list says the total")
    per_page_limit: Literal[1000, 3] = _switch(1000, "the most that a page holds, whatever per_page asks for")
    webhook_data: Literal["names", "task", "id"] = _switch(
        "names", "what `data` of an event holds: the task's id, names and status; the whole task; its id alone"
    )
    redirect_urls: tuple[str, ...] = field(default=(), converter=tuple)
    webhook_url: str = field(default="", validator=validators.instance_of(str))
    webhooks_anywhere: bool = field(default=False, validator=validators.instance_of(bool))
    life: Life | None = field(default=None, validator=validators.optional(validators.instance_of(Life)))
    speed: float = field(default=1.0, validator=[validators.ge(0), validators.le(MOST_SPEED)])
    body_limit: int = _number(1 << 20)
    seed: int = _number(1)

    @classmethod
    def from_mapping(cls, values: Mapping[str, SwitchValue]) -> "SimulatorOptions":
        """Options from names and values; an unknown name or value raises ValueError, which names the allowed ones."""
        unknown = sorted(set(values) - {attribute.name for attribute in fields(cls)})
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; the options are: {', '.join(SWITCHES)}")
        try:
            return cls(**cast("dict[str, Any]", values))
        except TypeError as error:
            raise ValueError(str(error)) from None


def _switches() -> Iterable[Switch]:
    hints = get_type_hints(SimulatorOptions)
    for name, attribute in fields_dict(SimulatorOptions).items():
        if "meaning" in attribute.metadata:
            default: Any = attribute.default
            values = get_args(hints[name]) or (default, not default)
            yield Switch(name, attribute.metadata["meaning"], values)


SWITCHES: Mapping[str, Switch] = MappingProxyType({switch.name: switch for switch in _switches()})
"""Every switch by its name, with its allowed values, the default first."""
