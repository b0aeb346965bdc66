"""What each verb of the command line does: arguments in, an `Answer` out; nothing is printed here."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .checks import seed_text
from .engine.recording import Recording
from .errors import (
    ArtifactFormatError,
    ArtifactIntegrityError,
    MetricError,
    NondeterminismError,
    StateClassError,
    StepError,
    StepRangeError,
    UnsafeArtifactError,
    show,
)
from .loader import load
from .rendering import brief, differences, field_names, info_text, rows, state_text, stats_text
from .run import Run
from .stepcode import FORMS, CodeError, Importer
from .storage import artifact

OK, DIFFERENT = 0, 1


@dataclass(frozen=True)
class Answer:
    """What a verb found: for programs, for people, and as an exit code."""

    facts: Mapping[str, Any]
    text: str
    code: int = OK


class NotFound(Exception):
    """An answer that is no error of the caller: there is no such thing in this run."""


class UsageError(Exception):
    """Arguments that cannot be meant."""


# ---- verbs


def info(args: argparse.Namespace, importer: Importer) -> Answer:
    """Say what a file says of its run; no step code, no unpickling."""
    facts = _facts_of(args.file, args.reader)
    return Answer(facts, info_text(facts))


def get(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show the states at some steps."""
    recording = artifact.load(args.file, reader=args.reader).recording
    steps = [_step(text, recording.n_steps) for text in args.steps]
    grid, stride = recording.grid, recording.stride
    blocks = [grid.block_of(t) for t in steps]
    stored = all(t == grid.start(j) and j % stride == 0 for t, j in zip(steps, blocks, strict=True))
    run = _open(args, importer, recording, f"step {steps[0]}", replay=not stored)
    states = [(t, _field(run.get(t), args.field, t) if args.field else run.get(t)) for t in steps]
    texts = [state_text(state) for _, state in states]
    if len(states) > 1:
        texts = [rows([(f"{t}:", text)]) for (t, _), text in zip(states, texts, strict=True)]
    found = [{"step": t, "state": state} for t, state in states]
    return Answer({"file": args.file, "field": args.field, "states": found}, "\n".join(texts))


def verify(args: argparse.Namespace, importer: Importer) -> Answer:
    """Replay the run and compare it with the file, bit for bit."""
    run = _open(args, importer, None, "verify")
    facts: dict[str, Any] = {"file": args.file, "full": args.full}
    try:
        run.verify(full=args.full, progress=_progress(args))
    except (NondeterminismError, StepError) as error:
        where = {name: getattr(error, name) for name in ("block", "step", "path", "exact") if hasattr(error, name)}
        where |= {"step": error.t} if isinstance(error, StepError) else {}
        return Answer({**facts, "ok": False, **where, "problem": str(error)}, f"NOT reproduced: {error}", DIFFERENT)
    how = "every block" if args.full or run.n_checkpoints <= 33 else "33 blocks, the first and the last among them"
    text = f"ok: {args.file} replays bit for bit ({how}; {run.n_steps:,} steps)"
    return Answer({**facts, "ok": True, "n_steps": run.n_steps, "content_hash": run.content_hash()}, text)


