"""What goes in and out: the latest calls, the events that were sent, and the faults that are ordered."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.simulator.board.lists import status
from gotsurge_async.simulator.board.markup import Html, fill, joined, short
from gotsurge_async.simulator.board.orders import local, moment, span
from gotsurge_async.simulator.faults import BENDING_KINDS, EVERY_OPERATION, WEBHOOK
from gotsurge_async.simulator.state.events import Event, masked_url
from gotsurge_async.simulator.state.requests import MOST_REQUESTS, LoggedCall
from gotsurge_async.simulator.state.service import Service

SHOWN = 60
"""So many calls, and events, are listed."""

KINDS = {
    "reset": "connection reset",
    "delay": "delay",
    "status": "answered",
    "garbage": "garbage, not HTTP",
    "half": "half an answer",
    "silent": "no answer",
    "hidden": "new tasks hidden",
    "reused": "ids of earlier orders",
    "outdated": "older state read",
    "restored": "put back",
    "lost": "never sent",
    "doubled": "sent twice",
    "reordered": "sent after the next",
    "early": "sent before the answer",
}


_UUID = re.compile(r"([0-9a-f]{4})[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{8}([0-9a-f]{4})")


def requests(service: Service, text: str = "", *, errors: bool = False) -> Html:
    """The latest calls that hold some text, or only those that were not answered well."""
    words = text.lower().split()
    found = [
        call
        for call in service.requests.latest(MOST_REQUESTS)
        if (not errors or not 200 <= call.status < 400) and all(word in _text(call) for word in words)
    ]
    if not found:
        text = "None matches." if words or errors else "Whatever calls the API stands here, with what it was answered."
        return fill("nothing", title="No requests", text=text, action="")
    return call_lines(found[:SHOWN])


def _text(call: LoggedCall) -> str:
    return f"{call.verb} {call.path} {call.operation} {call.status} {call.account}".lower()


def call_lines(calls: Sequence[LoggedCall]) -> Html:
    """A line for each call, which opens."""
    return joined(
        fill(
            "call",
            number=call.number,
            time=f"{local(call.at):%H:%M:%S}",
            verb=call.verb,
            path=short(_UUID.sub(r"\1…\2", call.path), 200),
            whole=short(call.path, 1000),
            code=call.status or "no answer",
            who=call.account or "no token",
            operation=call.operation,
            fault=fill("fault-struck", kinds=", ".join(call.faults)) if call.faults else "",
            took=_took(call.seconds),
            **_verdict(call.status),
        )
        for call in calls
    )


def request(service: Service, number: int, api_base: str) -> Html:
    """One call with its bodies; raises LookupError for an unknown one."""
    call = service.requests.find(number)
    return fill(
        "call-more",
        curl=call.curl(api_base),
        authorization="Bearer ***" if call.authorized else "none",
        agent=short(call.agent, 200),
        body=_pre("Body", call.shown_body),
        answered=_answered(call),
        answer=_pre("Answer", call.shown_answer),
        link=fill("task-link", id=call.task_id) if _knows(service, call.task_id) else "",
    )


def _answered(call: LoggedCall) -> str:
    answered = f"Answer {call.status}" if call.status else "No whole answer went out"
    if call.acted_at is None:
        return answered
    at, is_done = f"{local(call.acted_at):%H:%M:%S}", 200 <= call.acted_status < 300
    return f"{answered}; took effect at {at}" if is_done else f"{answered}; refused at {at} with {call.acted_status}"


def failing(service: Service) -> Html:
    """How many of the latest events are not delivered."""
    count = sum(event.state != "delivered" for event in service.events.latest(SHOWN))
    return fill("count", text=f"{count} open") if count else Html("")


def webhooks(service: Service) -> Html:
    """Where events go, and the latest ones."""
    urls = {url for url in service.webhook_urls.values() if url}
    text = f"To {', '.join(sorted(map(masked_url, urls)))}" if urls else "There is no URL, so nothing is sent"
    counted = service.events.count()
    if counted["events"]:
        parts = ("delivered", "waiting", "lost", "given_up")
        text += ": " + ", ".join(f"{counted[name]:,} {name.replace('_', ' ')}" for name in parts if counted[name])
    events = service.events.latest(SHOWN)
    empty = fill("nothing", title="No events", text="Each status that a task enters is sent to the URL.", action="")
    return joined((fill("hooks-to", text=text), event_lines(events, service.clock.now()) if events else empty))


def event_lines(events: Sequence[Event], now: float) -> Html:
    """A line for each event, which opens."""
    lines = []
    for event in events:
        last = event.tries[-1] if event.tries else None
        what = [f"fault: {fault.kind}" for fault in event.faults]
        if event.state == "waiting" and event.next_at is not None:
            what.append(f"next try in {span(max(0.0, event.next_at - now))}")
        elif event.state in ("given up", "lost"):
            what.append(event.state)
        code = str(last.status or "no answer") if last else event.state
        verdict = _verdict(last.status) if last else {"class": "c1", "bad": ""}
        lines.append(
            fill(
                "hook",
                number=event.number,
                time=f"{local(event.at):%H:%M:%S}",
                status=status(event.status),
                code=code,
                name=short(event.tracking_id) or event.task_id[:8],
                what=joined(fill("mark", text=part) for part in what),
                tries=f"{len(event.tries)} {'try' if len(event.tries) == 1 else 'tries'}",
                **verdict,
            )
        )
    return joined(lines)


def event(service: Service, number: int) -> Html:
    """One event with its body and its tries; raises LookupError for an unknown one."""
    found = service.events.find(number)
    tries = joined(
        fill(
            "try",
            time=moment(each.at, service.clock.now()),
            code=each.status or "no answer",
            took=_took(each.seconds),
            answer=each.answer,
            **{"class": _verdict(each.status)["class"]},
        )
        for each in found.tries
    )
    return fill(
        "hook-more",
        number=number,
        id=found.task_id,
        name=short(found.tracking_id) or found.task_id[:8],
        body=_pre("Body", _pretty(found.body)),
        tries=tries or Html('<p class="mut">None yet.</p>'),
    )


def faulty(service: Service) -> Html:
    """How many faults there are."""
    count = len(service.faults.told())
    return fill("count", text=count) if count else Html("")


def faults(service: Service) -> Html:
    """The faults that are ordered, and the calls whose effect they have put off."""
    told = service.faults.told()
    late = [_late(call) for call in service.late.described()]
    if not told and not late:
        return fill("nothing", title="No faults", text="Every call is answered as it should be.", action="")
    clear = [fill("faults-clear", struck=sum(fault["struck"] for fault in told))] if told else []
    return joined((*clear, *map(_fault, told), *late))


def _late(call: dict[str, Any]) -> Html:
    at = "after its connection" if call["acts_at"] is None else f"at {local(call['acts_at']):%H:%M:%S}"
    link = fill("task-link", id=call["task_id"]) if call["task_id"] else ""
    return fill("late-call", number=call["number"], operation=call["operation"], at=at, link=link)


def _fault(fault: dict[str, Any]) -> Html:
    of, struck = fault["times"], fault["struck"]
    kind, seconds = fault["kind"], f"{fault['seconds']:g} s"
    what = KINDS[kind]
    if kind == "status":
        what = f"answered {fault['status']}"
    elif kind == "delay":
        what = f"delay of {seconds}"
    elif kind in ("hidden", "outdated", "restored"):
        what = f"{what}, {seconds}"
    about = {EVERY_OPERATION: "every call", WEBHOOK: "events"}.get(fault["operation"], fault["operation"])
    if fault["every"] > 1:
        about = f"{about}, every {_ordinal(fault['every'])}"
    when = f", {fault['when']} the effect"
    if fault["operation"] == WEBHOOK or kind in BENDING_KINDS:
        when = ""
    elif fault["when"] == "late":
        when = f", the effect {seconds} late"
    share = "" if fault["rate"] == 1 else f", {fault['rate']:.0%} of them"
    left = None if of is None else max(0, of - struck)
    return fill(
        "fault",
        number=fault["number"],
        what=what,
        left=f"struck {struck}, no end" if left is None else f"{left} of {of} left",
        about=f"{about}{when}{share}",
        bar="" if left is None else fill("fault-bar", of=of, left=left, number=fault["number"]),
    )


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def fault_form() -> Html:
    """The form for a new fault."""
    options = Html("".join(f'<option value="{name}">{name}</option>' for name in ENDPOINTS))
    return fill("fault-form", operations=options)


def _verdict(code: int) -> dict[str, str]:
    """How a status looks."""
    if 200 <= code < 300:
        return {"class": "c2", "bad": ""}
    return {"class": "c4", "bad": ""} if 300 <= code < 500 else {"class": "c5", "bad": " bad"}


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _pre(label: str, text: str) -> Html:
    return fill("pre", label=label, text=text) if text else Html('<p class="mut">None.</p>')


def _pretty(body: bytes) -> str:
    return msgspec.json.format(body, indent=2).decode("utf-8", "replace")


def _knows(service: Service, task_id: str) -> bool:
    return bool(task_id) and service.tasks.knows(task_id)
