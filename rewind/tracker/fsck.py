"""Check a tracker's folder: every digest, summary and mark is computed again from the rows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from ..errors import HistoryMismatchError, MissingStepError, RewindError, StoreDamagedError, StoreVersionError, show
from ..runs.progress import ProgressOption, reporter
from ..steps.raised import ended, is_own
from ..storage.journal import SUFFIX
from ..storage.strict_json import loads
from .again import Again
from .revision import Revision
from .simulation.parts import damaged, parts, simulation_digest
from .store import blobs, history
from .store.aggregates import LONG, Aggregates, definitions_problem
from .store.artifacts import problems as artifact_problems
from .store.damage import odd_fact, understood
from .store.database import OWNED, Store
from .store.history import END, Record, RowsDigest, Span
from .store.lock import is_held
from .store.pyramid import Pyramid
from .store.values import require_value, row_of, row_text

_MANY = 4096
_LABELS = {"project": "str | None", "entity": "str | None", "began": "float", "removed": "int"}  # in no digest
_LATELY = 64  # revisions whose children, which as a rule come right after them, are checked from what they see
_MOST_OPEN = 64  # parents in a row that were growing when a fork of them was closed


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes
    ----------
    ref : str
        ``ID@REV`` of a run, or the artifact ``NAME:vN``; empty for what is of the whole folder.
    text : str
    """

    ref: str
    text: str

    def __str__(self) -> str:
        return f"{self.ref}: {self.text}" if self.ref else self.text


@dataclass(frozen=True)
class Report:
    """What `Tracker.fsck` found.

    Attributes
    ----------
    problems : tuple of Problem
    n_runs, n_revisions, n_rows, n_artifacts : int
        What there is, and was checked.
    n_replayed : int
        Revisions whose history was regenerated and is what their simulation gives.
    n_running : int
        Revisions that are being written.
    n_left : int
        Revisions left by a process that ended: no problem, `init` goes on with them.
    not_replayed : tuple of Problem
        Revisions whose history could not be regenerated, since a function is missing: no problem, and no proof.
    leftovers : tuple of str
        Files that nothing refers to, left by a process that ended while it removed or imported something, or of one
        that is just doing so; no problem. `Tracker.purge` and `Tracker.import_file` remove them, contents and imports
        when they are a day old.
    """

    problems: tuple[Problem, ...]
    n_runs: int = 0
    n_revisions: int = 0
    n_rows: int = 0
    n_artifacts: int = 0
    n_replayed: int = 0
    n_running: int = 0
    n_left: int = 0
    not_replayed: tuple[Problem, ...] = ()
    leftovers: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


@dataclass(frozen=True)
class _Place:
    """Where a revision stands in the tree."""

    run: str
    number: int
    parent: int | None
    parent_step: int
    last_row: int  # of its parent, that it can see
    own: bool  # whether it is none of another lineage

    @property
    def rank(self) -> tuple[bool, int]:
        """What is highest for the revision that its run stands at: see `history.NEWEST`."""
        return self.own, self.number

    @property
    def ref(self) -> str:
        return f"{self.run}@{self.number}"


def fsck(
    folder: str,
    *,
    replay: Callable[[Revision], object] | None = None,
    progress: ProgressOption = None,
) -> Report:
    """Check a tracker's folder: as `Tracker.fsck` says. No `Tracker` opens a damaged one."""
    try:
        store = Store(folder, strict=False)
    except StoreVersionError:
        raise
    except StoreDamagedError as error:
        return Report((Problem("", str(error)),))
    try:
        with understood(store.path), store.snapshot():
            problems, readable = store.schema_problems()
            found = tuple(Problem("", f"the database: {problem}") for problem in problems)
            if not readable:  # whatever is called by the name of a table may have no end
                return Report(found)
            report = _Check(store).report(replay, progress)
            return replace(report, problems=found + report.problems)
    except StoreDamagedError as error:
        return Report((Problem("", str(error)),))
    finally:
        store.close()


