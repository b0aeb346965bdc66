"""`Run`: a tracked run with the methods that programs written for W&B call."""

from __future__ import annotations

import glob
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TextIO

from ..errors import IgnoredWarning, TrackedArtifactError
from ..tracker.disabled import DisabledRun
from ..tracker.run import TrackedRun
from ..tracker.store.database import FILES
from .artifacts import Artifact, log_artifact, use_artifact
from .settings import AlertLevel, Settings
from .watching import Watcher


class Run(TrackedRun):
    """A tracked run, as `rewind.wandb.init` gives it: `rewind.TrackedRun` with the methods of W&B's runs.

    What is only about a server does nothing.
    """

    _watchers: tuple[Watcher, ...] = ()
    _saved: tuple[tuple[str, str], ...] = ()

    # ---- what it is

    @property
    def dir(self) -> str:
        """A folder for files of the program: what is in it when the run is finished is kept, as an artifact."""
        path = os.path.join(self._folder, FILES, self.id)
        os.makedirs(path, exist_ok=True)
        return path

    @property
    def path(self) -> str:
        """Entity, project and id, with ``/`` between them."""
        return "/".join(part for part in (self.entity, self.project, self.id) if part)

    @property
    def mode(self) -> str:
        """Always ``offline``."""
        return "offline"

    @property
    def offline(self) -> bool:
        """True: nothing leaves the machine."""
        return True

    @property
    def disabled(self) -> bool:
        """Whether nothing is written."""
        return isinstance(self, DisabledRun)

    @property
    def start_time(self) -> float:
        """When it began, in seconds since 1970."""
        return self.began

    @property
    def settings(self) -> Settings:
        """What there is to say in W&B's words."""
        return Settings(
            run_id=self.id,
            run_name=self.name,
            run_group=self.group,
            run_job_type=self.job_type,
            run_tags=self.tags,
            run_notes=self.notes,
            project=self.project,
            entity=self.entity,
            root_dir=os.path.dirname(self._folder),
            mode="disabled" if self.disabled else "offline",
        )

    @property
    def project_url(self) -> str | None:
        """None: projects are labels."""
        return None

    @property
    def sweep_url(self) -> str | None:
        """None: a sweep has no page."""
        return None

    def get_url(self) -> str | None:
        """Return `url`."""
        return self.url

    def get_project_url(self) -> str | None:
        """Return None: projects are labels."""
        return None

    def get_sweep_url(self) -> str | None:
        """Return None: a sweep has no page."""
        return None

    def project_name(self) -> str:
        """Return the project."""
        return self.project or ""

    # ---- logging

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: bool | None = None
    ) -> None:
        """Log values at a step: as `TrackedRun.log`.

        Parameters
        ----------
        data, step, commit
            As there.
        sync : bool, optional
            Has no effect.
        """
        self._log(data, step, commit, 2)

    def alert(
        self,
        title: str,
        text: str = "",
        level: str | AlertLevel | None = None,
        wait_duration: float | timedelta | None = None,
    ) -> None:
        """Keep a message as a line of the run: there is nobody to send it to.

        Parameters
        ----------
        title, text : str
        level : {"INFO", "WARN", "ERROR"} or AlertLevel, optional
        wait_duration : float or timedelta, optional
            Has no effect.
        """
        name = level.value if isinstance(level, AlertLevel) else str(level or "INFO").upper()
        self.log_line(f"alert {name}: {title}{': ' if text else ''}{text}")

    def write_logs(self, text: str) -> None:
        """Keep text as lines of the run."""
        self.log_line(text)

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: str | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Log histograms of a torch model's gradients or parameters, with every so many of its backward passes.

        Parameters
        ----------
        models : torch.nn.Module or sequence of them
        criterion : optional
            Has no effect.
        log : {"gradients", "parameters", "all"}, optional
            None: nothing.
        log_freq : int
            Backward passes from one to the next.
        idx : int, optional
            Has no effect.
        log_graph : bool
            Is not there: an `IgnoredWarning` says so.

        Raises
        ------
        ArgumentTypeError, ArgumentError
            If it is no model of torch, or `log` is none of these.
        """
        if log_graph:
            warnings.warn(IgnoredWarning("watch", ["log_graph"]), stacklevel=2)
        several = models if isinstance(models, (list, tuple)) else [models]
        first = len(self._watchers)
        made = [Watcher(self._log_watched, one, log, log_freq, first + i) for i, one in enumerate(several)]
        self._watchers += tuple(made)

    def _log_watched(self, values: dict[str, Any]) -> None:
        if not self.finished:
            self._log(values, None, False, 2)

    def unwatch(self, models: Any = None) -> None:
        """End what `watch` began, for some models or for all."""
        several = models if isinstance(models, (list, tuple)) else [models]
        ending = [one for one in self._watchers if models is None or any(one.model is model for model in several)]
        for one in ending:
            one.close()
        self._watchers = tuple(one for one in self._watchers if one not in ending)

    # ---- files

    def save(
        self,
        glob_str: str | os.PathLike[str] | None = None,
        base_path: str | os.PathLike[str] | None = None,
        policy: str = "live",
        glob: bool = True,
    ) -> list[str] | bool:
        """Keep files with the run: they are copied to `dir`, and again, as they are then, when it is finished.

        Parameters
        ----------
        glob_str : str or path-like, optional
            A path, with ``*`` and the like. None: nothing is done, as in old programs.
        base_path : str or path-like, optional
            The folder whose structure is kept. Default: the folder that the files are in, of relative paths the
            working directory.
        policy : {"live", "now", "end"}
            ``now``: not again at the end.
        glob : bool
            False: `glob_str` is a path as it stands.

        Returns
        -------
        paths : list of str
            Where the copies are; True where `glob_str` is None.
        """
        if glob_str is None:
            return True
        pattern = os.fspath(glob_str)
        found = _matching(pattern) if glob else [pattern]
        pairs = [(path, os.path.join(self.dir, _name_below(path, pattern, base_path))) for path in found]
        pairs = [(path, copy) for path, copy in pairs if os.path.isfile(path)]
        for path, copy in pairs:
            _copy(path, copy)
        if policy != "now":
            self._saved += tuple(pairs)
        return [copy for _, copy in pairs]

    def restore(
        self,
        name: str,
        run_path: str | None = None,
        replace: bool = False,
        root: str | os.PathLike[str] | None = None,
    ) -> TextIO | None:
        """Return a file that a run has kept, opened for reading.

        Parameters
        ----------
        name : str
            Its path below `dir`.
        run_path : str, optional
            Another run: its id, or a path that ends with it.
        replace : bool
            Whether a file that is there already is fetched again.
        root : str or path-like, optional
            Where to put it. Default: the working directory, or `dir` of this run.

        Raises
        ------
        TrackedArtifactError
            If the run has no such file.
        """
        target = os.path.join(os.fspath(root) if root is not None else self.dir, name)
        if not os.path.isfile(target) or replace:
            run_id = self.id if run_path is None else run_path.rpartition("/")[2]
            artifact = super().use_artifact(_files_name(run_id))
            if name not in artifact.files:
                raise TrackedArtifactError(
                    f"run {run_id!r} has kept no file {name!r}; it has {', '.join(artifact.files)}"
                )
            _copy(artifact.path(name), target)
        return open(target, encoding="utf-8", errors="surrogateescape")

    def log_model(
        self, path: str | os.PathLike[str], name: str | None = None, aliases: Iterable[str] | None = None
    ) -> Artifact:
        """Keep a file or folder as an artifact of the type ``model``.

        Parameters
        ----------
        path : str or path-like
        name : str, optional
            Default: ``run-``, the id and the name of the file.
        aliases : iterable of str, optional
        """
        label = name or f"run-{self.id}-{os.path.basename(os.path.normpath(os.fspath(path)))}"
        return self.log_artifact(path, label, "model", None if aliases is None else list(aliases))

    def use_model(self, name: str) -> str:
        """Return the path of a model's file, or of a copy of its folder."""
        artifact = super().use_artifact(name)
        root = artifact.download(os.path.join(self.dir, "models", artifact.ref.replace(":", "-")))
        return os.path.join(root, artifact.files[0]) if len(artifact.files) == 1 else root

    def link_model(
        self,
        path: str | os.PathLike[str],
        registered_model_name: str,
        name: str | None = None,
        aliases: Iterable[str] | None = None,
    ) -> Artifact:
        """Keep a model, as `log_model`; the registry's name is one more alias.

        Parameters
        ----------
        path, name, aliases
            As for `log_model`.
        registered_model_name : str
        """
        return self.log_model(path, name, [*(aliases or ()), registered_model_name.replace("/", "-").replace(":", "-")])

    def log_artifact(  # type: ignore[override]
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,
        aliases: Any = None,
        tags: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Keep an artifact, or a file or folder as one, and return it as the version that it became.

        Parameters
        ----------
        artifact_or_path : Artifact or path-like
        name, type, aliases, metadata
            As for `TrackedRun.log_artifact`; an artifact has its own but for the aliases.
        tags
            Has no effect.
        """
        return log_artifact(self, artifact_or_path, name, type, aliases, metadata)

    def use_artifact(  # type: ignore[override]
        self, artifact_or_name: Artifact | str, type: str | None = None, aliases: Any = None, use_as: str | None = None
    ) -> Artifact:
        """Return an artifact, and keep that this run used it; one that is not logged yet is logged first.

        Parameters
        ----------
        artifact_or_name : Artifact or str
            As for `TrackedRun.use_artifact`, such as ``"entity/project/name:alias"``.
        type : str, optional
            What its type must be.
        aliases
            Of one that is logged first.
        use_as
            Has no effect.
        """
        return use_artifact(self, artifact_or_name, type, aliases)

    def upsert_artifact(self, artifact_or_path: Any, *args: Any, **options: Any) -> Artifact:
        """Keep an artifact: as `log_artifact`."""
        return self.log_artifact(artifact_or_path, *args, **options)

    def link_artifact(self, artifact: Any, target_path: str, aliases: Iterable[str] | None = None) -> Any:
        """Return the artifact: there is no registry to link it in."""
        return artifact

    # ---- the end

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Finish it: as `TrackedRun.finish`; files in `dir` are kept first.

        Parameters
        ----------
        exit_code : int, optional
            Default 0.
        quiet : bool, optional
            Has no effect.
        """
        if not self.finished and not self._ending and self.is_here:
            self.unwatch()
            self._keep_files()
        super().finish(exit_code or 0)

    def _keep_files(self) -> None:
        for path, copy in self._saved:
            if os.path.isfile(path):
                _copy(path, copy)
        path = os.path.join(self._folder, FILES, self.id)
        if os.path.isdir(path):
            if any(files for _, _, files in os.walk(path)):
                super().log_artifact(path, _files_name(self.id), "files")
            shutil.rmtree(path, ignore_errors=True)

    # ---- what is only about a server, or a notebook

    def mark_preempting(self) -> None:
        """Do nothing: a run whose process was killed can be resumed at once."""

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Do nothing, and return False."""
        return False

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return a line of HTML that names the run."""
        return f"<p>run {self.id} in {self._folder}</p>"

    def pin_config_keys(self, keys: Iterable[str] = ()) -> None:
        """Do nothing."""

    def _label(self, *args: Any, **labels: Any) -> None:
        """Do nothing: integrations say who they are."""


class RunDisabled(DisabledRun, Run):
    """The run of ``init(mode="disabled")``."""

    @property
    def dir(self) -> str:
        """The working directory: there is no folder of its own."""
        return os.getcwd()

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: bool | None = None
    ) -> None:
        """Take values, and write nothing."""
        self._log(data, step, commit, 2)

    def log_artifact(  # type: ignore[override]
        self, artifact_or_path: Any, name: str | None = None, *args: Any, **options: Any
    ) -> Any:
        """Keep nothing; return the artifact, or for a path one without files."""
        if isinstance(artifact_or_path, Artifact):
            return artifact_or_path
        return Artifact(name or os.path.basename(os.path.abspath(artifact_or_path)), options.get("type") or "")

    def save(self, *args: Any, **options: Any) -> list[str]:
        """Do nothing."""
        return []

    def watch(self, *args: Any, **options: Any) -> None:
        """Do nothing."""

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Finish it; a second call does nothing."""
        DisabledRun.finish(self, exit_code)


def _files_name(run_id: str) -> str:
    return "files-" + "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in run_id)[:120]


def _matching(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))


def _name_below(path: str, pattern: str, base: str | os.PathLike[str] | None) -> str:
    """Return the path that a file gets below the folder of the run: never outside of it."""
    if base is not None:
        name = os.path.relpath(path, os.fspath(base))
    else:
        name = os.path.basename(path) if os.path.isabs(pattern) else os.path.normpath(path)
    return os.path.basename(path) if name.startswith("..") or os.path.isabs(name) else name


def _copy(path: str, target: str) -> None:
    if os.path.abspath(path) != os.path.abspath(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(path, target)
