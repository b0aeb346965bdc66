"""Runs as `Api` gives them: to read, and to change their labels, config and summary."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import ArgumentError, TrackedArtifactError
from ...runs.arguments import integer
from ...tracker import active
from ...tracker.init import init
from ...tracker.revision import Revision
from ...tracker.tracker import Tracker
from ..artifacts import Artifact
from .files import File, Files, files_of
from .filters import matches, sort_key
from .sweeps import Sweep

#: Rows that `Run.history` gives where `samples` is not said: all.
_ALL_ROWS = 1 << 62


class Summary(dict[str, Any]):
    """A summary: a dict, in which a name before a dot is a dict of what comes after it; `update` keeps it."""

    def __init__(self, values: Mapping[str, Any], run: Run) -> None:
        super().__init__(values)
        self._run = run

    @property
    def _json_dict(self) -> dict[str, Any]:
        return dict(self)

    def __missing__(self, key: str) -> Any:
        found = self._below(key)
        if not found:
            raise KeyError(key)
        return found

    def _below(self, key: Any) -> dict[str, Any]:
        start = f"{key}."
        return {name[len(start) :]: value for name, value in self.items() if name.startswith(start)}

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or bool(self._below(key))

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or `default`."""
        return self[key] if key in self else default

    def update(self, values: Any = None, **more: Any) -> None:  # type: ignore[override]
        """Add values, if there are any, and keep all that was changed with the run."""
        super().update({**dict(values or {}), **more})
        self._run.update()


