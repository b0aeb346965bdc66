"""The verb fsck: a file or a tracker's folder checked, and the functions that --replay needs."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ..errors import ArtifactFormatError, ArtifactIntegrityError, MissingStepError, RewindError
from ..steps.source import describe
from ..tracker.fsck import fsck as check_folder
from ..tracker.revision import Revision
from ..tracker.simulation.parts import Part, functions_of, parts, recording_of
from ..tracker.store.damage import understood
from ..tracker.store.database import DATABASE, Store, folder_of, is_tracker
from ..tracker.store.lookup import revision_of
from .answer import Answer, UsageError
from .common import codec_of, facts_of, from_main, metrics_of, observed_of, progress_of
from .exit_codes import CANNOT_RUN, DIFFERENT, OK
from .text import FORMS, one_line
from .user_code import CodeError, Importer


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
    replay = _Functions(args, importer, _of_script(folder)) if args.replay else None
    report = check_folder(folder_of(folder), replay=replay, progress=progress_of(args))
    counts = {name: getattr(report, name) for name in _COUNTS}
    problems = [{"ref": problem.ref, "text": problem.text} for problem in report.problems]
    facts = {"dir": folder, "ok": report.ok, "problems": problems, **counts, "leftovers": list(report.leftovers)}
    what = [f"{n:,} {_COUNTS[name][n == 1]}" for name, n in counts.items() if n or name in ("n_runs", "n_rows")]
    lines = [one_line(f"DAMAGED: {problem}") for problem in report.problems]
    verdict = "ok" if report.ok else f"{len(problems):,} problem{'s' * (len(problems) > 1)}"
    lines += [one_line(f"not replayed: {problem}") for problem in report.not_replayed]
    facts["not_replayed"] = [{"ref": problem.ref, "text": problem.text} for problem in report.not_replayed]
    lines.append(f"{verdict}: {folder}: {', '.join(what)}")
    if report.leftovers:
        lines.append(f"{len(report.leftovers):,} files that nothing refers to; rewind rm --purge removes them")
    code = DIFFERENT if not report.ok else CANNOT_RUN if report.not_replayed else OK
    return Answer(facts, "\n".join(lines), code)


_COUNTS = {
    "n_runs": ("runs", "run"),
    "n_revisions": ("revisions", "revision"),
    "n_rows": ("rows", "row"),
    "n_artifacts": ("artifacts", "artifact"),
    "n_replayed": ("histories replayed", "history replayed"),
    "n_running": ("being written", "being written"),
    "n_left": ("left by processes that ended", "left by a process that ended"),
}


def _of_script(folder: str) -> bool:
    """Whether a simulation was recorded by a script, whose functions and classes are called ``__main__``."""
    try:
        with contextlib.closing(Store(folder_of(folder))) as store, understood(store.path):
            found = [
                part for (uid,) in store.read("SELECT DISTINCT revision FROM simulations") for part in parts(store, uid)
            ]
            return any(from_main(recording_of(store.folder, part)) for part in found)
    except RewindError:  # fsck says what is wrong
        return False


class _Functions:
    """Gives revisions the functions to replay their simulations with: those of the options, else the recorded ones."""

    def __init__(self, args: argparse.Namespace, importer: Importer, main: bool) -> None:
        self._args, self._importer = args, importer
        self._texts = observed_of(args.observe)
        self._recorded: dict[tuple[str | None, str | None], Any] = {}
        # What is named on the command line and is not there ends it at once.
        self._named = [importer.named(text, "--step", as_main=main) for text in args.step]
        self._observe = metrics_of(self._texts, importer)
        self._codec = codec_of(args, importer)

    def __call__(self, revision: Revision) -> None:
        with contextlib.closing(Store(revision.dir)) as store, understood(store.path):
            uid = revision_of(store, revision.id, revision.revision, removed=True).uid
            found = [part for part in parts(store, uid) if functions_of(revision.dir, part, []) is None]
        missing = {name for part in found for name, spec in part.metrics.items() if spec is False} - self._texts.keys()
        if missing:
            names = ", ".join(sorted(missing))
            raise _NotGiven(f"the functions that were logged as {names} are in no file; give --observe NAME={FORMS}")
        for step in self._steps(revision.dir, found):
            options = {"codec": self._codec, "allow_pickle": self._args.allow_pickle}
            revision.attach(step, observe=self._observe, **options)

    def _steps(self, folder: str, found: list[Part]) -> list[Any]:
        """Return the step functions of some parts of a simulation."""
        steps = []
        for part in found:
            recorded = recording_of(folder, part).step
            key = (recorded.get("id"), recorded.get("source"))
            if key not in self._recorded:
                self._recorded[key] = self._one(recorded) if not self._named else self._of_named(recorded)
            steps.append(self._recorded[key])
        return steps

    def _of_named(self, recorded: Mapping[str, str]) -> Any:
        """Return the function that --step gives for a recorded one: of the same source, else of the same name."""
        for step in self._named:
            if recorded.get("source") is not None and describe(step).get("source") == recorded["source"]:
                return step
        name = recorded.get("id", "").rpartition(":")[2]
        for step in self._named:
            if describe(step)["id"].rpartition(":")[2] == name:
                return step
        raise _NotGiven(
            f"its step function is {recorded.get('id')}, and --step, which may be repeated, names none like it"
        )

    def _one(self, recorded: Mapping[str, str]) -> Any:
        try:
            return self._importer.recorded(recorded)
        except CodeError as error:
            made = f"it was recorded with {recorded['id']}, which was not imported: " if "id" in recorded else ""
            raise _NotGiven(f"{made}{error}. Name it with --step {FORMS}") from None


class _NotGiven(MissingStepError):
    """A function that a replay needs, and that neither the command nor the working directory gives."""

    def __init__(self, text: str) -> None:
        self.what, self.step_id = "a replay", None
        RewindError.__init__(self, text)


def fsck(args: argparse.Namespace, importer: Importer) -> Answer:
    """Check that a file or a tracker's folder is not damaged; only --replay runs step code or unpickles."""
    require_replay(args)
    folder = tracker_at(args.file)
    if folder is not None:
        return fsck_tracker(folder, args, importer)
    if args.replay:
        raise UsageError(f"--replay is for the folder of a tracker; rewind verify {args.file} replays a run")
    try:
        facts = facts_of(args.file, args)[0]
    except (ArtifactFormatError, ArtifactIntegrityError) as error:
        return Answer({"file": args.file, "ok": False, "problem": str(error)}, f"DAMAGED: {error}", DIFFERENT)
    seal = "seal" if facts["sealed"] else "no seal (saved for the oldest readers, or rewritten by a tool)"
    checked = "schema and content hash" if args.key is None else "schema, content hash and signature"
    text = f"ok: {args.file}: {seal}, structure, {checked} ({facts['bytes']:,} bytes)"
    found = facts["journal"]
    if found is not None:
        torn = f", and {found['damaged_bytes']:,} damaged bytes after them" if found["damaged_bytes"] else ""
        text = f"ok: {found['path']}, a recording that is not finished: {facts['n_blocks']:,} intact blocks{torn}"
    kept = ("bytes", "sealed", "signed", "complete", "n_checkpoints", "n_pickled", "content_hash", "journal")
    return Answer({"file": args.file, "ok": True, **{name: facts[name] for name in kept}}, text)
