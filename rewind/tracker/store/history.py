"""What a revision sees: its own rows, and those of its parents up to the step each was left at. Nothing is copied."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

from ...errors import StoreDamagedError, show
from .aggregates import LONG, Aggregate, Aggregates, Definitions, definitions_problem, summarize
from .configs import of_stored
from .damage import odd_fact
from .database import Store
from .values import restored, row_text

#: A step after every other.
END = 1 << 62


@dataclass(frozen=True)
class Record:
    """A revision as it stands in the database."""

    uid: int
    run: str
    number: int
    kind: str
    parent: int | None
    parent_step: int
    name: str
    notes: str | None
    tags: list[str]
    config: dict[str, Any]
    defined: Definitions
    summary: dict[str, Any] | None
    state: str
    exit_code: int | None
    began: float
    ended: float | None
    pid: int | None
    host: str | None
    n_rows: int | None
    last_step: int | None
    rows_digest: str | None
    parent_digest: str | None
    simulation_digest: str | None
    digest: str | None
    kept_rows: int | None
    kept_digest: str | None
    limits: dict[str, Any] | None
    machine: dict[str, Any] | None
    made_as: str | None  # ``ID@REV`` where its digest was made, if an import has given it another name

    @property
    def ref(self) -> str:
        """Name of the revision, ``ID@REV``."""
        return f"{self.run}@{self.number}"

    @property
    def made(self) -> tuple[str, int]:
        """Run and number that its digest is over."""
        run, _, number = (self.made_as or self.ref).rpartition("@")
        return run, int(number) if number.isdecimal() and len(number) < 19 else -1

    @property
    def closed(self) -> bool:
        """Whether it never changes again."""
        return self.digest is not None

    @property
    def last_row(self) -> int:
        """The last step of its parent whose row it can see: see `Span.last_row`."""
        return last_row(self.parent_step, self.limits)

    @property
    def settings(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The config as its user has it, and the labels ``group`` and ``job_type`` as far as there are any."""
        return of_stored(self.config)


_COLUMNS = ", ".join(field.name for field in fields(Record))
_TYPES = {field.name: str(field.type) for field in fields(Record)}
_JSON = {"tags", "config", "defined", "summary", "limits", "machine"}
_MANY = 2000  # rows of a read
#: Tables beside the rows whose `n` says in which order a revision wrote.
_NUMBERED = ("lines", "samples", "assigned", "artifact_events")


def records(store: Store, where: str, values: tuple[Any, ...] = ()) -> list[Record]:
    """Return the revisions that fulfil a condition."""
    found = []
    columns = _COLUMNS if store.version > 1 else _COLUMNS.replace("machine", "NULL").replace("made_as", "NULL")
    for row in store.read(f"SELECT {columns} FROM revisions WHERE {where}", values):
        facts = {field.name: value for field, value in zip(fields(Record), row, strict=True)}
        try:
            for name in _JSON:
                facts[name] = None if facts[name] is None else json.loads(facts[name])
            odd = odd_fact(facts, _TYPES)
            if odd is None and definitions_problem(facts["defined"]) is not None:
                odd = "defined"
            if odd is not None:
                what = "definitions of metrics" if odd == "defined" else odd
                raise ValueError(f"its {what}: {show(facts[odd], 80)}")
            facts["defined"] = Definitions(facts["defined"])
        except (ValueError, TypeError, RecursionError) as error:
            problem = f"it is damaged: what it says of {facts['run']}@{facts['number']} was never written: {error}"
            raise StoreDamagedError("read", store.path, problem) from None
        found.append(Record(**facts))
    return found


def record_of(store: Store, uid: int) -> Record:
    """Return one revision."""
    found = records(store, "uid = ?", (uid,))
    if not found:
        raise StoreDamagedError("read", store.path, f"its revision {uid} is not there; rewind fsck says more")
    return found[0]


@dataclass(frozen=True)
class Span:
    """A revision, and what is seen of it.

    Attributes
    ----------
    uid : int
    upto : int
        The last step.
    limits : mapping of str to int, optional
        Of one that was forked while it grew: the last number in each table beside its rows, at that moment. What it
        added at the step of the fork later is not seen. Of ``backfilled``: the names. Of ``rows``, where it was forked
        at a step that it had not come to: the last step that it had a row of.
    """

    uid: int
    upto: int
    limits: Mapping[str, Any] | None = None

    @property
    def last_row(self) -> int:
        """The last step whose row can be seen."""
        return last_row(self.upto, self.limits)


