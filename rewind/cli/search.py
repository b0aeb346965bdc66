"""The verbs that ask a run for moments and values: find, bisect, series, likelihood."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from ..engine.recording import Recording
from ..errors import ArgumentError, ConditionError, MissingStepError
from ..metrics.condition import parse
from ..runs.run import Run
from ..storage.files import write_file
from .answer import Answer, UsageError
from .common import (
    is_code,
    is_stored,
    metric_of,
    observed_of,
    once_each,
    open_with_step,
    progress_of,
    recording_of,
    require_output,
    step_of,
    window_of,
)
from .exit_codes import DIFFERENT, OK
from .render import columns_of, csv_text, json_text, npz_bytes, table_text
from .text import FORMS
from .user_code import Importer

# ---- conditions


def find(args: argparse.Namespace, importer: Importer) -> Answer:
    """Find the steps at which a condition holds."""
    if args.n is not None and args.n < 1:
        raise UsageError(f"-n is {args.n}; expected an integer >= 1")
    if args.before is not None and not args.last:
        raise UsageError("--before goes with --last; --stop ends a window")
    recording = recording_of(args)
    start, stop = window_of(args, recording.n_steps)
    if args.before is not None:
        stop = min(stop, step_of(args.before, recording.n_steps, end=True))
    count = args.n if args.n is not None else None if args.all else 1

    def look(run: Run[Any], condition: Any) -> list[int]:
        options: dict[str, Any] = {"workers": args.workers, "progress": progress_of(args)}
        if not args.last:
            if count == 1:
                first = run.first(condition, start, stop, **options)
                return [] if first is None else [first]
            return list(islice(run.where(condition, start, stop, **options), count))
        if count is None or start:  # there is no end to what lies before a window
            return list(run.where(condition, start, stop, **options))[::-1][:count]
        found: list[int] = []
        before = stop
        while before and len(found) < count:
            last = run.last(condition, before, **options)
            if last is None:
                break
            before = recording.grid.start(recording.grid.block_of(last))
            found += [last] if count == 1 else list(run.where(condition, before, last + 1))[::-1]
        return found[:count]

    steps = _ask(args, importer, recording, "find", (start, stop), look) or []
    if not steps and not args.json and not args.quiet:
        importer.say(f"{args.condition} holds at no step from {start:,} to {stop - 1:,}")
    facts = {"file": args.file, "condition": args.condition, "start": start, "stop": stop, "steps": steps}
    return Answer(facts, "\n".join(map(str, steps)), OK if steps else DIFFERENT)


def bisect(args: argparse.Namespace, importer: Importer) -> Answer:
    """Find the first step at which a condition holds, if it holds at every later step."""
    recording = recording_of(args)
    start, stop = window_of(args, recording.n_steps)

    def look(run: Run[Any], condition: Any) -> int | None:
        return run.bisect(condition, start, stop)

    try:
        t = _ask(args, importer, recording, "bisect", (start, stop), look)
    except ConditionError as error:
        if error.way:  # it is not monotone
            error.way = "rewind find looks at every step"
        raise
    if t is None and not args.json and not args.quiet:
        importer.say(f"{args.condition} holds at no step from {start:,} to {stop - 1:,} that was looked at")
    facts = {"file": args.file, "condition": args.condition, "start": start, "stop": stop, "step": t}
    return Answer(facts, "" if t is None else str(t), DIFFERENT if t is None else OK)


def _ask(
    args: argparse.Namespace,
    importer: Importer,
    recording: Recording,
    what: str,
    window: tuple[int, int],
    look: Callable[[Run[Any], Any], Any],
) -> Any:
    """Return what `look` finds, None where the recorded table tells that there is nothing: that needs no code."""
    if window[0] >= window[1]:
        raise ArgumentError("the window", window, f"at least one step of 0 to {recording.n_steps - 1}")
    if is_code(args.condition):
        run = open_with_step(args, importer, recording, what)
        return look(run, importer.named(args.condition, "COND"))
    given = observed_of(args.observe)
    names = _names_in(args.condition, recording)
    try:
        return Run(recording, None, {}).first(args.condition, *window)
    except MissingStepError:
        _require_functions(args.condition, names, given)
    return look(open_with_step(args, importer, recording, what, observe=given), args.condition)


def _names_in(condition: str, recording: Recording) -> tuple[str, ...]:
    """Return the metrics that a text is about."""
    return parse(condition, {name: table.shape for name, table in recording.metrics.items()}).names


def _require_functions(condition: str, names: tuple[str, ...], given: dict[str, str]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        example = " ".join(f"--observe {name}=CODE" for name in missing)
        raise UsageError(
            f"looking for {condition!r} inside blocks needs the functions of {', '.join(missing)}, and a file holds no "
            f"functions: give {example}, where CODE is {FORMS}, an attribute or key of the state, or nothing where it "
            "is the state itself"
        )


def likelihood(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show how likely an event was, seen from some steps: its share among many branches."""
    recording = recording_of(args)
    steps = _steps_of(args.at, recording.n_steps)
    given = observed_of(args.observe)
    if not is_code(args.event):
        _require_functions(args.event, _names_in(args.event, recording), given)
    run = open_with_step(args, importer, recording, "likelihood", observe=given)
    event = importer.named(args.event, "EVENT") if is_code(args.event) else args.event
    table = run.likelihood(
        event,
        steps,
        args.n,
        args.n_steps,
        seed=args.seed,
        confidence=args.confidence,
        workers=args.workers,
        progress=progress_of(args),
    )
    assert table.dtype.names is not None
    found = [dict(zip(table.dtype.names, row, strict=True)) for row in table.tolist()]
    lines = [
        [str(row["step"]), *(f"{row[name]:.4f}" for name in ("share", "low", "high")), f"{row['hits']}/{row['n']}"]
        for row in found
    ]
    facts = {"file": args.file, "event": args.event, "confidence": args.confidence, "table": found}
    return Answer(facts, table_text(["step", "share", "low", "high", "hits/n"], lines))


