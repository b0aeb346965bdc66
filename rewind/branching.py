"""Futures of a run: branches from any step, and more steps at the end; and a run as it was when it was shorter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from .checks import integer, n_steps_of, params_of, params_taken, seed_of
from .engine.increments import cut_table, first_rows, thinned_stride
from .engine.metrics import Metric, MetricTable, resolve, resolve_one
from .engine.moments import VectorMoments
from .engine.passes import Pass, stretches
from .engine.questions import Measure, Measured
from .engine.recording import Ancestor, Origin
from .engine.replay import Parted
from .engine.seeds import branch_seed, get_state
from .engine.states import Row, StateCodec
from .engine.steps import Step
from .engine.sweep import Plan, go_on
from .errors import ArgumentError, ArgumentTypeError, StateError
from .keeping import Durability, OnSignal
from .planning import begun
from .progress import ProgressOption, reporter
from .searching import Searching
from .source import describe, versions
from .stepkinds import step_of
from .sweeping import swept

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S")
Noise = Literal["fresh", "same"]


class Branching(Searching[S]):
    """The futures of a run."""

    def branch(
        self,
        t: int,
        mutate: Callable[[S], S | None] | None = None,
        seed: int | None = None,
        n_steps: int | None = None,
        *,
        noise: Noise = "fresh",
        params: Mapping[str, Any] | None = None,
        step_fn: Callable[..., S] | None = None,
        path: str | os.PathLike[str] | None = None,
        durability: Durability = "block",
        on_signal: OnSignal = None,
        progress: ProgressOption = None,
    ) -> Self:
        """Record another future from step `t`; this run stays as it is.

        Parameters
        ----------
        t : int
            The step at which to leave; state 0 of the branch.
        mutate : callable, optional
            The intervention: ``mutate(state)`` is given a private copy and returns the new state, or None if it
            changed the copy in place.
        seed : int, optional
            Master seed of the branch. Default: one that depends on this run's seed and `t` only, so the same call
            draws the same noise, and siblings share it.
        n_steps : int, optional
            Number of states of the branch. Default: up to the last step of this run.
        noise : {"fresh", "same"}
            ``"same"`` draws exactly what this run drew at the same step (common random numbers), so every difference
            is the intervention.
        params : mapping, optional
            New values for some parameters; the others are inherited.
        step_fn : callable, optional
            Another step function. Default: this run's. Parameters that it does not have are not inherited.
        path, durability, on_signal
            As for `record`: block by block to this file, which `resume` goes on with.
        progress : bool or callable, optional

        Returns
        -------
        branch : Run
            Its metrics are this run's; its `start` is this run's plus `t`.

        Raises
        ------
        ArgumentError
            If `seed` is given with ``noise="same"``, or `n_steps` is no length.
        StepRangeError
            If there is no step `t`.
        StepError, RecordingInterrupted, StateError, MetricError, ArtifactError
            As from `record`; ``.run`` holds the finished part.

        Notes
        -----
        A branch keeps this run's ``block_size``, so siblings of different length draw the same noise, too.
        """
        plan, row = self._branch_plan(t, mutate, seed, n_steps, noise=noise, params=params, step_fn=step_fn)
        return begun(
            type(self),
            plan,
            row,
            path=path,
            durability=durability,
            on_signal=on_signal,
            progress=progress,
            op="branch",
            misfits=False,
        )

    def _branch_plan(
        self,
        t: int,
        mutate: Callable[[S], S | None] | None = None,
        seed: int | None = None,
        n_steps: int | None = None,
        *,
        noise: Noise = "fresh",
        params: Mapping[str, Any] | None = None,
        step_fn: Callable[..., S] | None = None,
        observe: Mapping[str, Metric] | None = None,
    ) -> tuple[Plan, Row]:
        """Return how `branch` records, and what it begins with; `observe` replaces the metrics of this run."""
        recording = self._recording
        point = recording.grid.step(integer("t", t))
        if noise not in ("fresh", "same"):
            raise ArgumentError("noise", noise, "'fresh' or 'same'")
        if noise == "same" and seed is not None:
            raise ArgumentError(
                "seed", seed, "no seed with noise='same'", "A branch draws its parent's noise, or its own"
            )
        length = recording.n_steps - point if n_steps is None else n_steps_of(n_steps)
        cursor = self._reader.cursor("branch")
        step = self._branch_step(params, step_fn)
        codec = recording.checkpoints.codec
        with self._reader.turn:
            cursor.seek(point)
            state = codec.copy(cursor.state)
        if mutate is not None:
            state = self._mutated(mutate, state)
        grid = recording.origin.grid + point
        if noise == "same":
            master = recording.seed
        else:
            master = branch_seed(recording.seed, grid) if seed is None else seed_of(seed)
        lead, rng_state = 0, None
        goes_on = noise == "same" and mutate is None and step.same(cursor.step)
        if goes_on:  # nothing but the parent's own way leads to the state as the parent has it inside a block
            lead = point - recording.grid.start(cursor.block)
            if cursor.block == 0:
                lead, rng_state = lead + recording.origin.lead, recording.origin.rng_state
        elif noise == "same" and grid % recording.block_size != 0:
            rng_state = get_state(cursor.rng, recording.backend)
        origin = Origin(
            start=self.start + point,
            grid=grid if noise == "same" else 0,
            ancestors=(Ancestor(self.content_hash(), point), *self.lineage),
            rng_state=rng_state,
            noise=noise,
            lead=lead,
        )
        kept = codec if goes_on else StateCodec.of(state, codec.user)
        step.require_branch(cursor.step, codec, kept, state)
        if observe is None:
            metrics = {name: resolve_one(name, metric, state, kept) for name, metric in self._metrics.items()}
        else:
            metrics = resolve(observe, state, kept)
        plan = Plan(
            step=step,
            codec=kept,
            n_steps=length,
            block_size=recording.block_size,
            seed=master,
            backend=recording.backend,
            origin=origin,
            metrics=metrics,
            hints=self._hints(step.function),
            versions=versions(),
            turn=self._reader.turn,
        )
        with self._reader.turn:
            row = cursor.row(cursor.block) if goes_on else kept.encode(state)
        return plan, row

    def _hints(self, function: Callable[..., Any]) -> dict[str, str]:
        """Return what is known of a step function: what the file says, if it is the one that was recorded."""
        here, recorded = describe(function), dict(self._recording.step)
        return recorded if here.get("source") == recorded.get("source") else here

    def _branch_step(self, params: Mapping[str, Any] | None, step_fn: Callable[..., Any] | None) -> Step:
        assert self._step is not None
        inherited = self._recording.params
        if step_fn is not None:
            inherited = params_taken(step_fn, inherited)
        function = self._step.function if step_fn is None else step_fn
        return step_of(function, {**inherited, **params_of(params)}, self.backend)

    def _mutated(self, mutate: Callable[[Any], Any], state: Any) -> Any:
        if not callable(mutate):
            raise ArgumentTypeError("mutate", mutate, "a callable of the state")
        new = mutate(state)
        if new is not None or state is None:
            return new
        if isinstance(state, (bool, int, float, complex, str, bytes, tuple, np.generic)):
            raise StateError(
                "",
                "become None: mutate returned nothing, and such a state cannot be changed in place",
                "return the new state from mutate",
            )
        return state

    def extend(self, n_steps: int, *, progress: ProgressOption = None) -> Self:
        """Return this run continued to `n_steps` states: the same past byte for byte, more future.

        Parameters
        ----------
        n_steps : int
            Number of states in all, more than there are.
        progress : bool or callable, optional

        Returns
        -------
        run : Run
            A new one; this run stays as it is. Every second stored checkpoint is dropped as often as it takes to keep
            at most ``2*sqrt(n_steps)`` of them; blocks, and so the trajectory, do not change.

        Raises
        ------
        ArgumentError
            If there are as many steps already, or metrics were observed whose functions are not here.
        NondeterministicReplayError
            If the last block does not give the last state again: the step is not the one recorded, or hides something.
        MetricError
            If a metric does not give what it gave in the last block.

        Notes
        -----
        ``n_steps - len(run)`` steps, and one block that is run again twice: to check it, and to go on from it.
        """
        recording = self._recording
        n = n_steps_of(n_steps, None)
        if n <= recording.n_steps:
            advice = f"n_steps is the new number of states in all, for example extend({2 * recording.n_steps})"
            raise ArgumentError("n_steps", n, f"more than the {recording.n_steps} this run has", advice)
        plan = self._longer_plan(n, thinned_stride(recording.stride, replace(recording, n_steps=n).grid.n_blocks, n))
        report = reporter(progress, "extend", n)
        try:
            return swept(type(self), plan, lambda: go_on(recording, plan, report))
        except Parted as parted:
            raise self._not_reproduced(parted) from None

    def _longer_plan(self, n_steps: int, stride: int) -> Plan:
        """Return how this run goes on to `n_steps` steps."""
        recording = self._recording
        missing = [name for name in recording.metrics if name not in self._metrics]
        if missing and self._step is not None:
            advice = "Load the run with rewind.load(path, step_fn, observe={name: function})"
            raise ArgumentError(
                "observe", sorted(self._metrics), f"functions for {', '.join(missing)} to go on", advice
            )
        self._reader.cursor("extend")
        assert self._step is not None
        return Plan(
            step=self._step,
            codec=recording.checkpoints.codec,
            n_steps=n_steps,
            block_size=recording.block_size,
            seed=recording.seed,
            backend=recording.backend,
            stride=stride,
            origin=recording.origin,
            metrics={name: self._metrics[name] for name in recording.metrics},
            hints=self._hints(self._step.function),
            versions=versions(),
            turn=self._reader.turn,
        )

    def _shortened(self, n_steps: int, *, observed: bool = True) -> Self:
        """Return the first `n_steps` states as a run of its own: the very run that would have been recorded so long.

        Parameters
        ----------
        n_steps : int
            At most as many as there are.
        observed : bool
            Whether it has what was observed, too.

        Returns
        -------
        run : Run
            Of as many steps, and complete. Metrics whose function is not here are left out, unless `n_steps` is all.

        Notes
        -----
        The last block is replayed up to its end (with a stride, from the stored checkpoint before). Of observed metrics
        a file holds the exact sums of all blocks but the last, and of these together: up to a step before the last
        block they are collected anew, in one pass from step 0.
        """
        recording = self._recording
        n = n_steps_of(n_steps)
        if n > recording.n_steps:
            raise ArgumentError("n_steps", n, f"at most the {recording.n_steps} this run has")
        if n == recording.n_steps:
            return type(self)(replace(recording, complete=True, stopped=None), self._step, self._metrics)
        cursor, codec = self._reader.cursor("a part of the run"), recording.checkpoints.codec
        last = recording.grid.block_of(n - 1)
        known = {name: table for name, table in recording.metrics.items() if name in self._metrics and observed}
        tables = self._shortened_tables(known, last, n) if known else {}
        with self._reader.turn:
            cursor.seek(n - 1)
            digest = codec.digest(codec.encode(cursor.state))
        short = replace(
            recording,
            n_steps=n,
            checkpoints=first_rows(recording.checkpoints, last // recording.stride + 1),
            tail_digest=digest,
            metrics=tables,
            complete=True,
            stopped=None,
        )
        return type(self)(short, self._step, {name: self._metrics[name] for name in known})

    def _shortened_tables(self, known: Mapping[str, MetricTable], last: int, n_steps: int) -> dict[str, MetricTable]:
        """Return the tables of metrics up to `n_steps`, which is in block `last`."""
        recording, grid = self._recording, self._recording.grid
        again = last < grid.n_blocks - 1  # else what there was of the blocks before is in the tables
        measures = {}
        for name, table in known.items():
            shift = table.tail.shift if isinstance(table.tail, VectorMoments) else np.zeros(())
            measures[name] = Measure(self._metrics[name], table.shape, shift)
        assert self._step is not None
        work = Pass(recording, self._step, Measured(measures), self._reader.turn)
        closed: list[Any] = [None if again else table.closed for table in known.values()]
        tails: list[Any] = []
        try:
            for sums in work.here(stretches(grid, 0 if again else grid.start(last), n_steps)):
                if tails:
                    closed = [tail if old is None else old.merge(tail) for old, tail in zip(closed, tails, strict=True)]
                tails = [one.moments for one in sums]
        except Parted as parted:
            raise self._not_reproduced(parted) from None
        made = zip(known.items(), closed, tails, strict=True)
        return {name: cut_table(table, last, before, tail) for (name, table), before, tail in made}
