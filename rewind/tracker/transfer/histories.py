"""Import what other programs logged: CSV, event files of TensorBoard, folders that W&B's client wrote offline."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial

from ...errors import ArgumentError, ArgumentTypeError, ArtifactFormatError, ArtifactIOError, LeftOutWarning
from ...state.columns import is_text
from ...storage.files import path_text
from ..moment import require_new_id, run_id_of
from .csv_file import read_csv
from .event_files import read_event_files
from .import_ import room_in, writing_into
from .imported import About, Target
from .merge import Merge
from .wandb_file import read_wandb

_Begin = Callable[[About], Target]
_Read = Callable[[About, _Begin], Target]
_TABLES = (".csv", ".tsv")


def is_history(path: str) -> bool:
    """Whether a path is what `import_histories` takes, by its name: all else is what `export` wrote."""
    return os.path.isdir(path) or path.lower().endswith((*_TABLES, ".wandb")) or _is_event_file(path)


def import_histories(
    folder: str,
    path: str | os.PathLike[str],
    run_id: str | None = None,
    name: str | None = None,
    project: str | None = None,
    step: str | None = None,
) -> list[str]:
    """Add runs that other programs logged to a tracker's folder: as `Tracker.import_history` says."""
    source, folder = path_text(path), os.path.abspath(folder)
    if run_id is not None:
        require_new_id(run_id_of(run_id))
    for label, value in {"name": name, "project": project}.items():
        if value is not None and not (isinstance(value, str) and is_text(value)):
            raise ArgumentTypeError(label, value, "a str")
    if not os.path.lexists(source):
        raise ArtifactIOError.of("read", source, FileNotFoundError(2, "No such file or directory"))
    found = list(_runs_at(source, step))
    if not found:
        kinds = "a .csv file, event files of TensorBoard (*tfevents*), and folders of W&B with a .wandb file"
        raise ArtifactFormatError(
            f"no run is in it. What can be imported: {kinds}, and what rewind export wrote", source
        )
    if len(found) > 1 and (run_id is not None or name is not None):
        given, value = ("id", run_id) if run_id is not None else ("name", name)
        raise ArgumentError(given, value, f"none, as {source} has {len(found)} runs", "Import one of them by itself")
    new: list[str] = []
    for read in found:
        new += _imported(folder, read, About(run_id or "", name or "", project))
    return new


def _imported(folder: str, read: _Read, about: About) -> list[str]:
    """Log one run to a folder of its own, and merge that: all of it, or nothing."""
    with writing_into(folder), room_in(folder) as staging:
        targets: list[Target] = []

        def begin(about: About) -> Target:
            targets.append(Target(staging, about))
            return targets[-1]

        try:
            target = read(about, begin)
        finally:
            for one in targets:
                one.close()
        merge = Merge(folder, staging, target.about.run_id)
        merge.merge()
        new = merge.runs
    if new and target.left_out:
        warnings.warn(LeftOutWarning(target.about.run_id, target.left_out), stacklevel=4)
    return new


# ---- what there is at a path


def _runs_at(source: str, step: str | None) -> Iterator[_Read]:
    if not os.path.isdir(source):
        yield from _runs_in(os.path.dirname(source) or ".", [os.path.basename(source)], source, step)
        return
    seen: set[str] = set()  # "latest-run" is a link to one of the others
    for at, folders, files in os.walk(source):
        folders.sort()
        if os.path.realpath(at) in seen:
            continue
        seen.add(os.path.realpath(at))
        log = any(name.endswith(".wandb") for name in files)
        if log:
            folders.clear()  # its event files are in the log
        yield from _runs_in(at, sorted(files), source, step)


def _runs_in(at: str, files: list[str], source: str, step: str | None) -> Iterator[_Read]:
    """Yield what reads the runs of one folder."""
    logs = [name for name in files if name.endswith(".wandb")]
    events = [os.path.join(at, name) for name in files if _is_event_file(name)]
    for name in logs:
        yield partial(read_wandb, os.path.join(at, name))
    if events and not logs:
        below = os.path.relpath(at, source) if os.path.isdir(source) else "."
        name = os.path.basename(os.path.abspath(at)) if below == "." else below.replace(os.sep, "/")
        yield partial(read_event_files, events, name)
    if not os.path.isdir(source) and source.lower().endswith(_TABLES):  # in a folder there may be data
        yield partial(read_csv, source, step)


def _is_event_file(path: str) -> bool:
    return "tfevents" in os.path.basename(path)
