"""`Artifact`: files that are gathered and then logged, or that were logged, with the methods of W&B's artifacts."""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import json
import os
import shutil
import tempfile
import urllib.parse
import urllib.request
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from ..errors import ArgumentError, ArgumentTypeError, TrackedArtifactError
from ..storage.files import path_text
from ..tracker.active import latest
from ..tracker.draft import Draft
from ..tracker.media import Media
from ..tracker.run import TrackedRun
from ..tracker.store import blobs
from ..tracker.store.artifacts import TrackedArtifact
from .data_types import Table

#: What metadata keep of an artifact beside those that its user gave.
_OWN = "_artifact"
#: What the file of a value that was added has behind its name.
_TABLE, _VALUE = ".table.json", ".json"


class Entry:
    """A file, or a reference, of an artifact.

    Attributes
    ----------
    path : str
        In the artifact, with ``/``.
    ref : str or None
        What it refers to, of a reference.
    """

    def __init__(self, artifact: Artifact, path: str, ref: str | None) -> None:
        self._artifact, self.path, self.ref = artifact, path, ref

    @property
    def name(self) -> str:
        """Its path."""
        return self.path

    @property
    def local_path(self) -> str:
        """Where its bytes are, to be read and not written to."""
        return self._artifact._location(self.path)

    @property
    def size(self) -> int:
        """Its bytes; of a reference, those of its text."""
        return os.path.getsize(self.local_path)

    @property
    def digest(self) -> str:
        """blake2b of its bytes."""
        return next(file.digest for file in self._artifact._files() if file.path == self.path)

    def download(self, root: str | os.PathLike[str] | None = None, **options: Any) -> str:
        """Copy it to a folder, and return the path of the copy."""
        folder = self._artifact._folder_for(root)
        target = os.path.join(folder, *self.path.split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if self.ref is None:
            shutil.copyfile(self.local_path, target)
        else:
            shutil.copyfile(_local(self.ref, self.path), target)
        return target

    def ref_target(self) -> str:
        """Return what it refers to.

        Raises
        ------
        TrackedArtifactError
            If it is a file.
        """
        if self.ref is None:
            raise TrackedArtifactError(f"{self.path!r} of {self._artifact.name} is a file and no reference")
        return self.ref

    def __repr__(self) -> str:
        return f"<Entry {self.path}{'' if self.ref is None else f' -> {self.ref}'}>"


class Artifact(Draft):
    """An artifact: a draft that files are added to, and after ``run.log_artifact(artifact)`` a version.

    Parameters
    ----------
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    type : str
    description : str, optional
    metadata : dict, optional
    incremental, use_as, storage_region, digest_algorithm
        Taken, and without effect.

    Notes
    -----
    What is added is copied at once, so that the file may be changed or deleted before the artifact is logged.
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        storage_region: str | None = None,
        digest_algorithm: str = "MD5",
    ) -> None:
        self._name, self._type = name, type
        self.description = description
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.incremental, self.use_as = incremental, use_as
        self._aliases: list[str] = []
        self._refs: dict[str, str] = {}
        self._logged: TrackedArtifact | None = None
        self._run: TrackedRun | None = None
        self._staging: str | None = None

    @classmethod
    def _of(cls, logged: TrackedArtifact, run: TrackedRun | None = None) -> Artifact:
        """Return a version that is there."""
        artifact = cls(logged.name, logged.type)
        artifact._became(logged, run)
        return artifact

    def _became(self, logged: TrackedArtifact, run: TrackedRun | None) -> None:
        self._logged, self._run = logged, run
        self.metadata = dict(logged.metadata)
        own = self.metadata.pop(_OWN, {})
        self.description, self._refs = own.get("description"), own.get("references", {})
        self._aliases = list(logged.aliases)
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None

    # ---- what it is

    @property
    def name(self) -> str:
        """Its name; of a version ``NAME:v3``."""
        return self._name if self._logged is None else self._logged.ref

    @property
    def type(self) -> str:
        """Its type."""
        return self._type

    @property
    def version(self) -> str:
        """``v0`` and so on."""
        return f"v{self._version('version').version}"

    @property
    def aliases(self) -> list[str]:
        """The aliases of the version, for the run that logged or used it."""
        self._version("aliases")
        return list(self._aliases)

    @property
    def digest(self) -> str:
        """Over paths and bytes of its files: the same before and after it is logged."""
        return blobs.manifest_digest(self._files()) if self._logged is None else self._logged.digest

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self._files())

    @property
    def file_count(self) -> int:
        """How many files it has."""
        return len(self._files())

    @property
    def state(self) -> str:
        """``PENDING``, or ``COMMITTED`` once it is logged."""
        return "PENDING" if self._logged is None else "COMMITTED"

    @property
    def id(self) -> str | None:
        """Its digest, once it is logged."""
        return None if self._logged is None else self._logged.digest

    @property
    def qualified_name(self) -> str:
        """Entity, project and name, with ``/`` between them."""
        labels = () if self._run is None else (self._run.entity, self._run.project)
        return "/".join([*(label for label in labels if label), self.name])

    @property
    def source_name(self) -> str:
        """Its name."""
        return self.name

    @property
    def manifest(self) -> Manifest:
        """Its files and references by their path, as ``manifest.entries``."""
        return Manifest(self)

    def is_draft(self) -> bool:
        """Whether it is not logged yet."""
        return self._logged is None

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return it: what is logged is there."""
        return self

    def finalize(self) -> None:
        """Do nothing: it is finished when it is logged."""

    def save(self, project: str | None = None, settings: Any = None) -> None:
        """Log it to the latest run, if it is a draft; of a version, there is nothing left to save."""
        if self._logged is None:
            self.log_to(latest("Artifact.save()"))

    def log_to(self, run: TrackedRun, aliases: Any = None) -> Artifact:
        """Log it to a run, and return it as the version that it became: what ``run.log_artifact(artifact)`` does."""
        if self._logged is not None:
            raise TrackedArtifactError(_fixed(self.name))
        own: dict[str, Any] = {"description": self.description} if self.description is not None else {}
        own |= {"references": self._refs} if self._refs else {}
        metadata = {**self.metadata, **({_OWN: own} if own else {})}
        logged = TrackedRun.log_artifact(run, self._staged(), self._name, self._type, aliases, metadata)
        self._became(logged, run)
        return self

    def _version(self, what: str) -> TrackedArtifact:
        if self._logged is None:
            problem = f"artifact {self._name!r} has no {what} before it is logged: run.log_artifact(artifact)"
            raise TrackedArtifactError(problem)
        return self._logged

    # ---- adding

    def add_file(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        is_tmp: bool = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> Entry:
        """Add a copy of a file, under its own name or another one.

        Raises
        ------
        TrackedArtifactError
            If there is no such file, or the artifact has another one of that name.
        """
        source = path_text(local_path)
        if not os.path.isfile(source):
            raise TrackedArtifactError(f"cannot add {source}: there is no such file")
        inner, target = self._new(os.path.basename(source) if name is None else name, overwrite, source)
        shutil.copy(source, target)
        return Entry(self, inner, None)

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add copies of all files in a folder, in folders at any depth; `name` is a folder in the artifact."""
        root = path_text(local_path)
        if not os.path.isdir(root):
            raise TrackedArtifactError(f"cannot add {root}: there is no such folder")
        for folder, folders, files in os.walk(root):
            folders.sort()
            for one in sorted(files):
                source = os.path.join(folder, one)
                inner = os.path.relpath(source, root).replace(os.sep, "/")
                self.add_file(source, f"{name.rstrip('/')}/{inner}" if name else inner, overwrite=merge)

    @contextlib.contextmanager
    def new_file(
        self, name: str, mode: str = "x", encoding: str | None = None, policy: str = "mutable"
    ) -> Iterator[IO[Any]]:
        """Give a file in the artifact that is open for writing, and is added when it is closed."""
        if mode.replace("b", "") not in ("x", "w"):
            raise ArgumentError("mode", mode, "'x', 'w', 'xb' or 'wb'")
        _, target = self._new(name, "w" in mode)
        with open(target, mode, encoding=encoding) as file:
            yield file

    def add(self, obj: Any, name: str, overwrite: bool = False) -> Entry:
        """Add a table, an image or another such value: `get` gives tables back."""
        if not isinstance(obj, Media):
            raise ArgumentTypeError("obj", obj, "a Table, an Image, or the like")
        n = itertools.count()

        def keep(key: str, kind: str, content: Any, suffix: str) -> dict[str, Any]:
            inner = name + suffix if suffix == _TABLE else f"media/{kind}/{name}_{next(n)}{suffix}"
            if isinstance(content, bytes):
                _, target = self._new(inner, overwrite)
                with open(target, "wb") as file:
                    file.write(content)
            else:
                self.add_file(content, inner, overwrite=overwrite)
            return {"path": inner}

        facts = obj.in_row(name, keep)
        if isinstance(obj, Table):
            return Entry(self, name + _TABLE, None)
        with self.new_file(name + _VALUE, "w" if overwrite else "x") as file:
            json.dump(facts[name], file)
        return Entry(self, name + _VALUE, None)

    def add_reference(
        self,
        uri: str | os.PathLike[str] | Entry,
        name: str | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> Sequence[Entry]:
        """Add a reference: where something is, of which nothing is copied. It is not looked at."""
        if isinstance(uri, Entry):
            uri = uri.ref_target()
        text = os.fspath(uri)
        if "://" not in text:
            text = f"file://{os.path.abspath(text)}"
        inner, target = self._new(name or os.path.basename(urllib.parse.urlsplit(text).path.rstrip("/")), False)
        with open(target, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        self._refs[inner] = text
        return [Entry(self, inner, text)]

    def remove(self, item: str | Entry) -> None:
        """Take a file, or a folder of files, out of a draft."""
        path = item.path if isinstance(item, Entry) else os.fspath(item).rstrip("/")
        gone = [file.path for file in self._files() if file.path == path or file.path.startswith(f"{path}/")]
        if not gone or self._logged is not None:
            raise TrackedArtifactError(f"artifact {self.name!r} has no {path!r}" if not gone else _fixed(self.name))
        for one in gone:
            os.remove(self._location(one))
            self._refs.pop(one, None)

    def _new(self, name: Any, overwrite: bool, source: str | None = None) -> tuple[str, str]:
        """Return the path of a new file in the artifact, and where it is to be written."""
        if self._logged is not None:
            raise TrackedArtifactError(_fixed(self.name))
        inner = os.fspath(name).replace(os.sep, "/")
        if blobs.parts_of(inner) is None:
            raise ArgumentError("name", inner, "a path within the artifact, such as 'data/train.csv'")
        target = os.path.join(self._staged(), *inner.split("/"))
        if os.path.exists(target) and not overwrite:
            if source is not None and os.path.isfile(target) and _same(source, target):
                return inner, target
            raise TrackedArtifactError(f"artifact {self._name!r} has {inner!r} already; overwrite=True replaces it")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        return inner, target

    def _staged(self) -> str:
        """Return the folder in which a draft has what was added; it goes with the draft."""
        if self._staging is None:
            self._staging = tempfile.mkdtemp(prefix="rewind-artifact-")
            weakref.finalize(self, shutil.rmtree, self._staging, ignore_errors=True)
        return self._staging

    # ---- reading

    def _files(self) -> tuple[blobs.File, ...]:
        if self._logged is not None:
            return self._logged._manifest
        found = []
        root = self._staged()
        for folder, _, files in os.walk(root):
            for name in files:
                path = os.path.join(folder, name)
                executable = os.name == "posix" and bool(os.stat(path).st_mode & 0o100)
                inner = os.path.relpath(path, root).replace(os.sep, "/")
                found.append(blobs.File(inner, blobs.digest_of(path), os.path.getsize(path), executable))
        return tuple(sorted(found))

    def _location(self, path: str) -> str:
        if self._logged is not None:
            return self._logged.path(path)
        return os.path.join(self._staged(), *path.split("/"))

    def _folder_for(self, root: str | os.PathLike[str] | None) -> str:
        default = os.path.join("artifacts", self._version("files to copy").ref.replace(":", "-"))
        return os.path.abspath(default if root is None else path_text(root))

    def get_entry(self, name: str | os.PathLike[str]) -> Entry:
        """Return a file or a reference by its path.

        Raises
        ------
        TrackedArtifactError
            If there is none; names what there is.
        """
        path = os.fspath(name).replace(os.sep, "/")
        if path not in self.manifest.entries:
            raise TrackedArtifactError(
                f"{self.name} has no {path!r}; it has {', '.join(self.manifest.entries) or 'none'}"
            )
        return Entry(self, path, self._refs.get(path))

    def get_path(self, name: str | os.PathLike[str]) -> Entry:
        """Return a file or a reference by its path: another name of `get_entry`."""
        return self.get_entry(name)

    def get(self, name: str) -> Any:
        """Return the table that was added as `name`; of another value the dict that says which files it is; or None."""
        entries = self.manifest.entries
        for path in (name, name + _TABLE, name + _VALUE):
            if path in entries and path.endswith((_TABLE, _VALUE)):
                with open(self._location(path), encoding="utf-8") as file:
                    text = file.read()
                return Table.of_text(text) if path.endswith(_TABLE) else json.loads(text)
        return None

    def files(self, names: Sequence[str] | None = None, per_page: int = 50, start: str | None = None) -> list[Entry]:
        """Return its files, or some of them."""
        return [entry for path, entry in self.manifest.entries.items() if names is None or path in names]

    def file(self, root: str | os.PathLike[str] | None = None) -> str:
        """Copy its only file to a folder, and return the path of the copy."""
        entries = list(self.manifest.entries)
        if len(entries) != 1:
            raise TrackedArtifactError(f"{self.name} has {len(entries)} files: say which, or download() it")
        return self.get_entry(entries[0]).download(root)

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: str | os.PathLike[str] | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Copy its files to a folder, each whole, and return the folder. Default: ``./artifacts/NAME-vN``.

        References to files are copied from where they are; what is elsewhere is not fetched, and is an error unless
        `allow_missing_references`: then it is left out.
        """
        logged = self._version("files to copy")
        folder = self._folder_for(root)
        if path_prefix is None and not self._refs:
            return logged.download(folder)
        prefix = "" if path_prefix is None else os.fspath(path_prefix)
        for path in self.manifest.entries:
            if path.startswith(prefix):
                try:
                    self.get_entry(path).download(folder)
                except TrackedArtifactError:
                    if path not in self._refs or not allow_missing_references:
                        raise
        return folder

    def checkout(self, root: str | os.PathLike[str] | None = None) -> str:
        """Copy its files to a folder, and delete what else is in it."""
        folder = self.download(root)
        kept = {os.path.join(folder, *path.split("/")) for path in self.manifest.entries}
        for inside, _, files in os.walk(folder):
            for name in files:
                if os.path.join(inside, name) not in kept:
                    os.remove(os.path.join(inside, name))
        return folder

    def verify(self, root: str | os.PathLike[str] | None = None) -> None:
        """Compare a folder that it was downloaded to with it.

        Raises
        ------
        TrackedArtifactError
            Naming the first file that differs.
        """
        folder = self._folder_for(root)
        for file in self._files():
            path = os.path.join(folder, *file.path.split("/"))
            problem = None if file.path in self._refs else blobs.problem_of(path, file.digest, file.size)
            if problem is not None:
                raise TrackedArtifactError(f"{path} is not as in {self.name}: {problem}")

    def link(self, target_path: str, aliases: Any = None) -> Artifact:
        """Return it: there is no registry to link it in."""
        return self

    def delete(self, delete_aliases: bool = False) -> None:
        """Refuse it.

        Raises
        ------
        TrackedArtifactError
            Always: ``rewind rm RUN --purge`` deletes what no other run needs.
        """
        way = "rewind rm RUN --purge deletes what no other run needs"
        raise TrackedArtifactError(f"{self.name} cannot be deleted alone: its runs would not be whole. {way}")

    def logged_by(self) -> TrackedRun | None:
        """Return the run that logged it, where this process did."""
        return self._run

    def __repr__(self) -> str:
        return f"<Artifact {self.name} ({self.type}), {self.state.lower()}>"


class Manifest:
    """The files and references of an artifact, by their path."""

    def __init__(self, artifact: Artifact) -> None:
        self.entries = {
            file.path: Entry(artifact, file.path, artifact._refs.get(file.path)) for file in artifact._files()
        }


def _fixed(name: str) -> str:
    return f"{name} is logged, and a version never changes: add to a new Artifact of the same name instead"


def _same(a: str, b: str) -> bool:
    return filecmp.cmp(a, b, shallow=False)


def _local(uri: str, path: str) -> str:
    """Return the path of a file that a reference is about."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "file":
        raise TrackedArtifactError(f"{path!r} refers to {uri}, and nothing is fetched from elsewhere")
    found = urllib.request.url2pathname(parts.path)
    if not os.path.isfile(found):
        raise TrackedArtifactError(f"{path!r} refers to {uri}, and there is no such file any more")
    return found


# ---- what a run does with them


def log_artifact(
    run: TrackedRun,
    artifact_or_path: Artifact | str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Any = None,
    metadata: Mapping[str, Any] | None = None,
) -> Artifact:
    """Log an artifact, or a file or folder, and return it as the version that it became."""
    if isinstance(artifact_or_path, Artifact):
        return artifact_or_path.log_to(run, aliases)
    return Artifact._of(TrackedRun.log_artifact(run, artifact_or_path, name, type, aliases, metadata), run)


def use_artifact(
    run: TrackedRun, artifact_or_name: Artifact | str, type: str | None = None, aliases: Any = None
) -> Artifact:
    """Return an artifact by its name, and keep that the run used it; a draft is logged first."""
    if not isinstance(artifact_or_name, Artifact):
        return Artifact._of(TrackedRun.use_artifact(run, artifact_or_name, type), run)
    if artifact_or_name.is_draft():
        artifact_or_name.log_to(run, aliases)
    TrackedRun.use_artifact(run, artifact_or_name.name, artifact_or_name.type)
    return artifact_or_name
