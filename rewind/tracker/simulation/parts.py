"""The simulation of a tracked run: which replay file holds which of its steps, and the functions to replay it with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...engine.past import check_probe
from ...engine.recording import Recording
from ...engine.replay import ReplayMismatch
from ...engine.verify import Mismatch, Verification
from ...errors import (
    ArgumentTypeError,
    ArtifactError,
    MissingStepError,
    NondeterministicReplayError,
    StoreDamagedError,
    TrackerError,
    UnsafeArtifactError,
    show,
)
from ...kernel import Turn
from ...runs.arguments import codec_of
from ...runs.branch import shortened
from ...runs.load import load
from ...runs.run import Run
from ...runs.verify import failure, not_reproduced
from ...state.codec import UserCodec
from ...steps.source import describe
from ...storage import replay_file
from ...storage.journal import CUT_OFF, STILL, SUFFIX
from ...storage.open import open_run
from ..store import history
from ..store.damage import odd_fact
from ..store.database import Store
from ..store.history import END
from ..store.lock import file_stem


@dataclass(frozen=True)
class Part:
    """A recording that is part of a run.

    Attributes
    ----------
    uid, n : int
        The revision that made it, and its number among those.
    first : int
        Step of the history at which its state 0 is.
    origin : int
        How many steps the whole simulation had made there: 0 but for one that goes on.
    n_steps : int
        Number of states it was to have.
    file : str
        Its name in ``simulations/``.
    log_every : int or None
    metrics : mapping of str to str or None or False
        What was observed: the name of an attribute or key, None for the state itself, False for a function.
    noise : str or None
        How one that goes on draws; None for the first.
    upto : int
        The last step of the history that is seen.
    made : float
        When the revision began: another one may have the same file when this one was purged.
    """

    uid: int
    n: int
    first: int
    origin: int
    n_steps: int
    file: str
    log_every: int | None
    metrics: Mapping[str, Any]
    noise: str | None
    upto: int
    made: float


_TYPES = {field.name: str(field.type) for field in fields(Part)}


def parts(store: Store, uid: int, upto: int = END) -> list[Part]:
    """Return the parts of the simulation that a revision sees, in order."""
    more = "AND t.first <= chain.upto ORDER BY chain.depth DESC, t.n"
    found = history.joined(store, uid, "simulations", f"{_FACTS}, chain.upto, {_BEGAN}", upto, more)
    return [_part(store, row[1:]) for row in found]


def _own(store: Store, uid: int) -> list[Part]:
    query = f"SELECT {_FACTS}, {END}, {_BEGAN} FROM simulations t WHERE t.revision = ? ORDER BY t.n"
    return [_part(store, row) for row in store.read(query, (uid,))]


_FACTS = "t.revision, t.n, t.first, t.origin, t.n_steps, t.file, t.log_every, t.metrics, t.noise"
_BEGAN = "(SELECT began FROM revisions WHERE uid = t.revision)"


def _part(store: Store, row: tuple[Any, ...]) -> Part:
    facts = dict(zip(_TYPES, row, strict=True))
    try:
        facts["metrics"] = json.loads(facts["metrics"])
    except (ValueError, TypeError, RecursionError):
        facts["metrics"] = None
    odd = odd_fact(facts, _TYPES)
    if odd is None and not re.fullmatch(r"[^/\\\0]+\.replay", facts["file"]):  # a way out of the folder
        odd = "file"
    if odd is not None:
        what = f"it is damaged: simulation {show(row[1])} of its revision {show(row[0])} has as its {odd}"
        raise StoreDamagedError("read", store.path, f"{what} {show(facts[odd])}")
    return Part(**facts)


def last_step(store: Store, uid: int) -> int:
    """Return the last step that a revision can be left at: of its last row, -1 where there is none.

    A simulation that observes nothing logs a row at its end only: one that was cut off is as long as its recording.
    """
    last = history.last_step(store, uid)
    for part in parts(store, uid):
        if not part.metrics and part.upto > last:
            with contextlib.suppress(ArtifactError):
                last = max(last, min(part.upto, part.first + recording_of(store.folder, part).n_steps - 1))
    return last


def simulation_digest(store: Store, uid: int) -> str | None:
    """Return what stands for a revision's own recordings in its digest; None if it made none."""
    own = _own(store, uid)
    if not own:
        return None
    facts = [
        [part.n, part.first, part.origin, part.n_steps, part.log_every, dict(part.metrics), part.noise] for part in own
    ]
    hashes = [_content_hash(store.folder, part) for part in own]
    return hashlib.blake2b(json.dumps([facts, hashes], sort_keys=True).encode(), digest_size=32).hexdigest()


def _content_hash(folder: str, part: Part) -> str | None:
    try:
        return replay_file.content_hash(recording_of(folder, part))
    except FileNotFoundError:  # it was killed before the first block
        return None


