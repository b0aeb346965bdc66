"""The trial at the start of a recording: whether there is one, and what it says to the user."""

from __future__ import annotations

import time
import warnings
from typing import Any

from ..engine.finding import Finding
from ..engine.trial import Trial
from ..errors import ArgumentError, LossyStateError, NondeterministicStepError, UnchangedStateWarning
from ..state.callers import user_level
from .options import Options


def trial_of(init_state: Any, options: Options) -> Trial | None:
    """Return the trial of a recording that begins with `init_state`, None where there is to be none.

    Raises
    ------
    ArgumentError
        If ``options.lossy`` is neither word.
    """
    if options.lossy not in ("refuse", "accept"):
        raise ArgumentError("lossy", options.lossy, "'refuse' or 'accept'")
    accept = options.lossy == "accept"
    if not options.trial and not accept:
        return None
    return Trial(init_state, time.perf_counter, tell, accept, bool(options.trial), bool(options.self_check))


def tell(finding: Finding) -> None:
    """Warn of what a trial found that is no error, at the line of the user's that began the recording."""
    warnings.warn(UnchangedStateWarning(finding.step, finding.culprits), stacklevel=user_level())


def error_of(finding: Finding) -> LossyStateError | NondeterministicStepError:
    """Return the error that a finding is."""
    if finding.kind == "lossy":
        return LossyStateError(
            finding.path,
            finding.step,
            finding.live,
            finding.restored,
            finding.cause,
            finding.name,
            finding.stored_at,
            finding.others,
            finding.shows,
        )
    return NondeterministicStepError(
        finding.block,
        finding.step,
        finding.path,
        finding.live,
        finding.restored,
        exact=True,
        global_rng=finding.generators,
        hidden=finding.culprits,
    )
