"""`Recorder`: a recording whose length nobody knows before, step by step, by a loop of the user's own."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from ..engine.finding import TrialFailed
from ..engine.open_sweep import FOREVER, Growing
from ..engine.pace import Part
from ..engine.past import checked_row
from ..engine.plan import Plan, SelfCheckFailed, Stopped, reason_of
from ..engine.queries import CONDITION, Test
from ..engine.recording import Recording
from ..engine.replay import ReplayMismatch
from ..errors import (
    ArgumentTypeError,
    ArtifactError,
    MetricError,
    RecorderFinishedError,
    RewindError,
    StateError,
    StepError,
)
from ..metrics.condition import parse
from ..metrics.metric import Metric, as_values
from ..state.codec import UserCodec
from ..steps.importing import ends_import
from ..steps.step import Step
from ..storage import journal
from .arguments import block_size_of, codec_of, integer
from .branch import longer_plan
from .execute import OpenJournal, finish, open_journal, stopped_error
from .load import attached, load, require_rows_allowed
from .options import Durability, Lossy, OnSignal, Options, require_no_output
from .plan import make_plan
from .progress import ProgressOption, reporter
from .resume import is_unfinished, reopen_unfinished
from .run import Run
from .search import ConditionOption
from .trial import error_of
from .verify import not_reproduced

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S")

#: What ends a call early, with what there is.
_STOPS = (StepError, StateError, MetricError, SelfCheckFailed, TrialFailed, ArtifactError, KeyboardInterrupt)


class Recorder(Generic[S]):
    """A recording that goes on as long as it is told to, for loops that own their control flow.

    Parameters
    ----------
    step_fn, init_state, seed, backend, observe, self_check, params, codec, step_id, trial, lossy
        As for `record`.
    block_size : int
        Steps from one stream of random numbers to the next: the trajectory is that of ``record(...,
        block_size=block_size)``, whatever its length.
    path, durability, on_signal
        As for `record`. The file is written by `finish`, or at the end of the ``with`` block.
    progress : bool or callable, optional
        As for `record`, for each call of `advance` and `until`.

    Attributes
    ----------
    t : int
        The step it stands at; at first 0.
    state
        A private copy of the state there.
    run : Run
        All there is so far.

    Raises
    ------
    ArgumentError, ArgumentTypeError, StateError, MetricError, ArtifactError
        As from `record`.

    Notes
    -----
    Of the checkpoints every second one is dropped as often as it takes to keep at most ``2*sqrt(n)`` of `n` steps; the
    blocks, and so the trajectory, do not change. Not to be used by several threads at once.

    Examples
    --------
    >>> def walk(x, rng):
    ...     return x + rng.choice((-1, 1))
    >>> with Recorder(walk, 0, seed=1) as recorder:
    ...     for x in recorder:
    ...         if abs(x) >= 20:
    ...             break
    >>> recorder.run[-1], len(recorder.run) == recorder.t + 1
    (20, True)
    """

    def __init__(
        self,
        step_fn: Callable[..., S],
        init_state: S,
        seed: int | None,
        *,
        block_size: int = 1024,
        backend: Literal["python", "numpy"] = "python",
        observe: Mapping[str, Metric] | None = None,
        self_check: bool = False,
        params: Mapping[str, Any] | None = None,
        codec: UserCodec | None = None,
        path: str | os.PathLike[str] | None = None,
        durability: Durability = "block",
        on_signal: OnSignal = None,
        progress: ProgressOption = None,
        step_id: str | None = None,
        trial: bool = True,
        lossy: Lossy = "refuse",
    ) -> None:
        ends_import("Recorder")
        options = Options(
            block_size=block_size_of(block_size),  # None would be what a number of steps makes it
            backend=backend,
            observe=observe,
            self_check=self_check,
            params=params,
            codec=codec,
            step_id=step_id,
            path=path,
            durability=durability,
            on_signal=on_signal,
            progress=progress,
            trial=trial,
            lossy=lossy,
        )
        reporter(progress, "record", 1)  # refuse now what is no callable
        plan, row = make_plan(step_fn, init_state, 1, seed, options)
        if path is None:
            require_no_output(options)
        output = None if path is None else open_journal(path, None, None, options)
        self._begin(plan, row, None, output, progress)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        step_fn: Callable[..., S],
        *,
        observe: Mapping[str, Metric] | None = None,
        codec: UserCodec | None = None,
        allow_pickle: bool = False,
        durability: Durability = "block",
        on_signal: OnSignal = None,
        max_bytes: int | None = None,
        progress: ProgressOption = None,
    ) -> Self:
        """Return a recorder that goes on where the one for this file was cut off, or finished.

        It stands where that one was closed or interrupted; after a kill at the end of the last finished block, or where
        the block under way was kept last.

        Parameters
        ----------
        path, step_fn, observe, codec, allow_pickle, durability, on_signal, max_bytes
            As for `rewind.resume`.
        progress
            As for `Recorder`.

        Raises
        ------
        ArtifactNotFoundError, ArtifactBusyError, NondeterministicReplayError
            As from `rewind.resume`.
        """
        ends_import("Recorder.resume")
        options = Options(observe=observe, codec=codec_of(codec), durability=durability, on_signal=on_signal)
        reporter(progress, "record", 1)  # refuse now what is no callable
        target = journal.target_of(path)
        output: OpenJournal | None = None
        try:
            if is_unfinished(target):
                output = reopen_unfinished(target, options)
            if output is not None:
                found = output.log.found
                assert found is not None
                before, row, part = found.growth.finished(), found.growth.row, found.growth.part
                step, metrics = attached(before, output.log.path, step_fn, allow_pickle, observe)
                require_rows_allowed(found.growth, output.log.path, allow_pickle)
                run: Run[S] = Run(before, step, metrics, origin="elsewhere")
            else:
                run = load(
                    target, step_fn, allow_pickle=allow_pickle, observe=observe, codec=codec, max_bytes=max_bytes
                )
                before, row, part = run._trajectory.recording, None, None
                longer_plan(run._trajectory, before.n_steps, before.stride)  # refuse before a journal is begun
                output = open_journal(target, None, None, options)
            output.log.n_steps = output.log.stride = None
            plan = longer_plan(run._trajectory, before.n_steps, before.stride)
            recorder = cls.__new__(cls)
            try:
                recorder._begin(plan, checked_row(before, plan, row, part), before, output, progress, part)
            except ReplayMismatch as mismatch:
                raise not_reproduced(run._trajectory, mismatch) from None
            return recorder
        except BaseException:
            if output is not None:
                output.log.close()
            raise

    def _begin(
        self,
        plan: Plan,
        row: Any,
        before: Recording | None,
        output: OpenJournal | None,
        progress: ProgressOption,
        part: Part | None = None,
    ) -> None:
        self._plan, self._output, self._progress = plan, output, progress
        self._step: Step = plan.step
        self._finished: Run[S] | None = None
        if output is not None:
            plan = replace(plan, log=output.log, pace=output.pace(None))
        try:
            self._growing = Growing(plan, None, row, before, part)
        except BaseException as error:
            if output is not None:
                output.log.close()
            if isinstance(error, TrialFailed):
                raise error_of(error.finding) from None
            raise

    # ---- where it stands

    @property
    def t(self) -> int:
        """The step it stands at."""
        return self._growing.t

    @property
    def n_steps(self) -> int:
        """Number of states so far."""
        return self._growing.t + 1

    def __len__(self) -> int:
        return self.n_steps

    @property
    def state(self) -> S:
        """A private copy of the state at step `t`."""
        return self._plan.codec.copy(self._growing.state)  # type: ignore[no-any-return]

    @property
    def path(self) -> str | None:
        """The file it records to."""
        return None if self._output is None else self._output.path

    @property
    def run(self) -> Run[S]:
        """All there is so far: a run of its own, to which nothing is added."""
        if self._finished is not None:
            return self._finished
        return self._run(self._growing.recording())

    def _run(self, recording: Recording) -> Run[S]:
        return Run(recording, self._plan.step, self._plan.metrics)

    def __repr__(self) -> str:
        where = f", recording to {self.path}" if self._output is not None and self._finished is None else ""
        return f"<Recorder: step {self.t:,}{where}>"

    # ---- going on

    def advance(self, n: int = 1) -> Self:
        """Go `n` steps.

        Parameters
        ----------
        n : int
            ``>= 0``.

        Returns
        -------
        recorder : Recorder
            This one.

        Raises
        ------
        StepError
            If the step function raises; ``.run`` holds all there is, up to the state it was given.
        RecordingInterrupted
            At Ctrl-C, or another signal that was asked for.
        RecorderFinishedError
            If the file is written already.
        """
        end = self.t + integer("n", n, 0)
        with self._going(end) as growing:
            growing.go_to(end)
        return self

    def until(self, cond: ConditionOption, max_steps: int | None = None) -> int | None:
        """Go to the next step at which `cond` holds, and return it; None after `max_steps` steps without one.

        Parameters
        ----------
        cond : callable or str
            A predicate of the state, which must not change it, or text over observed metrics such as ``"x > 1e6"``.
        max_steps : int, optional
            Default: no limit.

        Raises
        ------
        ConditionError
            If the text cannot be read, or the predicate raises.
        StepError, RecordingInterrupted, RecorderFinishedError
            As from `advance`.
        """
        test = self._test(cond)
        limit = None if max_steps is None else self.t + integer("max_steps", max_steps, 0)
        with self._going(limit) as growing:
            while limit is None or growing.t < limit:
                growing.go_to(growing.t + 1)
                if test.of_state(growing.state, growing.t):
                    return growing.t
        return None

    def __iter__(self) -> Iterator[S]:
        """Go on without end, one step for each state: a private copy of the next."""
        while True:
            yield self.advance().state

    @contextlib.contextmanager
    def _going(self, limit: int | None) -> Iterator[Growing]:
        """Go on up to step `limit`, with progress and signals; an error is raised with what there is in its ``run``."""
        if self._finished is not None:
            raise RecorderFinishedError(self.path)
        growing, output = self._growing, self._output
        report = None if limit is None else reporter(self._progress, "record", limit + 1)
        if growing.plan.pace is not None:
            growing.plan.pace.tell = report
        growing.report = report if output is None else output.reported(report, FOREVER)
        with contextlib.nullcontext() if output is None else output.signals:
            try:
                if output is not None and output.signals.caught:  # since the last call
                    growing.settle()
                yield growing
            except _STOPS as error:
                done = growing.rescued(error)
                if output is not None:
                    if isinstance(error, KeyboardInterrupt):
                        self._keep()
                    output.stop(done)
                raised = stopped_error(Stopped(error, done), self._run(done), self._plan.step, None, output)
                raise raised from raised.__cause__

    def _test(self, cond: ConditionOption) -> Test:
        if not isinstance(cond, str):
            if not callable(cond):
                expected = "a predicate of the state, or text over observed metrics such as 'x > 1e6'"
                raise ArgumentTypeError("cond", cond, expected)
            return Test({CONDITION: cond})
        metrics, state, shapes = self._plan.metrics, self.state, {}
        for name, function in metrics.items():
            value = as_values(name, [state if function is None else function(state)], self.t)
            shapes[name] = value.shape[1:]
        condition = parse(cond, shapes)
        return Test({name: metrics[name] for name in condition.names}, condition, shapes)

    # ---- the end

    def finish(self) -> Run[S]:
        """Return the run, with `path` when its file is written; nothing is recorded after that.

        Raises
        ------
        ArtifactIOError
            If the file cannot be written; what there is stays on disk, and `finish` can be tried again.
        """
        if self._finished is None:
            if self._plan.self_check:
                with self._going(None) as growing:
                    growing.check()
            run = self.run
            if self._output is not None:
                finish(self._output, run)
            told = self._plan.misfits is not None and self._plan.misfits.told
            misfit = None if told else run._trajectory.misfit()
            if misfit is not None:
                warnings.warn(misfit, stacklevel=2)
            self._finished = run
        return self._finished

    def close(self) -> None:
        """Stop without writing the file: what there is stays on disk, and `resume` goes on from it."""
        self._leave("the recorder was closed")

    def _leave(self, reason: str) -> None:
        if self._output is None or self._finished is not None:
            return
        try:
            with contextlib.suppress(RewindError):  # then the finished blocks are what there is
                done = self._growing.cut(reason)
                self._keep()
                self._output.stop(done)
        finally:
            self._output.log.close()

    def _keep(self) -> None:
        """Keep what there is of the block under way, where that can be."""
        with contextlib.suppress(Exception):  # what was kept before is there
            self._growing.keep()

    def __enter__(self) -> Self:
        if self._output is not None:
            self._output.signals.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self.finish()
            else:
                self._leave(reason_of(error[1]))
        except BaseException as failed:  # what cannot be finished here can be resumed, also by this program
            self._leave(reason_of(failed))
            raise
        finally:
            if self._output is not None:
                self._output.signals.__exit__(*error)