def last_row(upto: int, limits: Mapping[str, Any] | None) -> int:
    """Return the last step whose row can be seen of a revision that is seen up to a step."""
    return upto if limits is None else min(upto, limits.get("rows", upto))


#: What a revision sees, as a table; its values are the last step and the revision.
# Newest first, and made row by row: with a LIMIT it is walked no further. Of each link, `limits` are those of
# the child that left it.
CHAIN = """WITH RECURSIVE chain(uid, upto, limits, parent, parent_step, own_limits, depth) AS (
    SELECT uid, ?, NULL, parent, parent_step, limits, 0 FROM revisions WHERE uid = ?
    UNION ALL
    SELECT r.uid, min(chain.upto, chain.parent_step), chain.own_limits, r.parent, r.parent_step, r.limits, depth + 1
    FROM revisions r JOIN chain ON r.uid = chain.parent
    WHERE r.uid < chain.uid  -- a damaged one could go in a circle
    ORDER BY 7
) """


def back(store: Store, uid: int, upto: int = END, where: str = "1") -> Iterator[Span]:
    """Yield what the revision sees of itself, of its parent, of the parent of that ...; O(number asked for)."""
    query = f"{CHAIN} SELECT uid, upto, limits FROM chain WHERE {where} LIMIT ? OFFSET ?"
    for n, after in ((_NEAR, 0), (-1, _NEAR)):
        found = store.read(query, (upto, uid, n, after))
        for one, last, text in found:
            yield Span(one, last, None if text is None else json.loads(text))
        if len(found) < n:
            return


_NEAR = 8  # links that are read first: what is sought is there, as a rule
#: Of a link of the chain: that rows of its own can be seen. Of one that was rewound to before its beginning none are.
_HAS_ROWS = "upto > parent_step"


def spans(store: Store, uid: int, upto: int = END) -> list[Span]:
    """Return what the revision sees of itself and of its parents, the oldest first.

    O(number of parents), whatever the number of rows.
    """
    return [*back(store, uid, upto)][::-1]


def joined(store: Store, uid: int, table: str, columns: str, upto: int = END, more: str = "") -> list[tuple[Any, ...]]:
    """Return rows of a table that belong to what a revision sees, the oldest first: each after its `Span.limits` text.

    In SQL, the table and the link of the chain are ``t`` and ``chain``; `more` is what else has to hold, and the order.
    O(number of parents), without a query for each.
    """
    if not store.read(f"SELECT 1 FROM {table} LIMIT 1"):
        return []
    query = f"{CHAIN} SELECT chain.limits, {columns} FROM chain CROSS JOIN {table} t ON t.revision = chain.uid {more}"
    return store.read(query, (upto, uid))


def limits_of(store: Store, uid: int, step: int) -> dict[str, Any]:
    """Return what there is beside the rows of a revision that grows, and is left at a step: see `Span`."""
    last = last_step(store, uid)
    limits: dict[str, Any] = {} if step <= last else {"rows": last}
    for table in _NUMBERED:
        ((limits[table],),) = store.read(f"SELECT coalesce(max(n), -1) FROM {table} WHERE revision = ?", (uid,))
    names = store.read("SELECT DISTINCT name FROM backfilled WHERE revision = ? ORDER BY 1", (uid,))
    return {**limits, "backfilled": [name for (name,) in names]}


def beside(store: Store, uid: int, table: str, columns: str, low: int = -1, high: int = END) -> list[tuple[Any, ...]]:
    """Return what a revision sees of a table beside the rows, in order; the columns are those of ``t``."""
    more = f"AND t.step BETWEEN {low:d} AND min(chain.upto, {high - 1:d}) ORDER BY chain.depth DESC, t.n"
    found = joined(store, uid, table, f"t.n, {columns}", more=more)
    return [row[2:] for row in found if row[0] is None or row[1] <= _limits(row[0])[table]]


def _is_backfilled(limits: Mapping[str, Any], name: str, step: int) -> bool:
    return name in limits["backfilled"] and step <= limits.get("rows", step)


@lru_cache(64)
def _limits(text: str) -> Mapping[str, Any]:
    """Return the limits of a span, for looking up."""
    limits: Mapping[str, Any] = json.loads(text)
    return limits


def texts(store: Store, seen: list[Span], low: int = 0, high: int = END) -> Iterator[tuple[int, str]]:
    """Yield step and text of the rows from step `low` up to, not including, `high`."""
    for some in texts_of(store, seen, low, high):
        yield from some