class Run:
    """A run, as `Api` gives it: what was logged up to the moment it was asked for.

    Attributes
    ----------
    config : dict
    summary : Summary
    tags : list of str
    name, notes : str or None
        These five may be changed; `update` keeps that.
    """

    def __init__(self, revision: Revision) -> None:
        self._revision = revision
        self._read()

    def _read(self) -> None:
        found = self._revision
        self.name: str = found.name
        self.notes: str | None = found.notes
        self.tags: list[str] = list(found.tags)
        self.config: dict[str, Any] = json.loads(json.dumps(found.config))
        times = {"_runtime": found.duration, "_timestamp": found.began + found.duration}
        self.summary = Summary({**times, **dict(found.summary)}, self)
        self._before = self._changeable()

    def _changeable(self) -> dict[str, Any]:
        summary = json.dumps({key: _plain(value) for key, value in self.summary.items()}, sort_keys=True, default=repr)
        config = json.dumps(self.config, sort_keys=True, default=repr)
        return {"name": self.name, "notes": self.notes, "tags": [*self.tags], "config": config, "summary": summary}

    # ---- what it is

    @property
    def id(self) -> str:
        """Its id."""
        return self._revision.id

    @property
    def display_name(self) -> str:
        """Its name."""
        return self.name

    @property
    def entity(self) -> str:
        """A label; empty where there is none."""
        return self._revision.entity or ""

    @property
    def project(self) -> str:
        """A label; empty where there is none."""
        return self._revision.project or ""

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self.entity, self.project, self.id]

    @property
    def group(self) -> str | None:
        """A label."""
        return self._revision.group

    @property
    def job_type(self) -> str | None:
        """A label."""
        return self._revision.job_type

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``failed`` or ``crashed``."""
        return self._revision.status

    @property
    def created_at(self) -> str:
        """When it began, such as ``2026-01-31T12:00:00Z``."""
        return _iso(self._first.began)

    createdAt = created_at  # noqa: N815

    @property
    def heartbeat_at(self) -> str:
        """When its last row was logged."""
        return _iso(self._revision.began + self._revision.duration)

    @property
    def url(self) -> str:
        """The folder of the tracker."""
        return "file://" + self._revision.dir

    @property
    def username(self) -> str:
        """The entity: there are no users."""
        return self.entity

    @property
    def metadata(self) -> dict[str, Any]:
        """Where and how it was logged: see `Revision.machine`."""
        return dict(self._revision.machine)

    @property
    def commit(self) -> str | None:
        """The git commit of the program, if it was kept."""
        return (self._revision.machine.get("git") or {}).get("commit")

    @property
    def summary_metrics(self) -> dict[str, Any]:
        """The summary as a plain dict."""
        return dict(self.summary)

    @property
    def rawconfig(self) -> dict[str, Any]:
        """The config."""
        return dict(self.config)

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802
        """Step of its last row; -1 where there is none."""
        return self._revision.last_step

    @property
    def storage_id(self) -> str:
        """Its id."""
        return self.id

    @property
    def sweep_name(self) -> str | None:
        """The id of its sweep, if it belongs to one."""
        return self._revision.sweep_id

    @property
    def sweep(self) -> Sweep | None:
        """Its sweep, if it belongs to one."""
        return None if self.sweep_name is None else Sweep(self._revision.dir, self.sweep_name, Runs)

    @property
    def _first(self) -> Revision:
        return self._revision.revisions[0]

    def fields(self) -> dict[str, Any]:
        """Return what filters and orders know of it."""
        return {
            "name": self.id,  # as W&B's server calls the id
            "id": self.id,
            "display_name": self.name,
            "state": self.state,
            "tags": self.tags,
            "notes": self.notes,
            "group": self.group,
            "job_type": self.job_type,
            "username": self.username,
            "entity": self.entity,
            "project": self.project,
            "sweep": self.sweep_name,
            "created_at": self.created_at,
            "heartbeat_at": self.heartbeat_at,
            "duration": self._revision.duration,
            "config": self.config,
            "summary_metrics": self.summary,
        }

    # ---- what was logged

    def history(
        self,
        samples: int | None = None,
        keys: Sequence[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: str = "default",
    ) -> Any:
        """Return the rows: as a DataFrame where pandas is installed, else as a list of dicts.

        Parameters
        ----------
        samples : int, optional
            At most so many rows, one after another at equal distances, the first and the last among them. Default: all.
        keys : sequence of str, optional
            Only these keys, and only rows that have all of them.
        x_axis : str
            A key that is there beside them.
        pandas : bool
            False: a list, always.
        stream : {"default", "system"}
            ``system``: the samples of processor and memory.
        """
        if stream == "system":
            rows = self._revision.system()
        else:
            rows = self._rows(keys if keys is None else [x_axis, *keys], 0, None)
        rows = _sampled(rows, _ALL_ROWS if samples is None else integer("samples", samples))
        if not pandas:
            return rows
        try:
            import pandas as library  # type: ignore[import-untyped]
        except ImportError:
            return rows
        return library.DataFrame.from_records(rows)

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        page_size: int = 1000,
        min_step: int | None = None,
        max_step: int | None = None,
        **options: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yield all rows; with `keys`, these keys of rows that have all of them. `max_step` is not among them."""
        yield from self._rows(keys, min_step or 0, max_step)

    beta_scan_history = scan_history

    def _rows(self, keys: Sequence[str] | None, low: int, high: int | None) -> list[dict[str, Any]]:
        if keys is None:
            return self._revision.history(None, low, high, times=True)
        wanted = list(dict.fromkeys(keys))
        others = [key for key in wanted if key != "_step"]
        rows = self._revision.history(others or None, low, high, times="_timestamp" in keys or "_runtime" in keys)
        return [{key: row[key] for key in wanted} for row in rows if all(key in row for key in wanted)]

    @property
    def history_keys(self) -> dict[str, Any]:
        """What is known of each key: how many rows there are, and its last value."""
        values = {key: value for key, value in self._revision.summary.items() if key != "_step"}
        keys = {key: {"typeCounts": [{"type": _type_of(value)}]} for key, value in values.items()}
        return {"lastStep": self.lastHistoryStep, "keys": keys}

    @property
    def system_metrics(self) -> dict[str, Any]:
        """The last sample of processor and memory."""
        return dict((self._revision.system() or [{}])[-1])

    # ---- its files and artifacts

    def files(self, names: Sequence[str] | None = None, per_page: int = 50, **options: Any) -> Files:
        """Return its files: those that it kept, its media, config, summary and printed lines; or those of `names`."""
        found = files_of(self._revision)
        pattern = options.get("pattern")
        if pattern is not None:  # % stands for anything, as in SQL
            like = re.compile(".*".join(map(re.escape, pattern.split("%"))))
            found = [file for file in found if like.fullmatch(file.name)]
        wanted = [names] if isinstance(names, str) else names
        return Files([file for file in found if wanted is None or file.name in wanted])

    def file(self, name: str) -> File:
        """Return one of its files.

        Raises
        ------
        TrackedArtifactError
            If there is none of that name; names those there are.
        """
        found = files_of(self._revision)
        for file in found:
            if file.name == name:
                return file
        some = ", ".join(file.name for file in found[:12]) + (", ..." if len(found) > 12 else "")
        raise TrackedArtifactError(f"run {self.id!r} has no file {name!r}; it has {some}")

    def logged_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """Return the artifacts that it logged, without what was kept of its files."""
        return [Artifact._of(one) for one in self._revision.artifacts if one.type != "files"]

    def used_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """Return the artifacts that it used."""
        return [Artifact._of(one) for one in self._revision.used_artifacts]

    # ---- changing

    def update(self) -> None:
        """Keep what was changed of name, notes, tags, config and summary: as a new revision of the run.

        Raises
        ------
        RunBusyError
            If another process logs to it.
        """
        after = self._changeable()
        if after == self._before:
            return
        mine = next((run for run in active.open_runs() if run.is_here and run == self._revision), None)
        before = active.open_run()
        run = mine or init(id=self.id, dir=self._revision.dir, resume="must", reinit="create_new", save_code=False)
        try:
            run.name, run.notes, run.tags = self.name, self.notes, tuple(self.tags)
            run.config.update(self.config, allow_val_change=True)
            old = dict(run.summary)
            for key, value in self.summary.items():
                if key not in ("_step", "_runtime", "_timestamp") and not _same(old.get(key, _GONE), value):
                    run.summary[key] = value
        finally:
            if mine is None:
                run.finish(self._revision.exit_code or 0)
                if before is not None:
                    active.make_latest(before)
        self.load(force=True)

    save = update

    def load(self, force: bool = False) -> dict[str, Any]:
        """Read it again, and return what is known of it."""
        self._revision = Tracker(self._revision.dir).run(self.id)
        self._read()
        return self.fields()

    def delete(self, delete_artifacts: bool = False) -> None:
        """Remove it from the list, as `Tracker.remove` does: `Tracker.restore` brings it back, and artifacts stay."""
        Tracker(self._revision.dir).remove(self.id)

    def wait_until_finished(self) -> None:
        """Refuse to wait for a run that is running.

        Raises
        ------
        ArgumentError
        """
        self.load(force=True)
        if self.state == "running":
            raise ArgumentError("the run", self.id, "one that has finished", "Ask for its state again later")

    def to_html(self, *args: Any, **options: Any) -> str:
        """Return its name and where it is."""
        import html

        return f"<p>run {html.escape(self.id)} in {html.escape(self._revision.dir)}</p>"

    def __repr__(self) -> str:
        return f"<Run {'/'.join(part for part in self.path if part)} ({self.state})>"


