"""`diagnose`: what `record` would meet, asked first, as one report."""

from __future__ import annotations

import copy
import dataclasses
import json
import textwrap
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..engine.block_log import first_rows
from ..engine.blocks import default_block_size
from ..engine.noise import Draws
from ..engine.plan import Plan, Stopped
from ..engine.sweep import sweep
from ..errors import ArgumentError, ArgumentTypeError, MetricError, RewindError, RewindWarning, StepError, show
from ..state.codec import StateCodec, UserCodec, row_bytes
from ..state.frozen import frozen
from ..state.generators import own_generators
from ..state.layout import Layout
from ..steps.code import Code
from ..steps.importing import ends_import
from ..steps.params import params_of
from ..steps.randomness import own_randomness
from ..steps.resolve import step_of
from ..steps.source import describe
from ..steps.step import Step
from ..storage import replay_file
from .arguments import codec_of, n_steps_of, seed_of
from .options import Options
from .plan import make_plan
from .record import record

#: Steps that are tried, at most, and seconds that they may take.
STEPS = 64
SECONDS = 1.0

#: Number of steps that sizes and times are given for, without `n_steps`.
USUAL = 10_000


@frozen
class Finding:
    """One thing that `record` would refuse or warn of.

    Attributes
    ----------
    kind : str
        The class of the error or warning, or ``"hidden state"``, which `record` finds only where it shows.
    is_refused : bool
        Whether it ends the recording.
    text : str
        What it is, and the cure.
    """

    kind: str
    is_refused: bool
    text: str