class _Check:
    """One check of a folder, within a snapshot of its database."""

    def __init__(self, store: Store) -> None:
        self.store, self.folder = store, store.folder
        self.problems: list[Problem] = []
        self.not_replayed: list[Problem] = []
        self.places: dict[int, _Place] = {}
        self.broken: set[int] = set()  # no way leads from them to a root
        self.n_rows = self.n_replayed = self.n_running = self.n_left = 0
        self._stops: dict[int, set[int]] = {}  # steps of own rows at which a child begins
        self._at: dict[tuple[int, int], Aggregates] = {}
        self._waiting: dict[tuple[int, int], int] = {}
        self._again = Again(store)
        self._seen: dict[int | None, history.Beside] = {None: history.Beside()}

    def problem(self, ref: str, text: str) -> None:
        self.problems.append(Problem(ref, text))

    @contextmanager
    def _guarded(self, ref: str, what: str) -> Iterator[None]:
        """Make a problem of whatever goes wrong with what a damaged database says."""
        try:
            yield
        except RewindError as error:
            self.problem(ref, f"{what}: {error}")
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:  # a value of a type that nothing here ever wrote
            self.problem(ref, f"{what}: {type(error).__name__}: {error}")

    @contextmanager
    def _if_there(self, uid: int) -> Iterator[None]:
        """Forget what was found wrong with a revision that another process has purged meanwhile."""
        n = len(self.problems)
        yield
        if len(self.problems) > n and not self._again.has_revision(uid):
            del self.problems[n:]

    def report(self, replay: Callable[[Revision], object] | None, progress: ProgressOption) -> Report:
        n_runs = n_artifacts = 0
        with self._guarded("", "the database"):
            self._check_pages()
        with self._guarded("", "the table of revisions"):
            self._read_places()
        tell = reporter(progress, "fsck", len(self.places) * (1 if replay is None else 2))
        with self._guarded("", "the table of runs"):
            n_runs = self._check_runs()
        with self._guarded("", "what belongs to revisions"):
            self._check_owners()
        self._plan()
        for i, uid in enumerate(self.places):
            with self._if_there(uid), self._guarded(self.places[uid].ref, "it cannot be checked"):
                self._check(uid)
            if tell is not None:
                tell(i + 1, i)
        with self._guarded("", "the table of artifacts"):
            ((n_artifacts,),) = self.store.read("SELECT count(*) FROM artifacts WHERE type != 'code'")
            for ref, text in artifact_problems(self.store, self._again.has_artifact):
                self.problem(ref, text)
        leftovers: list[str] = []
        with self._guarded("", "the files"):
            leftovers = leftover_files(self.store)
        for i, uid in enumerate(self.places if replay is not None else ()):
            assert replay is not None
            with self._if_there(uid), self._guarded(self.places[uid].ref, "it cannot be replayed"):
                self._replay(uid, replay)
            if tell is not None:
                tell(len(self.places) + i + 1, i)
        counts = (n_runs, len(self.places), self.n_rows, n_artifacts, self.n_replayed, self.n_running, self.n_left)
        return Report(tuple(self.problems), *counts, tuple(self.not_replayed), tuple(leftovers))

    # ---- the whole

    def _check_pages(self) -> None:
        for (line,) in self.store.read("PRAGMA integrity_check(100)"):
            if line != "ok":
                self.problem("", f"the database: {line}")

    def _read_places(self) -> None:
        made_as = "made_as" if self.store.version > 1 else "NULL"
        query = f"SELECT uid, run, number, parent, parent_step, limits, {made_as} FROM revisions ORDER BY uid"
        for uid, run, number, parent, step, limits, made in self.store.each(query):
            own = made is None or str(made).endswith(f"@{number}")
            place = _Place(run, number, parent, step, _last_row(step, limits), own)
            if type(step) is not int or not -1 <= step < 1 << 62 or type(run) is not str or type(number) is not int:
                self.problem(str(place.ref), f"it begins after step {show(step)}, which is none")
                place = replace(place, parent_step=-1, last_row=-1)
            if parent is not None and (type(parent) is not int or parent not in self.places):
                older = "does not come before it" if type(parent) is int and uid <= parent else "is not there"
                self.problem(place.ref, f"its parent, revision {show(parent)} of the database, {older}")
                place = replace(place, parent=None)
                self.broken.add(uid)
            elif parent in self.broken:
                self.broken.add(uid)
            elif parent is None and step != -1:
                self.problem(place.ref, f"it begins after step {step} of no parent")
            self.places[uid] = place

    def _check_runs(self) -> int:
        n, known = 0, set()
        newest: dict[str, int] = {}
        for uid, at in self.places.items():
            newest[at.run] = max(newest.get(at.run, uid), uid, key=lambda one: self.places[one].rank)
        for run, current, *labels in self.store.each("SELECT id, current, project, entity, began, removed FROM runs"):
            n += 1
            known.add(run)
            place = self.places.get(current)
            if place is None or place.run != run or current != newest.get(run):
                found = "is not there" if place is None else f"is {place.ref}"
                self.problem(run, f"its current revision, {show(current)} of the database, {found}")
            odd = odd_fact(dict(zip(_LABELS, labels, strict=True)), _LABELS)
            if odd is not None:
                self.problem(run, f"its {odd} is damaged")
        for run in sorted({place.run for place in self.places.values()} - known):
            self.problem(run, "it has revisions, and is no run")
        return n

    def _check_owners(self) -> None:
        for table in OWNED:
            if table == "pyramids" and self.store.version < 2:
                continue
            query = f"SELECT DISTINCT revision FROM {table} EXCEPT SELECT uid FROM revisions"
            for (uid,) in self.store.read(query):
                self.problem("", f"there are {table} of revision {show(uid)} of the database, which is not there")

    # ---- aggregates, so that every row is read once

    def _plan(self) -> None:
        """Find out at which steps of which own rows the aggregates are needed by children."""
        for place in self.places.values():
            at = self._source(place)
            if at is not None:
                self._stops.setdefault(at[0], set()).add(at[1])
                self._waiting[at] = self._waiting.get(at, 0) + 1

    def _source(self, place: _Place) -> tuple[int, int] | None:
        """Return the revision whose own rows end what is seen of the past, and the step at which they do."""
        parent, step = place.parent, place.last_row
        while parent is not None and step <= self.places[parent].parent_step:
            step = min(step, self.places[parent].last_row)
            parent = self.places[parent].parent
        return None if parent is None else (parent, step)

    def _base(self, place: _Place) -> Aggregates:
        at = self._source(place)
        if at is None or at not in self._at:
            return Aggregates()
        aggregates = self._at[at]
        self._waiting[at] -= 1
        if not self._waiting[at]:
            del self._at[at]
        return _copy(aggregates)

    # ---- one revision

    def _check(self, uid: int) -> None:
        place = self.places[uid]
        aggregates, rows, sound = self._check_rows(uid, place)
        for problem in _beside_problems(self.store, uid):
            self.problem(place.ref, problem)
        if uid in self.broken:
            return
        record = history.record_of(self.store, uid)
        said = definitions_problem(dict(record.defined))
        if said is not None or not isinstance(record.config, dict) or not isinstance(record.tags, list):
            self.problem(place.ref, f"its definitions of metrics, config or tags are damaged: {said or 'wrong type'}")
            return
        self._check_begin(record)
        if record.kept_digest is not None:
            self._check_rest(record, rows)
        elif record.closed:
            self._check_closed(record, rows, aggregates, sound)
        elif is_held(self.folder, record.run):
            self.n_running += 1
        else:
            self.n_left += 1

    def _check_rows(self, uid: int, place: _Place) -> tuple[Aggregates, RowsDigest, bool]:
        aggregates, digest = self._base(place), RowsDigest()
        marks = dict(self.store.read("SELECT step, accounts FROM marks WHERE revision = ? ORDER BY step", (uid,)))
        stops = sorted({*marks, *self._stops.get(uid, ())})
        texts: list[tuple[int, str, float | None]] = []
        pyramid = Pyramid()
        rows: list[tuple[int, dict[str, Any]]] = []
        wrong = length = 0

        def fold() -> None:
            digest.add(texts)
            aggregates.add(rows)
            pyramid.add(rows)
            texts.clear()
            rows.clear()

        def stop(step: int) -> None:
            fold()
            if (uid, step) in self._waiting:
                self._at[uid, step] = _copy(aggregates)
            if step in marks and not wrong:
                self._check_mark(place.ref, step, marks[step], aggregates)

        at = 0
        own = history.timed_texts(self.store, [Span(uid, END)], low=-END)
        for step, text, seconds in chain.from_iterable(own):
            while at < len(stops) and stops[at] < step:
                stop(stops[at])
                at += 1
            if type(seconds) is not float and seconds is not None:
                self.problem(place.ref, f"the time of the row of step {step} is damaged: it is {show(seconds, 80)}")
                seconds = None
            texts.append((step, text, seconds))
            try:
                if step <= place.parent_step:
                    raise ValueError(f"it is not after step {place.parent_step}, where this revision begins")
                rows.append((step, row_of(text)))
            except (ValueError, TypeError) as error:
                if not wrong:
                    self.problem(place.ref, f"the row of step {step} is damaged: {error}; it is {show(text, 80)}")
                wrong += 1
            length += len(text) if type(text) is str else 0
            if len(texts) >= _MANY or length > LONG:
                fold()
                length = 0
        for step in stops[at:]:
            stop(step)
        fold()
        if not wrong:
            self._check_pyramid(uid, place.ref, pyramid)
        if wrong > 1:
            self.problem(place.ref, f"{wrong - 1} more of its rows are damaged")
        self.n_rows += digest.n
        return aggregates, digest, not wrong

    def _check_pyramid(self, uid: int, ref: str, pyramid: Pyramid) -> None:
        """Check the extremes that are kept beside the rows: each page that is there has to be what the rows give."""
        if self.store.version < 2:
            return
        pyramid.end()
        pages = {(level, step): text for level, step, text in pyramid.take()}
        query = "SELECT level, step, cells FROM pyramids WHERE revision = ? AND name = ''"
        for level, step, text in self.store.each(query, (uid,)):
            if pages.get((level, step)) != text:
                what = f"extremes that are kept up to step {show(step)}, at level {show(level)},"
                self.problem(ref, f"the {what} do not agree with the rows")
                return

    def _check_mark(self, ref: str, step: int, text: str, aggregates: Aggregates) -> None:
        found, kept = loads(row_text(aggregates.to_json())), loads(text)
        if step != aggregates.last_step:
            self.problem(
                ref, f"there is a mark at step {step}, and no row; the last row before is {aggregates.last_step}"
            )
        elif found != kept:
            keys = [key for key in {**found, **kept} if found.get(key) != kept.get(key)]
            what = f"{keys[0]!r} is {show(kept.get(keys[0]), 200)}, and of the rows {show(found.get(keys[0]), 200)}"
            self.problem(ref, f"the mark at step {step} does not agree with the rows: {what}")

    def _check_begin(self, record: Record) -> None:
        """Check how a revision begins: after a step of the same run, or of another one. It may be past the end."""
        parent = None if record.parent is None else self.places.get(record.parent)
        if parent is None:
            return
        own = record.kind != "forked"
        if own is not (parent.run == record.run):
            self.problem(record.ref, f"it was {record.kind} and its parent is {parent.ref}")

    def _check_closed(self, record: Record, rows: RowsDigest, aggregates: Aggregates, sound: bool) -> None:
        ref = record.ref
        self._same(ref, "the number of its rows", record.n_rows, rows.n)
        self._same(ref, "the digest of its rows", record.rows_digest, rows.text())
        if sound:
            self._same(ref, "its last step", record.last_step, aggregates.last_step)
            self._check_summary(record, aggregates)
        self._check_simulation(record)
        self._check_past(record)
        digest = history.revision_digest(
            self.store, record, record.rows_digest or "", record.summary or {}, record.simulation_digest, rows.times
        )
        what = "its digest, over name, config, artifacts, lines and all the rest,"
        self._same(ref, what, record.digest, digest)

    def _check_rest(self, record: Record, rows: RowsDigest) -> None:
        """Check what is left of a revision that was purged, for those that still see it."""
        self._same(record.ref, "the number of rows that are left", record.kept_rows, rows.n)
        self._same(record.ref, "the digest of what is left", record.kept_digest, rest_digest(self.store, record))

    def _check_summary(self, record: Record, aggregates: Aggregates) -> None:
        found = history.summary_kept(self.store, record.uid, aggregates, record.defined, self._beside(record))
        kept = record.summary or {}
        for key in sorted({*found, *kept}):
            if found.get(key) != kept.get(key):
                what = f"{show(kept.get(key), 80)}, and of the rows {show(found.get(key), 80)}"
                self.problem(record.ref, f"its summary does not agree with its rows: {key!r} is {what}")
                return

    def _beside(self, record: Record) -> history.Beside:
        """Return what counts in a summary beside the rows: from what the parent sees, where that was checked lately."""
        before = self._seen.get(record.parent)
        found = None
        if before is not None and record.limits is None:
            found = before.after(self.store, record.uid, record.parent_step)
        if found is None:
            found = history.Beside.seen(self.store, record.uid)
        self._seen[record.uid] = found
        if len(self._seen) > _LATELY:
            del self._seen[next(iter(self._seen))]
        return found

    def _check_simulation(self, record: Record) -> None:
        try:
            found = simulation_digest(self.store, record.uid)
        except RewindError as error:
            self.problem(record.ref, f"its simulation cannot be read, so it cannot be checked: {error}")
            return
        if found != record.simulation_digest:
            own = [part for part in parts(self.store, record.uid) if part.uid == record.uid]
            said = [damaged(self.folder, part) for part in own]
            more = "".join(f"; {text}" for text in said if text)
            self._same(
                record.ref,
                f"the digest of its simulation{more and ' (see below)'}",
                record.simulation_digest,
                found,
                more,
            )

    def _check_past(self, record: Record) -> None:
        possible = _past_digests(self.store, record)
        first = next(possible)
        if first != record.parent_digest and record.parent_digest not in possible:
            self._same(record.ref, "the digest of its past", record.parent_digest, first)

    def _same(self, ref: str, what: str, kept: Any, found: Any, more: str = "") -> None:
        if kept != found:
            self.problem(ref, f"{what} was {kept} when it was closed, and is {found}{more}")

    # ---- its simulation

    def _replay(self, uid: int, replay: Callable[[Revision], object]) -> None:
        record = history.record_of(self.store, uid)
        if uid in self.broken or record.kept_digest is not None or not parts(self.store, uid):
            return
        row = history.run_row(self.store, record.run)
        revision = Revision(self.folder, record, *(row[:2] if row is not None else (None, None)))
        try:
            replay(revision)
            revision.verify_history()
        except HistoryMismatchError as error:
            self.problem(record.ref, str(error))
        except MissingStepError as error:
            self.not_replayed.append(Problem(record.ref, str(error)))
        except BaseException as error:
            if isinstance(error, Exception) or not is_own(error):
                raise
            self.not_replayed.append(Problem(record.ref, f"its replay was ended: {ended(error)}"))
        else:
            self.n_replayed += 1


