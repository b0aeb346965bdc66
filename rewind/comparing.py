"""Comparisons of a run: with its own replay, bit for bit, and with another run."""

from __future__ import annotations

from typing import Any, TypeVar

from .engine.divergence import Divergence, Side, diverge
from .engine.replay import meddles
from .engine.verify import Mismatch, Verification
from .errors import ArgumentTypeError, NondeterministicReplayError
from .handle import Handle, failure
from .progress import ProgressOption, reporter
from .workforce import ExecutorOption, Pass

S = TypeVar("S")


class Comparing(Handle[S]):
    """The comparisons of a run."""

    def verify(
        self,
        full: bool = False,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> bool:
        """Replay stored stretches and compare them bit for bit with the recording.

        Parameters
        ----------
        full : bool
            Every block, instead of a spread of at most 33 that includes the first and the last.
        executor : concurrent.futures.Executor, or a callable that makes one, optional
            Who replays: threads where the step runs without the GIL (native and numba steps), processes elsewhere. With
            a callable, workers that die are replaced. See ``docs/parallel.md``.
        workers : int, optional
            Shorthand: so many processes for a Python step, threads for one that runs without the GIL. 1 is this thread.
        progress : bool or callable, optional

        Returns
        -------
        True

        Raises
        ------
        NondeterministicReplayError
            At the first block found that is not reproduced: names the step, the field, both values and the versions.
        MissingStepError
            If the run was loaded without its step function.
        TransferError, WorkersLostError
            As from `stats`.

        Notes
        -----
        Last block first, each twice with a false start between, so that state hidden outside the state is not where it
        was; the last and the first block are compared step by step. About ``2 * n_steps`` steps when full, else
        ``75 * block_size``. What no replay in this process can see is a cache that the recording filled: verify a run
        whose step keeps one in a new process, too.
        """
        self._reader.cursor("verify")
        assert self._step is not None
        recording, step = self._recording, self._step
        work = Verification(recording, step, self._reader.turn)
        items = work.items(bool(full))
        passing = Pass("verify", work, items, step, executor, workers, progress, block=lambda item: item[1])
        for mismatch in passing:
            if mismatch is not None:
                raise failure(NondeterministicReplayError, mismatch, recording, step, self._meddler(mismatch))
        return True

    def _meddler(self, mismatch: Mismatch) -> tuple[str, int] | None:
        if not mismatch.exact:
            for name, metric in self._metrics.items():
                t = meddles(self._reader.cursor("verify"), metric, mismatch.block, mismatch.step)
                if t is not None:
                    return name, t
        return None

    def diff(self, other: Handle[Any], *, progress: ProgressOption = None) -> Divergence | None:
        """Return where this run and another part, None if they agree as far as both go.

        Parameters
        ----------
        other : Run
            A branch of this run, its parent, a recording with another step function or from another machine. Steps are
            compared on the axis of the root: step 0 of a branch is the step it left at.
        progress : bool or callable, optional

        Returns
        -------
        divergence : Divergence or None
            ``step``, ``path`` of the first differing field, ``value`` here and in the ``other``, whether the step is
            ``exact``, and how many stored states agree.

        Raises
        ------
        ArgumentError
            If the runs have no step in common, or states of another layout.
        MissingStepError
            If a replay is needed, and a run was loaded without its step function.

        Notes
        -----
        Stored states of the same step are compared without a replay. Without step functions that is all that is known:
        None then means that all that was recorded is the same. If both runs are the same function of their
        states (step, params, seed, blocks), one stretch between stored states is replayed. Else they might part and
        meet again, and both are replayed up to where they part.
        """
        if not isinstance(other, Handle):
            raise ArgumentTypeError("other", other, "a rewind.Run")
        sides = [Side(run._recording, run._step, run._reader.turn) for run in (self, other)]
        length = min(run.start + run.n_steps for run in (self, other)) - max(run.start for run in (self, other))
        recorded_alike = None in (self._step, other._step) and self.content_hash() == other.content_hash()
        return diverge(sides[0], sides[1], recorded_alike, reporter(progress, "diff", max(length, 1)))
