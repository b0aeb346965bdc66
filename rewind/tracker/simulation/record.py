"""Record a simulation as part of a tracked run, from its state 0 or from where the run stands."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...engine.plan import Plan
from ...errors import ArgumentError, ArgumentTypeError, RecordingInterrupted, StepError, StoreError, TrackerError
from ...metrics.metric import Metric
from ...runs.arguments import codec_of, integer, n_steps_of
from ...runs.branch import branch_plan
from ...runs.execute import run_plan
from ...runs.noise import warn_of_branch
from ...runs.options import Options, durability_of, signals_of
from ...runs.plan import make_plan
from ...runs.progress import reporter
from ...runs.resume import first_change
from ...runs.run import Run
from ...state.codec import Row
from ...steps.params import params_of
from ...steps.signature import parameter_names, params_taken
from ..store.history import END, Record
from ..store.lock import file_stem
from ..store.writer import Writer
from .parts import Attached, Part, Simulation, attached, free_name, path_of, recording_of, remember
from .rows import Tap, require_names


class _Missing:
    def __repr__(self) -> str:
        return "<none>"


MISSING: Any = _Missing()


@dataclass(frozen=True)
class Request:
    """The arguments of `TrackedRun.record`."""

    step_fn: Callable[..., Any] | None
    init_state: Any
    n_steps: int | None
    seed: int | None
    log_every: int | None
    noise: Literal["same", "fresh"]
    mutate: Callable[[Any], Any] | None
    options: Options


@dataclass(frozen=True)
class Target:
    """The tracked run that a simulation is recorded for.

    Attributes
    ----------
    record : Record
        Its revision.
    config : mapping
    simulation : Simulation
        What it has of one.
    writer : Writer
    add_rows : callable
        As `Writer.add_rows`; it refuses rows of a run that was finished meanwhile.
    """

    record: Record
    config: Mapping[str, Any]
    simulation: Simulation
    writer: Writer
    add_rows: Callable[[list[tuple[int, dict[str, Any]]]], None]

    @property
    def last(self) -> int:
        """The last step of its history."""
        return self.writer.step - 1


@dataclass(frozen=True)
class _Start:
    """A part of the simulation that is about to be recorded."""

    part: Part
    plan: Plan
    row: Row
    left: Run[Any] | None = None  # the run it is a branch of


def record(target: Target, request: Request) -> Run[Any]:
    """Record a simulation, or go on with the one there is: as `TrackedRun.record` says; called by it alone."""
    request = _checked(request)
    if not target.simulation.begun_by(target.last):
        return _carry_out(target, _begin(target, request), request.options)
    again = request.init_state is not MISSING
    if again:
        _require_same(target, request)
        request = replace(request, seed=None)
    else:
        _require_as_recorded(request.options)
    start = _go_on(target, request)
    if start is not None:
        return _carry_out(target, start, request.options)
    if again:
        return target.simulation.kept(target.last)
    n_states = target.simulation.n_states(target.last)
    expected = f"more than the {n_states} states that there are up to step {target.last}"
    raise ArgumentError("n_steps", request.n_steps, expected)


# ---- arguments


def _checked(request: Request) -> Request:
    """Return the request, with `log_every` as an int; what is invalid is refused now, before there is a recording."""
    every = None if request.log_every is None else min(integer("log_every", request.log_every, 1), END)
    if request.options.observe is not None:
        require_names(request.options.observe, "observe")
    reporter(request.options.progress, "record", 1)
    durability_of(request.options.durability)
    signals_of(request.options.on_signal)
    if request.noise not in ("same", "fresh"):
        raise ArgumentError("noise", request.noise, "'same' or 'fresh'")
    return replace(request, log_every=every)


def _require_as_recorded(options: Options) -> None:
    """Refuse to change what a simulation that goes on keeps."""
    for name in ("block_size", "checkpoint_budget", "codec"):
        value = getattr(options, name)
        if value is not None:
            raise ArgumentError(name, value, "none, to go on: it stays as it was recorded")


def _require_same(target: Target, request: Request) -> None:
    """Refuse to go on with a simulation that was begun as another one."""
    simulation, options = target.simulation, request.options
    root = simulation.parts[0]
    recording = recording_of(simulation.folder, root)
    again = f"To begin another one, rewind to before it: resume_from='{target.record.run}?_step={root.first - 1}'"
    advice = f"run.record(n_steps=...) goes on with the one it has. {again}"
    change = first_change(
        recording,
        seed=request.seed,
        backend=options.backend,
        block_size=options.block_size,
        init_state=request.init_state,
        codec=codec_of(options.codec),
    )
    if change is not None and change.name == "init_state":
        raise ArgumentError("init_state", request.init_state, "state 0 of the simulation this run has", advice)
    if change is not None:
        expected = f"{change.recorded!r}, with which this run's simulation was begun"
        raise ArgumentError(change.name, change.given, expected, advice)


def _params(
    config: Mapping[str, Any],
    step_fn: Callable[..., Any],
    kept: Mapping[str, Any],
    given: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the parameters of the step function: what is given, else the config's, else those that were kept."""
    names = [name for name in parameter_names(step_fn) or () if name in config]
    return {**params_taken(step_fn, kept), **params_of({name: config[name] for name in names}), **params_of(given)}


