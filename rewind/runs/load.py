"""`load`: find a recorded run again in its file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..engine.block_log import Growth
from ..engine.recording import Recording
from ..engine.snapshots import snapshots_within
from ..engine.verify import sampled_blocks
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    StepSourceWarning,
    UnknownMetricError,
    UnsafeArtifactError,
    changed_code,
)
from ..metrics.metric import Metric, resolve
from ..metrics.table import require_observed
from ..state.codec import UserCodec
from ..steps.code import Code, classes_of
from ..steps.resolve import step_of
from ..steps.source import changed, describe
from ..steps.step import Step
from ..storage.open import Opened, open_run
from .arguments import codec_of, integer, key_of, n_bytes_of
from .run import Run


def load(
    path: str | os.PathLike[str],
    step_fn: Callable[..., Any] | None = None,
    *,
    allow_pickle: bool = False,
    observe: Mapping[str, Metric] | None = None,
    codec: UserCodec | None = None,
    memory_budget: int | str = 0,
    max_bytes: int | None = None,
    reader: Literal["strict", "h5py"] = "strict",
    key: bytes | str | None = None,
    check: bool = True,
    classes: Mapping[str, type] | None = None,
) -> Run[Any]:
    """Return the run in a `.replay` file. Nothing is imported or run, and nothing unpickled unless allowed.

    Parameters
    ----------
    path : str or path-like
        Where ``record(path=...)`` has not written the file yet, or was cut off before it could: the finished blocks,
        as a run that is not `complete`; ``metadata()["stopped"]`` says why. Nothing is locked.
    step_fn : callable, optional
        The step function it was recorded with. Without it the run answers what needs no replay.
    allow_pickle : bool
        Whether checkpoints that are pickles may be unpickled, which runs code the file brings along.
    observe : mapping of str to metric, optional
        The metrics the run was recorded with, for text conditions, `Run.extend`, `Run.branch`, and for `Run.verify`
        to compare what they give with what was observed. The file knows those that are names or None.
    codec : (encode, decode), optional
        The codec the run was recorded with.
    memory_budget : int or str
        As in `record`; the extra checkpoints are taken as blocks are replayed for the first time.
    max_bytes : int, optional
        Limit on the decoded arrays. Default: the memory that is available here, for all that it takes to read them.
    reader : {"strict", "h5py"}
        ``"h5py"`` reads a file that an HDF5 tool rewrote; only for files you trust.
    key : bytes or str, optional
        The key that `Run.save` signed the file with: refuse a file without a signature, and one with another. Without
        `key` no signature is checked.
    check : bool
        Whether the first replay is run to the end of its block and compared with the next checkpoint, before a state
        of it is given: once. Where that would take longer than ten seconds, it is made when a pass comes by that
        checkpoint, and an `UncheckedReplayWarning` says so.
    classes : mapping of str to class, optional
        ``{"old.module:Town": Town}``: the class that takes states which were recorded as those of another, where it
        moved, has another name, has its fields in another order, or gained some that have defaults.

    Returns
    -------
    run : Run

    Raises
    ------
    ArtifactNotFoundError, ArtifactIOError
        If the file cannot be read.
    ArtifactFormatError, ArtifactVersionError, ArtifactIntegrityError
        If it is no `.replay` file, of a later format, or damaged; or not signed with `key`.
    UnsafeArtifactError
        If it holds pickles and `allow_pickle` is False.
    StateClassError
        If `step_fn` is given and a class of its states has not been imported. A class of the recording script is
        looked up in the module of `step_fn` as well.
    UnknownMetricError
        If `observe` names a metric the run did not observe.
    MetricError
        If a function in `observe` gives what was not observed, at up to 33 stored states.

    Warns
    -----
    UnfinishedRecordingWarning
        If a recording that is to replace the file is under way, or was cut off.
    StepSourceWarning
        If the code of `step_fn`, a helper it calls, a value it reads or a class of its states is not what was recorded.

    Notes
    -----
    O(size of the file), and no replay: about a millisecond for a run of a million steps. The first state that is asked
    for takes a block more, unless it is stored.
    """
    limit = None if max_bytes is None else integer("max_bytes", max_bytes, 1)
    opened = open_run(path, codec_of(codec), limit, reader, key_of(key))
    recording = opened.recording
    if classes is not None:
        _give_classes(recording, classes)
    if step_fn is None:
        require_allowed(recording, path, allow_pickle)
        if observe is not None:
            raise ArgumentError("observe", observe, "step_fn as well", "Metrics are of use only to a replay")
        return _with_part(Run(recording, None, {}), opened, allow_pickle)
    step, metrics = attached(recording, path, step_fn, allow_pickle, observe)
    checkpoints = recording.checkpoints
    budget = n_bytes_of("memory_budget", memory_budget)
    first = checkpoints.restore(0)
    snapshots = snapshots_within(budget, step, checkpoints.codec, first, recording.grid, recording.backend)
    run: Run[Any] = Run(recording, step, metrics, snapshots, "elsewhere" if check else "unchecked")
    return _with_part(run, opened, allow_pickle)


def _give_classes(recording: Recording, classes: Mapping[str, type]) -> None:
    layout = recording.checkpoints.codec.layout
    known = layout.names if layout is not None else []
    for name, cls in classes.items():
        if name not in known:
            states = (
                f"a name of {', '.join(known)}" if known else "no classes: those of its states are in pickles, or none"
            )
            raise ArgumentError("a name in classes", name, states)
        if not isinstance(cls, type):
            raise ArgumentTypeError(f"classes[{name!r}]", cls, "a class")
    if layout is not None:
        layout.give(classes)


def _with_part(run: Run[Any], opened: Opened, allow_pickle: bool) -> Run[Any]:
    """Return the run, with what was kept at its last step where that is inside a block."""
    part = None if opened.found is None else opened.found.growth.part
    if part is None or not run._recording.grid.start(part.block) < part.t == run.n_steps - 1:
        return run
    if allow_pickle or not isinstance(part.row, bytes):
        run._trajectory.part = run._reader.part = part
    return run


def require_allowed(recording: Recording, path: object, allow_pickle: bool) -> None:
    """Refuse pickles that were not allowed."""
    checkpoints = recording.checkpoints
    if checkpoints.pickles and not allow_pickle:
        raise UnsafeArtifactError(len(checkpoints.pickles), checkpoints.n, path)


def require_rows_allowed(growth: Growth, path: object, allow_pickle: bool) -> None:
    """Refuse the same of the states that a recording goes on from, and that are not among its checkpoints."""
    rows = [growth.row, None if growth.part is None else growth.part.row]
    if any(isinstance(row, bytes) for row in rows) and not allow_pickle:
        raise UnsafeArtifactError(1, growth.finished().checkpoints.n + 1, path)


def attached(
    recording: Recording,
    path: object,
    step_fn: Callable[..., Any],
    allow_pickle: bool,
    observe: Mapping[str, Metric] | None,
    stacklevel: int = 3,
) -> tuple[Step, dict[str, Any]]:
    """Return the step function and the metrics a recording from `path` is given here, each found to fit it."""
    require_allowed(recording, path, allow_pickle)
    checkpoints = recording.checkpoints
    step = step_of(step_fn, recording.params, recording.backend)
    if checkpoints.codec.layout is not None:
        checkpoints.codec.layout.require_classes(getattr(step_fn, "__module__", None))
    classes = classes_of(checkpoints)
    here = describe(step_fn, code=Code(step_fn, classes))
    found = changed(recording.step, here)
    inner = step_fn
    while found is not None and hasattr(inner, "__wrapped__"):  # what counts, times or logs the step is no other step
        inner = inner.__wrapped__
        found = None if changed(recording.step, describe(inner, code=Code(inner, classes))) is None else found
    if found is not None:
        warnings.warn(
            StepSourceWarning(changed_code(here["id"], path, recording.step.get("id"), found)), stacklevel=stacklevel
        )
    for name in observe or ():
        if name not in recording.metrics:
            raise UnknownMetricError(name, list(recording.metrics))
    metrics = resolve(observe, checkpoints.restore(0), checkpoints.codec) if observe is not None else {}
    for name, function in metrics.items():
        _require_observed(recording, name, function)
    return step, metrics


def _require_observed(recording: Recording, name: str, function: Callable[[Any], Any] | None) -> None:
    """Refuse a function that is seen, at up to 33 stored states, not to be the one that was observed."""
    grid, checkpoints = recording.grid, recording.checkpoints
    for block in reversed(sampled_blocks(grid.n_blocks, recording.stride, False)):
        if block or not recording.origin.lead:
            state = checkpoints.restore(block // recording.stride)
            require_observed(name, function, recording.metrics[name], grid.start(block), block, state)
