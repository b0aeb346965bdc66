"""The verbs that show the revisions of tracked runs: show, and log for how they come from each other."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import RewindError
from ..errors import show as show_value
from ..runs.arguments import seed_text
from ..storage import replay_file
from ..tracker import graph
from ..tracker.machine import diff_file, duration_of
from ..tracker.media import MediaFile
from ..tracker.moment import reference
from ..tracker.simulation.parts import Part, parts, path_of, recording_of
from ..tracker.store import history
from ..tracker.store import lineage as chain
from ..tracker.store.artifacts import logged
from ..tracker.store.database import Store
from ..tracker.store.lookup import revision_of
from ..tracker.store.media import media_files
from ..tracker.store.values import restored
from .answer import Answer, NotFound
from .render import differences, rows, time_text
from .text import one_line
from .tracker import open_store, ref_of
from .user_code import Importer


def show(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show all that is kept of a revision of a tracked run, except its rows."""
    run_id, number = reference(ref_of(args))
    with open_store(args) as store:
        record = revision_of(store, run_id, number, removed=True)
        node = graph.read(store)[record.uid]
        spans = history.spans(store, record.uid)
        if args.copy:
            if record.digest is None:
                raise NotFound(f"{record.ref} has no digest yet: it has one when it is closed")
            return Answer({"dir": store.folder, "run": record.ref, "digest": record.digest}, record.digest)
        if args.lines:
            return _lines(store, node, spans)
        lineage = chain.lineage(store, record.uid)
        counts = {name: _count(store, table, spans) for name, table in _TABLES.items()}
        facts = {
            **facts_of_revision(store, record, node),
            "dir": store.folder,
            "duration": duration_of(store, record),
            "machine": _machine(store, record),
            "revisions": store.read("SELECT count(*) FROM revisions WHERE run = ?", (run_id,))[0][0],
            "starting_step": record.parent_step + 1,
            "last_step": history.last_step(store, record.uid),
            "lineage": [str(moment) for moment in lineage],
            **counts,
            "n_own_rows": _count(store, "rows", spans[-1:]),
            "artifacts": [_artifact(one) for one in logged(store, record.uid)],
            "used": _used(store, spans),
            "media": [_media(one) for one in media_files(store, spans)],
            "simulation": [_part(store.folder, part) for part in parts(store, record.uid)],
        }
    return Answer(facts, "" if args.json else _show_text(facts, node))


_TABLES = {"n_rows": "rows", "n_lines": "lines", "n_samples": "samples"}


def _machine(store: Store, record: history.Record) -> dict[str, Any]:
    """Return where and how a revision was logged; the diff as the path of a file."""
    found = dict(record.machine or {})
    if "git" in found:
        diff = diff_file(store, record.uid)
        found["git"] = {**found["git"], "diff": None if diff is None else diff[0]}
    return found