class Runs(Sequence[Run]):
    """The runs that `Api.runs` found, each read when it is asked for."""

    def __init__(self, revisions: Sequence[Revision], filters: Any, order: str | None) -> None:
        runs = [Run(revision) for revision in revisions]
        if filters:
            runs = [run for run in runs if matches(run.fields(), filters)]
        if order:
            key, down = sort_key(order)
            runs = runs[::-1] if down else runs  # of equal ones, too, the last begun is the first
            runs.sort(key=lambda run: key(run.fields()), reverse=down)
        self._runs, self._at = runs, 0

    @property
    def objects(self) -> list[Run]:
        """All of them."""
        return list(self._runs)

    def __getitem__(self, index: Any) -> Any:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __next__(self) -> Run:
        if self._at >= len(self._runs):
            raise StopIteration
        self._at += 1
        return self._runs[self._at - 1]

    next = __next__

    def histories(
        self, samples: int | None = None, keys: Sequence[str] | None = None, format: str = "default", **options: Any
    ) -> Any:
        """Return the rows of all runs, each with its ``run_id``; a DataFrame with ``format="pandas"``."""
        rows = [{**row, "run_id": run.id} for run in self for row in run.history(samples, keys, pandas=False)]
        if format != "pandas":
            return rows
        import pandas

        return pandas.DataFrame.from_records(rows)

    def __repr__(self) -> str:
        return f"<Runs {[run.id for run in self._runs]}>"


_GONE = object()


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b) or bool(a != a and b != b)
    except (ValueError, TypeError):  # of an array
        return a is b


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _type_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("_type", "map"))
    return "number" if isinstance(value, (int, float)) else "string" if isinstance(value, str) else "list"


def _sampled(rows: list[dict[str, Any]], samples: int) -> list[dict[str, Any]]:
    if len(rows) <= samples or samples < 1:
        return rows
    if samples == 1:
        return rows[-1:]
    return [rows[i * (len(rows) - 1) // (samples - 1)] for i in range(samples)]


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
