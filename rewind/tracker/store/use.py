"""Use an artifact: what a name means to a revision, by what it sees; never by a future that it does not have.

Where its own past has no artifact of a name, the name is of the folder: of what the other runs logged. What the runs
that it comes from logged after it had left them, and what a rewind archived of its own, is neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...errors import ArgumentTypeError, TrackedArtifactError, show
from . import lineage
from .artifacts import (
    EVENTS,
    LATEST,
    MEDIA,
    NAME,
    VERSION,
    Event,
    TrackedArtifact,
    View,
    add_event,
    artifact_of,
    events_of,
    events_seen,
    nearest,
)
from .database import Store
from .history import Span, spans


def use(store: Store, uid: int, step: int, name: str, label: str | None = None) -> TrackedArtifact:
    """Return the artifact of that name, version or alias, and keep that a revision used it at a step.

    Raises
    ------
    TrackedArtifactError
        If there is none; names what there is. Or if it is of another type than `label`.
    """
    base, which = name_and_alias(name)
    with store.writing("note what is used in") as connection:
        sight = _Sight(store, uid, base)
        artifact = sight.found(which)
        found = artifact_of(store, artifact, sight.view)
        if label is not None and found.type != label:
            raise TrackedArtifactError(f"artifact {found.ref} is of the type {found.type!r}, not {label!r}")
        again = (
            "SELECT 1 FROM artifact_events WHERE revision = ? AND step = ? AND kind = 'used' AND artifact = ? LIMIT 1"
        )
        if not store.read(again, (uid, step, artifact)):
            add_event(store, connection, uid, step, "used", artifact, ())
        return found


def name_and_alias(name: str) -> tuple[str, str]:
    """Return an artifact's own name, and the version or alias that is meant.

    Raises
    ------
    ArgumentTypeError, TrackedArtifactError
        If it is no such text.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError("name", name, "text, such as 'model:latest'")
    *labels, ref = name.split("/")  # entity and project are labels: the folder has each name once
    base, colon, which = ref.partition(":")
    if not NAME.fullmatch(base) or (colon and not which) or ":" in which or not _are_labels(labels):
        way = "expected 'NAME', 'NAME:v0', 'NAME:latest' or 'NAME:ALIAS'"
        raise TrackedArtifactError(f"cannot read {show(name)} as the name of an artifact; {way}")
    return base, which or LATEST


def _are_labels(labels: Sequence[str]) -> bool:
    return len(labels) <= 2 and not set(labels) & {"", ".", ".."}


class _Sight:
    """What a revision makes of a name."""

    def __init__(self, store: Store, uid: int, name: str) -> None:
        self.store, self.name = store, name
        seen = spans(store, uid)
        runs = lineage.runs(store, uid)
        every = _logged_by_all(store, name)
        own = events_seen(store, seen, "logged", name)
        others = [event for event, run, _ in every if run not in runs]
        known = {event.artifact for event in (*own, *others)}
        ((self.ref,),) = store.read("SELECT run || '@' || number FROM revisions WHERE uid = ?", (uid,))
        self.versions = dict(store.read("SELECT version, uid FROM artifacts WHERE name = ? ORDER BY version", (name,)))
        #: Those that only a future that it does not have knows, and who logged each first.
        unseen = [(event, ref) for event, _, ref in every[::-1] if event.artifact not in known]
        self.unseen = {event.artifact: (ref, event.step) for event, ref in unseen}
        self.view = View(own or others)
        if not own:
            self._as_the_kept_past_had_it(uid, seen)

    def _as_the_kept_past_had_it(self, uid: int, seen: list[Span]) -> None:
        """Let the latest version be the one that was used last before a rewind or a fork, if one was."""
        end = lineage.kept_from(self.store, uid)
        kept = [span for span in seen if end is not None and span.uid <= end]
        used = events_seen(self.store, kept, "used", self.name)
        if used and used[-1].artifact not in self.unseen:
            self.view.latest[self.name] = used[-1].artifact

    def found(self, which: str) -> int:
        """Return the version that a version or alias means."""
        name, view = self.name, self.view
        if not self.versions:
            query = f"SELECT DISTINCT name FROM artifacts WHERE name NOT LIKE '{MEDIA}%' ORDER BY name"
            near = nearest(name, [str(row[0]) for row in self.store.read(query)], "there are none")
            raise TrackedArtifactError(f"there is no artifact {name!r} in {self.store.folder}; {near}")
        there = [version for version, artifact in self.versions.items() if artifact not in self.unseen]
        if not there:
            raise self._only_later(min(self.unseen), name)
        if VERSION.fullmatch(which) is not None:
            number = int(which[1:]) if len(which) < 20 else -1
            if self.versions.get(number) in self.unseen:
                raise self._only_later(self.versions[number], f"{name}:v{number}")
            if number not in there:
                raise TrackedArtifactError(f"artifact {name!r} has no version {which[:30]}; {_listed(there)}")
            return int(self.versions[number])
        found = view.latest.get(name) if which == LATEST else view.given.get((name, which))
        if found is None:
            near = nearest(which, view.aliases(name), "it has none")
            raise TrackedArtifactError(f"artifact {name!r} has no alias {which!r} here; {near}; {_listed(there)}")
        return found

    def _only_later(self, artifact: int, name: str) -> TrackedArtifactError:
        ref, step = self.unseen[artifact]
        when = f"{ref} logged it at step {step}, in a future that {self.ref} does not have"
        way = f"rewind.Tracker().run({ref!r}).artifacts has it"
        return TrackedArtifactError(f"there is no artifact {name!r} in the past of {self.ref}: {when}; {way}")


def _logged_by_all(store: Store, name: str) -> list[tuple[Event, str, str]]:
    """Return all events that log versions of a name, in the order these were made; with run and revision."""
    query = EVENTS.replace(" FROM ", ", r.run, r.run || '@' || r.number FROM ", 1)
    query = query.replace(" WHERE ", " JOIN revisions r ON r.uid = e.revision WHERE ", 1)
    rows = store.read(f"{query}e.kind = 'logged' AND a.name = ? ORDER BY e.artifact, e.revision, e.n", (name,))
    return [(event, *row[-2:]) for event, row in zip(events_of(row[:-2] for row in rows), rows, strict=True)]


def _listed(versions: Iterable[int]) -> str:
    some = list(versions)
    return f"it has {'... ' * (len(some) > 8)}{', '.join(f'v{one}' for one in some[-8:])}"
