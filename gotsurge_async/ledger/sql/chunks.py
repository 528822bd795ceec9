"""A chunk of orders as the ledger has it: read, changed in memory, and written by one compare-and-swap.

Every write about orders goes through `save_all`: it changes a chunk's row only if its epoch and its states are still
those that were read or remembered, and what belongs to it (task ids, notes) in the same transaction. A claim raises the
epoch: a process that lost a claim, and wakes up with it, changes nothing.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from gotsurge_async.config import SETTLE
from gotsurge_async.database import Database, Kind, Moved, Row
from gotsurge_async.ledger.errors import IllegalTransition, damaged
from gotsurge_async.ledger.states import LETTERS, STATE_OF, TRANSITIONS, NewOrder, OrderState

PLACES = 32
"""The numbers reserved for the orders of a chunk, which has at most 20."""

JOINED = b","
"""Separates the orders of a body, so that it is ready to be sent."""

PAGE = 200
"""The chunks that are read or changed at a time, where a run may have any number of them."""

RAW, ZLIB, ARCHIVED = 0, 1, 2
"""The storage of a chunk's orders: as they are, compressed, or in another file, with at most their names here."""

LAST = 2**63 - 1
"""The greatest possible number of a chunk, as the end of a range."""

_known = frozenset(STATE_OF)
_ROW = ("id", "was_epoch", "was_states", "epoch", "claimed_at", "now", "states", "open_until", "part", "status", "ids")


def number_of(chunk: int, place: int) -> int:
    """The number of an order, from its chunk and its place."""
    return chunk * PLACES + place


