"""`record`: run a seeded loop once and keep what any state can be made from again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

import numpy as np

from ..metrics.metric import Metric
from ..state.codec import UserCodec
from ..steps.importing import ends_import
from .execute import run_plan
from .options import Durability, Lossy, OnSignal, Options
from .plan import make_plan
from .progress import ProgressOption
from .resume import recorded_before
from .run import Run

S = TypeVar("S")
P = ParamSpec("P")


@overload
def record(
    step_fn: Callable[Concatenate[S, random.Random, P], S],
    init_state: S,
    n_steps: int,
    seed: int | None,
    *,
    block_size: int | None = None,
    backend: Literal["python"] = "python",
    observe: Mapping[str, Metric] | None = None,
    self_check: bool = False,
    params: Mapping[str, Any] | None = None,
    codec: UserCodec | None = None,
    memory_budget: int | str = 0,
    path: str | os.PathLike[str] | None = None,
    durability: Durability = "block",
    on_signal: OnSignal = None,
    resume: bool = False,
    allow_pickle: bool = False,
    checkpoint_budget: int | str | None = None,
    progress: ProgressOption = None,
    step_id: str | None = None,
    trial: bool = True,
    lossy: Lossy = "refuse",
) -> Run[S]: ...
@overload
def record(
    step_fn: Callable[Concatenate[S, np.random.Generator, P], S],
    init_state: S,
    n_steps: int,
    seed: int | None,
    *,
    block_size: int | None = None,
    backend: Literal["numpy"],
    observe: Mapping[str, Metric] | None = None,
    self_check: bool = False,
    params: Mapping[str, Any] | None = None,
    codec: UserCodec | None = None,
    memory_budget: int | str = 0,
    path: str | os.PathLike[str] | None = None,
    durability: Durability = "block",
    on_signal: OnSignal = None,
    resume: bool = False,
    allow_pickle: bool = False,
    checkpoint_budget: int | str | None = None,
    progress: ProgressOption = None,
    step_id: str | None = None,
    trial: bool = True,
    lossy: Lossy = "refuse",
) -> Run[S]: ...
def record(
    step_fn: Callable[..., S],
    init_state: S,
    n_steps: int,
    seed: int | None,
    *,
    block_size: int | None = None,
    backend: str = "python",
    observe: Mapping[str, Metric] | None = None,
    self_check: bool = False,
    params: Mapping[str, Any] | None = None,
    codec: UserCodec | None = None,
    memory_budget: int | str = 0,
    path: str | os.PathLike[str] | None = None,
    durability: Durability = "block",
    on_signal: OnSignal = None,
    resume: bool = False,
    allow_pickle: bool = False,
    checkpoint_budget: int | str | None = None,
    progress: ProgressOption = None,
    step_id: str | None = None,
    trial: bool = True,
    lossy: Lossy = "refuse",
) -> Run[S]:
    """Run a seeded loop once and keep about ``sqrt(n_steps)`` states of it, from which any state comes back exactly.

    Parameters
    ----------
    step_fn : callable
        ``step_fn(state, rng, **params) -> state``, pure or in place. Everything random is drawn from `rng`.
    init_state
        State 0. Copied: an in-place `step_fn` cannot reach into the recording.
    n_steps : int
        Number of states, state 0 included, ``>= 1``.
    seed : int or None
        Master seed, ``>= 0``, of any size. None draws 128 bits from the operating system, and keeps them.
    block_size : int, optional
        Steps from one checkpoint, and one stream of random numbers, to the next. Default ``ceil(sqrt(n_steps))``.
        Part of what the trajectory is a function of: give it to compare runs of different length.
    backend : {"python", "numpy"}
        Whether `rng` is a ``random.Random`` or a ``numpy.random.Generator``.
    observe : mapping of str to metric, optional
        Statistics to keep on the way, see `Run.observed`. A metric is a callable of the state, None (the state
        itself) or the name of an attribute or key of the state. One that changes the state is given copies.
    self_check : bool
        Run every block twice and refuse at the first that differs; every block is tried. Two to three times the time.
    params : mapping of str to numbers, text, booleans, None, arrays, or lists and dicts of them, optional
        Keyword arguments of every call, kept in the file.
    codec : (encode, decode), optional
        For states that cannot be stored: ``encode(state)`` gives a tree of arrays and plain values, ``decode(tree)``
        the state.
    memory_budget : int or str
        Bytes of extra checkpoints to keep in memory, not in the file, such as ``"1MB"``: a state and where the
        generator stands, every so many steps. Then a step asked for out of the blue is some microseconds away,
        instead of half a block. States that are numbers, arrays of their own and plain containers of them; with
        ``backend="python"`` each takes 2.5 KB for the generator.
    path : str or path-like, optional
        Record to this file: block by block to a journal beside it (``PATH.journal``), and at the end to the file,
        whole. Whatever happens on the way, `load` gives every finished block, and `resume` goes on. An old file stays
        until then.
    durability : {"block", "1s", "none"}
        With `path`, when what is written is made sure of against a power cut: at each block, each second, or at the
        end. A killed process loses nothing that was written, whichever it is.
    on_signal : "checkpoint", optional
        With `path`, SIGTERM and SIGUSR1 (a scheduler's time limit) end the recording as Ctrl-C does: at the end of the
        step under way (of the block, where that is less than a second away), with all on disk, by
        `RecordingInterrupted`. So they do without it, unless a handler of your own is in place. A second Ctrl-C does
        not wait for the end of the step.
    resume : bool
        With `path`, go on with the recording there, as `resume` does, or load the file where it is done, or begin: the
        same call does each. A call that asks for another recording than the one that was begun is refused: with another
        step function, state 0, seed, backend, block size, parameters or names of metrics. One that has made no step is
        begun anew.
    allow_pickle : bool
        With `resume`, whether checkpoints that are pickles may be unpickled, as for `load`.
    checkpoint_budget : int or str, optional
        Most bytes the checkpoints may take before compression, such as ``"64MB"``, for large states: blocks are made
        as long as that needs. Not with `block_size`.
    progress : bool or callable, optional
        True shows a bar; a callable is given a `Progress` at block ends. Raising from it stops the recording.
    step_id : str, optional
        Name of the step function for people. Default ``module:qualname``.
    trial : bool
        Whether the first steps (at most 64, about a second of slow ones) are gone beforehand, as your own loop would
        and from what a checkpoint gives back, to refuse a recording that could not be replayed. `step_fn` is called for
        that some hundred times more, also with `init_state` itself, which is put back as it was.
    lossy : {"refuse", "accept"}
        What is done where the trial finds that storing a state loses something. What is accepted is noted in the file.

    Returns
    -------
    run : Run

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument has a value or a type that is not taken.
    StepError
        If `step_fn` raises; ``.run`` holds the finished part.
    RecordingInterrupted
        At Ctrl-C; ``.run`` holds what is finished.
    ArtifactIOError
        With `path`, if the operating system says no; ``.run`` holds the finished part, where there is one.
    ArtifactBusyError, UnfinishedRecordingError
        With `path`, if another process records to it, or a recording that was cut off would be lost.
    StateError
        If a state cannot be kept; names the attribute that is to blame. `LossyStateError` if storing loses something.
    MetricError
        If a metric does not give numbers.
    NondeterministicStepError
        If the trial finds that `step_fn` depends on something outside its arguments; with `self_check`, at the first
        block that differs when it is run again.

    Warns
    -----
    UnchangedStateWarning
        If no step of the trial changed the state.

    Warns
    -----
    MutatingMetricWarning
        If a metric changes the state it is given; it is given copies.
    OwnGeneratorWarning
        If the state holds a random generator, and the first block drew from that and nothing from `rng`.

    Notes
    -----
    O(n_steps) calls of `step_fn` and O(sqrt(n_steps)) states in memory, after [1]_.

    References
    ----------
    .. [1] T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.

    Examples
    --------
    >>> run = record(lambda x, rng: x + rng.choice((-1, 1)), init_state=0, n_steps=10_000, seed=42)
    >>> run.get(1234) == run[1234]
    True
    """
    ends_import("record")
    options = Options(
        block_size=block_size,
        backend=backend,
        observe=observe,
        self_check=self_check,
        params=params,
        codec=codec,
        memory_budget=memory_budget,
        checkpoint_budget=checkpoint_budget,
        step_id=step_id,
        path=path,
        durability=durability,
        on_signal=on_signal,
        resume=bool(resume),
        allow_pickle=bool(allow_pickle),
        progress=progress,
        trial=trial,
        lossy=lossy,
    )
    if options.resume:
        before = recorded_before(step_fn, init_state, n_steps, seed, options)
        if before is not None:
            return before
    plan, row = make_plan(step_fn, init_state, n_steps, seed, options)
    return run_plan(Run, plan, row, options)
