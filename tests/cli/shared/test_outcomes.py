"""`gotsurge_async.cli.shared.outcomes`: what became of a few orders; reading them is tested with `tasks create`."""

from typing import Any

import pytest

from gotsurge_async.calls.create import Created, InDoubt, Refused, Unprocessed
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.shared.outcomes import Results
from gotsurge_async.errors import BadRequest, GotSurgeError, NotSent, OutcomeUnknown, SignInNeeded
from gotsurge_async.models.tasks import Receipt
from tests.support.orders import order

DONE = Created(order=order("A"), receipt=Receipt(id="1"))
REFUSED = Refused(order=order("B"), error=BadRequest("no"))
LOST = InDoubt(order=order("C"), error=OutcomeUnknown("lost"))
UNSENT = Unprocessed(order=order("D"), error=NotSent("no connection"))


@pytest.mark.parametrize(
    ("results", "error", "code"),
    [
        ([DONE], None, Exit.CREATED),
        ([DONE, REFUSED], None, Exit.REFUSED),
        ([REFUSED, UNSENT], None, Exit.STOPPED),
        ([UNSENT], SignInNeeded(), Exit.SIGN_IN),
        ([UNSENT, LOST], SignInNeeded(), Exit.IN_DOUBT),
    ],
)
def test_the_exit_code_is_the_worst_that_happened(results: list[Any], error: GotSurgeError | None, code: Exit) -> None:
    """Doubt before what a person must mend, that before what was not sent, that before refusals."""
    assert Results(results, error).exit_code is code