def free_name(run: str, revision: int, number: int, taken: set[str]) -> str:
    """Return a name for the file of a simulation that no other one has, and enter it, in small letters, in `taken`."""
    base = f"{file_stem(run)}.{revision}.{number}"
    names = (f"{base}{more}.replay" for more in ("", *(f"-{k}" for k in range(2, len(taken) + 3))))
    name = next(name for name in names if name.lower() not in taken)
    taken.add(name.lower())
    return name


def path_of(folder: str, part: Part) -> str:
    """Return the path of the replay file; where there is none yet, its journal is beside it."""
    return os.path.join(folder, "simulations", part.file)


def _files(path: str) -> tuple[str, str]:
    return path, path + SUFFIX


def recording_of(folder: str, part: Part) -> Recording:
    """Return what is in the file, or in its journal; nothing is run or unpickled."""
    return open_run(path_of(folder, part)).recording


def recorder_of(store: Store, uid: int) -> str | None:
    """Return who is recording a part of a revision now, whatever became of the lock of its run; None for nobody."""
    for part in _own(store, uid):
        with contextlib.suppress(ArtifactError, FileNotFoundError):  # there is nothing of it yet
            stopped = recording_of(store.folder, part).stopped or ""
            if stopped.startswith(STILL):
                return stopped
    return None


# ---- functions


@dataclass(frozen=True)
class Attached:
    """The functions that a recording is replayed with: none of them is in a file."""

    step_fn: Callable[..., Any]
    observe: Mapping[str, Any]
    codec: Any = None
    allow_pickle: bool = False
    proved: bool = False  # they are those that recorded it, in this process


def attached(step_fn: Any, observe: Any = None, codec: UserCodec | None = None, allow_pickle: bool = False) -> Attached:
    """Return functions that were given, checked."""
    if not callable(step_fn):
        raise ArgumentTypeError("step_fn", step_fn, "a callable: step_fn(state, rng) -> state")
    if observe is not None and not isinstance(observe, Mapping):
        raise ArgumentTypeError("observe", observe, "a dict of names to metrics")
    return Attached(step_fn, dict(observe or {}), codec_of(codec), allow_pickle)


#: What this process recorded, by the path of the file, and when its revision began.
_RECORDED: dict[str, tuple[float, Attached]] = {}


def remember(folder: str, part: Part, attached: Attached) -> None:
    """Keep the functions of a recording for as long as this process runs."""
    _RECORDED[path_of(folder, part)] = part.made, attached


def forget(folder: str, file: str) -> None:
    """Forget the functions of a recording whose file is another one now."""
    _RECORDED.pop(os.path.join(folder, "simulations", file), None)


def functions_of(folder: str, part: Part, given: list[Attached]) -> Attached | None:
    """Return the functions for a part: those it was recorded with here, else those that were given for its step."""
    made, known = _RECORDED.get(path_of(folder, part), (None, None))
    if known is not None and made == part.made:
        return known
    recorded = recording_of(folder, part).step if len(given) > 1 else {}
    for name in ("source", "id"):
        for one in reversed(given):
            if recorded.get(name) is not None and describe(one.step_fn).get(name) == recorded[name]:
                return one
    return given[-1] if given else None


def load_part(folder: str, part: Part, attached: Attached | None) -> Run[Any]:
    """Return a part as a run, with the functions for it where they are known."""
    path = path_of(folder, part)
    if attached is None:
        return load(path)
    observed = {**{name: spec for name, spec in part.metrics.items() if spec is not False}, **attached.observe}
    observe = {name: observed[name] for name in part.metrics if name in observed}
    return load(
        path, attached.step_fn, observe=observe or None, codec=attached.codec, allow_pickle=attached.allow_pickle
    )


