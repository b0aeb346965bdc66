"""`Options`: the keyword arguments of `record`, `Recorder` and the tracker's `record` as one value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from ..errors import ArgumentError
from ..metrics.metric import Metric
from ..state.codec import UserCodec
from ..state.frozen import frozen
from ..storage.journal_writer import DURABILITIES
from .progress import ProgressOption
from .signals import Signals

Durability = Literal["block", "1s", "none"]
OnSignal = Literal["checkpoint"] | None
Lossy = Literal["refuse", "accept"]


@frozen
class Options:
    """The keyword arguments of `record`, as they were given: each is checked where it is used."""

    block_size: int | None = None
    backend: str = "python"
    observe: Mapping[str, Metric] | None = None
    self_check: bool = False
    params: Mapping[str, Any] | None = None
    codec: UserCodec | None = None
    memory_budget: int | str = 0
    checkpoint_budget: int | str | None = None
    step_id: str | None = None
    path: str | os.PathLike[str] | None = None
    durability: Durability = "block"
    on_signal: OnSignal = None
    resume: bool = False
    allow_pickle: bool = False
    progress: ProgressOption = None
    trial: bool = True
    lossy: Lossy = "refuse"


def durability_of(value: Any) -> str:
    """Return what was given as ``durability=``."""
    if value not in DURABILITIES:
        raise ArgumentError("durability", value, "'block', '1s' or 'none'")
    return str(value)


def signals_of(on_signal: Any) -> Signals:
    """Return what was given as ``on_signal=``."""
    if on_signal not in (None, "checkpoint"):
        raise ArgumentError("on_signal", on_signal, "'checkpoint' or None")
    return Signals(on_signal == "checkpoint")


def require_no_output(options: Options) -> None:
    """Refuse what means nothing without a file to record to."""
    if options.resume:
        raise ArgumentError("resume", True, "path= as well", "Without it there is nothing to go on with")
    if durability_of(options.durability) != "block" or options.on_signal is not None:
        name = "on_signal" if options.on_signal is not None else "durability"
        raise ArgumentError(name, getattr(options, name), "path= as well", "Without it there is nothing to write to")
