"""Random sequences of log, define, artifacts, rewind, fork, resume, finish and import: the store against a model."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
import warnings

import pytest
from helpers.tracker_model import Model
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import rewind
from rewind.storage import locks
from rewind.tracker.store import writer

pytestmark = pytest.mark.once

KEYS = ["x", "y", "loss/a", "loss/b", "_hidden", "t.u", "ä"]
NUMBERS = [0.0, -0.0, 1.0, 1, True, 0.1, 1e16, -1e16, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf")]
NUMBERS += [2**53 + 1, 2**63, -(2**63) - 1, 10**400, -(1 << 11_000), 7, 7, 7, 2.5, 2.5]
plain = st.sampled_from([*NUMBERS, "text", "", "\ud800", None, [1, "two", [float("nan")]], {}])
row = st.dictionaries(st.sampled_from(KEYS), plain | st.dictionaries(st.sampled_from(["u", "v"]), plain), max_size=3)
steps = st.none() | st.integers(-2, 4)  # from the current one
share = st.floats(0, 1)


def same(a, b):
    """Compare as text: a NaN is a NaN, 1 is not 1.0, and 0.0 is not -0.0."""
    return shown(a) == shown(b)


def shown(value):
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return hex(value) if type(value) is int else repr(value)


class Tracked:
    """A revision, and what it should be."""

    def __init__(self, ref, model, config, lineage):
        self.ref, self.model, self.config, self.lineage = ref, model, config, lineage
        self.digest = self.run = None
        self.own = True  # none of a lineage that went on elsewhere

    @property
    def number(self):
        return int(self.ref.split("@")[1])


class Machine(RuleBasedStateMachine):
    many_rows, mark_rows = 1000, 4096

    def __init__(self):
        super().__init__()
        self.before = writer.MANY_ROWS, writer.MARK_ROWS, locks._PAUSE
        writer.MANY_ROWS, writer.MARK_ROWS, locks._PAUSE = self.many_rows, self.mark_rows, 0.0
        self.folder = tempfile.mkdtemp(prefix="rewind-model-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.other = os.path.join(self.folder, "elsewhere")
        self.all: list[Tracked] = []
        self.sent: set[str] = set()  # digests of what is elsewhere
        self.contents: list[str] = []  # of the versions of the artifact
        self.events: list[tuple[str, int]] = []  # who logged which version

    def teardown(self):
        try:
            for one in self.all:
                if one.run is not None:
                    self.end(one, 0)
            for one in self.all:
                self.check(one)
            for folder in (self.folder, self.other) if self.sent else (self.folder,):
                assert rewind.Tracker(folder).fsck().problems == ()
        finally:
            for one in self.all:
                if one.run is not None:
                    one.run.finish()
            writer.MANY_ROWS, writer.MARK_ROWS, locks._PAUSE = self.before
            shutil.rmtree(self.folder)

    # ---- what there is

    def ids(self):
        return list(dict.fromkeys(one.ref.split("@")[0] for one in self.all))

    def of(self, run_id):
        return [one for one in self.all if one.ref.split("@")[0] == run_id]

    def current(self, run_id):
        return max(self.of(run_id), key=lambda one: (one.own, one.number))

    def opened(self):
        return [one for one in self.all if one.run is not None]

    def pick(self, some, where):
        return some[min(int(where * len(some)), len(some) - 1)]

    def add(self, run, model, config, lineage):
        number = 1 + max((one.number for one in self.of(run.id)), default=0)
        assert run.revision == number
        one = Tracked(f"{run.id}@{number}", model, config, lineage)
        one.run = run
        self.all.append(one)
        assert (run.step, run.starting_step) == (model.step, model.step)
        self.check(one)

    def end(self, one, code):
        one.run.finish(code)
        one.model.close()
        one.run, one.digest = None, one.run.digest
        assert one.digest

    def check(self, one):
        seen = one.run or rewind.Tracker(self.folder).run(one.ref)
        expected = [{"_step": step, **values} for step, values in sorted(one.model.rows.items())]
        assert same(seen.history(), expected)
        assert same(dict(seen.summary), one.model.summary())
        assert same(dict(seen.config), one.config)
        assert seen.last_step == max(one.model.rows, default=-1)
        assert [str(moment) for moment in seen.lineage] == one.lineage
        assert seen.digest == one.digest
        if one.run is not None:
            assert one.run.step == one.model.step

    # ---- what happens

    @initialize(config=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)))
    def begin_first(self, config):
        run = rewind.init("model", dir=self.folder, id="r0", config=config)
        self.add(run, Model(), config, [])

    @rule(config=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)))
    def begin(self, config):
        run = rewind.init("model", dir=self.folder, id=f"r{len(self.ids())}", config=config)
        self.add(run, Model(), config, [])

    @precondition(lambda self: self.opened())
    @rule(where=share, calls=st.lists(st.tuples(row, steps, st.sampled_from([None, True, False])), max_size=8))
    def log(self, where, calls):
        one = self.pick(self.opened(), where)
        for data, step, commit in calls:
            step = None if step is None else one.model.step + step
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rewind.DroppedWarning)
                one.run.log(data, step, commit)
            one.model.log(data, step, commit)
            assert one.run.step == one.model.step
        if not where * 64 % 1 < 0.3:  # more often it is looked at after more rows
            self.check(one)

    @precondition(lambda self: self.opened())
    @rule(where=share, n=st.integers(1, 12), value=st.sampled_from(NUMBERS))
    def log_many(self, where, n, value):
        one = self.pick(self.opened(), where)
        for i in range(n):
            one.run.log({"x": value, "i": i})
            one.model.log({"x": value, "i": i})

    @precondition(lambda self: self.opened())
    @rule(
        where=share,
        name=st.sampled_from(["x", "loss/*", "loss/a", "*", "t.u", "i"]),
        kinds=st.lists(st.sampled_from(["min", "max", "mean", "first", "last"]), min_size=1, unique=True)
        | st.just(["none"]),
    )
    def define(self, where, name, kinds):
        one = self.pick(self.opened(), where)
        one.run.define_metric(name, summary=",".join(kinds), overwrite=True)
        one.model.defined[name] = kinds
        self.check_order_free(one)

    def check_order_free(self, one):
        # A dict of kinds has them in the order of the documentation, whatever was asked for first.
        order = ["min", "max", "mean", "first", "last", "none"]
        one.model.defined = {name: sorted(kinds, key=order.index) for name, kinds in one.model.defined.items()}
        self.check(one)

    @precondition(lambda self: self.opened())
    @rule(where=share, key=st.sampled_from(["x", "best", "loss/a"]), value=st.sampled_from([1, 2.5, "good", [1]]))
    def assign(self, where, key, value):
        one = self.pick(self.opened(), where)
        one.run.summary[key] = value
        model = one.model
        model.assigned.append((model.step if model.open is not None else model.step - 1, key, value))
        self.check(one)

    @precondition(lambda self: self.opened())
    @rule(where=share, key=st.sampled_from("abcd"), value=st.integers(0, 2))
    def configure(self, where, key, value):
        one = self.pick(self.opened(), where)
        if one.config.get(key, value) != value:
            with pytest.raises(rewind.ConfigError):
                one.run.config[key] = value
        one.run.config.update({key: value}, allow_val_change=True)
        one.config = {**one.config, key: value}
        self.check(one)

    @precondition(lambda self: self.opened())
    @rule(where=share, code=st.integers(0, 1))
    def finish(self, where, code):
        one = self.pick(self.opened(), where)
        self.end(one, code)
        self.check(one)

    def closed(self, run_id):
        """Finish a run that is open."""
        for one in self.of(run_id):
            if one.run is not None:
                self.end(one, 0)

    @rule(where=share, config=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)))
    def resume(self, where, config):
        run_id = self.pick(self.ids(), where)
        self.closed(run_id)
        parent = self.current(run_id)
        last = max(parent.model.rows, default=-1)
        run = rewind.init("model", dir=self.folder, id=run_id, resume="must", config=config)
        self.add(
            run, parent.model.left_at(last, goes_on=True), {**parent.config, **config}, self.rows_after(parent, last)
        )

    def rows_after(self, parent, step):
        return [f"{parent.ref}?_step={step}", *parent.lineage]

    @rule(where=share, which=share, at=share, named=st.booleans())
    def rewind(self, where, which, at, named):
        run_id = self.pick(self.ids(), where)
        self.closed(run_id)
        parent = self.pick(self.of(run_id), which)
        last = max(parent.model.rows, default=-1)
        step = round(at * (last + 1)) - 1
        run = rewind.init(dir=self.folder, id=run_id if named else None, resume_from=f"{parent.ref}?_step={step}")
        self.add(run, parent.model.left_at(step), parent.config, self.rows_after(parent, step))

    @rule(which=share, at=share)
    def fork(self, which, at):
        parent = self.pick(self.all, which)
        last = max(parent.model.rows, default=-1)
        step = round(at * (last + 1)) - 1
        run = rewind.init(dir=self.folder, id=f"r{len(self.ids())}", fork_from=f"{parent.ref}?_step={step}")
        self.add(run, parent.model.left_at(step), parent.config, self.rows_after(parent, step))
        assert run.forked_from == run.lineage[0]
        if parent.run is not None:  # what it puts in its summary from now on belongs after the fork
            parent.run.log({"i": -1})
            parent.model.log({"i": -1})

    @rule(which=share, beyond=st.integers(1, 9), again=st.booleans())
    def go_past_the_end(self, which, beyond, again):
        parent = self.pick(self.all, which)
        if again:
            self.closed(parent.ref.split("@")[0])
        step = max(parent.model.rows, default=-1) + beyond
        where = {"resume_from" if again else "fork_from": f"{parent.ref}?_step={step}"}
        with pytest.warns(rewind.PastEndWarning, match=f"its last step is {step - beyond}|it has no rows"):
            run = rewind.init(dir=self.folder, id=None if again else f"r{len(self.ids())}", **where)
        model = parent.model.left_at(step)
        self.add(run, model, parent.config, self.rows_after(parent, step))
        assert run.forked_from == run.lineage[0]
        self.check(parent)

    # ---- artifacts

    @precondition(lambda self: self.opened())
    @rule(where=share, content=st.sampled_from("abcd"))
    def keep_artifact(self, where, content):
        one = self.pick(self.opened(), where)
        if content not in self.contents:
            self.contents.append(content)
        version, logged = self.contents.index(content), one.model.logged
        with open(os.path.join(self.folder, "content"), "w") as file:
            file.write(content)
        assert one.run.log_artifact(file.name, name="model").version == version
        if not logged or logged[-1][1] != version:
            logged.append((one.model.where(), version))
            self.events.append((one.ref, version))
        assert [found.version for found in one.run.artifacts] == list(dict.fromkeys(v for _, v in logged))

    @precondition(lambda self: self.opened())
    @rule(where=share)
    def use_artifact(self, where):
        one = self.pick(self.opened(), where)
        family = {ref.split("@")[0] for ref in (one.ref, *one.lineage)}
        others = {version for ref, version in self.events if ref.split("@")[0] not in family}
        expected = one.model.latest(others)
        seen = {version for _, version in one.model.logged} | others
        if expected is None:
            with pytest.raises(rewind.TrackedArtifactError):
                one.run.use_artifact("model")
        else:
            assert one.run.use_artifact("model:latest").version == expected
            one.model.used.append((one.model.where(), expected))
        for version in range(len(self.contents)):
            if version not in seen:
                with pytest.raises(rewind.TrackedArtifactError, match="in a future that"):
                    one.run.use_artifact(f"model:v{version}")

    # ---- imports

    def exported(self, run_id, folder):
        path = os.path.join(self.folder, "bundle.zip")
        rewind.Tracker(folder).export(run_id, path)
        return path

    @rule(where=share, copied=st.booleans())
    def send(self, where, copied):
        """Import a run elsewhere, or here, with another id."""
        run_id = self.pick(self.ids(), where)
        family = {ref.split("@")[0] for one in self.of(run_id) for ref in (one.ref, *one.lineage)}
        for one in family:
            self.closed(one)
        bundle = self.exported(run_id, self.folder)
        if not copied:
            os.makedirs(self.other, exist_ok=True)
            rewind.init(dir=self.other, id="first", resume="allow").finish()
            new = rewind.Tracker(self.other).import_file(bundle)
            assert new or all(one.digest in self.sent for one in self.of(run_id))
            there = rewind.Tracker(self.other)
            runs = [*there.runs(), *there.runs(removed=True)]  # of what it comes from, not all revisions
            self.sent = {one.digest for run in runs if run.id != "first" for one in run.revisions}
            for one in self.of(run_id):
                found = there.run(one.digest)
                assert found.digest == one.digest and len(found.history()) == len(one.model.rows)
            return
        new_id = f"r{len(self.ids())}"
        assert rewind.Tracker(self.folder).import_file(bundle, id=new_id) == [new_id]
        for one in self.of(run_id):
            twin = copy.copy(one)
            twin.model = copy.deepcopy(one.model)
            twin.ref = f"{new_id}@{one.number}"
            twin.lineage = [ref.replace(f"{run_id}@", f"{new_id}@", 1) for ref in one.lineage]
            self.all.append(twin)
            self.events += [(twin.ref, version) for ref, version in self.events if ref == one.ref]
            self.check(twin)
        assert rewind.Tracker(self.folder).run(new_id).ref == self.current(new_id).ref

    @precondition(lambda self: self.sent)
    @rule(which=share, at=share)
    def go_on_elsewhere(self, which, at):
        """Rewind a run that was sent in the other folder, and bring it back: it may have gone on here."""
        parent = self.pick([one for one in self.all if one.digest in self.sent], which)
        there = rewind.Tracker(self.other)
        run_id = there.run(parent.digest).id
        if not self.of(run_id):
            return
        parent = next(one for one in self.of(run_id) if one.digest == parent.digest)
        step = round(at * (max(parent.model.rows, default=-1) + 1)) - 1
        if there.run(parent.digest).status == "purged" or run_id not in {one.id for one in there}:
            return  # it was sent as what another one comes from
        for one in [one for one in self.opened() if one.ref.split("@")[0] in self.ids()]:
            self.end(one, 0)
        with rewind.init(dir=self.other, resume_from=f"{parent.digest}?_step={step}") as run:
            run.log({"x": 1.5})
        model = parent.model.left_at(step)
        model.log({"x": 1.5})
        number, known = run.revision, {one.digest for one in there.run(run_id).revisions}
        here = self.of(run_id)
        apart = any(one.digest not in known for one in here) or number in {one.number for one in here}
        if apart:
            free = max(one.number for one in here) + 1
            number = free + (free == number)
        assert rewind.Tracker(self.folder).import_file(self.exported(run_id, self.other)) == [run_id]
        new = Tracked(f"{run_id}@{number}", model, parent.config, self.rows_after(parent, step))
        new.digest, new.own = run.digest, not apart
        self.all.append(new)
        self.sent.add(new.digest)
        self.check(new)
        assert rewind.Tracker(self.folder).run(run_id).ref == self.current(run_id).ref

    @rule(which=share)
    def look(self, which):
        self.check(self.pick(self.all, which))


class Often(Machine):
    many_rows, mark_rows = 3, 5


def few(examples):
    return settings(max_examples=max(1, settings.default.max_examples * examples // 100), stateful_step_count=25)


Machine.TestCase.settings, Often.TestCase.settings = few(10), few(20)
TestStoreIsTheModel = Machine.TestCase
TestStoreThatWritesAndMarksAllTheTimeIsTheModel = Often.TestCase