@frozen
class Diagnosis:
    """What `record` would meet. ``print(diagnosis)`` shows it, `to_json` gives it to programs.

    Attributes
    ----------
    step : str
        What is called, ``module:qualname``.
    kind : str
        How it runs: ``"Python"``, ``"numba"`` or ``"native"``.
    backend : str
    n_steps, block_size : int
        What the sizes and times are for.
    columns : tuple of str
        The columns that a state becomes, each with its type and shape; none where it is pickled.
    pickled : str or None
        Why it is pickled: where in the state, and what is there.
    checkpoint_bytes, file_bytes : int or None
        Of one stored state in memory; of the whole file, as far as a few states tell. None where none can be stored.
    step_seconds, block_seconds : float or None
        As measured here over a few steps.
    draws : bool or None
        Whether the first steps draw from `rng`; None where no step could be made.
    generators : tuple of str
        Random generators of the model's own: in the state, and in the code of the step.
    reads : tuple of str
        Functions, globals and classes of yours that the step reaches: with these it was recorded.
    writes : tuple of str
        Globals that the step itself writes: hidden state, which is not rewound.
    tried : int
        Number of steps that were tried.
    findings : tuple of Finding
        What `record` would refuse or warn of, with the cures, in the order to see to them.
    """

    step: str
    kind: str
    backend: str
    n_steps: int
    block_size: int
    columns: tuple[str, ...]
    pickled: str | None
    checkpoint_bytes: int | None
    file_bytes: int | None
    step_seconds: float | None
    block_seconds: float | None
    draws: bool | None
    generators: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    tried: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found that `record` would refuse."""
        return not any(finding.is_refused for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in facts.items():
            facts[name] = list(value) if isinstance(value, tuple) else value
        facts["findings"] = [dataclasses.asdict(finding) for finding in self.findings]
        return {"ok": self.ok, **facts}

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def __str__(self) -> str:
        kept = f"{len(self.columns)} column{'s' * (len(self.columns) != 1)}: {_listed(self.columns)}"
        if self.pickled is not None:
            kept = f"pickled, since {self.pickled}; a dict, a dataclass or codec=(encode, decode) makes columns of it"
        rows = [
            ("step", f"{self.step} ({self.kind}), backend {self.backend}"),
            ("state", kept),
            ("a checkpoint", "none can be stored" if self.checkpoint_bytes is None else _size(self.checkpoint_bytes)),
            (
                "the file",
                "" if self.file_bytes is None else f"about {_size(self.file_bytes)} for {self.n_steps:,} steps",
            ),
            ("a step", _time(self.step_seconds)),
            ("a block", f"{_time(self.block_seconds)} ({self.block_size:,} steps)" if self.block_seconds else ""),
            ("draws from rng", {True: "yes", False: "no", None: "no step could be made"}[self.draws]),
            ("own generators", _listed(self.generators)),
            ("reaches", _listed(self.reads)),
            ("writes", _listed(self.writes)),
        ]
        lines = [f"{name:15} {text}" for name, text in rows if text]
        what = f"the first {self.tried} steps were tried" if self.tried else "no step was tried"
        if not self.findings:
            lines += ["", f"nothing found; {what}"]
        for i, finding in enumerate(self.findings, 1):
            how = "record refuses this" if finding.is_refused else "record warns of this"
            how = {"NoFreshNoiseWarning": "branch warns of this", "hidden state": "know this"}.get(finding.kind, how)
            text = f"{i}. {how}: {finding.text}"
            lines += ["", textwrap.fill(text, 110, subsequent_indent="   ", break_long_words=False)]
        return "\n".join(lines)


def diagnose(
    step_fn: Callable[..., Any],
    init_state: Any,
    *,
    seed: int = 0,
    n_steps: int | None = None,
    backend: str = "python",
    params: Mapping[str, Any] | None = None,
    codec: UserCodec | None = None,
) -> Diagnosis:
    """Return what `record` would meet: how states are stored, what it costs, and what it would refuse, with the cures.

    Parameters
    ----------
    step_fn, init_state, seed, backend, params, codec
        As for `record`. `init_state` is left as it is.
    n_steps : int, optional
        The length that sizes and times are given for. Default: 10,000.

    Returns
    -------
    diagnosis : Diagnosis

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument has a value or a type that `record` does not take.

    Notes
    -----
    Some 64 steps or a second of them are recorded, and run again, as `record` does in its trial. Nothing is written.

    Examples
    --------
    >>> import numpy as np
    >>> report = diagnose(lambda x, rng: x + rng.normal(), np.zeros(3), backend="numpy")
    >>> report.ok, report.draws, report.columns
    (True, True, ('state float64, shape (3,)',))
    """
    ends_import("diagnose")
    n = USUAL if n_steps is None else n_steps_of(n_steps)
    master = seed_of(seed)
    options = Options(backend=backend, params=params, codec=codec)
    state = _copied(init_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RewindWarning)
        try:
            plan, row = make_plan(step_fn, state, n, master, options)
        except (ArgumentError, ArgumentTypeError):
            raise
        except Exception as error:  # what cannot be stored, or a codec that fails
            return _unstorable(step_fn, state, error, n, options)
    exam = _Exam(plan, row)
    exam.run(step_fn, init_state, options)
    return exam.report(state)


def _copied(state: Any) -> Any:
    """Return a deep copy of a state; the state itself where that cannot be."""
    try:
        return copy.deepcopy(state)
    except Exception:
        return state


class _Exam:
    """What is found out by recording a few steps.

    Parameters
    ----------
    plan : Plan
        Of the whole run.
    row
        What is kept of state 0.
    """

    def __init__(self, plan: Plan, row: Any) -> None:
        self.plan, self.row, self.findings = plan, row, list[Finding]()
        self.draws = Draws(plan.seed, plan.backend)
        self.seconds: float | None = None
        self.file_bytes: int | None = None
        self.tried = 0

    def run(self, step_fn: Callable[..., Any], init_state: Any, options: Options) -> None:
        """Time a few steps, and record them as `record` would."""
        most = min(STEPS, self.plan.n_steps - 1)
        if most and self._timed(1) and self.seconds is not None:
            self.tried = max(1, min(most, int(SECONDS / max(self.seconds, 1e-9))))
            self._timed(self.tried)
            if self.seconds * self.tried < SECONDS / 50:  # what begins a recording takes longer than such steps
                self._timed(min(self.plan.n_steps - 1, 32 * STEPS))
        self._recorded(step_fn, init_state, options, max(self.tried, min(most, 1)) + 1)
        if self.draws.none:
            self._no_noise(init_state)

    def _timed(self, n: int) -> bool:
        """Go `n` steps from state 0; return whether they could be made."""
        draws = Draws(self.plan.seed, self.plan.backend)
        changes = {"n_steps": n + 1, "block_size": -(-(n + 1) // 4), "draws": draws, "snapshots": None, "trial": None}
        plan = replace(self.plan, **changes)  # type: ignore[arg-type]
        began = time.perf_counter()
        try:
            done = sweep(plan, self.row)
        except Stopped as stopped:
            if isinstance(stopped.error, KeyboardInterrupt):
                raise stopped.error from None
            return False
        self.seconds, self.draws = (time.perf_counter() - began) / n, draws
        first = replace(done, n_steps=done.block_size, checkpoints=first_rows(done.checkpoints, 1))
        few, many = (len(replay_file.to_bytes(recording)) for recording in (first, done))
        more = (many - few) / max(done.checkpoints.n - 1, 1)
        self.file_bytes = round(few + max(more, 0.0) * (-(-self.plan.n_steps // self.plan.block_size) - 1))
        return True

    def _recorded(self, step_fn: Callable[..., Any], init_state: Any, options: Options, n: int) -> None:
        """Record the first `n` states with all that `record` looks at, each block twice, and keep what it says."""
        refused: Finding | None = None
        begin: Any = record
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                begin(
                    step_fn,
                    init_state,  # itself: a copy would hide what is known by identity; the trial puts it back
                    n,
                    self.plan.seed,
                    backend=options.backend,
                    params=options.params,
                    codec=options.codec,
                    self_check=True,
                )
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a step of the user's ends with
                refused = Finding(type(error).__name__, True, _text_of(error))
        self.findings += [refused] if refused else []
        for warning in caught:
            if issubclass(warning.category, RewindWarning):
                self.findings.append(Finding(warning.category.__name__, False, str(warning.message)))

    def _no_noise(self, state: Any) -> None:
        """Say that a model with randomness of its own draws nothing from rng, where nothing else said it."""
        code = own_randomness(self.plan.step.function, state)
        if code is not None and not any(finding.kind == "OwnGeneratorWarning" for finding in self.findings):
            text = f"the step draws nothing from rng, and {code}: branches with fresh noise would all be one future. "
            text += "Draw from the rng that the step is given, or seed what it draws from with it in each step"
            self.findings.append(Finding("NoFreshNoiseWarning", False, text))

    def report(self, state: Any) -> Diagnosis:
        """Return all that is known."""
        plan, codec = self.plan, self.plan.codec
        reached = _reached(plan.step.function, state)
        if reached["writes"] and not any(finding.is_refused for finding in self.findings):
            text = f"the step writes {', '.join(reached['writes'])}, which is not in the state: it is not stored, and "
            text += "not set back by a replay. Put it into the state, if a state depends on it"
            self.findings.append(Finding("hidden state", False, text))
        return Diagnosis(
            step=plan.hints["id"],
            kind=_kind_of(plan.step),
            backend=plan.backend,
            n_steps=plan.n_steps,
            block_size=plan.block_size,
            columns=_columns(codec),
            pickled=None if codec.layout is not None else _why_pickled(state, codec),
            checkpoint_bytes=row_bytes(self.row),
            file_bytes=self.file_bytes,
            step_seconds=self.seconds,
            block_seconds=None if self.seconds is None else self.seconds * plan.block_size,
            draws=None if not self.draws.n_steps else self.draws.drawn,
            generators=_generators(plan.step.function, state),
            **reached,
            tried=self.tried,
            findings=tuple(self.findings),
        )


def _unstorable(step_fn: Callable[..., Any], state: Any, error: Exception, n_steps: int, options: Options) -> Diagnosis:
    """Return the report of a state that cannot be stored."""
    step = step_of(step_fn, params_of(options.params), options.backend)
    return Diagnosis(
        step=describe(step_fn)["id"],
        kind=_kind_of(step),
        backend=options.backend,
        n_steps=n_steps,
        block_size=default_block_size(n_steps),
        columns=(),
        pickled=_why_pickled(state, StateCodec(None, codec_of(options.codec))),
        checkpoint_bytes=None,
        file_bytes=None,
        step_seconds=None,
        block_seconds=None,
        draws=None,
        generators=_generators(step_fn, state),
        **_reached(step_fn, state),
        tried=0,
        findings=(Finding(type(error).__name__, True, _text_of(error)),),
    )


def _kind_of(step: Step) -> str:
    return {"CompiledStep": "native", "NumbaStep": "numba"}.get(type(step).__name__, "Python")


def _text_of(error: BaseException) -> str:
    text = str(error) if isinstance(error, RewindError) else f"{type(error).__name__}: {error}"
    if isinstance(error, StepError):
        text = error.what  # what is recorded of it is of no use here
    cause = error.__cause__
    if isinstance(error, (StepError, MetricError)) and cause is not None and str(cause) not in text:
        text += f" ({type(cause).__name__}: {cause})"
    return text


def _columns(codec: StateCodec) -> tuple[str, ...]:
    if codec.layout is None:
        return ()
    made = []
    for column in codec.layout.columns:
        shape = f", shape {tuple(column.shape)}" if column.shape else ""
        made.append(f"{column.name} {column.dtype}{shape}".strip())
    return tuple(made)


def _why_pickled(state: Any, codec: StateCodec) -> str:
    """Return where in a state there is what no column can hold, and what it is."""
    tree, path = state, ""
    if codec.user is not None:
        try:
            tree = codec.user[0](state)
        except Exception as error:
            return f"the codec's encode raised {type(error).__name__}: {error}"
    while (inner := _misfit(tree)) is not None:
        step, tree = inner
        path += step
    kind = type(tree)
    what = f"an object of the class {kind.__module__}.{kind.__qualname__}"
    if kind.__module__ == "builtins":
        what = f"a {kind.__name__}, {show(tree)}"
    if Layout.of(tree) is not None:
        what = "the same object at two places, or more columns or depth than a layout has"
    return f"state{path} is {what}"


def _misfit(tree: Any) -> tuple[str, Any] | None:
    """Return the first part of a container that fits no column, with the step to it; None if there is none."""
    if type(tree) is dict:
        parts: Any = [(f"[{key!r}]", value) for key, value in tree.items()]
    elif isinstance(tree, (list, tuple)):
        parts = [(f"[{i}]", value) for i, value in enumerate(tree)]
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        parts = [(f".{field.name}", getattr(tree, field.name, None)) for field in dataclasses.fields(tree)]
    else:
        return None
    return next(((step, part) for step, part in parts[:1000] if Layout.of(part) is None), None)


def _generators(step_fn: Any, state: Any) -> tuple[str, ...]:
    found = [f"state{one.path}: {one.kind}" for one in own_generators(state) if one.is_sure]
    code = own_randomness(step_fn, state)
    return (*found, code) if code else tuple(found)


def _reached(step_fn: Any, state: Any) -> dict[str, tuple[str, ...]]:
    """Return what the step reads and what it writes, of the user's own code."""
    code = Code(step_fn, [type(state)] if type(state).__module__ not in ("builtins", "numpy") else [])
    return {"reads": tuple(name for name in code.parts if name != "step_fn"), "writes": code.written}


def _listed(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _size(n: int) -> str:
    for unit in ("bytes", "KB", "MB"):
        if n < 1000 or unit == "MB":
            return f"{n:,.0f} {unit}" if unit == "bytes" or n >= 10 else f"{n:.1f} {unit}"
        n = n / 1000  # type: ignore[assignment]
    raise AssertionError


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
