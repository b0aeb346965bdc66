"""`Api`: the runs, sweeps and artifacts of a folder, as programs written for W&B ask for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ArgumentError, ArgumentTypeError, TrackedArtifactError
from ...tracker.revision import Revision
from ...tracker.store.artifact_lookup import all_artifacts, find_artifact
from ...tracker.store.database import Store, folder_of
from ...tracker.tracker import Tracker
from ..artifacts import Artifact
from .runs import Run, Runs
from .sweeps import Sweep

_PARTS = ("runs", "sweeps", "artifacts", "groups")  # of addresses of W&B's pages


class Api:
    """What is in a folder, as programs ask W&B's server for it.

    Parameters
    ----------
    overrides : dict, optional
        ``entity`` and ``project`` of paths that do not say them; ``dir`` as below.
    timeout, api_key
        Have no effect: there is no server.
    dir : str or path-like, optional
        As for `init`.

    Examples
    --------
    ::

        for run in rewind.wandb.Api().runs("walks", filters={"config.lr": {"$lt": 0.1}}, order="-summary_metrics.x"):
            print(run.name, run.state, run.summary["x"], run.history(keys=["x"]))
    """

    def __init__(
        self,
        overrides: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        api_key: str | None = None,
        *,
        dir: str | os.PathLike[str] | None = None,
    ) -> None:
        given = dict(overrides or {})
        self._folder = folder_of(given.get("dir") if dir is None else dir, holds=True)
        self.settings = {"entity": given.get("entity"), "project": given.get("project"), "base_url": self._folder}

    # ---- runs

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str | None = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = True,
        lazy: bool = True,
    ) -> Runs:
        """Return the runs of a project.

        Parameters
        ----------
        path : str, optional
            ``PROJECT`` or ``ENTITY/PROJECT``. A run without an entity is in the project of any. Default: all runs.
        filters : dict, optional
            Such as ``{"state": "finished", "config.lr": {"$lt": 0.1}, "$or": [...]}``: fields are ``state,
            display_name, name`` (the id), ``tags, notes, group, job_type, created_at, sweep, config.KEY,
            summary_metrics.KEY``; operators ``$eq $ne $gt $gte $lt $lte $in $nin $exists $regex $all`` and ``$and $or
            $nor $not``.
        order : str, optional
            A field with ``+`` or ``-`` before it.
        per_page, include_sweeps, lazy
            Have no effect.

        Raises
        ------
        ArgumentError
            If there is no such project; names those there are.
        """
        entity, project = self._project(path)
        return Runs(self._revisions(entity, project), filters, order)

    def run(self, path: str = "") -> Run:
        """Return a run by its id, ``PROJECT/ID`` or ``ENTITY/PROJECT/ID``.

        Raises
        ------
        RunNotFoundError
            If there is none.
        """
        *_, run_id = _parts(path) or [""]
        return Run(self._tracker.run(run_id))

    def _revisions(self, entity: str | None, project: str | None) -> list[Revision]:
        runs = self._tracker.runs()
        found = [run for run in runs if project is None or run.project == project]
        found = [run for run in found if entity is None or run.entity in (None, "", entity)]
        if project is not None and not found:
            raise ArgumentError("path", project, f"a project of {self._folder}: {_listed(run.project for run in runs)}")
        return found

    @property
    def _tracker(self) -> Tracker:
        return Tracker(self._folder)

    def _project(self, path: str | None) -> tuple[str | None, str | None]:
        if path is not None and not isinstance(path, str):
            raise ArgumentTypeError("path", path, "text such as 'entity/project'")
        parts = _parts(path or "")
        if len(parts) > 2:
            raise ArgumentError("path", path, "a project: 'entity/project'")
        project = parts[-1] if parts else self.settings["project"]
        return (parts[0] if len(parts) == 2 else self.settings["entity"]), project

    # ---- projects

    def projects(self, entity: str | None = None, per_page: int = 200) -> list[Project]:
        """Return the projects that runs have as their label."""
        runs = [run for run in self._tracker.runs() if entity is None or run.entity in (None, "", entity)]
        return [Project(name, entity or "", self) for name in sorted({run.project for run in runs if run.project})]

    def project(self, name: str, entity: str | None = None) -> Project:
        """Return a project, whether it has runs or not."""
        return Project(name, entity or self.default_entity or "", self)

    def create_project(self, name: str, entity: str | None = None) -> None:
        """Do nothing: a project is there as soon as a run has it as its label."""

    # ---- artifacts

    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """Return a version of an artifact by ``NAME:v3``, ``NAME:ALIAS``, or these after ``ENTITY/PROJECT/``.

        Aliases are those of the whole folder: the version that had it last.

        Raises
        ------
        TrackedArtifactError
            If there is none, or it has another type.
        """
        inner = name.rpartition("/")[2]
        with self._store() as store:
            found = find_artifact(store, inner if ":" in inner else f"{inner}:latest")
        if type is not None and found.type != type:
            raise TrackedArtifactError(f"artifact {found.ref} is of the type {found.type!r}, not {type!r}")
        return Artifact._of(found)

    def artifacts(self, type_name: str, name: str, per_page: int = 50, tags: Any = None) -> list[Artifact]:
        """Return all versions of an artifact, the newest first."""
        return [one for one in self._artifacts() if one.name.partition(":")[0] == name.rpartition("/")[2]]

    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> list[Artifact]:
        """Return all versions of an artifact, the newest first."""
        return self.artifacts(type_name, name)

    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Whether there is such a version."""
        try:
            self.artifact(name, type)
        except TrackedArtifactError:
            return False
        return True

    def artifact_types(self, project: str | None = None) -> list[ArtifactType]:
        """Return the types of artifacts that there are."""
        return [ArtifactType(name, self) for name in sorted({one.type for one in self._artifacts()})]

    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """Return a type of artifacts."""
        return ArtifactType(type_name, self)

    def artifact_collections(self, project_name: str, type_name: str, per_page: int = 50) -> list[ArtifactCollection]:
        """Return the artifacts of a type, each with its versions."""
        return ArtifactType(type_name, self).collections()

    def artifact_collection(self, type_name: str, name: str) -> ArtifactCollection:
        """Return an artifact with its versions."""
        return ArtifactCollection(name.rpartition("/")[2], type_name, self)

    artifact_collection_exists = artifact_exists

    def _artifacts(self) -> list[Artifact]:
        with self._store() as store:
            return [Artifact._of(one) for one in reversed(all_artifacts(store))]

    @contextlib.contextmanager
    def _store(self) -> Iterator[Store]:
        store = Store(self._folder)
        try:
            yield store
        finally:
            store.close()

    # ---- sweeps

    def sweep(self, path: str = "") -> Sweep:
        """Return a sweep by its id, or a path that ends with it.

        Raises
        ------
        SweepNotFoundError
            If there is none.
        """
        *_, sweep_id = _parts(path) or [""]
        return Sweep(self._folder, sweep_id, Runs)

    # ---- what a server knows

    @property
    def default_entity(self) -> str | None:
        """The entity of paths that say none."""
        return self.settings["entity"]

    @property
    def viewer(self) -> Viewer:
        """Who asks: nobody in particular."""
        return Viewer(self.default_entity or "")

    @property
    def api_key(self) -> None:
        """None: there is nobody to log in with."""
        return None

    def flush(self) -> None:
        """Do nothing: every call reads what is there now."""

    def from_path(self, path: str) -> Any:
        """Return the run, sweep or project that a path means."""
        parts = [part for part in path.strip("/").split("/") if part]
        if "sweeps" in parts:
            return self.sweep(path)
        if len(_parts(path)) < 3 and "runs" not in parts:
            return self.project(_parts(path)[-1])
        return self.run(path)

    def __repr__(self) -> str:
        return f"<Api {self._folder}>"