def timed_texts(
    store: Store, seen: list[Span], low: int = 0, high: int = END
) -> Iterator[list[tuple[int, str, float | None]]]:
    """Yield step, text and time of the rows, many at a time; None for a time that was not kept."""
    return texts_of(store, seen, low, high, "step, data, seconds" if store.version > 1 else "step, data, NULL")


def texts_of(store: Store, seen: list[Span], low: int, high: int, columns: str = "step, data") -> Iterator[list[Any]]:
    """Yield columns of the rows, many at a time."""
    for span in seen:
        last, at = min(span.last_row, high - 1), low
        while at <= last:  # by short reads: nobody knows when a user asks for the next row
            query = f"SELECT {columns} FROM rows WHERE revision = ? AND step BETWEEN ? AND ? ORDER BY step LIMIT ?"
            some = store.read(query, (span.uid, at, last, _MANY))
            if some:
                yield some
            if len(some) < _MANY:
                break
            at = some[-1][0] + 1


def has_backfilled(store: Store, uid: int) -> bool:
    """Whether something was computed for past rows by a revision."""
    return bool(store.read("SELECT 1 FROM backfilled WHERE revision = ? LIMIT 1", (uid,)))


def n_rows(store: Store, seen: list[Span], high: int = END) -> int:
    """Return the number of rows below a step; none is read."""
    query = "SELECT count(*) FROM rows WHERE revision = ? AND step <= ?"
    return sum(store.read(query, (span.uid, min(span.last_row, high - 1)))[0][0] for span in seen)


def backfilled(store: Store, seen: list[Span], low: int = 0, high: int = END) -> dict[int, dict[str, Any]]:
    """Return what was computed for past rows, by step, as it is kept."""
    found: dict[int, dict[str, Any]] = {}
    if not store.read("SELECT 1 FROM backfilled LIMIT 1"):
        return found
    for span in seen:
        query = "SELECT step, name, value FROM backfilled WHERE revision = ? AND step BETWEEN ? AND ? ORDER BY step"
        for step, name, value in store.each(query, (span.uid, low, min(span.last_row, high - 1))):
            if span.limits is not None and name not in span.limits["backfilled"]:
                continue
            found.setdefault(step, {})[name] = json.loads(value)
    return found


