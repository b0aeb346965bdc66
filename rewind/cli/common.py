"""What verbs make of their arguments: runs with their step code, steps, windows, names and fields."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..engine.recording import Recording
from ..errors import StateClassError, StepRangeError, UnsafeArtifactError, show
from ..runs.load import load
from ..runs.progress import Progress, ProgressOption, bar, long_block
from ..runs.run import Run
from ..storage import replay_file
from ..storage.open import open_run
from .answer import NotFound, UsageError
from .render import field_names
from .text import FORMS
from .user_code import CodeError, Importer

# ---- runs


def recording_of(args: argparse.Namespace) -> Recording:
    """Return what is in FILE; nothing is imported or unpickled."""
    return open_run(args.file, reader=args.reader, key=args.key).recording


def facts_of(path: str, args: argparse.Namespace) -> tuple[dict[str, Any], Recording]:
    """Return what a file says of its run, and the recording; all checks of a file are made here."""
    file = open_run(path, reader=args.reader, key=args.key)
    observed = {name: dict(table.stats) for name, table in file.recording.metrics.items()}
    facts = replay_file.describe(file.recording)
    container = {"file": path, "bytes": file.n_bytes, "sealed": file.sealed, "signed": file.signed}
    found = file.found
    container["journal"] = (
        None
        if found is None
        else {
            "path": found.path,
            "writing": found.writing,
            "pid": found.owner.pid,
            "host": found.owner.host,
            "planned_steps": found.owner.n_steps,
            "damaged_bytes": found.n_damaged,
        }
    )
    return {**container, **facts, "observed": observed}, file.recording


def open_with_step(
    args: argparse.Namespace,
    importer: Importer,
    recording: Recording | None,
    what: str,
    replay: bool = True,
    observe: Mapping[str, str] | None = None,
) -> Run[Any]:
    """Return the run with its step function: what --step names, or the recorded one where it is needed."""
    if recording is None:
        recording = recording_of(args)
    pickles = recording.checkpoints.pickles
    if pickles and not args.allow_pickle:
        raise UnsafeArtifactError(len(pickles), recording.checkpoints.n, args.file)
    step = None
    if args.step is not None:
        step = importer.named(args.step, "--step", as_main=from_main(recording))
    elif replay or pickles or not has_classes(recording):
        try:
            step = importer.recorded(recording.step)
        except CodeError as error:
            made = f"The file says it was recorded with {recording.step['id']}. " if "id" in recording.step else ""
            text = f"{what} needs the step function of this run. {made}It was not looked for any further: {error}"
            raise CodeError(f"{text}. Name it with --step {FORMS}", error.details) from error
    return load(
        args.file,
        step,
        allow_pickle=args.allow_pickle,
        codec=codec_of(args, importer),
        reader=args.reader,
        observe=metrics_of(observe or {}, importer),
        key=args.key,
    )


def from_main(recording: Recording) -> bool:
    """Whether the step function or a class of the states was defined in the recording script."""
    layout = recording.checkpoints.codec.layout
    step_id = recording.step.get("id", "__main__:")
    return step_id.startswith("__main__:") or "'__main__:" in str(layout.to_json() if layout else "")


def has_classes(recording: Recording) -> bool:
    """Whether all classes of the states are imported."""
    try:
        if recording.checkpoints.codec.layout is not None:
            recording.checkpoints.codec.layout.require_classes()
    except StateClassError:
        return False
    return True


def is_stored(recording: Recording, t: int) -> bool:
    """Whether the state at step `t` is one of the checkpoints."""
    grid = recording.grid
    block = grid.block_of(t)
    return t == grid.start(block) and block % recording.stride == 0 and not (t == 0 and recording.origin.lead)


# ---- arguments


def step_of(text: str, n_steps: int, end: bool = False) -> int:
    """Return the step that `text` names; with `end`, one that may be the first one after the run."""
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


def window_of(args: argparse.Namespace, n_steps: int) -> tuple[int, int]:
    """Return the steps that --start and --stop name."""
    start = 0 if args.start is None else step_of(args.start, n_steps, end=True)
    return start, n_steps if args.stop is None else step_of(args.stop, n_steps, end=True)


def is_code(text: str) -> bool:
    """Whether `text` has the form of step code; a condition never has."""
    where, _, name = text.rpartition(":")
    module = all(piece.isidentifier() for piece in where.split("."))
    return (where.endswith(".py") or module) and all(piece.isidentifier() for piece in name.split("."))


def metric_of(text: str, importer: Importer, option: str) -> Any:
    """Return the function that ``MODULE:NAME`` or ``FILE.py:NAME`` names; anything else is an attribute or key."""
    return importer.named(text, option) if ":" in text else text


def metrics_of(texts: Mapping[str, str], importer: Importer) -> dict[str, Any] | None:
    """Return the functions that the texts of --observe name; one without a text is the state itself."""
    return {name: metric_of(text, importer, "--observe") if text else None for name, text in texts.items()} or None


def codec_of(args: argparse.Namespace, importer: Importer) -> Any:
    """Return the pair that --codec names, or None."""
    return importer.named(args.codec, "--codec") if args.codec else None


def observed_of(pairs: Sequence[str]) -> dict[str, str]:
    """Return what --observe gives, by the names of the metrics."""
    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            expected = "NAME=CODE, NAME=ATTRIBUTE, or NAME= where it is the state itself"
            raise UsageError(f"--observe is {pair!r}; expected {expected}")
        if name in given:
            raise UsageError(f"--observe gives {name} twice")
        given[name] = text
    return given


def once_each(texts: Sequence[str], option: str) -> list[str]:
    """Return what an option was given, each once."""
    twice = [text for i, text in enumerate(texts) if text in texts[:i]]
    if twice:
        raise UsageError(f"{option} {twice[0]} is given twice")
    return list(texts)


def require_output(
    output: str, option: str, source: str | None, force: bool, replaces: str = "--force replaces it"
) -> None:
    """Refuse an output that would replace something, before anything is computed."""
    if os.path.exists(output):
        if source is not None and os.path.exists(source) and os.path.samefile(output, source):
            raise UsageError(f"{option} {output} is the run itself; the result goes to a file of its own")
        if not force:
            raise UsageError(f"{output} exists; {replaces}")
    elif not os.path.isdir(os.path.dirname(output) or os.curdir):
        raise UsageError(f"{option} {output}: there is no folder {os.path.dirname(output)}")


def params_of(pairs: Sequence[str]) -> dict[str, Any] | None:
    """Return what --param gives."""
    params = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            if not equals:
                raise ValueError
            params[name] = json.loads(text)
        except (ValueError, RecursionError):
            example = f"{name or 'rate'}=0.5, or {name or 'mode'}='\"text\"' for a text"
            raise UsageError(f"--param is {show(pair)}; expected NAME=JSON, for example {example}") from None
    return params or None


def progress_of(args: argparse.Namespace) -> bool | None:
    """Return whether progress is shown: on a terminal, unless --quiet."""
    return True if sys.stderr.isatty() and not args.quiet else None


def told_progress_of(args: argparse.Namespace) -> ProgressOption:
    """Return what shows the progress of a recording, and says once, on stderr, that a block takes long."""
    show, said = bar() if progress_of(args) else None, False

    def tell(progress: Progress) -> None:
        nonlocal said
        text = long_block(progress)
        if text and not said:
            said = True
            kept = "what is done of it is kept every minute, and a signal ends the recording at a step"
            sys.stderr.write(f"rewind: {text}; {kept}. --block-size makes blocks shorter\n")
        if show is not None:
            show(progress)

    return None if args.quiet else tell


# ---- states


def field_of(state: Any, path: str, t: int) -> Any:
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