def stats(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show exact statistics over all steps or a window."""
    recording = artifact.load(args.file, reader=args.reader).recording
    whole = args.start is None and args.stop is None
    facts: dict[str, Any] = {"file": args.file, "start": 0, "stop": recording.n_steps}
    if args.metric is None and whole and recording.metrics:
        found = {name: dict(table.stats) for name, table in recording.metrics.items()}
        text = "\n".join(stats_text(name, values) for name, values in found.items())
        return Answer({**facts, "replayed": False, "metrics": found}, text)
    start = 0 if args.start is None else _step(args.start, recording.n_steps, end=True)
    stop = recording.n_steps if args.stop is None else _step(args.stop, recording.n_steps, end=True)
    run = _open(args, importer, recording, "stats")
    metric, name = args.metric, args.metric or "state"
    if metric is not None and ":" in metric:
        metric = importer.named(metric, "--metric")
    try:
        values = dict(run.stats(metric, start, stop, progress=_progress(args)))
    except MetricError as error:
        if args.metric in recording.metrics and whole:
            note = f"{args.metric!r} was observed while recording: leave --metric out to see it"
            raise UsageError(f"{error}. {note}") from error
        raise
    return Answer(
        {**facts, "start": start, "stop": stop, "replayed": True, "metrics": {name: values}}, stats_text(name, values)
    )


def branch(args: argparse.Namespace, importer: Importer) -> Answer:
    """Record another future from a step, and save it."""
    if os.path.exists(args.output):
        if os.path.exists(args.file) and os.path.samefile(args.output, args.file):
            raise UsageError(f"-o {args.output} is the run itself; a branch goes to a file of its own")
        if not args.force:
            raise UsageError(f"{args.output} exists; --force replaces it")
    recording = artifact.load(args.file, reader=args.reader).recording
    t = _step(args.step_t, recording.n_steps)
    run = _open(args, importer, recording, "branch")
    mutate = importer.named(args.mutate, "--mutate") if args.mutate else None
    child = run.branch(
        t, mutate, args.seed, args.n_steps, noise=args.noise, params=_params(args.param), progress=_progress(args)
    )
    child.save(args.output)
    facts = {
        "file": args.file,
        "step": t,
        "output": args.output,
        "n_steps": child.n_steps,
        "noise": args.noise,
        "seed": child.seed,
        "params": child.params,
        "parent_hash": child.parent_hash,
        "content_hash": child.content_hash(),
    }
    if recording.metrics and not args.quiet:
        importer.say(f"{', '.join(recording.metrics)} not observed in the branch: their functions are not in the file")
    noise = f"the noise of {args.file}" if args.noise == "same" else f"fresh noise, seed {seed_text(child.seed)}"
    text = f"wrote {args.output}: {child.n_steps:,} steps from step {t:,} of {args.file}, {noise}"
    return Answer(facts, f"{text}\ncontent hash {child.content_hash()}")


def fsck(args: argparse.Namespace, importer: Importer) -> Answer:
    """Check a file: seal, structure, schema, content hash; no step code, no unpickling."""
    try:
        facts = _facts_of(args.file, args.reader)
    except (ArtifactFormatError, ArtifactIntegrityError) as error:
        return Answer({"file": args.file, "ok": False, "problem": str(error)}, f"DAMAGED: {error}", DIFFERENT)
    seal = "seal" if facts["sealed"] else "no seal (saved for the oldest readers, or rewritten by a tool)"
    text = f"ok: {args.file}: {seal}, structure, schema and content hash ({facts['bytes']:,} bytes)"
    kept = {name: facts[name] for name in ("bytes", "sealed", "complete", "n_checkpoints", "n_pickled", "content_hash")}
    return Answer({"file": args.file, "ok": True, **kept}, text)


def diff(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show where what two files say of their runs differs; nothing is replayed."""
    a, b = (_facts_of(path, args.reader) for path in (args.file, args.other))
    same = a["content_hash"] == b["content_hash"]
    for facts in (a, b):
        for name in ("file", "bytes", "sealed", "content_hash"):  # of the files, or told apart from the rest
            del facts[name]
    found = differences(a, b)
    lines = [f"{key}: {_short(x)} | {_short(y)}" for key, x, y in found]
    which = "agree: the same run" + (", told differently" if found else "") if same else "differ"
    lines.append(f"content hashes {which}")
    table = {key: [x, y] for key, x, y in found}
    facts = {"file": args.file, "other": args.other, "same_content": same, "differences": table}
    return Answer(facts, "\n".join(lines), OK if same and not found else DIFFERENT)


# ---- what the verbs share


def _facts_of(path: str, reader: str) -> dict[str, Any]:
    file = artifact.load(path, reader=reader)  # all checks are made here
    observed = {name: dict(table.stats) for name, table in file.recording.metrics.items()}
    facts = artifact.described(file.recording)
    return {"file": path, "bytes": file.n_bytes, "sealed": file.sealed, **facts, "observed": observed}


def _open(
    args: argparse.Namespace, importer: Importer, recording: Recording | None, what: str, replay: bool = True
) -> Run[Any]:
    """Return the run with its step function: what --step names, or the recorded one where it is needed."""
    if recording is None:
        recording = artifact.load(args.file, reader=args.reader).recording
    pickles = recording.checkpoints.pickles
    if pickles and not args.allow_pickle:
        raise UnsafeArtifactError(len(pickles), recording.checkpoints.n, args.file)
    layout = recording.checkpoints.codec.layout
    from_main = recording.step.get("id", "__main__:").startswith("__main__:") or "'__main__:" in str(
        layout.to_json() if layout else ""
    )
    step = None
    if args.step is not None:
        step = importer.named(args.step, "--step", as_main=from_main)
    elif replay or pickles or not _has_classes(recording):
        try:
            step = importer.recorded(recording.step)
        except CodeError as error:
            made = f"The file says it was recorded with {recording.step['id']}. " if "id" in recording.step else ""
            text = f"{what} needs the step function of this run. {made}It was not looked for any further: {error}"
            raise CodeError(f"{text}. Name it with --step {FORMS}", error.details) from error
    codec = importer.named(args.codec, "--codec") if args.codec else None
    return load(args.file, step, allow_pickle=args.allow_pickle, codec=codec, reader=args.reader)


def _has_classes(recording: Recording) -> bool:
    try:
        if recording.checkpoints.codec.layout is not None:
            recording.checkpoints.codec.layout.require_classes()
    except StateClassError:
        return False
    return True


def _step(text: str, n_steps: int, end: bool = False) -> int:
    """Return the step that `text` names; with `end`, one that may lie just behind the run."""
    if text in ("start", "end"):
        return 0 if text == "start" else n_steps - (not end)
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        share = Fraction(match[1]) / 100
        if share > 1:
            raise NotFound(f"step {text} is outside this run: 0% is its first step, 100% its last")
        return int(share * (n_steps - (not end)))
    try:
        t = int(text)
    except ValueError:
        raise UsageError(
            f"step is {text!r}; expected an integer, negative to count from the end, 50%, start or end"
        ) from None
    if not -n_steps <= t < n_steps + end:
        raise StepRangeError(t, n_steps)
    return t % n_steps if t < n_steps else t


def _field(state: Any, path: str, t: int) -> Any:
    """Return what is at a path like ``agents[3].x`` of a state."""
    pieces = re.findall(r"[^.\[\]]+", path)
    value = state
    for i, piece in enumerate(pieces):
        names = list(value) if isinstance(value, Mapping) else list(field_names(value))
        key = piece.strip("'\"")
        try:
            if isinstance(value, Mapping):
                value = value[key] if key in value else value[int(key)]
            elif hasattr(value, "__getitem__") and re.fullmatch(r"-?\d+", key):
                value = value[int(key)]
            elif getattr(getattr(value, "dtype", None), "names", None):
                names = list(value.dtype.names)
                value = value[key]
            else:
                value = getattr(value, key)
        except (AttributeError, KeyError, IndexError, ValueError):
            where = "the state" if not i else f"state.{'.'.join(pieces[:i])}"
            has = f"; it has {', '.join(map(str, names[:12]))}" if names else f"; it is {show(value)}"
            raise NotFound(f"at step {t} {where} has no {piece}{has}") from None
    return value


def _params(pairs: Sequence[str]) -> dict[str, Any] | None:
    params = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            if not equals:
                raise ValueError
            params[name] = json.loads(text)
        except ValueError:
            example = f"{name or 'rate'}=0.5, or {name or 'mode'}='\"text\"' for a text"
            raise UsageError(f"--param is {pair!r}; expected NAME=JSON, for example {example}") from None
    return params or None


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "mean" in value and "argmin" in value:
        return brief(value)
    return "-" if value is None else show(value, 80)


def _progress(args: argparse.Namespace) -> bool | None:
    return True if sys.stderr.isatty() and not args.quiet else None
