"""The verbs for the runs in a tracker's folder: ls, rm, export, import; and which run an argument means."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ..tracker import graph
from ..tracker.moment import reference
from ..tracker.purge import Purged
from ..tracker.store import history
from ..tracker.store.damage import understood
from ..tracker.store.database import Store, folder_of
from ..tracker.store.lookup import candidates, revision_of, with_digest
from ..tracker.tracker import Tracker
from ..tracker.transfer.histories import import_histories, is_history
from ..tracker.transfer.import_ import merged
from .answer import Answer, UsageError
from .common import require_output
from .exit_codes import DIFFERENT
from .render import table_text, time_text
from .streams import write_error
from .text import one_line
from .user_code import Importer

#: Characters of an id that are enough, where it is the only one that begins so.
_SHORT = 2


def ls(args: argparse.Namespace, importer: Importer) -> Answer:
    """List the tracked runs in a folder, in the order they were begun."""
    with open_store(args) as store:
        nodes = graph.read(store)
        shown = [n for n in nodes.values() if n.current and n.removed == args.removed]
        if args.project is not None:
            shown = [node for node in shown if node.project == args.project]
        many: dict[str, int] = {}
        for node in nodes.values():
            many[node.run] = many.get(node.run, 0) + 1
        order = {node.run: node.began for node in reversed(nodes.values())}
        shown.sort(key=lambda node: (order[node.run], node.run))
        found = []
        for node in shown:
            last = node.last if node.last is not None else history.last_step(store, node.uid)
            facts = {
                "id": node.run,
                "revisions": many[node.run],
                "status": node.status,
                "last_step": last,
                "began": order[node.run],
                "name": node.name,
                "project": node.project,
                "entity": node.entity,
                "forked_from": str(node.forked_from) if node.forked_from else None,
                "removed": node.removed,
            }
            found.append(facts)
    of = "" if args.project is None else f" of project {args.project!r}"
    text = f"no {'removed ' if args.removed else ''}runs{of}"
    if found:
        header = ["id", "revisions", "status", "last step", "began", "name", "project", "forked from"]
        lines = [[_cell(cell) for cell in _ls_cells(facts)] for facts in found]
        text = table_text(header, lines)
    return Answer({"dir": store.folder, "runs": found}, text)


def _ls_cells(facts: Mapping[str, Any]) -> Iterator[object]:
    yield from (facts["id"], facts["revisions"], facts["status"])
    yield None if facts["last_step"] < 0 else facts["last_step"]
    yield time_text(facts["began"])
    yield facts["name"] if facts["name"] != facts["id"] else None
    yield from (facts["project"], facts["forked_from"])


def _cell(value: object) -> str:
    return "-" if value is None else one_line(str(value)) or "-"


# ---- removing and sending


def rm(args: argparse.Namespace, importer: Importer) -> Answer:
    """Archive a tracked run, which stays on disk; --restore brings it back, --purge deletes it."""
    if args.purge and args.restore:
        raise UsageError("--purge deletes a run and --restore brings one back; choose one")
    run_id, removed = whole_run_of(args, None if args.purge else args.restore, for_good=args.purge)
    folder = folder_of(args.dir)
    facts: dict[str, Any] = {"run": run_id, "dir": folder, "purge": args.purge, "restore": args.restore}
    way = f"rewind rm --restore {run_id} brings it back"
    if args.purge:
        return _purge(args, folder, run_id, facts)
    if removed is not args.restore:
        text = f"{run_id} was not removed" if args.restore else f"{run_id} is archived; {way}, --purge deletes it"
        return Answer({**facts, "done": False}, text)
    if args.restore:
        Tracker(folder).restore(run_id)
        return Answer({**facts, "done": True}, f"{run_id} is back")
    if not _agree(args, f"archive run {run_id}? It stays on disk; {way}"):
        return _refusal(facts)
    Tracker(folder).remove(run_id)
    return Answer({**facts, "done": True}, f"archived {run_id}; {way}")


def _purge(args: argparse.Namespace, folder: str, run_id: str, facts: dict[str, Any]) -> Answer:
    _require_way_to_ask(args)
    would = None if args.yes else Tracker(folder).purge(run_id, now=False)
    if would is not None and not _agree(args, f"delete run {run_id}: {_purge_text(would)}? Nothing brings it back"):
        return _refusal(facts)
    gone = Tracker(folder).purge(run_id)
    counts = {name: getattr(gone, name) for name in ("rows", "files", "n_bytes", "kept_rows", "kept_for")}
    return Answer({**facts, "done": True, **counts}, f"deleted {run_id}: {_purge_text(gone)}")


def _purge_text(gone: Purged) -> str:
    """Return what is deleted, and what stays for whom."""
    files = f", {gone.files:,} files of {gone.n_bytes:,} bytes" if gone.files else ""
    if not gone.kept_for:
        return f"{gone.rows:,} rows{files}"
    some = ", ".join(gone.kept_for[:8]) + (f" and {len(gone.kept_for) - 8} more" if len(gone.kept_for) > 8 else "")
    return f"{gone.rows:,} rows{files}; {gone.kept_rows:,} rows stay, which {some} came from"


def _refusal(facts: dict[str, Any]) -> Answer:
    return Answer({**facts, "done": False}, f"{facts['run']} stays as it is", DIFFERENT)


def _require_way_to_ask(args: argparse.Namespace) -> None:
    if not args.yes and (sys.stdin is None or not sys.stdin.isatty()):
        raise UsageError("there is no terminal to ask on; --yes does it without asking")


def _agree(args: argparse.Namespace, question: str) -> bool:
    """Ask on the terminal."""
    _require_way_to_ask(args)
    if args.yes:
        return True
    write_error(f"{question}. [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def export(args: argparse.Namespace, importer: Importer) -> Answer:
    """Write a tracked run, with all that it comes from, to one file, for `rewind import` elsewhere."""
    run_id, _ = whole_run_of(args)
    require_output(args.output, "-o", None, args.force)
    tracker = Tracker(args.dir)
    tracker.export(run_id, args.output)
    n_bytes = os.path.getsize(args.output)
    facts = {"run": run_id, "dir": tracker.dir, "output": args.output, "bytes": n_bytes}
    return Answer(facts, f"wrote {args.output}: run {run_id} ({n_bytes:,} bytes)")


def import_(args: argparse.Namespace, importer: Importer) -> Answer:
    """Add a tracked run that was exported, with all that it comes from; or runs that another program logged."""
    folder = folder_of(args.dir)
    if args.new_id is not None and args.id is not None:
        raise UsageError("--as and --id both say what the run is called here; choose one")
    if is_history(args.file):
        args.id = args.new_id if args.id is None else args.id
        return _import_histories(args, folder)
    given = [option for option in ("id", "name", "project", "step") if getattr(args, option) is not None]
    if given:
        raise UsageError(f"--{given[0]} is for runs of other programs; {args.file} is read as what rewind export wrote")
    merge = merged(folder, args.file, args.new_id)
    new = merge.runs
    facts = {"file": args.file, "dir": folder, "runs": new, "lineages": merge.lineages}
    if not new:
        return Answer(facts, f"all of {args.file} is in {folder} already")
    more = f", and what it comes from, removed: {', '.join(new[1:])}" if new[1:] else ""
    lines = [f"imported {new[0]} to {folder}{more}"]
    if merge.lineages:
        lines.append("another lineage of a run that went on here: " + _lineages_text(merge.lineages))
    return Answer(facts, "\n".join(lines))


def _lineages_text(lineages: Mapping[str, str]) -> str:
    some = [f"{there} is {here} here" for there, here in list(lineages.items())[:8]]
    return ", ".join(some) + (f" and {len(lineages) - 8} more" if len(lineages) > 8 else "")


def _import_histories(args: argparse.Namespace, folder: str) -> Answer:
    new = import_histories(folder, args.file, args.id, args.name, args.project, args.step)
    facts = {"file": args.file, "dir": folder, "runs": new}
    if not new:
        return Answer(facts, f"all of {args.file} is in {folder} already")
    some = ", ".join(new[:8]) + (f" and {len(new) - 8} more" if len(new) > 8 else "")
    return Answer(facts, f"imported {some} to {folder}")


# ---- which run


@contextlib.contextmanager
def open_store(args: argparse.Namespace) -> Iterator[Store]:
    """Open the folder that --dir names, as it is at one moment."""
    store = Store(folder_of(args.dir))
    try:
        with understood(store.path), store.snapshot():
            yield store
    finally:
        store.close()


def ref_of(args: argparse.Namespace, removed: bool | None = None) -> str:
    """Return the ``ID`` or ``ID@REV`` that an argument means, with the id in full; a digest is that of a revision.

    `removed`: whether the beginning of an id can be that of a removed run; None for either.
    """
    return named(args, args.run, removed)[0]


def named(args: argparse.Namespace, text: str, removed: bool | None = None) -> tuple[str, bool]:
    """Return what `ref_of` does, of a text, and whether it was named by its digest."""
    if "?" in text:
        ref = text.partition("?")[0]
        raise UsageError(f"{text!r} is a moment, and {args.verb} takes a run: {ref or 'ID'}")
    run_id, number = reference(text)
    with open_store(args) as store:
        query = "SELECT id, removed FROM runs WHERE substr(id, 1, ?) = ? ORDER BY id"
        found = store.read(query, (len(run_id), run_id))
        digests = with_digest(store, run_id) if number is None else []
    alike = [one for one, gone in found if removed is None or bool(gone) == removed]
    if not any(one == run_id for one, _ in found):
        alike = alike if len(run_id) >= _SHORT else []
        if len(alike) + len(digests) > 1:
            some = ", ".join(alike[:8]) + (f" and {len(alike) - 8} more" if len(alike) > 8 else "")
            of = [f"{len(alike)} run ids: {some}"] if alike else []
            of += [f"{len(digests)} digests: {candidates(digests)}"] if digests else []
            raise UsageError(f"{run_id!r} is the beginning of {' and of '.join(of)}")
        if digests:
            return f"{digests[0][0]}@{digests[0][1]}", True
        run_id = alike[0] if alike else run_id
    return (run_id if number is None else f"{run_id}@{number}"), False


def whole_run_of(args: argparse.Namespace, removed: bool | None = None, *, for_good: bool = False) -> tuple[str, bool]:
    """Return the id of the run that an argument means, and whether it is removed; its revisions are one thing here.

    It may be named by the digest of a revision; of the current one only, where the run is deleted `for_good`.
    """
    ref, by_digest = named(args, args.run, removed)
    run_id, number = reference(ref)
    with open_store(args) as store:
        if by_digest and for_good:
            by_digest = revision_of(store, run_id, None, removed=True).number == number
        if number is not None and not by_digest:
            raise UsageError(f"{args.verb} takes a whole run, not one revision of it: {args.run}")
        revision_of(store, run_id, None, removed=True)
        row = history.run_row(store, run_id)
    return run_id, row is not None and row.removed