def _steps_of(text: str, n_steps: int) -> list[int]:
    """Return the steps that T,T,... or START:STOP:STEP names."""
    if ":" not in text:
        return [step_of(piece.strip(), n_steps) for piece in text.split(",")]
    begin, end, *more = [piece.strip() for piece in text.split(":")]
    if len(more) > 1 or (more and not re.fullmatch("0*[1-9][0-9]*", more[0])):
        raise UsageError(f"--at is {text!r}; expected T, T,T,... or START:STOP:STEP with a STEP of at least 1")
    start = step_of(begin, n_steps) if begin else 0
    stop = step_of(end, n_steps, end=True) if end else n_steps
    return list(range(start, stop, int(more[0]) if more else 1))


# ---- values


def series(args: argparse.Namespace, importer: Importer) -> Answer:
    """Write the values of metrics at every step of a window, as a table."""
    kind = args.to or (os.path.splitext(args.output)[1][1:].lower() if args.output else "json" if args.json else "csv")
    kind = kind if kind in ("csv", "npz", "json") else "csv"
    if args.output is not None:
        require_output(args.output, "-o", args.file, args.force)
    elif kind == "npz":
        raise UsageError("--to npz needs -o OUT: it is binary, and stdout is for text")
    elif kind == "csv" and args.json:
        raise UsageError("--json and --to csv are two forms of one answer; choose one, or write one of them to -o OUT")
    if args.every < 1:
        raise UsageError(f"--every is {args.every}; expected an integer >= 1")
    texts = once_each(args.metric, "--metric")
    recording = recording_of(args)
    start, stop = window_of(args, recording.n_steps)
    steps = range(start, stop, args.every)
    stored = all(is_stored(recording, t) for t in steps)
    run = open_with_step(args, importer, recording, "series", replay=not stored)
    metrics = {text: metric_of(text, importer, "--metric") for text in texts}
    name, metric = next(iter(metrics.items()), ("state", None))
    if len(metrics) > 1:
        for one in metrics.values():  # each by itself first: an error then names it
            run.series(one, start, min(start + 1, stop))
        name, metric = "state", _Several(metrics)
    values = run.series(metric, start, stop, args.every, workers=args.workers, progress=progress_of(args))
    columns = columns_of(values, name)
    facts: dict[str, Any] = {"file": args.file, "start": start, "stop": stop, "every": args.every}
    whole = {**facts, "steps": list(steps), "columns": {key: array.tolist() for key, array in columns.items()}}
    if kind == "json":
        text = json_text({"schema": 1, "verb": "series", **whole})
    elif kind == "csv":
        text = csv_text(steps, columns)
    if args.output is None:
        return Answer(whole, text.removesuffix("\n"))
    if kind == "npz":
        try:
            data = npz_bytes(steps, columns)
        except ValueError as error:
            raise UsageError(
                f"{error} is no array of numbers or text, and npz holds nothing else; use --to json"
            ) from None
    else:
        data = text.removesuffix("\n").encode() + b"\n"
    write_file(args.output, data)
    facts |= {"output": args.output, "to": kind, "n_steps": len(steps), "columns": list(columns)}
    return Answer(facts, f"wrote {args.output}: {len(steps):,} steps of {', '.join(columns)}")


class _Several:
    """Some metrics as one, which gives a dict; it can be pickled where they can."""

    def __init__(self, metrics: dict[str, Any]) -> None:
        self.metrics = metrics

    def __call__(self, state: Any) -> dict[str, Any]:
        return {name: _value(metric, state) for name, metric in self.metrics.items()}


def _value(metric: Any, state: Any) -> Any:
    if not isinstance(metric, str):
        return metric(state)
    keyed = isinstance(state, Mapping) or (isinstance(state, (np.ndarray, np.void)) and state.dtype.names)
    return itemgetter(metric)(state) if keyed else attrgetter(metric)(state)
