"""The points that GotSurge's document leaves open, and this package's choice for each; `gotsurge doctor` lists them."""

from collections.abc import Mapping

ASSUMPTIONS: Mapping[str, str] = {
    "verbs, paths and the API base": (
        "assumed, in one table; a profile replaces them, and production changes something only on confirmed ones"
    ),
    "error bodies, codes, rate limits, Retry-After": (
        "JSON of any shape, HTML or text: a message is found wherever it stands; Retry-After as seconds or as a date"
    ),
    "whether a create of 20 is all-or-nothing, the order of its answer, whether a tracking_id is unique": (
        "nothing is taken for granted: an answer is matched by tracking_id, else by invoice_number, else by "
        "position if the counts agree; an order that it does not name is in doubt"
    ),
    "whether broadcasting an id that is no draft fails or passes": (
        "either: the task is read, and any status past draft means done"
    ),
    "whether drafts are in Task List, and whether a webhook carries tracking_id": (
        "used when they are there, never relied on"
    ),
    '"tasks" in the answer of a draft create is an object': ("a list, an object keyed by id, or one task are all read"),
    "pages shift while they are read": (
        "items are distinguished by their id; one that is missing from a list proves nothing"
    ),
    "webhooks: repeats, order, addresses": (
        "they may come twice, late, in any order or never; each makes us read its task, which alone is believed, and a "
        "sweep reads what was not heard of; where they may come from is your own configuration"
    ),
    "plain partners have no list and no search": (
        "an order of theirs that is in doubt is settled where its event comes to a receiver that has the ledger, and "
        "its task shows a name that is that order's alone; else a person must"
    ),
    "when a bearer token ends": ("the token's own exp if it is a JWT that carries one, else 30 days from server_time"),
    'the signature of Partner Detail: "base64" and "lowercase hex (base 64)"': (
        "standard base64, percent-encoded; base64url and hex can be chosen"
    ),
    "where a task shows its revision": (
        "version_rev, _rev, rev, or an ETag of that form; without one an update says so"
    ),
    "whether a pickup may lie in the future: the rule and its error text disagree": (
        "windows out of order are refused, a pickup that is over is a warning"
    ),
}
"""Every open point of the document, the most consequential first, and the choice that holds whichever way the service
turns out to answer."""
