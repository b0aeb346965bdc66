"""`Handle`: a recording with its step function; what it is, its states, its file. `Run` asks it the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar, Union, overload

from .checks import integer, key_of, params_of, seed_text, slice_of
from .engine.columns import Array
from .engine.layouts import first_change
from .engine.recording import Ancestor, Recording
from .engine.replay import Parted, Reader
from .engine.steps import Step
from .engine.verify import Mismatch, find_mismatch
from .errors import ArgumentError, NondeterministicReplayError, NondeterministicStepError, PickledStatesWarning
from .kernel import MISSING, Marks
from .source import facts, facts_here
from .views import View

S = TypeVar("S")
Path = Union[str, "os.PathLike[str]"]


class Handle(Generic[S]):
    """A recorded run: what it is, its states, its file."""

    def __init__(
        self,
        recording: Recording,
        step: Step | None,
        metrics: Mapping[str, Callable[[Any], Any] | None],
        marks: Marks | None = None,
    ) -> None:
        self._recording, self._step, self._metrics = recording, step, dict(metrics)
        self._reader = Reader(recording, step, recording.step.get("id"), marks)
        self._hash: str | None = None
        self._quick: Callable[[Any], Any] = self._first_quick

    def _first_quick(self, t: int) -> Any:
        self._quick = self._reader.quick
        return self._quick(t)

    def __reduce__(self) -> tuple[Any, ...]:  # what its file holds; the step and metric functions by reference
        recording = self._recording
        from .storage import artifact

        parts = artifact.to_parts(recording)
        return _again, (type(self), *parts, recording.checkpoints.codec.user, self._step, self._metrics)

    # ---- what it is

    @property
    def n_steps(self) -> int:
        """Number of states."""
        return self._recording.n_steps

    @property
    def block_size(self) -> int:
        """Steps from one stream of random numbers to the next."""
        return self._recording.block_size

    @property
    def seed(self) -> int:
        """Master seed."""
        return self._recording.seed

    @property
    def backend(self) -> str:
        """``"python"`` or ``"numpy"``."""
        return self._recording.backend

    @property
    def params(self) -> dict[str, Any]:
        """A copy of the keyword arguments every call of the step function gets."""
        return params_of(self._recording.params)

    @property
    def step_id(self) -> str | None:
        """Name of the step function, a hint for people."""
        return self._recording.step.get("id")

    @property
    def lineage(self) -> tuple[Ancestor, ...]:
        """Content hash and branch point of the parent, its parent, ... the root; empty for a root."""
        return self._recording.origin.ancestors

    @property
    def parent_hash(self) -> str | None:
        """Content hash of the parent of a branch."""
        return self.lineage[0].content_hash if self.lineage else None

    @property
    def branch_point(self) -> int | None:
        """Step of the parent at which a branch left it."""
        return self.lineage[0].branch_point if self.lineage else None

    @property
    def start(self) -> int:
        """Step 0 of this run on the axis of its root: 0 but for a branch."""
        return self._recording.origin.start

    @property
    def complete(self) -> bool:
        """False for the finished part of a recording that stopped early."""
        return self._recording.complete

    @property
    def n_checkpoints(self) -> int:
        """Number of stored states."""
        return self._recording.checkpoints.n

    def metadata(self) -> dict[str, Any]:
        """Return what is known of the run without a replay, as plain values."""
        from .storage import artifact

        return {
            **artifact.described(self._recording),
            "params": self.params,
            "parent_hash": self.parent_hash,
            "branch_point": self.branch_point,
        }

    def content_hash(self) -> str:
        """Return the hash of everything recorded: equal for the same run on every machine, before and after a save."""
        if self._hash is None:
            from .storage import artifact  # the first save, load or hash pays for it, and not every import

            self._hash = artifact.content_hash(self._recording)
        return self._hash

    def __repr__(self) -> str:
        parts = [f"{self.n_steps:,} steps", f"{self.n_checkpoints:,} checkpoints", f"seed={seed_text(self.seed)}"]
        parts += [f"step {self.step_id}"] if self.step_id else []
        parts += [f"branched at step {self.branch_point}"] if self.lineage else []
        parts += [] if self.complete else ["incomplete"]
        parts += [] if self._step is not None else ["no step_fn"]
        return f"<Run: {', '.join(parts)}>"

    def _misfit(self) -> PickledStatesWarning | None:
        """Return what to say of stored states that stopped fitting the columns of state 0, None if all fit."""
        recording, checkpoints = self._recording, self._recording.checkpoints
        layout = checkpoints.codec.layout
        if layout is None or not checkpoints.pickles:
            return None
        i = min(checkpoints.pickles)
        change = first_change(layout, checkpoints.codec.tree(checkpoints.row(i)))
        step = recording.grid.start(i * recording.stride)
        return PickledStatesWarning(*change, step, len(checkpoints.pickles), checkpoints.n)

    # ---- its states

    def get(self, t: int) -> S:
        """Return the state at step `t`, exactly as it was: a private copy.

        Parameters
        ----------
        t : int
            ``-n_steps <= t < n_steps``; negative steps count from the end.

        Raises
        ------
        StepRangeError
            If there is no such step.
        MissingStepError
            If it needs a replay and the run was loaded without its step function.

        Notes
        -----
        At most ``block_size`` steps (times the stride of a thinned run), half on average; one step if the last
        question was about ``t - 1``; none at a checkpoint without a step function.
        """
        state = self._quick(t)
        if state is MISSING:
            state = self._reader.get(self._recording.grid.step(integer("t", t)))
        return state  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return self.n_steps

    @overload
    def __getitem__(self, t: int) -> S: ...
    @overload
    def __getitem__(self, t: slice) -> View[S]: ...
    def __getitem__(self, t: int | slice) -> S | View[S]:
        if isinstance(t, slice):
            return View(self._reader, range(self.n_steps)[slice_of(t)])
        return self.get(t)

    def __iter__(self) -> Iterator[S]:
        return self.iter()

    def iter(self, start: int = 0, stop: int | None = None) -> Iterator[S]:
        """Yield the states from `start` up to, not including, `stop`, in one pass: private copies."""
        first, behind = self._window(start, stop)
        return self._reader.states(range(first, behind))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return View(self._reader, range(self.n_steps)).__array__(dtype, copy)

    def _window(self, start: int, stop: int | None) -> tuple[int, int]:
        first, behind, _ = slice(integer("start", start), None if stop is None else integer("stop", stop)).indices(
            self.n_steps
        )
        return first, behind

    def _some_window(self, start: int, stop: int | None) -> tuple[int, int]:
        """Return a window that holds a step."""
        first, behind = self._window(start, stop)
        if first >= behind:
            raise ArgumentError("the window", (start, stop), f"at least one step of 0 to {self.n_steps - 1}")
        return first, behind

    def _not_reproduced(self, parted: Parted) -> NondeterministicReplayError:
        """Return what to raise where a pass did not get to a stored state."""
        assert self._step is not None
        cursor = self._reader.cursor("a replay")
        mismatch = find_mismatch(cursor, parted.block, parted.step, parted.expected, parted.got)
        return failure(NondeterministicReplayError, mismatch, self._recording, self._step)

    # ---- its file

    def save(self, path: Path, *, compat: Literal["1.8"] | None = None, key: bytes | str | None = None) -> None:
        """Write the run to `path`, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            By custom ``NAME.replay``. An old file is replaced at the end, in one step.
        compat : "1.8", optional
            For the oldest HDF5 readers: uncompressed and without a seal.
        key : bytes or str, optional
            Sign the file with this secret of 1 to 64 bytes. ``load(path, key=key)`` then refuses what anyone without
            it made or changed; the content hash stays the same.

        Raises
        ------
        ArtifactIOError
            If the operating system says no: also a FileNotFoundError, IsADirectoryError or PermissionError where it
            is one.

        Notes
        -----
        The same run is the same bytes, at any time and on both kernels. About 3 KB for a million steps of a small
        integer, 8.5 KB for those of a float.
        """
        from .storage import artifact

        artifact.save(self._recording, path, compat, key_of(key))


def _again(cls: type[Any], arrays: Any, meta: Any, user: Any, step: Step | None, metrics: Any) -> Any:
    """Return a run that was pickled."""
    from .storage.schema import from_parts

    return cls(from_parts(arrays, meta, user), step, metrics)


_F = TypeVar("_F", NondeterministicStepError, NondeterministicReplayError)


def failure(
    cls: type[_F], mismatch: Mismatch, recording: Recording, step: Step, meddler: tuple[str, int] | None = None
) -> _F:
    """Return the error that a mismatch is."""
    return cls(
        mismatch.block,
        mismatch.step,
        mismatch.path,
        mismatch.expected,
        mismatch.got,
        exact=mismatch.exact,
        recorded=facts(recording),
        present=facts_here(step.function),
        global_rng=mismatch.global_rng,
        meddler=meddler,
    )
