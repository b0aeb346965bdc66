"""How time is measured: CPU time of the thread, variants interleaved in one process, medians. Never wall time.

On a machine that others use, too, wall time says who else was there, and seconds move with the clock rate of the
processor. What repeats is the ratio of two variants that were run right after one another.
"""

import gc
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Options:
    """How much is run.

    Attributes
    ----------
    steps : int
        Of a run whose steps are Python.
    fast_steps : int
        Of a run whose steps are native.
    rounds : int
        Times everything is repeated in one process.
    """

    steps: int = 1_000_000
    fast_steps: int = 10_000_000
    rounds: int = 5


@dataclass(frozen=True)
class Claim:
    """One row of the table.

    Attributes
    ----------
    key : str
        What `measure` of its file calls it.
    what, reference : str
        What is measured, and against what.
    bound : float or None
        What the figure has to be at most (at least, with `at_least`). None: a figure for comparison.
    unit : str
        ``"x"``: times the reference.
    """

    key: str
    what: str
    bound: float | None
    reference: str
    unit: str = "x"
    at_least: bool = False

    def met(self, value: float) -> bool | None:
        """Return whether `value` keeps the bound, None where there is none."""
        if self.bound is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """What was measured: a number, or None with the reason in `note`."""

    value: float | None
    note: str = ""


@dataclass(frozen=True)
class Ratio:
    """Median over rounds of the time of a variant as a multiple of the reference, and its median seconds."""

    ratio: float
    seconds: float


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.thread_time) -> float:
    """Return the CPU seconds of ``work()``."""
    gc.collect()
    began = clock()
    work()
    return clock() - began


def process_seconds(command: Sequence[str], environment: Mapping[str, str], folder: str | os.PathLike[str]) -> float:
    """Return the CPU seconds, user and system, of a process whose output is thrown away; not on Windows."""
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def against(
    sides: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.thread_time
) -> dict[str, Ratio]:
    """Return how each of `sides` compares with the first, the reference.

    Each round runs all of them, in an order that is reversed from round to round, and gives one ratio per side: what
    slows a round down slows all of it.
    """
    reference = next(iter(sides))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides) if i % 2 == 0 else list(reversed(sides)):
            times[name].append(seconds(sides[name], clock))
    return {
        name: Ratio(
            statistics.median(a / b for a, b in zip(spent, times[reference], strict=True)), statistics.median(spent)
        )
        for name, spent in times.items()
    }


def per_step(
    ratios: Mapping[str, Ratio], n: int, keys: Iterable[str], name: str = "the bare loop"
) -> dict[str, Figure]:
    """Return the ratios of `keys` as figures, with what a step costs on both sides."""
    reference = next(iter(ratios.values())).seconds / n
    return {
        key: Figure(ratios[key].ratio, f"{duration(ratios[key].seconds / n)} a step, {name} {duration(reference)}")
        for key in keys
    }


def middle_call(call: Callable[[Any], Any], arguments: Iterable[Any]) -> float:
    """Return the median CPU seconds of ``call(argument)``, without those of reading the clock."""
    clock = time.thread_time_ns
    spent = []
    for argument in arguments:
        began = clock()
        call(argument)
        spent.append(clock() - began)
    empty = []
    for _ in spent:
        began = clock()
        empty.append(clock() - began)
    return max(statistics.median(spent) - statistics.median(empty), 0) * 1e-9


def duration(value: float) -> str:
    """Return seconds for people."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def amount(value: float) -> str:
    """Return bytes for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def shown(value: float, claim: Claim, unit: bool = True) -> str:
    """Return a figure for people, with as many digits as it takes to see on which side of its bound it is."""
    digits = 0 if abs(value) >= 100 else 4 if 0 < abs(value) < 0.02 else 2
    while claim.bound is not None and digits < 5 and value != claim.bound == round(value, digits):
        digits += 1
    return f"{value:,.{digits}f}" + f"{'' if claim.unit.startswith('x') else ' '}{claim.unit}" * unit


def row(claim: Claim, figure: Figure, is_real: bool = True) -> tuple[str, str, str, str, str, str]:
    """Return the columns of one row: claim, measured, bound, whether it is met, reference, note."""
    bound = "" if claim.bound is None else f"{'>=' if claim.at_least else '<='} {claim.bound:g}"
    if figure.value is None:
        return claim.what, "skipped", bound, "", claim.reference, figure.note
    met = {True: "yes", False: "NO", None: ""}[claim.met(figure.value) if is_real else None]
    return claim.what, shown(figure.value, claim), bound, met, claim.reference, figure.note
