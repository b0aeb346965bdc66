"""What a run is a function of and how it is kept, and the ways in which a sweep of it ends early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from ..errors import StateError, StepError
from ..kernel import Snapshots, Turn
from ..state.codec import StateCodec
from ..state.frozen import frozen
from ..steps.step import Step
from .block_log import Log
from .handover import Tap
from .misfits import Misfits
from .noise import Draws
from .pace import Pace
from .recording import Origin, Recording
from .trial import Trial
from .verify import Mismatch

Report = Callable[[int, int], None]


@frozen
class Plan:
    """What a run is a function of, and how it is kept; `turn` is taken block by block, `log` gets each finished block.

    `tap` is given what the metrics gave for the states of each block, before the log is told of it: each state of the
    recording once, in order, and no other; of a run that goes on, the new ones. What is finished of a sweep that ends
    early is given to it, too. One that raises ends the sweep, as `report` does, and is not called again: the finished
    part ends with the last state of that call. (Ctrl-C within the call counts as raised by it.) Without metrics there
    is nothing to give.

    `misfits` is shown what is kept of the first state of each block.
    `draws` looks at the rng after each block, and knows in the end whether anything was drawn.

    A `trial` is asked at the first state, and where storing may lose something at some later blocks; what it raises
    ends the sweep.
    """

    step: Step
    codec: StateCodec
    n_steps: int
    block_size: int
    seed: int
    backend: str
    stride: int = 1
    origin: Origin = Origin()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    self_check: bool = False
    hints: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    snapshots: Snapshots | None = None
    turn: Turn = field(default_factory=Turn)
    log: Log | None = None
    tap: Tap | None = None
    pace: Pace | None = None
    draws: Draws | None = None
    misfits: Misfits | None = None
    trial: Trial | None = None


class Stopped(Exception):
    """The error for a sweep that ended early: `error` says why, `recording` is the finished part.

    `also` is what the tap raised when it was given the end of that, if anything.
    """

    def __init__(self, error: BaseException, recording: Recording, also: BaseException | None = None) -> None:
        self.error, self.recording, self.also = error, recording, also
        super().__init__(str(error))


class SelfCheckFailed(Exception):
    """The error for a block that did not give the same states twice."""

    def __init__(self, mismatch: Mismatch) -> None:
        self.mismatch = mismatch
        super().__init__(str(mismatch))


def reason_of(error: BaseException) -> str:
    """Return the reason that is kept for a sweep that ended early."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, KeyboardInterrupt):
        reason = f"interrupted by {error}" if str(error) else "interrupted"
    elif isinstance(error, StepError):
        reason = f"step_fn raised at step {error.t}"
    elif isinstance(error, StateError):
        reason = f"a state that cannot be kept: {error}"
    return reason[:1000].encode(errors="replace").decode()
