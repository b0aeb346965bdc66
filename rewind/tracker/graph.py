"""The revisions in a folder as a graph: what each one came from, which of them to show, and how to draw them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..errors import StoreDamagedError
from .moment import Moment
from .store.damage import LATEST, odd_fact
from .store.database import Store
from .store.lock import is_held

#: Lanes side by side, above which the longest branch and not the run itself goes on in its lane.
_WIDE = 16


@dataclass(frozen=True)
class Node:
    """A revision as it stands in the tree.

    Attributes
    ----------
    uid : int
    run, number, kind, name, status, began
        As of a `Revision`.
    parent : int or None
        The revision it left; None also where that is gone.
    left : Moment or None
        The moment at which it left that.
    first, last : int or None
        The first and the last step of its own rows; None where it has none.
    current : bool
        Whether it is the newest of its run, and not archived.
    removed : bool
        Whether its run is.
    project, entity : str or None
    forked_from : Moment or None
        The moment that it, or the one it goes on with, was rewound to or forked from.
    """

    uid: int
    run: str
    number: int
    kind: str
    name: str
    status: str
    began: float
    parent: int | None
    left: Moment | None
    first: int | None
    last: int | None
    current: bool
    removed: bool
    project: str | None
    entity: str | None
    forked_from: Moment | None = None

    @property
    def ref(self) -> str:
        """Name of the revision, ``ID@REV``."""
        return f"{self.run}@{self.number}"

    @property
    def mark(self) -> str:
        """How it is drawn: ``*`` current, ``o`` archived, ``x`` removed."""
        return "x" if self.removed else "*" if self.current else "o"

    @property
    def hidden(self) -> bool:
        """Whether its run is removed and all there: a purged one says so by its status."""
        return self.removed and self.status != "purged"

    @property
    def origin(self) -> str:
        """How it began, for people: ``rewound at step 200 of k3f9@1``."""
        if self.kind == "begun":
            return "begun"
        if self.left is None:
            return f"{self.kind} from a run that is gone"
        step = "the start" if self.left.step < 0 else f"step {self.left.step}"
        return f"{self.kind} at {step} of {self.left.run_id}@{self.left.revision}"

    @property
    def steps(self) -> str:
        """Its own steps, for people: ``201-399``."""
        if self.first is None:
            return "no rows"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @property
    def line(self) -> str:
        """All of it on a line."""
        name = "" if self.name == self.run else '  "' + self.name.replace("\n", "\\n") + '"'
        removed = ", removed" if self.hidden else ""
        return f"{self.ref}  {self.origin}, {self.steps}, {self.status}{removed}{name}"


_TYPES = {
    **{"run": "str", "number": "int", "kind": "str", "name": "str", "state": "str", "began": "float"},
    **dict.fromkeys(("parent", "first row", "last row", "current", "removed"), "int | None"),
    **dict.fromkeys(("project", "entity"), "str | None"),
}


def read(store: Store) -> dict[int, Node]:
    """Return all revisions in a folder by their uids, in the order they began; no row and no simulation is read.

    O(number of revisions).
    """
    query = """
        SELECT r.uid, r.run, r.number, r.kind, r.name, r.state, r.began, p.uid, p.run, r.parent_step, p.number,
               (SELECT min(step) FROM rows WHERE revision = r.uid), (SELECT max(step) FROM rows WHERE revision = r.uid),
               runs.current, runs.removed, runs.project, runs.entity
        FROM revisions r LEFT JOIN runs ON runs.id = r.run LEFT JOIN revisions p ON p.uid = r.parent
        ORDER BY r.began, r.uid"""
    nodes, sound = {}, set[tuple[type, ...]]()
    for uid, run, number, kind, name, state, began, parent, of, step, at, first, last, current, *labels in store.read(
        query
    ):
        removed, project, entity = labels
        facts = (run, number, kind, name, state, began, parent, first, last, current, *labels)
        kinds = tuple(map(type, facts))
        if kinds not in sound or not abs(began) < LATEST:  # each combination is looked at once: there may be many rows
            odd = odd_fact(dict(zip(_TYPES, facts, strict=True)), _TYPES)
            if odd is not None:
                problem = f"it is damaged: the {odd} of revision {number} of {run} is none; rewind fsck says more"
                raise StoreDamagedError("read", store.path, problem)
            sound.add(kinds)
        left = None if parent is None else Moment(of, step, at)
        known = (uid, run, number, kind, name, state, began, parent, left, first, last)
        nodes[uid] = Node(*known, current == uid, removed is None or bool(removed), project, entity)
    for node in [node for node in nodes.values() if node.status == "running"]:
        if not (node.current and is_held(store.folder, node.run)):
            nodes[node.uid] = replace(node, status="crashed")
    for uid in sorted(nodes):  # parents before children
        node = nodes[uid]
        before = nodes.get(node.parent) if node.kind == "resumed" and node.parent is not None else None
        nodes[uid] = replace(node, forked_from=before.forked_from if before is not None else node.left)
    return nodes


# ---- what to show


def past(nodes: Mapping[int, Node], uids: Iterable[int]) -> set[int]:
    """Return some revisions and all they come from."""
    found: set[int] = set()
    for uid in uids:
        at: int | None = uid
        while at is not None and at in nodes and at not in found:
            found.add(at)
            at = nodes[at].parent
    return found


def family(nodes: Mapping[int, Node], run_id: str) -> set[int]:
    """Return all revisions of a run, what they come from, and what left them: of removed runs only what others need."""
    own = {node.uid for node in nodes.values() if node.run == run_id}
    children, after, todo = children_of(nodes), set[int](), list(own)
    while todo:
        uid = todo.pop()
        if uid not in after:
            after.add(uid)
            todo += children.get(uid, ())
    return past(nodes, own | {uid for uid in after if not nodes[uid].removed})


def children_of(nodes: Mapping[int, Node], among: Collection[int] | None = None) -> dict[int, list[int]]:
    """Return the revisions that left each revision, in the order they began."""
    children: dict[int, list[int]] = {}
    for node in nodes.values():
        if node.parent is not None and (among is None or (node.uid in among and node.parent in among)):
            children.setdefault(node.parent, []).append(node.uid)
    return children


# ---- the drawing


@dataclass(frozen=True)
class Place:
    """A revision in the drawing, or None for the lines between two: what stands before its lines."""

    node: Node | None
    before: str
    beside: str = ""


def drawn(nodes: Mapping[int, Node], among: Collection[int]) -> Iterator[Place]:
    """Yield the revisions as ``git log --graph`` has them: children above their parents, the newest tree first.

    A run goes on in its lane, and what else left a revision stands in a lane to the right of it. O(number of revisions)
    and without recursion, however long a chain is.
    """
    children = children_of(nodes, among)
    roots = [uid for uid in nodes if uid in among and nodes[uid].parent not in among]
    order: list[int] = []  # parents before children
    todo = list(roots)
    while todo:
        order.append(todo.pop())
        todo += children.get(order[-1], ())
    newest, size = {uid: (nodes[uid].began, uid) for uid in order}, dict.fromkeys(order, 1)
    for uid in reversed(order):
        parent = nodes[uid].parent
        if parent is not None and parent in size:
            newest[parent] = max(newest[parent], newest[uid])
            size[parent] += size[uid]

    def path(uid: int, wide: bool) -> tuple[list[int], list[list[int]]]:
        """Return who stands in the lane that a revision begins, upwards, and who leaves each of them to the right."""
        lane, aside = [uid], []
        while found := children.get(lane[-1]):
            run = nodes[lane[-1]].run
            goes_on = max(found, key=lambda c: (not wide and nodes[c].run == run, size[c] if wide else 0, newest[c]))
            aside.append(sorted((c for c in found if c != goes_on), key=newest.__getitem__, reverse=True))
            lane.append(goes_on)
        return lane, [*aside, []]

    # Each entry is a revision with all above it, or what is to be yielded; the last one comes first.
    stack: list[tuple[int, str] | Place] = [(uid, "") for uid in sorted(roots, key=newest.__getitem__)]
    while stack:
        top = stack.pop()
        if isinstance(top, Place):
            yield top
            continue
        begins, left = top
        lane, aside = path(begins, len(left) >= 2 * _WIDE)
        for i, uid in enumerate(lane):
            bare = i == 0 and nodes[uid].parent not in among  # nothing is below it
            stack.append(Place(nodes[uid], f"{left}{nodes[uid].mark} ", left + ("  " if bare else "| ")))
            for child in reversed(aside[i]):
                stack += [Place(None, f"{left}|/"), (child, f"{left}| ")]


def graph(places: Iterable[Place], texts: Mapping[int, str] | None = None) -> str:
    """Return the drawing with a line for each revision, or with several: what `texts` has for its uid."""
    lines = []
    for place in places:
        if place.node is None:
            lines.append(place.before)
            continue
        first, *others = (place.node.line if texts is None else texts[place.node.uid]).split("\n")
        lines.append(place.before + first)
        lines += [(place.beside + other).rstrip() for other in [*others, *([""] if texts is not None else [])]]
    return "\n".join(lines).rstrip("\n")
