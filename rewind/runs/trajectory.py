"""`Trajectory`: a recording, with all that its states are replayed with. What the verbs of a `Run` work on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Literal

from ..engine.pace import Part
from ..engine.reader import Reader
from ..engine.recording import Recording
from ..engine.trust import Trust
from ..errors import ArgumentError, PickledStatesWarning, RewindError
from ..kernel import Snapshots
from ..metrics.metric import resolve
from ..state.layout import first_change
from ..steps.code import parts_of
from ..steps.step import Step
from ..storage import replay_file
from .arguments import integer

#: Where the hints on a step say which of the metrics are names, or the state itself.
OBSERVED = "observed"

#: Where a run is from: recorded in this process, or elsewhere; and then whether its first replay is compared with it.
Origin = Literal["here", "elsewhere", "unchecked"]


class Trajectory:
    """A recording, its step function, its metrics, and the reader that replays it.

    Attributes
    ----------
    recording : Recording
    step : Step or None
        None where the run was loaded without its step function.
    metrics : dict of str to callable or None
        The observed metrics whose functions are here; None is the state itself.
    reader : Reader
    trust : Trust
        Whether its replays were compared with the recording here.
    part : Part or None
        What was kept at the last step of a recording that was ended inside a block.
    """

    __slots__ = ("_hash", "metrics", "part", "reader", "recording", "step", "trust")

    def __init__(
        self,
        recording: Recording,
        step: Step | None,
        metrics: Mapping[str, Callable[[Any], Any] | None],
        snapshots: Snapshots | None = None,
        origin: Origin = "here",
    ) -> None:
        self.recording, self.step, self.metrics = recording, step, dict(metrics)
        self.part: Part | None = None
        here = origin == "here"
        self.trust = Trust(
            step,
            recording.checkpoints,
            perf_counter,
            settled=here,
            waived=origin == "unchecked",
            recorded=parts_of(recording.step.get("code", "")) if here else None,
        )
        self.reader = Reader(recording, step, recording.step.get("id"), self.trust, snapshots)
        self._hash: str | None = None

    @property
    def n_steps(self) -> int:
        """Number of states."""
        return self.recording.n_steps

    def observed(self) -> dict[str, Callable[[Any], Any] | None]:
        """Return the observed metrics that can be called here.

        They are those whose functions are here, and of a loaded run those that need none: the file says which of them
        are the state itself, or a name.
        """
        recording = self.recording
        known = {name: f for name, f in self.metrics.items() if name in recording.metrics}
        try:
            noted = json.loads(recording.step.get(OBSERVED, "{}"))
            more = {name: metric for name, metric in noted.items() if name in recording.metrics and name not in known}
            if more:
                known |= resolve(more, self.reader.get(0), recording.checkpoints.codec)
        except (ValueError, AttributeError, RewindError):  # it is a hint, and no more
            pass
        return known

    def content_hash(self) -> str:
        """Return the hash of everything recorded, which is computed once."""
        if self._hash is None:
            self._hash = replay_file.content_hash(self.recording)
        return self._hash

    def window(self, start: int, stop: int | None) -> tuple[int, int]:
        """Return a window of steps, as a slice counts them."""
        window = slice(integer("start", start), None if stop is None else integer("stop", stop))
        return window.indices(self.n_steps)[:2]

    def some_window(self, start: int, stop: int | None) -> tuple[int, int]:
        """Return a window that holds a step."""
        first, end = self.window(start, stop)
        if first >= end:
            raise ArgumentError("the window", (start, stop), f"at least one step of 0 to {self.n_steps - 1}")
        return first, end

    def misfit(self) -> PickledStatesWarning | None:
        """Return what to say of stored states that stopped fitting the columns of state 0, None if all fit."""
        recording, checkpoints = self.recording, self.recording.checkpoints
        layout = checkpoints.codec.layout
        if layout is None or not checkpoints.pickles:
            return None
        i = min(checkpoints.pickles)
        change = first_change(layout, checkpoints.codec.tree(checkpoints.row(i)))
        step = recording.grid.start(i * recording.stride)
        return PickledStatesWarning(*change, step, len(checkpoints.pickles), checkpoints.n)