def _machine_rows(found: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return it for people, none of what is not known."""
    git = found.get("git")
    pairs: list[tuple[str, object]] = []
    if found.get("command"):
        pairs.append(("command", one_line(found["command"])))
    if found.get("arguments"):
        pairs.append(("arguments", one_line(shlex.join(found["arguments"]))))
    if git:
        state = {True: "dirty", False: "clean", None: "not known whether clean"}[git["dirty"]]
        pairs.append(("git", f"{git['commit']} ({state})" + (f"\n{one_line(git['diff'])}" if git["diff"] else "")))
    pairs += [(name, one_line(str(found[name]))) for name in ("host", "system", "python") if found.get(name)]
    packages = [f"{name} {version}" for name, version in found.get("packages", {}).items()]
    return [*pairs, ("packages", one_line(", ".join(packages)))] if packages else pairs


def _count(store: Store, table: str, spans: Iterable[history.Span]) -> int:
    query = f"SELECT count(*) FROM {table} WHERE revision = ? AND step <= ?"
    return sum(store.read(query, (span.uid, span.last_row))[0][0] for span in spans)


def _lines(store: Store, node: graph.Node, spans: Iterable[history.Span]) -> Answer:
    query = "SELECT step, stream, text FROM lines WHERE revision = ? AND step <= ? ORDER BY n"
    kept = [line for span in spans for line in store.read(query, (span.uid, span.upto))]
    width = max((len(str(step)) for step, _, _ in kept), default=0)
    text = "\n".join(f"{step:>{width}}  {stream:<6}  {one_line(line)}" for step, stream, line in kept)
    lines = [{"step": step, "stream": stream, "text": line} for step, stream, line in kept]
    return Answer({"dir": store.folder, "run": node.ref, "lines": lines}, text)


def _artifact(one: Any) -> dict[str, Any]:
    names = ("name", "version", "type", "digest", "aliases", "metadata", "step", "revision")
    return {**{name: getattr(one, name) for name in names}, "bytes": one.size, "files": list(one.files)}


def _media(one: MediaFile) -> dict[str, Any]:
    return {"path": one.path, "step": one.step, "bytes": one.size, "digest": one.digest, "file": one.location}


def _used(store: Store, spans: Iterable[history.Span]) -> list[dict[str, Any]]:
    query = """SELECT a.name, a.version, e.step FROM artifact_events e JOIN artifacts a ON a.uid = e.artifact
               WHERE e.revision = ? AND e.step <= ? AND e.kind = 'used' ORDER BY e.n"""
    found = [row for span in spans for row in store.read(query, (span.uid, span.upto))]
    return [{"name": name, "version": version, "step": step} for name, version, step in found]


def _part(folder: str, part: Part) -> dict[str, Any]:
    """Return what is known of a recording; nothing is run or unpickled."""
    facts: dict[str, Any] = {
        "file": path_of(folder, part),
        "first": part.first,
        "origin": part.origin,
        "planned_steps": part.n_steps,
        "log_every": part.log_every,
        "observed": list(part.metrics),
        "noise": part.noise,
        "problem": None,
    }
    try:
        said = replay_file.describe(recording_of(folder, part))
    except (RewindError, OSError) as error:
        return {**facts, "problem": str(error) if isinstance(error, RewindError) else "there is no such file"}
    kept = ("n_steps", "block_size", "n_checkpoints", "seed", "backend", "params", "step", "complete", "content_hash")
    return {**facts, **{name: said[name] for name in kept}}


def _show_text(facts: Mapping[str, Any], node: graph.Node) -> str:
    f = facts
    what = "".join([", archived" * (not node.current), ", removed" * node.hidden])
    exited = "" if f["exit_code"] is None else f" (exit code {f['exit_code']})"
    older = f["lineage"][:SOME]
    if len(f["lineage"]) > SOME:
        older = [*older, f"and {len(f['lineage']) - SOME} more, down to {f['lineage'][-1]}"]
    pairs: list[tuple[str, object]] = [("run", f"{f['run']}, of {f['revisions']} revisions{what}")]
    pairs += [
        (key, one_line(f[key]))
        for key in ("name", "project", "entity", "group", "job_type")
        if f[key] not in (None, f["id"])
    ]
    pairs += [("tags", one_line(", ".join(f["tags"])))] if f["tags"] else []
    pairs += [("notes", "\n".join(map(one_line, f["notes"].splitlines())))] if f["notes"] else []
    pairs += [
        ("status", f"{f['status']}{exited}"),
        ("began", time_text(f["began"])),
        ("ended", time_text(f["ended"])),
        ("duration", f"{f['duration']:,.1f} s"),
        *_machine_rows(f["machine"]),
        *([("forked from", f["forked_from"])] if f["forked_from"] else []),
        ("lineage", f"{node.origin}\n" + "\n".join(older)),
        ("steps", f"{node.steps} of its own, up to {f['last_step']} in all" if f["n_rows"] else "none"),
        ("rows", f"{f['n_rows']:,}, of which {f['n_own_rows']:,} its own"),
        ("beside", f"{f['n_lines']:,} lines (--lines), {f['n_samples']:,} samples of the system"),
        ("digest", (f["digest"] or "none, until it is closed") + (f" (as {f['made_as']})" if f["made_as"] else "")),
        ("config", _table(f["config"])),
        ("summary", _table(f["summary"])),
        ("artifacts", "\n".join(map(_artifact_text, f["artifacts"])) or "none"),
    ]
    used = [f"{one['name']}:v{one['version']} at step {one['step']}" for one in f["used"]]
    pairs += [("used", "\n".join(used))] if used else []
    pairs += [("media", _media_text(f["media"]))] if f["media"] else []
    pairs.append(("simulation", "\n".join(map(_part_text, f["simulation"])) or "none"))
    return rows((key, str(value).rstrip("\n")) for key, value in pairs)


def _table(values: Mapping[str, Any]) -> str:
    return rows([(one_line(str(key)), value_text(value)) for key, value in values.items()]) if values else "none"


def _artifact_text(one: Mapping[str, Any]) -> str:
    aliases = f" ({', '.join(one['aliases'])})" if one["aliases"] else ""
    many = f"{len(one['files']):,} files, " if len(one["files"]) != 1 else ""
    size = f"{many}{one['bytes']:,} bytes"
    by = f" by {one['revision']}" if one["revision"] else ""
    kind = f"{one['type']}, " if one["type"] else ""
    return one_line(f"{one['name']}:v{one['version']}{aliases}: {kind}{size}, at step {one['step']}{by}")


def _media_text(files: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{one['path']}: {one['bytes']:,} bytes, at step {one['step']}\n  {one['file']}" for one in files[-SOME:]]
    if len(files) > SOME:
        lines.insert(0, f"{len(files):,} files, {sum(one['bytes'] for one in files):,} bytes (--json); the last are")
    return "\n".join(one_line(line) if "\n" not in line else line for line in lines)


def _part_text(part: Mapping[str, Any]) -> str:
    if part["problem"]:
        return one_line(f"{part['file']}: {part['problem']}")
    every = "at block ends" if part["log_every"] is None else f"every {part['log_every']:,} steps and at block ends"
    names = ", ".join(part["observed"]) or "nothing"
    goes_on = "" if part["noise"] is None else f", going on with {part['noise']} noise"
    cut = "" if part["complete"] else f" of {part['planned_steps']:,}"
    states = f"{part['n_steps']:,}{cut} states in blocks of {part['block_size']:,}"
    lines = [
        part["file"],
        f"  {states}, state 0 at step {part['first']:,} of the history{goes_on}",
        f"  seed {seed_text(part['seed'])}, {part['step'].get('id', 'unknown step function')}",
        f"  logs {names} {every}",
    ]
    return "\n".join(map(one_line, lines))


#: Values of a summary, or moments of a lineage, that people are shown of many.
SOME = 6


def log(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show the history of tracked runs: revisions, rewinds and forks, the newest first."""
    ref = None if args.run is None else ref_of(args)
    with open_store(args) as store:
        nodes = graph.read(store)
        shown = _shown(store, nodes, ref)
        places = [graph.Place(node, "") for node in reversed(nodes.values()) if node.uid in shown]
        if args.graph:
            places = list(graph.drawn(nodes, shown))
        order = [place.node for place in places if place.node is not None]
        records, facts = dict[int, history.Record](), list[dict[str, Any]]()
        if args.json or not args.oneline:
            records = {record.uid: record for record in history.records(store, "1") if record.uid in shown}
            facts = [facts_of_revision(store, records[node.uid], node) for node in order]
        found = {"dir": store.folder, "run": ref, "revisions": facts}
    if not order:
        return Answer(found, "no runs")
    if args.json or args.oneline:
        return Answer(found, "" if args.json else graph.graph(places))
    texts = {}
    for node, one in zip(order, facts, strict=True):
        parent = None if node.parent is None else records.get(node.parent)
        texts[node.uid] = _paragraph(node, one, {} if parent is None else parent.settings[0])
    return Answer(found, graph.graph(places, texts))


def _shown(store: Store, nodes: Mapping[int, graph.Node], ref: str | None) -> set[int]:
    if ref is None:
        return graph.past(nodes, [uid for uid, node in nodes.items() if not node.removed])
    run_id, number = reference(ref)
    record = revision_of(store, run_id, number, removed=True)
    return graph.family(nodes, run_id) if number is None else graph.past(nodes, [record.uid])


def facts_of_revision(store: Store, record: history.Record, node: graph.Node) -> dict[str, Any]:
    """Return what `log` and `show` say of a revision."""
    summary = record.summary
    config, labels = record.settings
    return {
        "run": node.ref,
        "id": node.run,
        "revision": node.number,
        "kind": node.kind,
        "parent": str(node.left) if node.left else None,
        "forked_from": str(node.forked_from) if node.forked_from else None,
        "first_step": node.first,
        "last_step": node.last,
        "status": node.status,
        "exit_code": record.exit_code,
        "current": node.current,
        "removed": node.removed,
        "began": node.began,
        "ended": record.ended,
        "name": node.name,
        "project": node.project,
        "entity": node.entity,
        "tags": record.tags,
        "notes": record.notes,
        "config": config,
        **{name: labels.get(name) for name in ("group", "job_type")},
        "summary": history.summary_of(store, record.uid)
        if summary is None
        else {key: restored(value) for key, value in summary.items()},
        "digest": record.digest,
        "made_as": record.made_as,
    }


def _paragraph(node: graph.Node, facts: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    what = ["current" if node.current else "archived", *(["removed"] if node.hidden else [])]
    pairs: list[tuple[str, object]] = [("Parent:", f"{facts['parent']} ({node.kind})" if node.left else node.origin)]
    pairs += [("Digest:", facts["digest"])] if facts["digest"] else []
    pairs += [(f"{label}:", one_line(facts[key])) for label, key in _LABELS if facts[key] and facts[key] != node.run]
    pairs += [("Tags:", one_line(", ".join(facts["tags"])))] if facts["tags"] else []
    pairs.append(("Began:", time_text(facts["began"])))
    pairs += [("Ended:", time_text(facts["ended"]))] if facts["ended"] is not None else []
    pairs.append(("Steps:", f"{node.steps}, {node.status}"))
    changed = [_change(*change) for change in differences(before, facts["config"])]
    pairs += [("Config:", "\n".join(changed))] if changed else []
    summary = {key: value for key, value in facts["summary"].items() if key != "_step"}
    some = [f"{one_line(key)} {value_text(value)}" for key, value in list(summary.items())[:SOME]]
    more = f", and {len(summary) - SOME} more" if len(summary) > SOME else ""
    pairs += [("Summary:", ", ".join(some) + more)] if some else []
    notes = "".join(f"\n    {one_line(line)}" for line in (facts["notes"] or "").splitlines())
    return f"revision {node.ref} ({', '.join(what)})\n{rows(pairs)}" + (f"\n{notes}" if notes else "")


_LABELS = (
    ("Name", "name"),
    ("Project", "project"),
    ("Entity", "entity"),
    ("Group", "group"),
    ("Job type", "job_type"),
)


def _change(key: str, old: object, new: object) -> str:
    old, new = (None if value is None else value_text(value) for value in (old, new))
    return f"{one_line(key)}: {new}" if old is None else f"{one_line(key)}: {old} -> {new}"


def value_text(value: object) -> str:
    """Return a value of a config or a summary on a line, shortened."""
    if isinstance(value, Mapping):  # min, max, ... of a metric
        return ", ".join(f"{one_line(str(key))}={value_text(one)}" for key, one in value.items())
    return one_line(show_value(value, 80))
