"""What ``rewind fsck`` says of a tracker's folder, and the functions that --replay needs."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import Any

from .errors import MissingStepError
from .rendering import one_line
from .stepcode import FORMS, CodeError, Importer
from .tracker.checking import fsck
from .tracker.folder import is_tracker
from .tracker.opening import revision_of
from .tracker.revision import Revision
from .tracker.simulation import Part, functions_of, parts, recording_of
from .tracker.store import DATABASE, Store, folder_of
from .verbs_shared import DIFFERENT, OK, Answer, UsageError, from_main, metric_of, observed_of, progress_of


def tracker_at(path: str) -> str | None:
    """Return the folder of a tracker that a path means: it, the one that it has, or the one whose database it is."""
    if os.path.basename(path) == DATABASE and os.path.isfile(path):
        return os.path.dirname(path) or os.curdir
    return next((at for at in (path, os.path.join(path, ".rewind")) if is_tracker(at)), None)


def require_replay(args: argparse.Namespace) -> None:
    """Refuse options that only a replay needs."""
    given = (("--step", args.step), ("--observe", args.observe), ("--codec", args.codec))
    for option in [option for option, value in given if value and not args.replay]:
        raise UsageError(f"{option} is for --replay")


def fsck_tracker(folder: str, args: argparse.Namespace, importer: Importer) -> Answer:
    """Check the folder of a tracker, and with --replay that simulations give the histories."""
    replay = _Functions(args, importer) if args.replay else None
    report = fsck(folder_of(folder), replay=replay, progress=progress_of(args))
    counts = {name: getattr(report, name) for name in _COUNTS}
    problems = [{"ref": problem.ref, "text": problem.text} for problem in report.problems]
    facts = {"dir": folder, "ok": report.ok, "problems": problems, **counts, "leftovers": list(report.leftovers)}
    what = [f"{n:,} {_COUNTS[name][n == 1]}" for name, n in counts.items() if n or name in ("n_runs", "n_rows")]
    lines = [one_line(f"DAMAGED: {problem}") for problem in report.problems]
    verdict = "ok" if report.ok else f"{len(problems):,} problem{'s' * (len(problems) > 1)}"
    lines.append(f"{verdict}: {folder}: {', '.join(what)}")
    if report.leftovers:
        lines.append(f"{len(report.leftovers):,} files that nothing refers to; rewind rm --purge removes them")
    return Answer(facts, "\n".join(lines), OK if report.ok else DIFFERENT)


_COUNTS = {
    "n_runs": ("runs", "run"),
    "n_revisions": ("revisions", "revision"),
    "n_rows": ("rows", "row"),
    "n_artifacts": ("artifacts", "artifact"),
    "n_replayed": ("histories replayed", "history replayed"),
    "n_running": ("being written", "being written"),
    "n_left": ("left by processes that ended", "left by a process that ended"),
}


class _Functions:
    """Gives revisions the functions to replay their simulations with: those of the options, else the recorded ones."""

    def __init__(self, args: argparse.Namespace, importer: Importer) -> None:
        self._args, self._importer = args, importer
        self._texts = observed_of(args.observe)
        self._recorded: dict[tuple[str | None, str | None], Any] = {}
        self._named: list[Any] | None = None
        self._observe: dict[str, Any] = {}
        self._codec: Any = None

    def __call__(self, revision: Revision) -> None:
        with contextlib.closing(Store(revision.dir)) as store:
            uid = revision_of(store, revision.id, revision.revision, removed=True).uid
            found = [part for part in parts(store, uid) if functions_of(revision.dir, part, []) is None]
        missing = {name for part in found for name, spec in part.metrics.items() if spec is False} - self._texts.keys()
        if missing:
            names = ", ".join(sorted(missing))
            raise _missing(f"the functions that were logged as {names} are in no file: --observe NAME={FORMS}")
        for step in self._steps(revision.dir, found):
            options = {"codec": self._codec, "allow_pickle": self._args.allow_pickle}
            revision.attach(step, observe=self._observe, **options)

    def _steps(self, folder: str, found: list[Part]) -> list[Any]:
        recordings = [recording_of(folder, part) for part in found]
        if found and self._named is None:
            main = any(map(from_main, recordings))
            self._named = [self._importer.named(text, "--step", as_main=main) for text in self._args.step]
            named = self._importer.named
            self._observe = {name: metric_of(text, self._importer, "--observe") for name, text in self._texts.items()}
            self._codec = named(self._args.codec, "--codec") if self._args.codec else None
        if self._named:
            return self._named
        steps = []
        for recording in recordings:
            key = (recording.step.get("id"), recording.step.get("source"))
            if key not in self._recorded:
                try:
                    self._recorded[key] = self._importer.recorded(recording.step)
                except CodeError as error:
                    made = f"it was recorded with {key[0]}, which was not imported: " if key[0] else ""
                    raise _missing(f"{made}{error}. Name it with --step {FORMS}") from None
            steps.append(self._recorded[key])
        return steps


def _missing(text: str) -> MissingStepError:
    error = MissingStepError("a replay", None)
    error.args = (text,)
    return error
