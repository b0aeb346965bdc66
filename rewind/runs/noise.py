"""Fresh noise is noise: what is said where forks of a run draw nothing from their rng."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..engine.noise import Draws
from ..engine.plan import Plan
from ..errors import NoFreshNoiseWarning, OwnGeneratorWarning
from ..state.callers import user_level
from ..state.codec import Row
from ..state.generators import OwnGenerator, own_generators
from ..steps.randomness import own_randomness
from ..steps.step import Step
from .trajectory import Trajectory


class Suspect(NamedTuple):
    """What random numbers a model may make by itself: generators in its states, and what its code says."""

    generators: Sequence[OwnGenerator]
    code: str | None

    @classmethod
    def of(cls, step: Step, state: Any) -> Suspect | None:
        """Return what is suspect of a step and a state; None if nothing is, and whatever it does is the state's."""
        generators, code = own_generators(state), own_randomness(step.function, state)
        return cls(generators, code) if generators or code else None

    def proved(self, trajectory: Trajectory) -> str | None:
        """Return what drew in the run that was left, as a clause; None if nothing did: it is deterministic."""
        moved = moved_generators(self.generators, own_generators(trajectory.reader.get(-1 % trajectory.n_steps)))
        if not moved:
            moved = moved_generators(own_generators(trajectory.reader.get(0)), self.generators)
        if moved:
            return f"state{moved[0].path} is {moved[0].kind}, which it draws from"
        return self.code


def moved_generators(before: Sequence[OwnGenerator], after: Sequence[OwnGenerator]) -> list[OwnGenerator]:
    """Return those that stand somewhere else, or of which that is not known: the sure ones first."""
    was = {one.path: one.position for one in before}
    moved = [one for one in after if one.path in was and (one.position is None or one.position != was[one.path])]
    return sorted(moved, key=lambda one: not one.is_sure)


def watch_branch(
    trajectory: Trajectory, step: Step, before: Sequence[OwnGenerator] | None, state: Any, seed: int
) -> Draws | None:
    """Return what looks at the draws of a branch that begins at `state`; None where there is nothing to look for.

    `before` are the generators before the intervention: one that seeds them anew does what is to be done.
    """
    suspect = Suspect.of(step, state)
    if suspect is None:
        return None
    if before is not None and moved_generators(before, suspect.generators):
        return None
    return Draws(seed, trajectory.recording.backend)


def warn_of_branch(trajectory: Trajectory, plan: Plan, row: Row) -> None:
    """Say so where a branch that begins with `row` drew nothing from its rng, and its model draws by itself."""
    if plan.draws is not None and plan.draws.none:
        t = plan.origin.start - trajectory.recording.origin.start
        warn_of_forks(trajectory, plan.step, plan.codec.decode(row), [t], 1, 1)


def warn_of_forks(trajectory: Trajectory, step: Step, state: Any, steps: Sequence[int], n: int, n_forks: int) -> None:
    """Say so where `n` of some forks, left at `steps`, drew nothing from their rng, unless there is no randomness."""
    suspect = Suspect.of(step, state)
    drawn = None if suspect is None else suspect.proved(trajectory)
    if drawn is not None:
        warnings.warn(NoFreshNoiseWarning(n, n_forks, steps, drawn), stacklevel=user_level())


def watch_recording(plan: Plan, state: Any) -> Draws | None:
    """Return what looks at the draws of a recording whose state 0 holds generators; None where it holds none."""
    before = [one for one in own_generators(state) if one.is_sure]
    if not before:
        return None

    def tell(state: Any) -> None:
        moved = moved_generators(before, own_generators(state))
        if moved:
            warnings.warn(OwnGeneratorWarning(moved[0].path, moved[0].kind), stacklevel=user_level())

    return Draws(plan.seed, plan.backend, tell)
