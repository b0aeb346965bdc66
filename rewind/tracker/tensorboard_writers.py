"""Follow the writers of TensorBoard in this process: what they write to their files is logged to a run, too.

Those of torch and of tensorboardX hand each event to an ``EventFileWriter``, whose ``add_event`` is wrapped here: where
its module is loaded already, at once, else when it is.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import IgnoredWarning
from .transfer.event_files import logged_by
from .transfer.wire import Message

if TYPE_CHECKING:
    from .run import TrackedRun

#: The modules that have an ``EventFileWriter``: torch uses the first one.
_MODULES = ("tensorboard.summary.writer.event_file_writer", "tensorboardX.event_file_writer")
_ORIGINAL = "_rewind_original"
_TURN = threading.RLock()
_FOLLOWING: list[_Follower] = []  # the latest is the one that is asked


def follow(run: TrackedRun) -> None:
    """Log what writers are given from now on to a run, until it is finished."""
    _FOLLOWING[:] = [one for one in _FOLLOWING if one.is_open]
    _FOLLOWING.append(_Follower(run))
    for name in _MODULES:
        if name in sys.modules:
            _wrap(sys.modules[name])
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def unfollow() -> None:
    """Let all writers be as they were."""
    _FOLLOWING.clear()
    for name in _MODULES:
        writer = getattr(sys.modules.get(name), "EventFileWriter", None)
        if writer is not None and hasattr(writer.add_event, _ORIGINAL):
            writer.add_event = getattr(writer.add_event, _ORIGINAL)
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)


class _Follower:
    """Logs events to a run: those of one step are one row."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = weakref.ref(run)
        self._root: str | None = None  # the folder of the first writer
        self._step: int | None = None  # of the last event
        self._at: int | None = None  # the row that it is in
        self._ignored: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether the run takes what is logged."""
        run = self._run()
        return run is not None and run.is_here and not run.finished

    def take(self, event: bytes, folder: str) -> None:
        """Log what an event of a writer to a folder has."""
        run = self._run()
        found = logged_by(Message(event))
        new = [tag for tag in found.left_out if tag not in self._ignored]
        if new:
            self._ignored |= {*new}
            warnings.warn(IgnoredWarning("sync_tensorboard", new), stacklevel=5)
        if run is None or not (found.values or found.config):
            return
        if found.config:
            run.config.update(found.config, allow_val_change=True)
        if found.values:
            prefix = self._prefix(folder)
            values = {prefix + tag: value for tag, value in found.values.items()}
            values["global_step"] = found.step
            if run._writer.recorded:  # which says what the steps are
                run.log(values, commit=False)
            else:
                self._at = self._row(run.step, found.step)
                run.log(values, step=self._at)
            self._step = found.step

    def _row(self, now: int, step: int) -> int:
        """Return the step of the row for an event: its own, or where the run is past that already the next one."""
        if step == self._step or step > now:
            return max(step, now)
        return now + 1 if now == self._at else now

    def _prefix(self, folder: str) -> str:
        """Return what the tags of a writer begin with: nothing for the first, else the name of its folder."""
        at = os.path.abspath(folder)
        if self._root is None:
            self._root = at
        if at == self._root:
            return ""
        below = os.path.relpath(at, self._root).replace(os.sep, "/")
        return f"{os.path.basename(at) if below.startswith('..') else below}/"


def _wrap(module: ModuleType) -> None:
    writer = getattr(module, "EventFileWriter", None)
    if writer is None or hasattr(writer.add_event, _ORIGINAL):
        return
    original = writer.add_event

    @functools.wraps(original)
    def add_event(self: Any, event: Any, *args: Any, **options: Any) -> Any:
        done = original(self, event, *args, **options)
        with _TURN:
            following = next((one for one in reversed(_FOLLOWING) if one.is_open), None)
            if following is not None:
                content = event if isinstance(event, bytes) else event.SerializeToString()
                following.take(content, str(getattr(self, "_logdir", "")))
        return done

    setattr(add_event, _ORIGINAL, original)
    writer.add_event = add_event


class _Finder(MetaPathFinder):
    """Sees to it that a module with a writer is wrapped when it is loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the module's own spec, with a loader that wraps what it has loaded; None for any other module."""
        if name not in _MODULES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as it is always made."""
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        """Load it, and wrap its writer."""
        self._loader.exec_module(module)
        if _FOLLOWING:
            _wrap(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_FINDER = _Finder()
