"""The verbs that show a file and the states in it, and that branch: info, get, branch."""

from __future__ import annotations

import argparse

from ..runs.arguments import seed_text
from .answer import Answer
from .common import (
    facts_of,
    field_of,
    is_stored,
    open_with_step,
    params_of,
    progress_of,
    recording_of,
    require_output,
    step_of,
)
from .render import info_text, rows, state_text
from .user_code import Importer


def info(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show what a file says of its run; runs no step code, unpickles nothing."""
    facts = facts_of(args.file, args)[0]
    return Answer(facts, info_text(facts, checked=args.key is not None))


def get(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show the states at some steps."""
    recording = recording_of(args)
    steps = [step_of(text, recording.n_steps) for text in args.steps]
    stored = all(is_stored(recording, t) for t in steps)
    run = open_with_step(args, importer, recording, f"step {steps[0]}", replay=not stored)
    states = [(t, field_of(run.get(t), args.field, t) if args.field else run.get(t)) for t in steps]
    texts = [state_text(state) for _, state in states]
    if len(states) > 1:
        texts = [rows([(f"{t}:", text)]) for (t, _), text in zip(states, texts, strict=True)]
    found = [{"step": t, "state": state} for t, state in states]
    return Answer({"file": args.file, "field": args.field, "states": found}, "\n".join(texts))


def branch(args: argparse.Namespace, importer: Importer) -> Answer:
    """Record another future from a step, and save it."""
    require_output(args.output, "-o", args.file, args.force)
    recording = recording_of(args)
    t = step_of(args.step_t, recording.n_steps)
    run = open_with_step(args, importer, recording, "branch")
    mutate = importer.named(args.mutate, "--mutate") if args.mutate else None
    child = run.branch(
        t, mutate, args.seed, args.n_steps, noise=args.noise, params=params_of(args.param), progress=progress_of(args)
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
