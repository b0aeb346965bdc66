"""The verbs that go through a whole run, in one piece or in shards: verify, stats, merge."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import MetricError, NondeterminismError, StepError
from ..runs import shards
from ..steps.raised import ended, found_in, is_own
from .answer import Answer, UsageError
from .common import (
    metric_of,
    observed_of,
    once_each,
    open_with_step,
    progress_of,
    recording_of,
    require_output,
    window_of,
)
from .exit_codes import DIFFERENT
from .render import stats_text
from .user_code import Importer


def verify(args: argparse.Namespace, importer: Importer) -> Answer:
    """Replay the run and compare it with the file, bit for bit."""
    shard = _shard_of(args)
    given = observed_of(args.observe)
    run = open_with_step(args, importer, None, "verify", observe=given)
    options: dict[str, Any] = {"workers": args.workers, "progress": progress_of(args)}
    facts = {"n_steps": run.n_steps, "n_checkpoints": run.n_checkpoints, "content_hash": run.content_hash()}
    known = run._trajectory.observed()
    left = [name for name in run.observed if name not in known]
    if left:
        importer.say(f"what was observed as {', '.join(left)} is not compared; --observe gives the functions")
    if shard is not None:
        return _write_part(shards.verify(run, *shard, args.full, source=args.file, **options), args)
    try:
        run.verify(full=args.full, **options)
    except (NondeterminismError, StepError) as error:
        return _verify_answer(args.file, args.full, facts, shards.failed(error))
    except BaseException as error:  # what says where the block goes wrong calls the step again
        found = found_in(error)
        if found is None or not is_own(error):
            raise
        return _verify_answer(args.file, args.full, facts, {"problem": f"{found}; and then {ended(error)}"})
    return _verify_answer(args.file, args.full, facts, None)


def _verify_answer(file: str, full: bool, run: Mapping[str, Any], failed: Mapping[str, Any] | None) -> Answer:
    facts: dict[str, Any] = {"verb": "verify", "file": file, "full": full, "ok": failed is None}
    if failed is not None:
        return Answer({**facts, **failed}, f"NOT reproduced: {failed['problem']}", DIFFERENT)
    few = full or run["n_checkpoints"] <= 33
    how = "every block" if few else "33 blocks, the first and the last among them"
    text = f"ok: {file} replays bit for bit ({how}; {run['n_steps']:,} steps)"
    return Answer({**facts, "n_steps": run["n_steps"], "content_hash": run["content_hash"]}, text)


def stats(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show exact statistics over all steps or a window."""
    shard, edges = _shard_of(args), _edges_of(args.histogram)
    recording = recording_of(args)
    whole = args.start is None and args.stop is None
    known = whole and not args.metric and edges is None and args.max_lag is None
    if known and recording.metrics:
        if shard is not None:
            words = f"{args.file} holds the statistics of {', '.join(recording.metrics)}: there is nothing to replay. "
            raise UsageError(words + "Leave --shard out, or name what to replay with --metric")
        return _stats_answer(
            {"file": args.file, "start": 0, "stop": recording.n_steps, "replayed": False},
            {name: dict(table.stats) for name, table in recording.metrics.items()},
        )
    texts = once_each(args.metric, "--metric")
    start, stop = window_of(args, recording.n_steps)
    run = open_with_step(args, importer, recording, "stats")
    metrics = {text: metric_of(text, importer, "--metric") for text in texts} or {"state": None}
    options: dict[str, Any] = {
        "histogram": edges,
        "max_lag": args.max_lag,
        "workers": args.workers,
        "progress": progress_of(args),
    }
    try:
        if shard is not None:
            return _write_part(shards.stats(run, *shard, metrics, start, stop, source=args.file, **options), args)
        found = run.stats(metrics, start, stop, **options)
    except MetricError as error:
        if error.name in recording.metrics and whole:
            note = f"{error.name!r} was observed while recording: leave --metric out to see it"
            raise UsageError(f"{error}. {note}") from error
        raise
    facts = {"file": args.file, "start": start, "stop": stop, "replayed": True}
    return _stats_answer(facts, {name: dict(values) for name, values in found.items()})


def _stats_answer(facts: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> Answer:
    text = "\n".join(stats_text(name, values) for name, values in found.items())
    return Answer({"verb": "stats", **facts, "metrics": found}, text)


def _edges_of(text: str | None) -> Any:
    """Return the edges that E0,E1,... names; whether they can be those of bins, the library says."""
    if text is None:
        return None
    try:
        return np.array([float(piece) for piece in text.split(",")])
    except ValueError:
        raise UsageError(f"--histogram is {text!r}; expected E0,E1,..., the edges of its bins") from None


# ---- shards


def _shard_of(args: argparse.Namespace) -> tuple[int, int] | None:
    """Return what --shard names, having seen that its part can be written."""
    if args.shard is None:
        if args.out is not None:
            raise UsageError("--out goes with --shard I/N; it is where the part of that shard is written")
        return None
    match = re.fullmatch(r"0*([1-9][0-9]{0,6})/0*([1-9][0-9]{0,6})", args.shard)
    if match is None or not int(match[1]) <= int(match[2]) <= shards.MAX_SHARDS:
        raise UsageError(f"--shard is {args.shard!r}; expected I/N, the I-th of N shards, for example 1/16")
    if args.out is None:
        raise UsageError(f"--shard {args.shard} needs --out PART, the file it writes for rewind merge")
    replaces = "it is no part of a sharded pass, and only such a file is replaced"
    require_output(args.out, "--out", args.file, os.path.exists(args.out) and shards.is_part(args.out), replaces)
    return int(match[1]), int(match[2])


def _write_part(part: shards.Part, args: argparse.Namespace) -> Answer:
    """Write a part, and say so."""
    shards.save(part, args.out)
    i, n = part.shard
    blocks = f"{part.n_items:,} of {part.parameters['n_items']:,} stretches"
    facts: dict[str, Any] = {"file": args.file, "shard": [i, n], "part": args.out, "n_items": part.n_items}
    wrote = f"shard {i} of {n} of {args.file}, {blocks}; wrote {args.out}"
    if part.verb == "stats":
        return Answer({**facts, "steps": part.steps}, wrote)
    facts["ok"] = part.failure is None
    if part.failure is None:
        return Answer(facts, f"ok: {wrote}")
    return Answer({**facts, **part.failure}, f"NOT reproduced: {part.failure['problem']}\n{wrote}", DIFFERENT)


def merge(args: argparse.Namespace, importer: Importer) -> Answer:
    """Put together what the shards of verify or stats wrote: the answer for the whole run."""
    whole = shards.merge([shards.load(path) for path in args.parts])
    if whole.stats is None:
        return _verify_answer(whole.source, whole.parameters["full"], whole.run, whole.failure)
    window = {name: whole.parameters[name] for name in ("start", "stop")}
    facts = {"file": whole.source, **window, "replayed": True}
    return _stats_answer(facts, {name: dict(values) for name, values in whole.stats.items()})
