"""Find artifacts of a whole folder, whoever logged them; and those that a run used."""

from __future__ import annotations

from ...errors import TrackedArtifactError
from .artifacts import (
    EVENTS,
    LATEST,
    MEDIA,
    VERSION,
    TrackedArtifact,
    View,
    artifact_of,
    events_of,
    events_seen,
    nearest,
)
from .database import Store
from .history import spans
from .use import name_and_alias


def used(store: Store, uid: int) -> list[TrackedArtifact]:
    """Return the versions that were used among the events a revision sees, each once, in the order they came."""
    with store.snapshot():
        found: dict[int, TrackedArtifact] = {}
        for event in events_seen(store, spans(store, uid), "used"):
            if event.artifact not in found:
                found[event.artifact] = artifact_of(store, event.artifact, _view_of_folder(store, event.name))
        return list(found.values())


def find_artifact(store: Store, name: str) -> TrackedArtifact:
    """Return the artifact of that name, version or alias, as the folder has it: an alias means what had it last.

    Raises
    ------
    TrackedArtifactError
        If there is none; names what there is.
    """
    base, which = name_and_alias(name)
    with store.snapshot():
        versions = {f"v{n}": uid for n, uid in store.read("SELECT version, uid FROM artifacts WHERE name = ?", (base,))}
        if not versions:
            query = f"SELECT DISTINCT name FROM artifacts WHERE name NOT LIKE '{MEDIA}%' ORDER BY name"
            near = nearest(base, [str(row[0]) for row in store.read(query)], "there are none")
            raise TrackedArtifactError(f"there is no artifact {base!r} in {store.folder}; {near}")
        view = _view_of_folder(store, base)
        if VERSION.fullmatch(which):
            found, there = versions.get(which), list(versions)
        else:
            found = view.latest.get(base) if which == LATEST else view.given.get((base, which))
            there = list(view.aliases(base))
        if found is None:
            near = nearest(which, there, "it has none")
            raise TrackedArtifactError(f"artifact {base!r} has no version or alias {which[:30]!r}; {near}")
        return artifact_of(store, found, view)


def all_artifacts(store: Store) -> list[TrackedArtifact]:
    """Return all versions of all artifacts in a folder, in the order they were made."""
    with store.snapshot():
        views: dict[str, View] = {}
        found = []
        for uid, name in store.read(f"SELECT uid, name FROM artifacts WHERE name NOT LIKE '{MEDIA}%' ORDER BY uid"):
            if name not in views:
                views[name] = _view_of_folder(store, name)
            found.append(artifact_of(store, uid, views[name]))
        return found


def _view_of_folder(store: Store, name: str) -> View:
    """Return what a name means after all events that log versions of it, in the order these were made."""
    where = "e.kind = 'logged' AND a.name = ? ORDER BY e.artifact, e.revision, e.n"
    return View(events_of(store.read(EVENTS + where, (name,))))