class Simulation:
    """The simulation that a revision sees, with the functions to replay it: every step of it, exactly.

    Parameters
    ----------
    folder : str
    ref : str
        Of the run, for messages.
    parts : list of Part
    given : list of Attached
    proved : set of str
        Files whose states functions that were given were seen to give.
    lacks : callable
        Called before it is said that functions are missing.
    """

    def __init__(
        self,
        folder: str,
        ref: str,
        found: list[Part],
        given: list[Attached],
        proved: set[str],
        lacks: Callable[[], None],
    ) -> None:
        self.folder, self.ref, self._given, self._proved, self._lacks = folder, ref, given, proved, lacks
        # There is no recording where the process was killed before it had state 0.
        self.parts = [part for part in found if any(map(os.path.exists, _files(path_of(folder, part))))]
        self._runs: dict[str, Run[Any]] = {}

    def begun_by(self, step: int) -> bool:
        """Whether there is a state at a step of the history."""
        return bool(self.parts) and self.parts[0].first <= step

    def part_at(self, step: int) -> Part:
        """Return the part that holds a step of the history."""
        for part in reversed(self.parts):
            if part.first <= step and (part.first < step or part.noise is None):
                return part
        if self.parts:
            raise TrackerError(
                f"the simulation of {self.ref} begins at step {self.parts[0].first}; there is no state {step}"
            )
        way = "run.record(step_fn, init_state, n_steps, seed) makes one"
        raise TrackerError(f"{self.ref} has no simulation up to step {step}; {way}")

    def run_of(self, part: Part) -> Run[Any]:
        """Return a part as a run, as long as it was recorded."""
        if part.file not in self._runs:
            try:
                self._runs[part.file] = load_part(self.folder, part, self.functions(part))
            except UnsafeArtifactError as error:
                error.way = "run.attach(step_fn, allow_pickle=True) allows it, for a run you or someone you trust made"
                raise
            except FileNotFoundError:
                what = f"the simulation of {self.ref} was cut off before its first block was written"
                raise TrackerError(f"{what}: there is no {path_of(self.folder, part)}") from None
        return self._runs[part.file]

    def give(self, functions: Attached) -> None:
        """Know functions for the parts that were recorded with them."""
        self._given.append(functions)

    def functions(self, part: Part) -> Attached | None:
        """Return the functions for a part."""
        return functions_of(self.folder, part, self._given)

    def at(self, step: int) -> tuple[Part, Run[Any], int]:
        """Return the part that holds a step of the history, as a run that reaches it, and the step in that.

        After the end of a part, or the step it was left at, the simulation stands still. One whose process was killed
        goes on, by itself, to a step that was logged and whose block was not kept.
        """
        part = self.part_at(step)
        seen = min(step, part.upto)  # after that comes a future that this run does not have
        run = self.reaching(part, seen)
        t = min(seen - part.first, run.n_steps - 1)
        self._prove(part, run, t)
        return part, run, t

    def _prove(self, part: Part, run: Run[Any], t: int) -> None:
        """Refuse a step function that does not give the stored states around step `t` again."""
        attached, recording, step = self.functions(part), run._recording, run._trajectory.step
        if attached is None or step is None or attached.proved or part.file in self._proved:
            return
        kept = run._trajectory.part
        if kept is not None and kept.t == t:  # inside a block, which it may take hours to run
            try:
                check_probe(recording, step, run._trajectory.metrics, None, kept)
            except ReplayMismatch as found:
                raise not_reproduced(run._trajectory, found) from None
            self._proved.add(part.file)
            return
        block = recording.grid.block_of(t) // recording.stride * recording.stride
        for mismatch in Verification(recording, step, Turn()).here([(0, block)]):
            if isinstance(mismatch, Mismatch):
                raise failure(NondeterministicReplayError, mismatch, recording, step)
        self._proved.add(part.file)

    def end(self) -> int:
        """Return the last step of the history that a state was recorded for; -1 where there is none."""
        if not self.parts:
            return -1
        part = self.parts[-1]
        return min(part.upto, part.first + recording_of(self.folder, part).n_steps - 1)

    def n_states(self, step: int) -> int:
        """Return how many states the whole simulation has up to a step of the history."""
        part, _, t = self.at(step)
        return part.origin + t + 1

    def reaching(self, part: Part, step: int) -> Run[Any]:
        """Return a part as a run that reaches a step of the history, where it was to come so far."""
        run, t = self.run_of(part), min(step - part.first, part.n_steps - 1)
        if t >= run.n_steps and (run._recording.stopped or "").startswith((CUT_OFF, STILL)):
            try:
                run = run.extend(t + 1)
            except MissingStepError:
                raise self.missing(f"step {step}", part) from None
            self._runs[part.file] = run
        return run

    def state_at(self, step: int) -> Any:
        """Return the state at a step of the history."""
        part, run, t = self.at(step)
        try:
            return run.get(t)
        except MissingStepError:
            raise self.missing(f"step {step}", part) from None

    def kept(self, step: int) -> Run[Any]:
        """Return the newest part up to a step of the history, as a run that ends there."""
        part, run, t = self.at(step)
        if t + 1 == run.n_steps:
            return run
        try:
            return Run(*shortened(run._trajectory, t + 1, observed=False))  # what was observed is in the history
        except MissingStepError:
            raise self.missing(f"step {step}", part) from None

    def missing(self, what: str, part: Part) -> MissingStepError:
        """Return the error for a part whose step function is not known."""
        self._lacks()
        return MissingStepError.of_run(self.ref, what, recording_of(self.folder, part).step.get("id"))


def damaged(folder: str, part: Part) -> str | None:
    """Return what is wrong with the file of a part, None if it can be read."""
    try:
        recording_of(folder, part)
    except FileNotFoundError:
        return f"there is no {path_of(folder, part)}"
    except ArtifactError as error:
        return str(error)
    return None
