"""The verb that records a run to a file, or goes on with one: record."""

from __future__ import annotations

import argparse
import inspect
import json
import os
from collections.abc import Mapping
from typing import Any

from ..engine.recording import Recording
from ..errors import ArtifactNotFoundError, StepError, UnfinishedRecordingError
from ..runs.arguments import seed_text
from ..runs.record import record as begin
from ..runs.resume import resume
from ..runs.run import Run
from ..storage import journal
from ..storage.open import open_run
from .answer import Answer, UsageError
from .common import codec_of, is_code, metrics_of, observed_of, params_of, progress_of, require_output
from .text import FORMS
from .user_code import Importer


def record(args: argparse.Namespace, importer: Importer) -> Answer:
    """Record a run to a file; after Ctrl-C, SIGTERM or SIGUSR1, --resume goes on where it stopped."""
    target = journal.target_of(args.output)
    recorded = _recorded(target) if args.resume else None
    if recorded is None:
        _require_beginning(args, target)
    step = importer.named(args.step, "STEP")
    options = {
        "codec": codec_of(args, importer),
        "observe": metrics_of(observed_of(args.observe), importer),
        "durability": args.durability,
        "on_signal": "checkpoint",
        "progress": progress_of(args),
    }
    try:
        if recorded is None:
            run = _begin(args, target, step, importer, options)
        else:
            _require_same(args, recorded)
            run = resume(target, step, args.n_steps, allow_pickle=args.allow_pickle, **options)
    except StepError as error:
        shows = f"rewind get {args.output} -- -1 shows the state it was given"
        error.way = f"{shows}, and --resume goes on when STEP is mended"
        raise
    facts = {
        "output": args.output,
        "n_steps": run.n_steps,
        "block_size": run.block_size,
        "n_checkpoints": run.n_checkpoints,
        "seed": run.seed,
        "params": run.params,
        "resumed": recorded is not None,
        "bytes": os.path.getsize(target),
        "content_hash": run.content_hash(),
    }
    text = f"wrote {args.output}: {run.n_steps:,} steps, seed {seed_text(run.seed)} ({facts['bytes']:,} bytes)"
    return Answer(facts, f"{text}\ncontent hash {facts['content_hash']}")


def _recorded(target: str) -> Recording | None:
    """Return what there is to go on with; None where there is nothing, or what was cut off before it began."""
    try:
        return open_run(target).recording
    except ArtifactNotFoundError:
        return None


def _require_beginning(args: argparse.Namespace, target: str) -> None:
    """Refuse to begin a run where there is one, or without what it takes."""
    require_output(target, "-o", None, args.force, "--resume goes on with it, --force replaces it")
    missing = [name for name, value in (("--init", args.init), ("-n", args.n_steps)) if value is None]
    if missing:
        raise UsageError(f"to begin a run takes {' and '.join(missing)}")


def _require_same(args: argparse.Namespace, recording: Recording) -> None:
    """Refuse to go on with a recording by a command that would have begun another one."""
    asked = {
        "--seed": (args.seed, recording.seed),
        "--block-size": (args.block_size, recording.block_size),
        "--param": (params_of(args.param), dict(recording.params)),
    }
    for option, (given, recorded) in asked.items():
        if given is not None and given != recorded:
            raise UsageError(
                f"{args.output} was begun with {option} {recorded}, not {given}; --resume goes on as it is"
            )


def _begin(
    args: argparse.Namespace, target: str, step: Any, importer: Importer, options: Mapping[str, Any]
) -> Run[Any]:
    try:
        return begin(
            step,
            _state(args.init, importer),
            args.n_steps,
            args.seed,
            block_size=args.block_size,
            backend=args.backend,
            params=params_of(args.param),
            self_check=args.self_check,
            checkpoint_budget=args.checkpoint_budget,
            path=target,
            **options,
        )
    except UnfinishedRecordingError as error:
        what = f"{error.path} holds an unfinished recording, steps 0 to {error.n_steps - 1}"
        raise UsageError(f"{what}; --resume goes on with it, or delete it to begin again") from None


def _state(text: str, importer: Importer) -> Any:
    """Return state 0: what CODE names, or gives where it is a function or a class, or a JSON value."""
    if is_code(text):
        value = importer.named(text, "--init")
        return value() if inspect.isfunction(value) or inspect.isclass(value) else value
    try:
        return json.loads(text)
    except ValueError:
        raise UsageError(f"--init is {text!r}; expected {FORMS}, or a JSON value such as 0 or '[0.0, 1.0]'") from None