# ---- parts of it


def _last_row(step: Any, limits: Any) -> Any:
    """Return `Record.last_row`, of what may be damaged."""
    if isinstance(limits, str) and '"rows"' in limits:
        with suppress(ValueError, AttributeError, TypeError):
            return min(step, int(json.loads(limits).get("rows", step)))
    return step


def _copy(aggregates: Aggregates) -> Aggregates:
    copy = Aggregates({key: replace(aggregate) for key, aggregate in aggregates.items()})
    copy.last_step = aggregates.last_step
    return copy


def _beside_problems(store: Store, uid: int) -> Iterator[str]:
    """Yield what cannot be read of what was logged beside the rows."""
    query = (
        "SELECT 'what was put in its summary for', key, value FROM assigned WHERE revision = ? AND value IS NOT NULL"
    )
    more = "SELECT 'what was computed later for', name, value FROM backfilled WHERE revision = ?"
    for what, key, value in store.each(f"{query} UNION ALL {more}", (uid, uid)):
        try:
            require_value(value, key)
        except (ValueError, TypeError) as error:
            yield f"{what} {show(key)} is damaged: {error}; it is {show(value, 80)}"
            return


def _past_digests(store: Store, record: Record) -> Iterator[str | None]:
    """Yield what can stand for the past of a revision: its parent's digest, or one made when that was growing still."""
    if record.parent is None:
        yield None
        return
    above: list[tuple[Record, str]] = []  # parents that were open, and the digest of the rows that are seen of each
    child = record
    while child.parent is not None and len(above) < _MOST_OPEN:
        parent = history.record_of(store, child.parent)
        yield _grown(above, parent.digest)
        above.append((child, history.rows_digest(store, parent.uid, child.last_row).text()))
        child = parent
    yield _grown(above, None)