def _specs(observe: Mapping[str, Metric] | None) -> dict[str, Any]:
    """Return what is kept of metrics: names of fields, None for the state itself, False for a function."""
    return {
        name: metric if metric is None or isinstance(metric, str) else False for name, metric in (observe or {}).items()
    }


# ---- where it begins


def _begin(target: Target, request: Request) -> _Start:
    """Return how a simulation begins."""
    step_fn, n_steps, options = request.step_fn, request.n_steps, request.options
    if request.init_state is MISSING:
        way = "run.record(step_fn, init_state, n_steps, seed) begins one"
        raise TrackerError(f"{target.record.ref} has no simulation to go on with; {way}")
    if step_fn is None:
        raise ArgumentTypeError("step_fn", None, "a callable: step_fn(state, rng) -> state")
    if n_steps is None:
        raise ArgumentTypeError("n_steps", None, "the number of states")
    options = replace(options, params=_params(target.config, step_fn, {}, options.params))
    plan, row = make_plan(step_fn, request.init_state, n_steps, request.seed, options, stacklevel=4)
    part = _new_part(target, plan, target.writer.step, 0, request.log_every, _specs(options.observe), None)
    remember(target.simulation.folder, part, Attached(step_fn, dict(options.observe or {}), options.codec, True, True))
    return _Start(part, plan, row)


def _go_on(target: Target, request: Request) -> _Start | None:
    """Return how the simulation goes on from where the run stands; None where it is as long as asked for."""
    simulation, observe, noise = target.simulation, request.options.observe, request.noise
    old, known, run, t = _left_at(target, request)
    total = old.origin + old.n_steps if request.n_steps is None else n_steps_of(request.n_steps)
    length = total - (old.origin + t)
    if length < 2:
        return None
    step_fn = known.step_fn if request.step_fn is None else request.step_fn
    params = _params(target.config, step_fn, run.params, request.options.params)
    seed = request.seed
    if noise == "fresh" and seed is None:  # every run and every rewind another one, and each the same again
        text = f"{run.seed} {old.origin + t} {target.record.ref}"
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    if noise == "same" and seed is not None:
        raise ArgumentError("seed", seed, "none with noise='same'", "noise='fresh' draws anew")
    plan, row = branch_plan(
        run._trajectory,
        t,
        request.mutate,
        seed,
        length,
        noise=noise,
        params=params,
        step_fn=step_fn,
        observe=observe,
        options=request.options,
    )
    every = old.log_every if request.log_every is None else request.log_every
    metrics = dict(old.metrics) if observe is None else _specs(observe)
    part = _new_part(target, plan, target.last, old.origin + t, every, metrics, noise)
    functions = dict(known.observe) if observe is None else dict(observe)
    remember(simulation.folder, part, Attached(step_fn, functions, known.codec, True, True))
    return _Start(part, plan, row, run)


