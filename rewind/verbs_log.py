"""The verb that shows the tree of tracked runs: log."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from .errors import show
from .rendering import differences, one_line, rows, time_text
from .stepcode import Importer
from .tracker import chain, tree
from .tracker.finding import revision_of
from .tracker.moment import reference
from .tracker.store import Store
from .tracker.values import restored
from .verbs_shared import Answer
from .verbs_tracker import named, reading

#: Values of a summary, or moments of a lineage, that people are shown of many.
SOME = 6


def log(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show the history of runs: revisions, rewinds and forks, the newest first."""
    ref = None if args.run is None else named(args)
    with reading(args) as store:
        nodes = tree.read(store)
        shown = _shown(store, nodes, ref)
        places = [tree.Place(node, "") for node in reversed(nodes.values()) if node.uid in shown]
        if args.graph:
            places = list(tree.drawn(nodes, shown))
        order = [place.node for place in places if place.node is not None]
        records, facts = dict[int, chain.Record](), list[dict[str, Any]]()
        if args.json or not args.oneline:
            records = {record.uid: record for record in chain.records(store, "1") if record.uid in shown}
            facts = [facts_of_revision(store, records[node.uid], node) for node in order]
        found = {"dir": store.folder, "run": ref, "revisions": facts}
    if not order:
        return Answer(found, "no runs")
    if args.json or args.oneline:
        return Answer(found, "" if args.json else tree.graph(places))
    texts = {}
    for node, one in zip(order, facts, strict=True):
        parent = None if node.parent is None else records.get(node.parent)
        texts[node.uid] = _paragraph(node, one, {} if parent is None else parent.config)
    return Answer(found, tree.graph(places, texts))


def _shown(store: Store, nodes: Mapping[int, tree.Node], ref: str | None) -> set[int]:
    if ref is None:
        return tree.past(nodes, [uid for uid, node in nodes.items() if not node.removed])
    run_id, number = reference(ref)
    record = revision_of(store, run_id, number, removed=True)
    return tree.family(nodes, run_id) if number is None else tree.past(nodes, [record.uid])


def facts_of_revision(store: Store, record: chain.Record, node: tree.Node) -> dict[str, Any]:
    """Return what `log` and `show` say of a revision."""
    summary = record.summary
    return {
        "run": node.ref,
        "id": node.run,
        "revision": node.number,
        "kind": node.kind,
        "parent": str(node.left) if node.left else None,
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
        "config": record.config,
        "summary": chain.summary_of(store, record.uid)
        if summary is None
        else {key: restored(value) for key, value in summary.items()},
        "digest": record.digest,
    }


def _paragraph(node: tree.Node, facts: Mapping[str, Any], before: Mapping[str, Any]) -> str:
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


_LABELS = (("Name", "name"), ("Project", "project"), ("Entity", "entity"))


def _change(key: str, old: object, new: object) -> str:
    old, new = (None if value is None else value_text(value) for value in (old, new))
    return f"{one_line(key)}: {new}" if old is None else f"{one_line(key)}: {old} -> {new}"


def value_text(value: object) -> str:
    """Return a value of a config or a summary on a line, shortened."""
    if isinstance(value, Mapping):  # min, max, ... of a metric
        return ", ".join(f"{one_line(str(key))}={value_text(one)}" for key, one in value.items())
    return one_line(show(value, 80))
