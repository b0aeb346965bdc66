"""The verb that records a run to a file, or goes on with one: record."""

from __future__ import annotations

import argparse
import inspect
import json
import os
from typing import Any

from ..engine.recording import Recording
from ..errors import StepError, UnfinishedRecordingError, show
from ..runs.arguments import n_steps_of, seed_text
from ..runs.options import Options
from ..runs.record import record as begin
from ..runs.resume import MISSING, begun_at, first_change, go_on_at
from ..runs.run import Run
from ..state.codec import StateCodec
from ..storage import journal
from .answer import Answer, UsageError
from .common import codec_of, is_code, metrics_of, observed_of, params_of, require_output, told_progress_of
from .text import FORMS
from .user_code import Importer


def record(args: argparse.Namespace, importer: Importer) -> Answer:
    """Record a run to a file; after Ctrl-C, SIGTERM or SIGUSR1, --resume goes on where it stopped."""
    target = journal.target_of(args.output)
    begun = begun_at(target) if args.resume else None
    if begun is None:
        _require_beginning(args, target)
    step = importer.named(args.step, "STEP")
    options = Options(
        codec=codec_of(args, importer),
        observe=metrics_of(observed_of(args.observe), importer),
        durability=args.durability,
        on_signal="checkpoint",
        progress=told_progress_of(args),
        allow_pickle=args.allow_pickle,
        self_check=args.self_check,
    )
    try:
        if begun is None:
            run = _begin(args, target, step, importer, options)
        else:
            if not begun.busy:  # else it is refused for that
                _require_same(args, begun.recording, step, importer, options)
            total = None if args.n_steps is None else n_steps_of(args.n_steps)
            run = go_on_at(target, step, total, options, unfinished=begun.unfinished)
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
        "resumed": begun is not None,
        "bytes": os.path.getsize(target),
        "content_hash": run.content_hash(),
    }
    text = f"wrote {args.output}: {run.n_steps:,} steps, seed {seed_text(run.seed)} ({facts['bytes']:,} bytes)"
    return Answer(facts, f"{text}\ncontent hash {facts['content_hash']}")


def _require_beginning(args: argparse.Namespace, target: str) -> None:
    """Refuse to begin a run where there is one, or without what it takes."""
    require_output(target, "-o", None, args.force, "--resume goes on with it, --force replaces it")
    missing = [name for name, value in (("--init", args.init), ("-n", args.n_steps)) if value is None]
    if missing:
        raise UsageError(f"to begin a run takes {' and '.join(missing)}")


#: The options that say what a recording is begun with, by the names that they have in Python.
_OPTIONS = {"seed": "--seed", "backend": "--backend", "block_size": "--block-size", "params": "--param",
            "observe": "--observe", "init_state": "--init", "step_fn": "STEP"}  # fmt: skip


def _require_same(
    args: argparse.Namespace, recording: Recording, step: Any, importer: Importer, options: Options
) -> None:
    """Refuse to go on with a recording by a command that would have begun another one."""
    observe, asks = options.observe or {}, _init(args.init, importer)
    change = first_change(
        recording,
        step_fn=step,
        seed=args.seed,
        backend=args.backend,
        block_size=args.block_size,
        params=params_of(args.param),
        observe=observe if set(observe) - set(recording.metrics) else None,  # what is missing is missed later
        init_state=asks,
        codec=options.codec,
        allow_pickle=args.allow_pickle,
    )
    if change is not None and change.name == "init_state" and _draws(args.init, asks, importer, options):
        return
    if change is not None:
        option, given, recorded = _OPTIONS[change.name] + change.path, show(change.given), show(change.recorded)
        raise UsageError(f"{args.output} was begun with {option} {recorded}, not {given}; --resume goes on as it is")


def _init(text: str | None, importer: Importer) -> Any:
    return MISSING if text is None else state_of(text, importer)


def _draws(text: str, state: Any, importer: Importer, options: Options) -> bool:
    """Whether CODE draws a state 0 without a seed, which is another one each time: then nobody asked for another."""
    codec = StateCodec.of(state, options.codec)
    again = state_of(text, importer)
    return is_code(text) and codec.digest(codec.encode(state)) != codec.digest(codec.encode(again))


def _begin(args: argparse.Namespace, target: str, step: Any, importer: Importer, options: Options) -> Run[Any]:
    try:
        return begin(
            step,
            state_of(args.init, importer),
            args.n_steps,
            args.seed,
            block_size=args.block_size,
            backend=args.backend or "python",
            params=params_of(args.param),
            self_check=args.self_check,
            trial=not args.no_trial,
            lossy=args.lossy,
            checkpoint_budget=args.checkpoint_budget,
            path=target,
            codec=options.codec,
            observe=options.observe,
            durability=options.durability,
            on_signal=options.on_signal,
            progress=options.progress,
        )
    except UnfinishedRecordingError as error:
        what = f"{error.path} holds an unfinished recording, steps 0 to {error.n_steps - 1}"
        raise UsageError(f"{what}; --resume goes on with it, or delete it to begin again") from None


def state_of(text: str, importer: Importer) -> Any:
    """Return state 0: what CODE names, or gives where it is a function or a class, or a JSON value."""
    if is_code(text):
        value = importer.named(text, "--init")
        return value() if inspect.isfunction(value) or inspect.isclass(value) else value
    try:
        return json.loads(text)
    except RecursionError:
        raise UsageError(f"--init is nested too deeply to be read: {show(text)}") from None
    except ValueError:
        raise UsageError(f"--init is {text!r}; expected {FORMS}, or a JSON value such as 0 or '[0.0, 1.0]'") from None