def _grown(above: list[tuple[Record, str]], digest: str | None) -> str | None:
    for child, rows in reversed(above):
        digest = history.open_digest(digest, child.parent_step, rows)
    return digest


def rest_digest(store: Store, record: Record) -> str:
    """Return the digest of what is left of a revision that was purged."""
    rows = history.rows_digest(store, record.uid)
    return history.revision_digest(store, record, rows.text(), {}, simulation_digest(store, record.uid), rows.times)


#: What the names of folders begin with in which an import puts what is not checked yet.
IMPORTING = ".rewind.tmp-import-"
_CONTENT = re.compile(r"[0-9a-f]{64}")


def leftover_files(store: Store) -> list[str]:
    """Return files that nothing refers to: of simulations, contents, and imports that were cut off."""
    importing = [os.path.join(store.folder, name) for name in _listed(store.folder) if name.startswith(IMPORTING)]
    return sorted([*leftover_simulations(store), *leftover_contents(store), *importing])


def leftover_simulations(store: Store) -> list[str]:
    """Return the files of simulations that no revision has."""
    folder = os.path.join(store.folder, "simulations")
    named = {file for (file,) in store.read("SELECT file FROM simulations")}
    return [
        os.path.join(folder, name)
        for name in _listed(folder)
        if name.removesuffix(SUFFIX) not in named and name.removesuffix(SUFFIX).endswith(".replay")
    ]


def leftover_contents(store: Store) -> list[str]:
    """Return the contents that no artifact has."""
    folder = os.path.join(store.folder, blobs.CONTENTS)
    manifests = store.read("SELECT manifest FROM artifacts")
    named = {file.digest for (text,) in manifests for file in blobs.manifest_of(text)}
    return [
        os.path.join(folder, home, name)
        for home in _listed(folder)
        for name in _listed(os.path.join(folder, home))
        if _CONTENT.fullmatch(name) and name not in named
    ]


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