@dataclass(frozen=True)
class Viewer:
    """Who asks.

    Attributes
    ----------
    entity, username : str
    """

    entity: str

    @property
    def username(self) -> str:
        """The entity."""
        return self.entity

    @property
    def teams(self) -> list[str]:
        """None of them."""
        return []


@dataclass(frozen=True)
class Project:
    """A project: a label of runs."""

    name: str
    entity: str
    _api: Api

    @property
    def path(self) -> list[str]:
        """Entity and name."""
        return [self.entity, self.name]

    def artifacts_types(self, per_page: int = 50) -> list[ArtifactType]:
        """Return the types of artifacts that there are."""
        return self._api.artifact_types()

    def sweeps(self, per_page: int = 50) -> list[Sweep]:
        """Return its sweeps."""
        return [sweep for sweep in Sweep.all(self._api._folder, Runs) if sweep.project in ("", self.name)]


@dataclass(frozen=True)
class ArtifactType:
    """A type of artifacts."""

    name: str
    _api: Api

    @property
    def type(self) -> str:
        """Its name."""
        return self.name

    def collections(self, per_page: int = 50) -> list[ArtifactCollection]:
        """Return the artifacts of this type."""
        names = {one.name.partition(":")[0] for one in self._api._artifacts() if one.type == self.name}
        return [ArtifactCollection(name, self.name, self._api) for name in sorted(names)]

    def collection(self, name: str) -> ArtifactCollection:
        """Return one of them."""
        return ArtifactCollection(name, self.name, self._api)


@dataclass(frozen=True)
class ArtifactCollection:
    """An artifact with its versions."""

    name: str
    type: str
    _api: Api

    def artifacts(self, per_page: int = 50) -> list[Artifact]:
        """Return its versions, the newest first."""
        return self._api.artifacts(self.type, self.name)

    versions = artifacts

    @property
    def aliases(self) -> list[str]:
        """All aliases of its versions."""
        return sorted({alias for one in self.artifacts() for alias in one.aliases})


def _parts(path: str) -> list[str]:
    if not isinstance(path, str):
        raise ArgumentTypeError("path", path, "text such as 'entity/project/run_id'")
    return [part for part in path.replace(":", "/").strip("/").split("/") if part and part not in _PARTS]


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(sorted({name for name in names if name})) or "there is none"