def _values(store: Store, step: int, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        row = None
    if type(row) is not dict:  # not what was written
        problem = f"it is damaged: the row of step {step} cannot be read; rewind fsck says more"
        raise StoreDamagedError("read", store.path, problem)
    return row


def parsed(store: Store, rows: list[tuple[int, str]]) -> tuple[list[dict[str, Any]], bool]:
    """Return the values of rows as they are kept; and whether all are plain, so that a user gets them as they are.

    One call of the parser for all, which takes half the time of a call for each, where each text is one object with
    nothing nested in it: one brace at its beginning, and one at its end.
    """
    n = len(rows)
    with contextlib.suppress(ValueError, TypeError):  # then one of them is damaged: which?
        joined = ",".join([text for _, text in rows])
        flat = joined.count("{") == n and joined.count("},{") == n - 1 and joined.endswith("}") and "[" not in joined
        if flat and all([text[:1] == "{" for _, text in rows]):
            return json.loads(f"[{joined}]"), True
    return [_values(store, step, text) for step, text in rows], False


_Rows = tuple[list[int], list[dict[str, Any]], bool]


def kept_batches(store: Store, seen: list[Span], low: int = 0, high: int = END, times: bool = False) -> Iterator[_Rows]:
    """Yield steps and values of the rows, as they are kept, many at a time; and whether all these are plain.

    With `times`, the time of each row is one of its values, and how long the run had been logged to.
    """
    more = backfilled(store, seen, low, high)
    for some in _timed(store, seen, low, high) if times else texts_of(store, seen, low, high):
        rows, plain = parsed(store, [one[:2] for one in some] if times else some)
        steps = [one[0] for one in some]
        for row, (_, _, seconds, since) in zip(rows, some, strict=True) if times else ():
            if seconds is not None:
                row.setdefault("_timestamp", seconds)
                row.setdefault("_runtime", seconds - since)
        if more:
            plain = False
            for step, row in zip(steps, rows, strict=True):
                if step in more:
                    row |= more[step]
        yield steps, rows, plain


def _timed(store: Store, seen: list[Span], low: int, high: int) -> Iterator[list[Any]]:
    """Yield step, text and time of the rows, many at a time; and the time that its runtime is counted from."""
    spent = 0.0  # what was logged before the revision began
    for span in seen:
        ((began,),) = store.read("SELECT began FROM revisions WHERE uid = ?", (span.uid,))
        for some in timed_texts(store, [span], low, high):
            yield [(*row, began - spent) for row in some]
        if store.version > 1:
            query = "SELECT seconds FROM rows WHERE revision = ? AND step <= ? ORDER BY step DESC LIMIT 1"
            for (seconds,) in store.read(query, (span.uid, span.last_row)):
                spent += 0.0 if seconds is None else seconds - began


def kept_rows(store: Store, seen: list[Span], low: int = 0, high: int = END) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield step and values of the rows, as they are kept."""
    for steps, rows, _ in kept_batches(store, seen, low, high):
        yield from zip(steps, rows, strict=True)


#: Keys of a row that its time gives.
TIMES = ("_timestamp", "_runtime")


def history(
    store: Store, seen: list[Span], keys: Collection[str] | None, low: int, high: int
) -> Iterator[dict[str, Any]]:
    """Yield rows as a user gets them, ``_step`` first; with `keys` only these, and rows that have one of them."""
    for some in batches(store, seen, keys, low, high):
        yield from some


def batches(
    store: Store, seen: list[Span], keys: Collection[str] | None, low: int, high: int, times: bool = False
) -> Iterator[list[dict[str, Any]]]:
    """Yield what `history` does, many rows at a time; with `times`, or keys that ask for them, with `TIMES`."""
    times = times or (keys is not None and any(key in keys for key in TIMES))
    names = None if keys is None else [key for key in keys if key != "_step"]
    every = keys is not None and "_step" in keys
    for steps, rows, plain in kept_batches(store, seen, low, high, times):
        found = zip(steps, rows, strict=True)
        if names is None:
            if plain:
                yield [{"_step": step, **row} for step, row in found]
            else:
                yield [{"_step": step, **{key: restored(value) for key, value in row.items()}} for step, row in found]
        elif plain and len(names) == 1 and not every:
            (name,) = names
            yield [{"_step": step, name: row[name]} for step, row in found if name in row]
        else:
            some = [{"_step": step, **{key: restored(row[key]) for key in names if key in row}} for step, row in found]
            yield some if every else [row for row in some if len(row) > 1]


def last_step(store: Store, uid: int, upto: int = END) -> int:
    """Return the step of the last row that a revision sees, up to a step; -1 where there is none."""
    for span in back(store, uid, upto, _HAS_ROWS):
        query = "SELECT max(step) FROM rows WHERE revision = ? AND step <= ?"
        ((step,),) = store.read(query, (span.uid, span.last_row))
        if step is not None:
            return int(step)
    return -1


# ---- summaries


def aggregates_at(store: Store, uid: int, upto: int = END) -> Aggregates:
    """Return the aggregates of all rows that a revision sees up to a step, without those that were backfilled.

    From the last mark before it, so at most `rows.MARK_ROWS` rows of each revision are read.
    """
    aggregates, todo = Aggregates(), []
    for span in back(store, uid, upto, _HAS_ROWS):
        query = "SELECT step, accounts FROM marks WHERE revision = ? AND step <= ? ORDER BY step DESC LIMIT 1"
        mark = store.read(query, (span.uid, span.last_row))
        if mark:
            ((step, text),) = mark
            aggregates = Aggregates.from_json(json.loads(text), step)
            todo.append((span, step + 1))
            break
        todo.append((span, 0))
    for span, low in reversed(todo):
        some, length = [], 0
        for step, text in texts(store, [span], low):
            some.append((step, _values(store, step, text)))
            length += len(text)
            if len(some) == 4096 or length > LONG:
                aggregates.add(some)
                some, length = [], 0
        aggregates.add(some)
    return aggregates


class Beside:
    """What counts in the summary of a revision beside the rows that were logged.

    Attributes
    ----------
    assigned : dict of str to (int, value)
        What was put in by hand: at which step, and its text.
    columns : dict of str to (list of (int, value), Aggregate)
        What was backfilled, by step, and the aggregate of it.
    first, last : int
        The first step of what the revision has itself of both, and the last step of all.
    before : Beside or None
        What it began with, where that is known.
    """

    def __init__(self, before: Beside | None = None) -> None:
        self.assigned: dict[str, tuple[int, Any]] = {}
        self.columns: dict[str, tuple[list[tuple[int, Any]], Aggregate]] = {}
        self.first, self.last, self.before = END, -1, before
        if before is not None:
            self.assigned, self.columns, self.last = dict(before.assigned), dict(before.columns), before.last
            before.before = None  # two of a chain are enough, and it may be long

    @classmethod
    def seen(cls, store: Store, uid: int) -> Beside:
        """Return what a revision sees. O(number of its parents, and of what they have)."""
        new = cls()
        for key, step, value in beside(store, uid, "assigned", "t.key, t.step, t.value"):
            new._assign(key, step, value)
        more = "AND t.step <= chain.upto ORDER BY t.step, chain.depth DESC, t.name"
        found = joined(store, uid, "backfilled", "t.name, t.step, t.value", more=more)
        new._enter([row for limits, *row in found if limits is None or _is_backfilled(_limits(limits), *row[:2])])
        return new

    def after(self, store: Store, uid: int, step: int) -> Beside | None:
        """Return what a revision sees that left this one, closed, at a step; None if that is not all there is here.

        O(what it has itself, and number of keys), however long the chain is.
        """
        base: Beside | None = self
        if self.last > step:  # rewound, to before all that it has itself
            base = self.before if self.first > step else None
            if base is None or base.last > step:
                return None
        new = Beside(base)
        for key, at, value in store.read("SELECT key, step, value FROM assigned WHERE revision = ? ORDER BY n", (uid,)):
            new._assign(key, at, value)
        query = "SELECT name, step, value FROM backfilled WHERE revision = ? ORDER BY step, name"
        new._enter(store.read(query, (uid,)))
        return new

    def _assign(self, key: str, step: int, value: Any) -> None:
        self.assigned[key] = step, value
        self.first, self.last = min(self.first, step), max(self.last, step)

    def _enter(self, rows: Iterable[Sequence[Any]]) -> None:
        more: dict[str, list[tuple[int, Any]]] = {}
        for name, step, value in rows:
            more.setdefault(name, []).append((step, json.loads(value)))
        for name, column in more.items():
            before = self.columns.get(name)
            if before is not None:  # of the rows that had none yet
                column = sorted([*before[0], *column], key=lambda one: one[0])
            aggregate = Aggregate()
            aggregate.add([value for _, value in column])
            aggregate.at = column[-1][0]
            self.columns[name] = column, aggregate
            self.first, self.last = min(self.first, column[0][0]), max(self.last, aggregate.at)


def summary_of(
    store: Store, uid: int, aggregates: Aggregates | None = None, defined: Definitions | None = None
) -> dict[str, Any]:
    """Return the summary over exactly the rows that a revision sees, as a user gets it."""
    return {key: restored(value) for key, value in summary_kept(store, uid, aggregates, defined).items()}


def summary_kept(
    store: Store,
    uid: int,
    aggregates: Aggregates | None = None,
    defined: Definitions | None = None,
    more: Beside | None = None,
) -> dict[str, Any]:
    """Return the summary over exactly the rows that a revision sees, as JSON has it."""
    if aggregates is None:
        aggregates = aggregates_at(store, uid)
    if defined is None:
        defined = record_of(store, uid).defined
    if more is None:
        more = Beside.seen(store, uid)
    if more.columns:
        both = Aggregates(aggregates)
        both.last_step = aggregates.last_step
        for name, (_, computed) in more.columns.items():
            both[name] = replace(computed)
            if name in aggregates:  # logged under the same name after them
                both[name].join(aggregates[name])
        aggregates = both
    assigned = {key: (step, json.loads(value)) for key, (step, value) in more.assigned.items()}
    found: dict[str, Any] = json.loads(row_text(summarize(aggregates, defined, assigned)))
    return found


# ---- runs


#: The revision that a run stands at, of a row of ``runs``: its newest one, but for those of another lineage, which an
#: import has given another number than they were made with.
NEWEST = """SELECT uid FROM main.revisions r WHERE r.run = runs.id
            ORDER BY made_as IS NOT NULL AND made_as NOT LIKE '%@' || number, number DESC LIMIT 1"""


class RunRow(NamedTuple):
    """A run as it stands in the database; `current` is the number of its current revision there."""

    project: str | None
    entity: str | None
    current: int
    removed: bool


def run_row(store: Store, run_id: str) -> RunRow | None:
    """Return what the database says of a run; None if there is none."""
    for project, entity, current, removed in store.read(
        "SELECT project, entity, current, removed FROM runs WHERE id = ?", (run_id,)
    ):
        facts = {"project": project, "entity": entity, "current": current, "removed": removed}
        odd = odd_fact(facts, {"project": "str | None", "entity": "str | None", "current": "int", "removed": "int"})
        if odd is not None:
            problem = f"it is damaged: of run {run_id!r} it says that its {odd} is {show(facts[odd], 80)}"
            raise StoreDamagedError("read", store.path, problem)
        return RunRow(project, entity, current, bool(removed))
    return None


# ---- digests


class RowsDigest:
    """The digest of a revision's own rows, as they are added."""

    def __init__(self) -> None:
        self._hash, self.n = hashlib.blake2b(digest_size=32), 0
        self._times, self._timed = hashlib.blake2b(digest_size=32), False

    def add(self, rows: Collection[tuple[int, str, float | None]]) -> None:
        """Enter steps, texts and times of rows; None for a time that is not known."""
        self._hash.update("".join([f"{row[0]}\n{row[1]}\n" for row in rows]).encode())
        self.n += len(rows)
        times = [math.nan if row[2] is None else row[2] for row in rows]
        self._timed = self._timed or any(seconds == seconds for seconds in times)
        self._times.update(struct.pack(f"<{len(times)}d", *times))

    def text(self) -> str:
        """Return the digest of all rows so far."""
        return self._hash.copy().hexdigest()

    @property
    def times(self) -> str | None:
        """The digest of the times of all rows so far; None where none is known."""
        return self._times.copy().hexdigest() if self._timed else None


def rows_digest(store: Store, uid: int, upto: int = END) -> RowsDigest:
    """Return the digest of a revision's own rows up to a step. O(number of rows)."""
    digest = RowsDigest()
    for some in timed_texts(store, [Span(uid, upto)]):
        digest.add(some)
    return digest


def parent_digest(store: Store, record: Record) -> str | None:
    """Return what stands for the past of a revision: its parent's digest; if that grows still, of the part it has."""
    if record.parent is None:
        return None
    parent = record_of(store, record.parent)
    if parent.digest is not None:
        return parent.digest
    before = parent_digest(store, parent)
    return open_digest(before, record.parent_step, rows_digest(store, parent.uid, record.last_row).text())


def open_digest(before: str | None, step: int, rows: str) -> str:
    """Return what stands for a parent that grows still: for its own past and its rows up to a step."""
    return _hashed(["open", before, step, rows])


def revision_digest(
    store: Store,
    record: Record,
    rows: str,
    summary: dict[str, Any],
    simulation: str | None,
    times: str | None = None,
) -> str:
    """Return the digest of a revision: over its rows, config, summary, artifacts, lines, simulation, and its past."""
    own, (run, number) = (record.uid,), record.made
    events = """SELECT e.step, e.kind, a.name, a.version, a.digest, e.aliases FROM artifact_events e
                JOIN artifacts a ON a.uid = e.artifact WHERE e.revision = ? ORDER BY e.n"""
    facts: dict[str, Any] = {
        "run": run,
        "revision": number,
        "kind": record.kind,
        "state": record.state,
        "exit_code": record.exit_code,
        "parent": record.parent_digest,
        "parent_step": record.parent_step,
        "name": record.name,
        "notes": record.notes,
        "tags": record.tags,
        "limits": record.limits,
        "config": record.config,
        "defined": record.defined,
        "rows": rows,
        "summary": summary,
        "simulation": simulation,
        "artifacts": store.read(events, own),
        "assigned": store.read("SELECT step, key, value FROM assigned WHERE revision = ? ORDER BY n", own),
        "backfilled": _digest_of(
            store, "SELECT name, step, value FROM backfilled WHERE revision = ? ORDER BY 1, 2", own
        ),
        "lines": _digest_of(store, "SELECT step, stream, text FROM lines WHERE revision = ? ORDER BY n", own),
        "samples": _digest_of(
            store, "SELECT step, seconds, cpu, memory FROM samples WHERE revision = ? ORDER BY n", own
        ),
    }
    # What releases before 0.6 did not keep is not in the digests that they made.
    later = {"times": times, "machine": record.machine}
    return _hashed({**facts, **{name: value for name, value in later.items() if value is not None}})


def _digest_of(store: Store, query: str, values: tuple[Any, ...]) -> str:
    found = hashlib.blake2b(digest_size=32)
    for row in store.each(query, values):
        found.update((json.dumps(row) + "\n").encode())
    return found.hexdigest()


def _hashed(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
