"""`gotsurge_async/catalogue/troubleshooting.md`: each text that can be told stands there once, nothing else does.

The codes themselves are in the code, where an error is made: each must have an entry that describes that very error.
"""

import re
from datetime import UTC, datetime

import click
import pytest

from gotsurge_async.api.endpoints import TASKS_CREATE
from gotsurge_async.calls.outcome import Attempt, error_of, outcome_of
from gotsurge_async.catalogue import entries, explaining
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.transports.base import Response
from tests.catalogue.__main__ import PAGE, with_messages
from tests.catalogue.texts import CODE, PACKAGE, told_codes

WARNINGS = {"E604"}
"""Explained to whoever looks a warning up, which names no code."""
ENTRIES = entries()


def test_the_messages_of_each_entry_are_those_of_the_source() -> None:
    """Each message of the source is in the entry of its code, once, and no other message is in the catalogue."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_messages(page) == page, "type python -m tests.catalogue"


def test_a_new_message_goes_to_the_entry_of_its_code() -> None:
    """A message that the source does not have any more leaves, and one without a code needs a person."""
    page = PAGE.read_text(encoding="utf-8")
    far = "is more than 400 days away: is the year right? If it is, push with --any-date\n"
    assert with_messages(page.replace(far, "no error says this\n")) == page
    with pytest.raises(LookupError, match=r"is a PDF, .* has no code"):
        with_messages(page.replace("is a PDF, not text: export the table as CSV UTF-8\n", ""))


def test_every_code_that_is_used_has_an_entry_and_every_entry_is_used() -> None:
    """No error has a code that explains nothing, and no entry explains what no error has."""
    sources = (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    used = {code for source in sources for code in re.findall(r'"(E\d{3})"', source)}
    described = {code for code in ENTRIES if CODE.fullmatch(code)}
    assert used - described == set()
    assert described - used == WARNINGS


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (int(status), each.code)
        for each in ENTRIES.values()
        for message in each.messages
        for status in re.findall(r"HTTP (\d{3})", message)
    ],
)
def test_a_refusal_has_the_code_of_its_status(status: int, code: str) -> None:
    """Whatever GotSurge says in its answer, even if that is the text of another error."""
    answer = Response(status=status, body=b'{"message": "is required but missing"}')
    failed = Attempt(outcome=outcome_of(status), response=answer)
    error = error_of(TASKS_CREATE, failed, attempts=1, sent=b"", now=datetime(2030, 1, 1, tzinfo=UTC))
    assert error.explain_code == code


def test_enough_is_looked_at() -> None:
    """The search through the source finds what it is there for: errors, faults of rows, warnings, constants."""
    told = told_codes()
    assert len(told) > 700
    assert sum(codes != {"…"} for codes in told.values()) > 650
    assert "is not an IMO number: its last digit does not fit the first six, so one digit is mistyped" in told
    assert "the pickup ends before it starts" in told
    assert "is a PDF, not text: export the table as CSV UTF-8" in told
    assert any(text.startswith("warning: orders were sent to") for text in told)
    assert any("is held by" in text for text in told)


def test_a_message_leads_to_its_own_entry() -> None:
    """With names and numbers put in, each message is found, and its entry is the one that explains it."""
    for entry in ENTRIES.values():
        for message in entry.messages:
            if sum(map(len, message.split("…"))) >= 16:
                explained = explaining(message.replace("…", "run-7"))
                assert explained is not None, message
                assert explained.code == entry.code, message


def test_an_entry_says_what_to_do_and_whether_anything_was_sent() -> None:
    """Each has a title, what to do, and but for help itself what was sent; its exit codes exist."""
    for code, entry in ENTRIES.items():
        assert entry.title, code
        assert "*What to do:*" in entry.text, code
        assert "*Sent:*" in entry.text or code in ("exit-0", "E891"), code
        assert {int(number) for number in re.findall(r"#exit-(\d+)", entry.text)} <= {int(each) for each in Exit}, code
        assert set(re.findall(r"\(#(e\d{3})\)", entry.text)) <= {each.lower() for each in ENTRIES}, code


def test_every_exit_code_has_an_entry() -> None:
    """None is missing, and there is no other."""
    assert {code for code in ENTRIES if code.startswith("exit-")} == {f"exit-{int(code)}" for code in Exit}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (click.NoSuchOption("--frob"), "E101"),
        (click.MissingParameter(param_hint="FILE", param_type="argument"), "E101"),
        (click.MissingParameter(param_hint="--env", param_type="option"), "E101"),
        (click.BadParameter("'x' is not a valid integer.", param_hint="'--rate'"), "E102"),
        (click.UsageError("Got unexpected extra argument (x)"), "E101"),
        (click.UsageError("No such command 'frob'."), "E101"),
        (click.BadOptionUsage("--env", "Option '--env' requires an argument."), "E101"),
    ],
)
def test_what_click_says_is_explained(error: click.UsageError, code: str) -> None:
    """Wrong options and arguments are explained like all other errors."""
    told = explaining(error.format_message())
    assert told is not None
    assert told.code == code