def by_chunk(numbers: Iterable[int]) -> dict[int, list[int]]:
    """Orders' numbers as places by chunk; chunks are sorted, so that all writers lock them in the same order."""
    places: dict[int, list[int]] = {}
    ordered = sorted(numbers)
    if ordered and ordered[0] // PLACES == ordered[-1] // PLACES:  # all of one, as nearly always
        first = ordered[0] // PLACES * PLACES
        return {first // PLACES: [number - first for number in ordered]}
    for number in ordered:
        places.setdefault(number // PLACES, []).append(number % PLACES)
    return places


def clean(text: str | None) -> str | None:
    """A service's text in a form that databases store: garbage in it must not prevent the record of an outcome."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


class Meta(NamedTuple):
    """The data of one order in a body besides its text."""

    line: int
    key: str
    size: int
    source_size: int | None
    fingerprint: int | None = None
    """See `number_of_print`."""


def number_of_print(fingerprint: bytes | None) -> int | None:
    """A fingerprint as the ledger has it: its first eight bytes, which are enough to distinguish a million orders."""
    return None if fingerprint is None else int.from_bytes(fingerprint[:8], "big", signed=True)


_metas = msgspec.json.Decoder(list[Meta])
_ids = msgspec.json.Decoder(list[str | None])


class Note(NamedTuple):
    """The data that only some orders of a chunk have."""

    status: str | None = None
    error: str | None = None
    lost_drafts: int = 0
    cancel_until: int | None = None
    """For a ``cancelling`` order: until when the cancel may act. Negative while its call may not have ended: then
    for how long the cancel may act after that."""


class Chunk(Struct):
    """A chunk.

    Attributes:
        run: the number of its run.
        epoch: raised by each claim.
        states: a letter for each order.
        open_until: until when a create or a broadcast of its orders that was not answered may still act.
        tasks: of each order that has one, by its place, the recorded task and its first status.
        notes: the notes on single orders, by their places.
        metas, body, source: the orders' data, if they were read.
    """

    id: int
    run: int
    epoch: int
    claimed_at: int | None
    updated_at: int
    states: list[str]
    open_until: int | None = None
    tasks: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    notes: dict[int, Note] = field(default_factory=dict)
    metas: Sequence[Meta] = ()
    body: bytes = b""
    source: bytes = b""
    packed: int = RAW
    _was: tuple[int, str] = (0, "")
    _parts: int = 0
    _new: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    _noted: set[int] = field(default_factory=set)
    _settles_after: int | None = None

    def bare(self) -> "Chunk":
        """The chunk without the data of its orders; nothing of it was changed since it was read."""
        head = self.id, self.run, self.epoch, self.claimed_at, self.updated_at, self.states, self.open_until
        return Chunk(*head, self.tasks, self.notes, packed=self.packed, _was=self._was, _parts=self._parts)

    def state(self, place: int) -> OrderState:
        """The state of an order."""
        return STATE_OF[self.states[place]]

    def one_state(self) -> OrderState | None:
        """Where all its orders stand, if that is one state, and nothing is noted of any; else None."""
        letter = self.states[0]
        return STATE_OF[letter] if not self.notes and self.states.count(letter) == len(self.states) else None

    def places(self, states: Iterable[OrderState]) -> list[int]:
        """The places of the orders in some states."""
        letters = {LETTERS[state] for state in states if state in LETTERS}
        return [place for place, letter in enumerate(self.states) if letter in letters]

    @property
    def numbers(self) -> list[int]:
        """The numbers of its orders, in their order."""
        return list(range(self.id * PLACES, self.id * PLACES + len(self.states)))

    def take(self, tasks: Sequence[tuple[str, str | None]], source: str, target: str) -> bool:
        """Move all of its orders to a state, and give each, by its place, its first task, with the task's status.

        Returns:
            False, and nothing is changed, if an order has another letter than ``source``, or a task or
            a note; or if a text is not plain.
        """
        number, text = len(self.states), "".join([part or "" for task in tasks for part in task])
        is_new = not self.tasks and not self.notes and clean(text) is text
        if not is_new or not self.states.count(source) == number == len(tasks):
            return False
        self.states = [target] * number
        self.tasks = dict(enumerate(tasks))
        self._new = dict(self.tasks)
        return True

    def move(self, place: int, target: OrderState, *, source: OrderState | None = None) -> None:
        """Move an order to a state; IllegalTransition if its state, or ``source``, does not allow that."""
        state = source or self.state(place)
        if target is not state and target not in TRANSITIONS[state]:
            raise IllegalTransition(f"an order in state {state.value} cannot become {target.value}")
        self.states[place] = LETTERS[target]

    def put_in_doubt(self, place: int, why: str, now: int) -> None:
        """Put an order in doubt. Its sender may only just have ended, so its request may act for some time from now."""
        self.move(place, OrderState.IN_DOUBT)
        self.note(place, error=why)
        if self._settles_after is None:
            self._settles_after = int(SETTLE * 1_000_000)
            if self.open_until is not None and self.claimed_at is not None:  # as it was kept with the claim
                self._settles_after = max(0, self.open_until - self.claimed_at)
            self.open_until = max(self.open_until or 0, now + self._settles_after)

    def record(self, place: int, task_id: str | None, status: str | None) -> None:
        """Record the task of an order; None keeps the recorded one. IllegalTransition if another one is recorded."""
        if task_id is not None and place not in self.tasks:
            self.tasks[place] = self._new[place] = (task_id, self.status(place) if status is None else status)
            if place in self.notes:
                self.note(place, status=None)  # it is noted again where it differs from that of the others
        elif task_id is not None and self.tasks[place][0] != task_id:
            raise IllegalTransition("an order already has a different recorded task id, which is never replaced")
        elif status is not None and status != self.status(place):
            self.note(place, status=status)

    def task(self, place: int) -> str | None:
        """The task that is recorded for an order."""
        return self.tasks[place][0] if place in self.tasks else None

    def status(self, place: int) -> str | None:
        """The last status of an order's task that the service named."""
        noted = self.notes.get(place)
        if noted is not None and noted.status is not None:
            return noted.status or None  # "" where the others of its answer had one
        return self.tasks[place][1] if place in self.tasks else None

    def error(self, place: int) -> str | None:
        """The note about an order for people, such as why it is in doubt."""
        return self.notes[place].error if place in self.notes else None

    def forget_draft(self, db: Database, place: int, why: str) -> None:
        """Remove an order's recorded task, and name it in the ``error``; only when an older copy is accepted."""
        task_id = self.forget_task(db, place)
        self.note(place, error=f"{why}; its draft was {task_id}", lost_drafts=self.lost_drafts(place) + 1)

    def forget_task(self, db: Database, place: int) -> str:
        """Remove an order's recorded task, and return it; only if the task is known to prove nothing."""
        task_id, _ = self.tasks.pop(place)
        self.note(place, status="")
        db.change("delete_results", chunks=db.listed([self.id]))
        self._parts, self._new = 0, dict(self.tasks)
        return task_id

    def cancel_may_act(self, place: int, now: int) -> bool:
        """Whether a cancel of an order's task that was not answered may still act."""
        until = self.notes.get(place, Note()).cancel_until or 0
        return self.state(place) is OrderState.CANCELLING and (until < 0 or now < until)

    def cancel_settles_after(self, place: int) -> int:
        """How long a cancel on its way may act after its call has ended; 0 if none is on its way."""
        until = self.notes.get(place, Note()).cancel_until or 0
        return max(0, -until) if self.state(place) is OrderState.CANCELLING else 0

    def cancel_ends(self, place: int, now: int) -> int:
        """Until when a cancel of an order may act, if a call on its way has ended by now."""
        settles_after = self.cancel_settles_after(place)
        return now + settles_after if settles_after else self.notes.get(place, Note()).cancel_until or 0

    def lost_drafts(self, place: int) -> int:
        """The number of drafts that may exist of an order besides its own, noted ones included."""
        return self.notes[place].lost_drafts if place in self.notes else 0

    def note(self, place: int, **changes: Any) -> None:
        """Note something about an order."""
        before = self.notes.get(place, Note())
        after = before._replace(**changes)
        if after != before:
            self.notes[place] = after
            self._noted.add(place)

    def save(self, db: Database, now: int) -> None:
        """Write the changes, as `save_all`."""
        save_all(db, [self], now)

    def _row(self, now: int) -> Row:
        """The chunk's former epoch and states, and its new values."""
        was, self._was = self._was, (self.epoch, "".join(self.states))
        return self.id, *was, self.epoch, self.claimed_at, now, self._was[1], self.open_until

    def _result(self) -> Row:
        """The row of newly recorded tasks: inserted, never updated, so that no recorded task is replaced."""
        (_, status), *_ = self._new.values()
        ids: list[str | None] = [task_id for task_id, _ in self._new.values()]
        if [*self._new] != [*range(len(self.states))]:  # not of all orders, or in another order than theirs
            ids = [self._new[place][0] if place in self._new else None for place in range(len(self.states))]
        if len({other for _, other in self._new.values()}) > 1:
            for place, (_, other) in self._new.items():
                if other != status and self.notes.get(place, Note()).status is None:
                    self.note(place, status=other or "")
        row = (self.id, self._parts, status, msgspec.json.encode(ids).decode())
        self._parts += 1
        self._new.clear()
        return row

    # --- bodies -----------------------------------------------------------------------------------------------------

    def orders(self) -> Iterator[tuple[int, Meta, bytes, bytes | None]]:
        """For each order its place, its `Meta`, its text, and the row that it was read from."""
        rows, start = list[bytes | None](), 0
        for meta in self.metas:
            end = start + (meta.source_size or 0)
            rows.append(None if meta.source_size is None else self.source[start:end])
            start = end
        return zip(range(len(rows)), self.metas, self.payloads(), rows, strict=True)

    def payloads(self) -> list[bytes]:
        """The texts of the orders."""
        texts, start = list[bytes](), 0
        for meta in self.metas:
            texts.append(self.body[start : start + meta.size])
            start += meta.size + len(JOINED)
        return texts

    def payload(self, place: int) -> bytes:
        """The text of one order."""
        start = sum([meta.size for meta in self.metas[:place]]) + len(JOINED) * place
        return self.body[start : start + self.metas[place].size]

    def keep_names_only(self, db: Database) -> None:
        """Note that the stored texts only name the orders, and are not the texts that were sent: `ARCHIVED`."""
        db.change("change_body", chunk=self.id, packed=ARCHIVED, meta=_metas_text(self.metas), body=self.body)

    def rewrite(self, db: Database, place: int, payload: bytes, fingerprint: int | None) -> None:
        """Give an order another text; the caller must have locked the chunk's row before it read the chunk."""
        texts = [payload if at == place else text for at, text in enumerate(self.payloads())]
        new = self.metas[place]._replace(size=len(payload), fingerprint=fingerprint)
        self.metas = [new if at == place else meta for at, meta in enumerate(self.metas)]
        self.body = JOINED.join(texts)
        body = zlib.compress(self.body, 1) if self.packed == ZLIB else self.body
        db.change("change_body", chunk=self.id, packed=self.packed, meta=_metas_text(self.metas), body=body)


def save_all(db: Database, chunks: Iterable[Chunk], now: int) -> None:
    """Write the changes of some chunks, with one statement for all rows of a table.

    Raises:
        Moved: another writer changed a chunk since it was read; nothing was written.
    """
    ordered = sorted(chunks, key=lambda chunk: chunk.id)  # two who change the same ones wait, and not in a circle
    rows = [chunk._row(now) for chunk in ordered]
    results = [chunk._result() for chunk in ordered if chunk._new]
    is_one, name = len(rows) == 1, "change_one"
    if is_one and results and db.kind is Kind.POSTGRESQL:  # a statement costs more there
        rows, name = [(*rows[0], *results.pop()[1:])], "change_one_with_result"
    changed = db.change(name, **dict(zip(_ROW, rows[0], strict=False))) if is_one else db.insert("change", rows)
    if changed != len(rows):
        raise Moved
    db.insert("add_results", results)
    db.insert("note", [(chunk.id, at, *chunk.notes[at]) for chunk in ordered for at in sorted(chunk._noted)])
    for chunk in ordered:
        chunk._noted.clear()


def _metas_text(metas: Sequence[Meta]) -> str:
    return msgspec.json.encode(metas).decode()


def body_row(chunk: int, orders: Sequence[NewOrder], *, compact: bool) -> tuple[Row, list[Row], int]:
    """The row of ``bodies`` for some orders, for each order the values of its `Meta`, and the hash of their texts."""
    metas: list[Row] = [
        (
            order.line,
            order.key,
            len(order.payload),
            None if order.source_row is None else len(order.source_row),
            number_of_print(order.fingerprint),
        )
        for order in orders
    ]
    text = msgspec.json.encode(metas).decode()
    body = JOINED.join([order.payload for order in orders])
    source = b"".join([order.source_row or b"" for order in orders])
    if compact:
        return (chunk, ZLIB, text, zlib.compress(body, 1), zlib.compress(source, 1)), metas, hash(body)
    return (chunk, RAW, text, body, source), metas, hash(body)


# --- reading ----------------------------------------------------------------------------------------------------------


def chunk_of(row: Row) -> Chunk:
    """A chunk from its row; LedgerUnusable if that is damaged."""
    number, run, epoch, claimed_at, updated_at, states, open_until = row
    if not isinstance(states, str) or not states or len(states) > PLACES or not _known.issuperset(states):
        raise damaged("chunks", f"chunk {number}", f"its states are invalid: {states!r:.80}")
    if {*map(type, (run, epoch, claimed_at or 0, updated_at, open_until or 0))} != {int}:
        raise damaged("chunks", f"chunk {number}", "a number or a time is invalid")
    return Chunk(number, run, epoch, claimed_at, updated_at, list(states), open_until, _was=(epoch, states))


def chunks_of(db: Database, rows: Iterable[Row], *, tasks: bool = True, bodies: bool = False) -> dict[int, Chunk]:
    """Chunks from their rows, by number. ``tasks`` reads tasks and notes too, ``bodies`` the orders' data."""
    chunks = {chunk.id: chunk for chunk in map(chunk_of, rows)}
    if chunks and tasks:
        ids = db.listed(chunks)
        take_results(chunks, db.rows("results", ids=ids))
        take_notes(chunks, db.rows("notes", ids=ids))
    if chunks and bodies:
        take_bodies(chunks, db.rows("bodies", ids=db.listed(chunks)))
    return chunks


def page_of(
    db: Database, run: int | None, states: Iterable[OrderState] | None, after: int, most: int, *, last: int = LAST
) -> list[Row]:
    """The next rows of a run's chunks (None: of all runs'), up to ``last``, with orders in some states (None: any)."""
    values = {"after": after, "most": most} | ({} if run is None else {"run": run, "last": last})
    if states is None:
        return db.rows("chunks_of_run", **values)
    letters = db.having([LETTERS[state] for state in states])
    return db.rows("chunks_anywhere_with" if run is None else "chunks_with", letters=letters, **values)


def each_page(
    db: Database,
    run: int | None,
    states: Iterable[OrderState] | None = None,
    *,
    after: int = 0,
    last: int = LAST,
    most: int = PAGE,
    tasks: bool = True,
    bodies: bool = False,
) -> Iterator[dict[int, Chunk]]:
    """Chunks by number, page after page, from `page_of` and `chunks_of`; earlier pages may be changed meanwhile."""
    wanted = None if states is None else frozenset(states)
    while rows := page_of(db, run, wanted, after, most, last=last):
        after = rows[-1][0]
        yield chunks_of(db, rows, tasks=tasks, bodies=bodies)


def load(db: Database, numbers: Iterable[int], *, tasks: bool = True, bodies: bool = False) -> dict[int, Chunk]:
    """Some chunks, to read or to change; those that do not exist are left out."""
    wanted = sorted(set(numbers))
    if not wanted:
        return {}
    if len(wanted) != 1:
        return chunks_of(db, db.rows("chunks", ids=db.listed(wanted)), tasks=tasks, bodies=bodies)
    # As nearly always when something is sent: by its key alone, which costs half.
    chunks = {chunk.id: chunk for chunk in map(chunk_of, db.rows("chunk", id=wanted[0]))}
    for number in chunks if tasks else ():
        take_results(chunks, db.rows("results_of_chunk", chunk=number))
        take_notes(chunks, db.rows("notes_of_chunk", chunk=number))
    if bodies:
        take_bodies(chunks, db.rows("bodies", ids=db.listed(chunks)))
    return chunks


def task_ids_of(chunk: int, part: int | None, ids: str) -> list[str | None]:
    """The task ids of a row of ``results``; LedgerUnusable if it is damaged."""
    try:
        return _ids.decode(ids)
    except (ValueError, TypeError) as error:
        row = f"chunk {chunk}" if part is None else f"chunk {chunk}, part {part}"
        raise damaged("results", row, "its task ids are not a list of text") from error


def take_results(chunks: dict[int, Chunk], rows: Iterable[Row]) -> None:
    """Give chunks the tasks of rows of ``results``."""
    for number, part, status, ids in rows:
        chunk, named = chunks[number], task_ids_of(number, part, ids)
        if len(named) > len(chunk.states):
            raise damaged("results", f"chunk {number}, part {part}", "it has more task ids than the chunk has orders")
        chunk._parts = max(chunk._parts, part + 1)
        tasks = {place: (task_id, status) for place, task_id in enumerate(named) if task_id is not None}
        chunk.tasks = tasks | chunk.tasks if chunk.tasks else tasks


def take_notes(chunks: dict[int, Chunk], rows: Iterable[Row]) -> None:
    """Give chunks the rows of ``notes``."""
    for number, place, *note in rows:
        if place not in range(len(chunks[number].states)):
            raise damaged("notes", f"chunk {number}", f"it has no order {place!r:.40}")
        try:
            chunks[number].notes[place] = msgspec.convert(note, Note)
        except msgspec.ValidationError as error:
            raise damaged("notes", f"chunk {number}, order {place}", str(error)) from error


def take_bodies(chunks: dict[int, Chunk], bodies: Sequence[Row]) -> None:
    """Give each chunk its row of ``bodies``; LedgerUnusable if one is damaged, or missing."""
    for number, packed, metas, body, source in bodies:
        chunk = chunks[number]
        try:
            chunk.metas = _metas.decode(metas)
            chunk.packed = packed
            chunk.body, chunk.source = map(zlib.decompress, (body, source)) if packed == ZLIB else (body, source)
            size = sum([meta.size for meta in chunk.metas]) + len(JOINED) * (len(chunk.metas) - 1)
            rows = sum([meta.source_size or 0 for meta in chunk.metas])
            sizes = len(chunk.states), len(chunk.body), len(chunk.source)
            whole = packed == ARCHIVED or (len(chunk.metas), size, rows) == sizes
            whole = whole and isinstance(chunk.body, bytes) and isinstance(chunk.source, bytes)
        except (ValueError, TypeError, zlib.error) as error:
            raise damaged("bodies", f"chunk {number}", f"its orders cannot be read: {error}") from error
        if not whole:
            raise damaged("bodies", f"chunk {number}", "the number or the sizes of its orders differ from the record")
    if len(bodies) != len(chunks):
        gone = min(set(chunks) - {row[0] for row in bodies})
        raise damaged("bodies", f"chunk {gone}", "its orders are missing")