def _left_at(target: Target, request: Request) -> tuple[Part, Attached, Run[Any], int]:
    """Return the part where the run stands, its functions, and the step in it; what is missing is said."""
    simulation, observe = target.simulation, request.options.observe
    old = simulation.part_at(target.last)
    known = simulation.functions(old)
    if known is None and request.step_fn is not None:
        simulation.give(attached(request.step_fn, observe))
        known = simulation.functions(old)
    _, run, t = simulation.at(target.last)
    if known is None or run._trajectory.step is None:
        raise simulation.missing("going on", old)
    missing = [name for name in old.metrics if name not in run._trajectory.metrics]
    if observe is None and missing:
        expected = f"the functions of {', '.join(missing)}, which no file holds"
        raise ArgumentError("observe", None, expected, "observe={} leaves them out")
    return old, known, run, t


def _new_part(
    target: Target,
    plan: Plan,
    first: int,
    origin: int,
    every: int | None,
    metrics: Mapping[str, Any],
    noise: str | None,
) -> Part:
    owner = target.record
    query = "SELECT coalesce(max(n), 0) + 1 FROM simulations WHERE revision = ?"
    ((n,),) = target.writer.store.read(query, (owner.uid,))
    # A run of an earlier version whose id differs in case has a file that may, too.
    like = f"{file_stem(owner.run)}.{owner.number}.{n}%"
    taken = {
        name.lower() for (name,) in target.writer.store.read("SELECT file FROM simulations WHERE file LIKE ?", (like,))
    }
    file = free_name(owner.run, owner.number, n, taken)
    return Part(owner.uid, n, first, origin, plan.n_steps, file, every, metrics, noise, END, owner.began)


# ---- recording it


def _carry_out(target: Target, start: _Start, options: Options) -> Run[Any]:
    """Record a part, and log its rows."""
    part, writer = start.part, target.writer
    _keep_part(target, part)
    goes_on = part.noise is not None
    plan = replace(start.plan, tap=Tap(target.add_rows, part.first, part.origin, part.log_every, goes_on))
    options = replace(options, path=path_of(target.simulation.folder, part))
    done: Run[Any] | None = None
    writer.recorded = True
    try:
        done = run_plan(Run, plan, start.row, options, op="branch" if goes_on else "record", stacklevel=4)
        if start.left is not None:
            warn_of_branch(start.left._trajectory, plan, start.row)
        return done
    except BaseException as error:
        done = getattr(error, "run", None)
        if isinstance(error, RecordingInterrupted):
            error.way = "They are kept: run.record() goes on"
        elif isinstance(error, StepError):
            error.way = (
                "What was finished is kept: run.state is the state it was given, and run.record(step_fn) goes on "
                "from there when step_fn is mended"
            )
        raise
    finally:
        writer.recorded = False
        if done is not None and not plan.metrics:  # nothing was logged: a row says how far it came
            target.add_rows([(part.first + done.n_steps - 1, {})])
        writer.flush()


def _keep_part(target: Target, part: Part) -> None:
    """Write down that there is a recording, before there is one."""
    folder = os.path.dirname(path_of(target.simulation.folder, part))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StoreError("make", folder, error.strerror or str(error)) from None
    query = """INSERT INTO simulations (revision, n, first, origin, n_steps, file, log_every, metrics, noise)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
    facts = (part.first, part.origin, part.n_steps, part.file, part.log_every, json.dumps(dict(part.metrics)))
    with target.writer.store.writing() as connection:
        connection.execute(query, (part.uid, part.n, *facts, part.noise))
