"""The verb diff of two tracked runs."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..errors import ArgumentError, RunNotFoundError, StoreError, show
from ..storage.journal import SUFFIX
from ..tracker.difference import RunDifference, difference
from ..tracker.moment import reference
from ..tracker.store.database import folder_of
from ..tracker.store.lookup import revision_of
from .answer import Answer, UsageError
from .exit_codes import DIFFERENT, OK
from .render import table_text
from .text import one_line
from .tracker import named, open_store


def are_runs(args: argparse.Namespace) -> bool:
    """Whether a diff is asked for of two tracked runs; False for two files. What is neither is refused."""
    texts = (args.file, args.other)
    files = [_is_file(text) for text in texts]
    if all(files):
        return False
    for text, is_file in zip(texts, files, strict=True):
        if not is_file and not _is_run(args, text):
            takes = "diff takes two replay files, or two tracked runs, each an ID, ID@REV or the digest of a revision"
            raise UsageError(f"{text!r} is neither a file nor a tracked run in {folder_of(args.dir)}; {takes}")
    if any(files):
        file, run = texts if files[0] else texts[::-1]
        raise UsageError(f"{file!r} is a file and {run!r} a tracked run; diff takes two files or two runs")
    return True


def _is_file(text: str) -> bool:
    return (os.path.exists(text) and not os.path.isdir(text)) or os.path.exists(text + SUFFIX)


def _is_run(args: argparse.Namespace, text: str) -> bool:
    try:
        run_id, number = reference(named(args, text)[0])
        with open_store(args) as store:
            revision_of(store, run_id, number, removed=True)
    except RunNotFoundError as error:
        if "@" in text and error.revisions:  # of a run that there is
            raise
        return False
    except ArgumentError:  # no id
        return False
    except StoreError:
        if os.path.isdir(folder_of(args.dir)):
            raise
        return False
    return True


def diff_runs(args: argparse.Namespace) -> Answer:
    """Show where two tracked runs differ."""
    options = {"--step": args.step, "--other-step": args.other_step, "--metadata": args.metadata, "--codec": args.codec}
    options |= {"--allow-pickle": args.allow_pickle, "--key-file": args.key, "--reader": args.reader != "strict"}
    for name, value in options.items():
        if value:
            raise UsageError(f"{name} is about replay files, and {args.file!r} is a tracked run")
    refs = [reference(named(args, text)[0]) for text in (args.file, args.other)]
    with open_store(args) as store:
        a, b = (revision_of(store, *ref, removed=True) for ref in refs)
        found = difference(store, a, b)
    facts = {
        "dir": store.folder,
        "run": found.a,
        "other": found.b,
        "same": found.same,
        "config": found.config,
        "step": found.step,
        "rows": found.rows,
        "n_same": found.n_same,
        "summary": found.summary,
    }
    return Answer(facts, "" if args.json else _text(found), OK if found.same else DIFFERENT)


def _text(found: RunDifference) -> str:
    """Return tables of config, rows and summaries, with a column for each run."""
    tables = []
    if found.config:
        tables.append(_table("config", found, found.config))
    if found.step is None:
        rows = f"rows agree: {found.n_same:,}"
    else:
        rows = f"rows first differ at step {found.step:,}, after {found.n_same:,} that agree"
        mine, theirs = found.rows
        if mine is None or theirs is None:
            rows += f"; {found.a if mine is None else found.b} has none there"
        keys = dict.fromkeys([*(mine or ()), *(theirs or ())])
        rows += "\n" + _table("row", found, {key: ((mine or {}).get(key), (theirs or {}).get(key)) for key in keys})
    tables.append(rows)
    tables.append(_table("summary", found, found.summary))
    return "\n\n".join(tables)


def _table(what: str, found: RunDifference, values: dict[str, tuple[Any, Any]]) -> str:
    lines = [
        [one_line(key), *("-" if value is None else one_line(show(value, 40)) for value in pair)]
        for key, pair in values.items()
    ]
    return table_text([what, found.a, found.b], lines)
