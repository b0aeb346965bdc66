"""The ways through the first steps of a block, and what tells them apart: the live, the restored and the later one."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..errors import StepError
from ..kernel import Place
from ..state.codec import Row, row_bytes
from ..state.copies import shared_memory
from ..state.difference import first_difference
from ..state.digest import digest
from ..state.live import MISSING, Gap, Live, Words, gaps, is_leaf, own_reduction
from ..steps.global_generators import Standing
from ..steps.globals import reached
from ..steps.params import same
from .bench import LARGE, Bench, Token
from .finding import Finding
from .rng import get_state, set_state

#: Most steps of the first ways, and of one that goes on since no step has changed the state.
STEPS, MORE_STEPS = 64, 1024

#: Seconds that the live way may take after its first step.
FIRST = 0.28

#: Steps of a run that is too short to wonder that its state stayed the same.
SHORT = 10

#: Where the later way may begin.
_MIDDLES = (1, 2, 4, 8, 16, 32)

#: Where states are looked at that are dear to keep: near every place where a way begins, and at the end.
_SOME = (1, 2, 3, 4, 8, 16, 32, 33, 34, 36, 40, 48, 64)

_ENDS = (1, 2, 4, 8, 16, 32, 33, 64)

_FLAGS = {bool, np.bool_}


class _Middle(NamedTuple):
    """Where a way can be taken up."""

    row: Row
    block: int
    t: int
    rng: Any


class _Way:
    """Some steps that were gone: what is kept of the states on the way."""

    def __init__(self, begin: Callable[[], Place] | None, first: int) -> None:
        self.begin, self.first = begin, first  # where it can be gone again, and how many steps that is from the start
        self.rows: dict[int, Row] = {}  # by the number of steps from where the first way began
        self.middles: dict[int, _Middle] = {}
        self.n = first
        self.error: BaseException | None = None
        self.lives: dict[int, Live] = {}  # at the end; in the first block also early on
        self.stored: dict[int, tuple[Live, Row]] = {}  # small ones that may lose something, and what is kept of them
        self.values: dict[str, Any] = {}

    def forget(self, middle: int) -> None:
        """Let go of the places before the one after `middle` steps, where it can be taken up as well."""
        self.middles = {i: kept for i, kept in self.middles.items() if i >= middle}
        self.lives = {i: live for i, live in self.lives.items() if i == self.first + 1 or i > middle}


class Ways:
    """Ways through the same steps, and what they tell apart."""

    def __init__(self, bench: Bench, row: Row, block: int, start: int, clock: Callable[[], float]) -> None:
        self.bench, self.row, self.block, self.start = bench, row, block, start
        self.deep = bench.may_lose(row)
        self._clock = clock

    # ---- going

    def looks(self, n: int, every: bool = False) -> list[int]:
        """Return after how many steps states are looked at."""
        some: Iterable[int] = range(1, n + 1)
        if not every and self.bench.step.runs_itself:
            some = _ENDS
        elif not every and self.deep:
            some = _SOME if self.block == 0 else _MIDDLES
        return sorted({i for i in some if i <= n} | {n})

    def restored(self, row: Row) -> Any:
        """Return a state as a checkpoint gives it back."""
        return self.bench.codec.decode(row)

    def entered(self, state: Any, row: Row) -> Place:
        """Return a place at the first step."""
        place = self.bench.place(row)
        place.enter(self.block, state)
        return place

    def go(
        self,
        begin: Callable[[], Place] | Place,
        looks: list[int],
        n: int = 0,
        *,
        least: int = 2,
        seconds: float | None = None,
        middles: bool = False,
        full: bool = False,
    ) -> _Way:
        """Go through `looks`, the numbers of steps after which the state is kept; `n` have been gone.

        Parameters
        ----------
        begin : callable or Place
            Gives the place at which the way begins; a place is one that there will be no second of.
        seconds, least
            No more steps than are sure not to take longer, after the first; but the first `least`.
        middles : bool
            Whether it is kept where the way can be taken up.
        full : bool
            Whether states are kept whole, however large they are.
        """
        way, bench, clock = _Way(None if isinstance(begin, Place) else begin, n), self.bench, self._clock
        notes: list[Row] = []
        if len(looks) > len(_SOME) and not isinstance(begin, Place) and not bench.step.runs_itself and not full:
            looks, bench.notes = self.leaps(looks), notes  # the step keeps what is between
        try:
            place = begin if isinstance(begin, Place) else begin()
            self._go(way, place, looks, least, seconds, middles, full, clock)
        finally:
            bench.notes = None
        if notes:
            way.rows = {n + i + 1: row for i, row in enumerate(notes[: way.n - n])}
        return way

    @staticmethod
    def leaps(looks: list[int]) -> list[int]:
        """Return those of many looks between which the steps can be gone at once."""
        return [i for i in looks if i in (looks[0], looks[1], *_MIDDLES, looks[-1]) or i - 1 in _MIDDLES]

    def _go(
        self,
        way: _Way,
        place: Place,
        looks: list[int],
        least: int,
        seconds: float | None,
        middles: bool,
        full: bool,
        clock: Callable[[], float],
    ) -> None:
        bench, n = self.bench, way.n
        gone, first, quick = n, clock(), False
        for look in looks:
            if seconds is not None and gone >= least:
                took = clock() - first
                each = took / max(gone - 1, 1)
                if took + each * (look - gone) > seconds:
                    break
                quick = each * STEPS < seconds / 4  # then it will come to the last middle
            try:
                while gone < look:
                    if place.t == place.stop:
                        place.enter(place.block + 1, place.state)
                    if middles and gone == way.n and gone in _MIDDLES and (gone == _MIDDLES[-1] or not quick):
                        rng: Any = place.blocks.rng
                        state = rng.getstate() if bench.backend == "python" else get_state(rng, bench.backend)
                        way.middles[gone] = _Middle(bench.codec.encode(place.state), place.block, place.t, state)
                    k = 1 if look - gone == 1 else min(look - gone, place.stop - place.t)
                    place.run(k)
                    gone += k
                if bench.notes is None:
                    way.rows[look] = bench.keep(place.state, full)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # what the recording will meet, too
                way.error = error.__cause__ or error
                break
            if way.n == n:
                first = clock()  # what the first step takes may be imports, or a compiler
            way.n = gone
            if type(bench.last) is bytes and bench.misfits is not None:
                bench.misfits.look(bench.last, place.t)
            if self.deep and self.block == 0 and (look == n + 1 or look - 1 in way.middles):
                way.lives[look] = Live(place.state)
            if self.deep and middles and look in _MIDDLES and row_bytes(bench.last) <= LARGE:
                way.stored[look] = (way.lives.get(look) or Live(place.state)), bench.last
            if middles and look in _MIDDLES[1:]:
                way.forget(look // 2)
        if middles and way.n == STEPS:
            way.forget(STEPS // 2)
        if self.deep and way.error is None:
            way.lives[way.n] = Live(place.state)
            way.values = {name: _Given.of(metric, place.state) for name, metric in bench.metrics.items()}

    # ---- telling apart

    def differ_after(self, one: _Way, other: _Way) -> int | None:
        """Return after how many steps two ways differ; None if they do not, as far as the first goes."""
        if one.rows and one.rows.keys() == other.rows.keys() and _same_numbers(one.rows, other.rows):
            return None
        for i, row in one.rows.items():
            if i in other.rows and not self.bench.same(row, other.rows[i]):
                return i
        if other.error is not None and other.n < one.n:
            return other.n + 1
        return None

    def lost(self, live: _Way, restored: _Way, noise: set[str]) -> list[Gap]:
        """Return what is another value in memory on two ways; `noise` are paths that do not count."""
        for i, one in restored.lives.items():
            if i in live.lives and one.whole and live.lives[i].whole:
                found = [gap for gap in gaps(live.lives[i], one) if gap.kind == "value" and not gap.chosen]
                found = [gap for gap in found if gap.path not in noise]
                if found:
                    return found
        return []

    def lost_at_once(self, live: Live, row: Row, way: _Way) -> list[Gap]:
        """Return what `get` would hand out otherwise than it is, also where the next step makes up for it.

        Not what has a private name, nor flags: a buffer, or whether a cache is valid.
        """
        first = Live(self.restored(row))
        if not live.whole or not first.whole:
            return []
        found = [gap for gap in gaps(live, first) if gap.kind == "value" and not gap.chosen]
        found = [gap for gap in found if "._" not in gap.path and not {type(gap.live), type(gap.restored)} & _FLAGS]
        if found:
            noise = {gap.path for gap in gaps(first, Live(self.restored(row)))}
            noise |= self.noise(way, self.go(self._restored, sorted({1, way.n})))
            found = [gap for gap in found if gap.path not in noise]
        return found

    def noise(self, one: _Way, other: _Way) -> set[str]:
        """Return the paths at which two ways from one stored state differ in memory: clocks, numbers of objects."""
        both = [(one.lives[i], other.lives[i]) for i in one.lives if i in other.lives]
        return {gap.path for pair in both for gap in gaps(*pair)}

    def metric(self, one: _Way, other: _Way) -> str | None:
        """Return a metric that gives something else at the end of two ways."""
        given = ((name, other.values[name]) for name in one.values if name in other.values)
        return next((name for name, value in given if value.token != one.values[name].token), None)

    def trees(self, one: Row, other: Row) -> tuple[str, Any, Any]:
        """Return where two kept states differ."""
        codec = self.bench.codec
        difference = first_difference(codec.tree(one), codec.tree(other))
        return ("", None, None) if difference is None else (difference.path, difference.expected, difference.got)

    def seen(self, one: _Way, other: _Way) -> tuple[int, str, Any, Any] | None:
        """Return where two ways differ first: step, path, both values."""
        i = self.differ_after(one, other)
        if i is None:
            name = self.metric(one, other)
            if name is None:
                return None
            return self.start + one.n, f"metric {name!r}", one.values[name].value, other.values[name].value
        if i not in other.rows or i not in one.rows:
            return self.start + i - 1, "", Words("a state"), Words(f"{type(other.error).__name__}: {other.error}")
        rows = [self.whole(way, i) for way in (one, other)]
        if isinstance(rows[0], Token) or isinstance(rows[1], Token):
            return self.start + i, "", Words("one state"), Words("another")
        return self.start + i, *self.trees(*rows)

    def whole(self, way: _Way, i: int) -> Row:
        """Return what is kept of a state on the way; one that is large is made once more."""
        row = way.rows[i]
        if isinstance(row, Token) and way.begin is not None:
            row = self.go(way.begin, [i], way.first, full=True).rows.get(i, row)
        return row

    def _restored(self) -> Place:
        return self.entered(self.restored(self.row), self.row)

    def hidden(self, way: _Way, row: Row) -> Finding | None:
        """Return what is found where going from one stored state twice gives two things."""
        every, ways, generators = self.looks(way.n, every=True), [way], Standing()
        drawn: tuple[str, ...] = ()
        for k in (2, 3):
            self.false_start(row, k)
            ways.append(self.go(lambda: self.entered(self.restored(row), row), every))
            # One that is seeded in every step stands, after the same steps, where it stood.
            now = Standing()
            drawn, generators = now.since(generators), now
        for one, other in ((ways[1], ways[2]), (way, ways[1]), (way, ways[2])):
            if self.differ_after(one, other) is not None or self.metric(one, other) is not None:
                return self.hidden_finding(self.seen(one, other), drawn, row)
        return None

    def hidden_finding(self, seen: tuple[int, str, Any, Any] | None, generators: tuple[str, ...], row: Row) -> Finding:
        """Return the finding for a step that depends on something outside its arguments."""
        step, path, one, other = seen or (self.start, "", None, None)
        culprits = () if generators else self.culprits(row)
        return Finding("hidden", self.block, step, path, one, other, generators=generators, culprits=culprits)

    def false_start(self, row: Row, n: int) -> None:
        """Go some steps that do not count: no hidden counter is where it was before, whatever it is taken modulo."""
        place = self.entered(self.restored(row), row)
        try:
            for _ in range(n):
                if place.t < place.stop:
                    place.run(1)
        except StepError:
            pass

    def culprits(self, row: Row) -> tuple[str, ...]:
        """Return the names of what a step changes besides the state it is given."""
        before = [(name, Live(value)) for name, value in reached(self.bench.step.function)]
        self.false_start(row, 1)
        now = dict(reached(self.bench.step.function))
        changed = [name for name, was in before if name in now and _changed(was, now[name])]
        return tuple(dict.fromkeys(changed))[:3]

    def loss(
        self, live: Live, row: Row, stored_at: int, seen: tuple[int, str, Any, Any] | None, conflicts: list[Gap]
    ) -> Finding:
        """Return the finding for a state of which storing loses something: `live` is how it was when it was stored."""
        at = self.start + stored_at
        step = at if seen is None else seen[0]
        found = _ranked(gaps(live, Live(self.restored(row))))
        if conflicts:
            known_now = {gap.path: gap for gap in found}
            found = [known_now.get(gap.path, gap) for gap in conflicts]
        kind = found[0].kind if found else ""
        known = self.identity(live) if kind in ("", "unfilled", "order", "shared") else None
        if known is not None and (known[0] == "global" or kind != "order"):
            cause, name, path, value = known
            return Finding("lossy", self.block, step, path, value, None, cause, name, at, (), seen)
        if not found:
            path, cause, name = self.outside(live, row)
            return Finding("lossy", self.block, step, path, cause=cause, name=name, stored_at=at, shows=seen)
        first, others = found[0], tuple(gap.path for gap in found[1:4] if gap.kind == kind)
        facts = first.path, first.live, first.restored, *self.cause(first)
        return Finding("lossy", self.block, step, *facts, at, others, seen)

    def outside(self, live: Live, row: Row) -> tuple[str, str, str]:
        """Return what else may be lost of a state whose parts are all there: path, cause, name."""
        views = shared_memory(live.root) if self.bench.codec.user is None else None
        if views is not None:
            return views[0], "views", views[1]
        place = self.entered(self.restored(row), row)
        before = self.bench.step.params
        keywords = getattr(place.step_fn, "keywords", {})
        try:
            place.run(min(2, place.stop - place.t))
        except StepError:
            pass
        changed = [name for name, value in before.items() if not same(keywords.get(name, value), value)]
        return ("", "params", changed[0]) if changed else ("", "", "")

    def order(self, live: Live, stored_at: int, seen: tuple[int, str, Any, Any] | None) -> Finding:
        """Return the finding for a step that reads the order of a set."""
        at = self.start + stored_at
        path = live.path(live.sets()[0])
        return Finding(
            "lossy", self.block, at if seen is None else seen[0], path, cause="order", stored_at=at, shows=seen
        )

    def cause(self, gap: Gap) -> tuple[str, str]:
        """Return what loses it, and the class that does."""
        if gap.kind in ("order", "shared"):
            return gap.kind, ""
        if self.bench.codec.user is not None:
            return "codec", ""
        return (own_reduction(gap.owner), gap.owner.__qualname__) if gap.owner is not None else ("", "")

    def identity(self, live: Live) -> tuple[str, str, str, Any] | None:
        """Return what of a state may be known by identity: cause, name, path, value."""
        names = {id(value): name for name, value in reached(self.bench.step.function) if not is_leaf(value)}
        if id(live.root) in names:
            return "global", names[id(live.root)], "", live.root
        for key, node in live.nodes.items():
            if key in names:
                return "identity", names[key], live.path(node.value), node.value
        for node in live.nodes.values():
            if type(node.value) is object:
                return "identity", "", live.path(node.value), node.value
        return None


class First(Ways):
    """The trial of the first steps."""

    def __init__(
        self,
        bench: Bench,
        row: Row,
        init: Any,
        n: int,
        most: int,
        clock: Callable[[], float],
        generators: Standing,
    ) -> None:
        super().__init__(bench, row, 0, 0, clock)
        self.init, self.n, self.most, self.generators = init, n, most, generators
        self.before = Live(init)
        self.own = self.before.known  # whether the live way can start from state 0 itself

    def found(self) -> Finding | None:
        """Go the ways, and return what they tell."""
        for path, name in self.before.global_generators():
            return Finding("lossy", 0, 0, path, Words(name), Words("a copy of it"), "generator", name)
        try:
            return self._found()
        finally:
            if self.own:
                self.before.put_back()

    def _from_live(self) -> Place:
        if self.own:
            self.before.put_back()
        return self.entered(self.init if self.own else self.restored(self.row), self.row)

    def _found(self) -> Finding | None:
        live = self._gone_live()
        if live.n < 1 and self.own:  # a compiled step may take only what a checkpoint gives
            self.before.put_back()
            self.own = False
            live = self._gone_live()
        if live.n < 1:  # the recording will meet what stopped it
            return None
        if live.error is not None and self.deep:  # once more, to look at its end
            live = self.go(self._from_live, self.looks(live.n), middles=True)
        if live.n == self.n:
            self.false_start(self.row, 1)
        restored = self.go(self._restored, self.looks(live.n))
        m = max((i for i in live.middles if 2 * i <= live.n), default=0)
        later = self._later(live, m) if m else None
        found = self._compared(live, restored, later, m)
        if found is not None:
            return found
        drawn = self._drawn(live.n)
        return self.hidden_finding(None, drawn, self.row) if drawn else self._unchanged(live, restored)

    def _drawn(self, n: int) -> tuple[str, ...]:
        """Return the global generators that the steps draw from: not those that they seed, or that moved once."""
        if not Standing().since(self.generators):
            return ()
        stands = []
        for _ in range(2):  # one that is seeded in every step stands, after the same steps, where it stood
            self.go(self._restored, [n])
            stands.append(Standing())
        return stands[1].since(stands[0])

    def _gone_live(self) -> _Way:
        return self.go(self._from_live, self.looks(self.n), seconds=FIRST, middles=True)

    def _later(self, live: _Way, m: int) -> _Way:
        middle = live.middles[m]

        def begin() -> Place:
            place = self.bench.place(self.row)
            place.enter(middle.block, self.restored(middle.row))
            rng: Any = place.blocks.rng
            if self.bench.backend == "python":
                rng.setstate(middle.rng)
            else:
                set_state(rng, self.bench.backend, middle.rng)
            place.t = middle.t
            return place

        return self.go(begin, [i for i in self.looks(live.n) if i > m], m)

    def _compared(self, live: _Way, restored: _Way, later: _Way | None, m: int) -> Finding | None:
        ways = [(restored, 0)] + ([(later, m)] if later is not None else [])
        for way, stored_at in ways:
            if self.differ_after(live, way) is None and self.metric(live, way) is None:
                continue
            hidden = self.hidden(restored, self.row)
            if hidden is not None:
                return hidden
            again = self.go(self._from_live, self.looks(live.n, every=True))
            row, same = self._row(live, stored_at), self.differ_after(live, again) is None
            if not same and not (self.own and self.before.sets()):
                return self.hidden_finding(self.seen(live, again), (), self.row)
            if not same:  # nothing brings back the order that a set had
                return self.order(self.before, stored_at, self.seen(live, way))
            return self.loss(self._live_at(stored_at), row, stored_at, self.seen(again, way), [])
        for way, stored_at in ways:
            conflicts = self.lost(live, way, set())
            if conflicts:
                again = self._later(live, m) if stored_at else self.go(self._restored, self.looks(live.n))
                conflicts = self.lost(live, way, self.noise(way, again))
            if conflicts:
                return self.loss(self._live_at(stored_at), self._row(live, stored_at), stored_at, None, conflicts)
        stored = {**({0: (self.before, self.row)} if self.own and self.deep else {}), **live.stored}
        for stored_at, (was, row) in stored.items():
            conflicts = self.lost_at_once(was, row, restored)
            if conflicts:
                return self.loss(was, row, stored_at, None, conflicts)
        return None

    def _row(self, live: _Way, stored_at: int) -> Row:
        return live.middles[stored_at].row if stored_at else self.row

    def _live_at(self, n: int) -> Live:
        """Return the live state after `n` steps."""
        if n == 0 and self.own:
            return self.before
        place = self._from_live()
        if n:
            self.go(place, [n])
        return Live(place.state)

    def _unchanged(self, live: _Way, restored: _Way) -> Finding | None:
        same = self.bench.same
        if (
            self.most < SHORT
            or live.n < 2
            or not all(same(self.row, row) for way in (live, restored) for row in way.rows.values())
        ):
            return None
        if self.deep and live.n in live.lives:
            noise = self.noise(restored, self.go(self._restored, self.looks(live.n)))
            moved = [gap for gap in gaps(self.before, live.lives[live.n]) if gap.kind == "value" and not gap.chosen]
            moved = [gap for gap in moved if gap.path not in noise]
            if moved and self.own:
                first, others = moved[0], tuple(gap.path for gap in moved[1:4])
                facts = first.path, first.restored, first.live, *self.cause(first)
                return Finding("lossy", 0, live.n, *facts, live.n, others)
        looks = [i for i in (128, 256, 512, MORE_STEPS) if i <= self.most] or [self.most]
        more = self.go(self._restored, [live.n, *(i for i in looks if i > live.n)], seconds=FIRST / 4, least=live.n)
        if more.error is not None or not all(same(self.row, row) for row in more.rows.values()):
            return None
        return Finding("unchanged", 0, more.n, culprits=self.culprits(self.row))


class Later(Ways):
    """The trial of the first steps of a later block."""

    def __init__(
        self,
        bench: Bench,
        row: Row,
        live: Any,
        block: int,
        start: int,
        n: int,
        least: int,
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(bench, row, block, start, clock)
        self.live, self.n, self.least, self.seconds = live, n, least, seconds

    def found(self) -> Finding | None:
        """Go both ways, and return what they tell."""
        before = Live(self.live)
        live = self.go(self.entered(self.live, self.row), self.looks(self.n), least=self.least, seconds=self.seconds)
        if live.n < 1:
            return None
        restored = self.go(self._restored, self.looks(live.n))
        if self.differ_after(live, restored) is not None or self.metric(live, restored) is not None:
            hidden = self.hidden(restored, self.row)
            return hidden or self.loss(before, self.row, 0, self.seen(live, restored), [])
        conflicts = self.lost(live, restored, set())
        if conflicts:
            again = self.go(self._restored, self.looks(live.n))
            conflicts = self.lost(live, restored, self.noise(restored, again))
        conflicts = conflicts or self.lost_at_once(before, self.row, restored)
        return self.loss(before, self.row, 0, None, conflicts) if conflicts else None


def _same_numbers(one: dict[int, Row], other: dict[int, Row]) -> bool:
    """Whether all that is kept on two ways is floats, and the same bits; False where that is not sure."""
    if {*map(type, one.values()), *map(type, other.values())} != {float}:
        return False
    form = f"{len(one)}d"
    return struct.pack(form, *one.values()) == struct.pack(form, *other.values())


class _Given(NamedTuple):
    """What a metric gave, and as it can be compared."""

    token: Any
    value: Any

    @classmethod
    def of(cls, metric: Any, state: Any) -> _Given:
        """Return what a metric gives of a state."""
        try:
            value = state if metric is None else metric(state)
            return cls(digest(value), value)
        except Exception as error:
            return cls(type(error).__name__, Words(f"{type(error).__name__}: {error}"))


def _changed(was: Live, now: Any) -> bool:
    if is_leaf(was.root) or is_leaf(now):
        return was.root is not now and _Given.of(None, was.root).token != _Given.of(None, now).token
    return bool(gaps(was, Live(now)))


def _ranked(found: list[Gap]) -> list[Gap]:
    """Return what may be the cause of a difference, the likeliest first."""
    ranks = {"value": 0, "missing": 1, "unfilled": 2, "order": 3, "shared": 4}
    likely = [gap for gap in found if gap.kind != "missing" or not (gap.live is MISSING or callable(gap.live))]
    return sorted(likely, key=lambda gap: ranks[gap.kind])
