"""What a tracker does grows with what there is to do, and no faster: counted in steps of SQLite, not by a clock."""

from __future__ import annotations

import json

import pytest

import rewind
from rewind.tracker.fsck import fsck
from rewind.tracker.store import history
from rewind.tracker.store.database import Store
from rewind.tracker.transfer.export import digest_of_manifest, export
from rewind.tracker.transfer.import_ import import_bundle

pytestmark = pytest.mark.once


@pytest.fixture
def steps(monkeypatch):
    """Count queries, and hundreds of steps of SQLite's machine, from now on."""
    count = {"queries": 0, "steps": 0}
    connected = Store._connected

    def counted(self):
        connection = connected(self)
        connection.set_trace_callback(lambda sql: add("queries"))
        connection.set_progress_handler(lambda: add("steps"), 100)
        return connection

    def add(what):
        count[what] += 1

    monkeypatch.setattr(Store, "_connected", counted)
    return count


def chain(folder, n, way):
    """Make a run of `n` revisions, each with rows and a value that was put into its summary."""
    rewind.init(dir=folder, id="a").finish()
    for k in range(n):
        given = {"resume": "must"} if way == "resumed" else {"resume_from": "a?_step=1" if k else "a?_step=-1"}
        with rewind.init(dir=folder, **({"id": "a"} if way == "resumed" else {}), **given) as run:
            for i in range(3):
                run.log({"x": i})
            run.summary["best"] = k


def spent(steps, call, *arguments):
    steps.update(queries=0, steps=0)
    call(*arguments)
    return dict(steps)


@pytest.mark.parametrize("way", ["resumed", "rewound"])
def test_a_run_that_went_on_twice_as_often_costs_twice_as_much(tmp_path, steps, way):
    found = []
    for n in (12, 24):
        folder, there, file = (
            str(tmp_path / str(n) / ".rewind"),
            str(tmp_path / f"{n}-there"),
            str(tmp_path / f"{n}.zip"),
        )
        made = spent(steps, chain, folder, n, way)
        checked = spent(steps, fsck, folder)
        sent = spent(steps, export, folder, "a", file)
        added = spent(steps, import_bundle, there, file)
        found.append([made, checked, sent, added])
        assert fsck(folder).ok and fsck(there).n_revisions == n + 1
    assert all(many["queries"] <= 2.1 * few["queries"] for few, many in zip(*found, strict=True)), found
    # One that begins looks back along the chain, in SQL, where values were put into summaries: a microsecond a link.
    assert all(many["steps"] <= 2.5 * few["steps"] for few, many in zip(*(of[1:] for of in found), strict=True)), found


def test_a_file_with_twice_as_many_recordings_is_read_in_twice_the_steps(tmp_path, steps):
    rewind.init(dir=tmp_path / "a", id="a").finish()
    export(str(tmp_path / "a"), "a", str(tmp_path / "a.zip"))
    found = []
    for n in (200, 400):
        lines = "".join(json.dumps([0, i + 1, 0, 0, 1, None, {}, None, None]) + "\n" for i in range(n))
        repacked(tmp_path / "a.zip", tmp_path / f"{n}.zip", "simulations.jsonl", lines.encode())
        steps.update(queries=0, steps=0)
        with pytest.raises(rewind.ArtifactIntegrityError, match="digest of its simulation"):
            import_bundle(str(tmp_path / "there"), str(tmp_path / f"{n}.zip"))
        found.append(dict(steps))
    assert found[1]["steps"] <= 2.2 * found[0]["steps"]


def repacked(source, target, member, data):
    """Write a file again with other bytes for a member, and digests that fit."""
    import hashlib
    import zipfile

    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        facts = json.loads(old.read("manifest.json"))
        facts["members"][member] = [len(data), hashlib.blake2b(data, digest_size=32).hexdigest()]
        facts["digest"] = digest_of_manifest(facts)
        for name in old.namelist():
            new.writestr(name, {"manifest.json": json.dumps(facts), member: data}.get(name, old.read(name)))


@pytest.mark.parametrize(
    "texts",
    [
        ['{"a":1', '"b":2}', '{"c":3}'],
        ['{"a":1},{"b":2}', '{"c":3', '"d":4}'],
        ['{"a":"x}', '{y"}', '{"z":1},{"u":2}'],
        ["", '{"a":1},{"b":2}'],
        ['{"a":1}', "3", '{"b":2}'],
    ],
)
def test_rows_that_are_parsed_together_are_not_taken_for_one_another(tmp_path, texts):
    rewind.init(dir=tmp_path, id="a").finish()
    store = Store(str(tmp_path))
    rows = list(enumerate(texts))
    with pytest.raises(rewind.StoreDamagedError, match="the row of step"):
        history.parsed(store, rows)
    store.close()


def test_rows_are_parsed_together_where_nothing_is_nested_in_them(tmp_path):
    with rewind.init(dir=tmp_path, id="a") as run:
        for x in (1, 2.5, None, True, "text", float("nan"), [1, {"a": 2}], "a } and { in text", "]["):
            run.log({"x": x, "y": 1})
            run.log({})
        rows = run.history()
        assert [row["y"] for row in rows[::2]] == [1] * 9 and rows[1::2] == [{"_step": i} for i in range(1, 18, 2)]
        assert [repr(row["x"]) for row in rows[::2]] == [
            *("1", "2.5", "None", "True", "'text'", "nan", "[1, {'a': 2}]", "'a } and { in text'", "']['")
        ]
        assert (
            repr(run.history(["x"])) == repr(list(run.scan_history(["x"]))) == repr(rows[::2]).replace(", 'y': 1", "")
        )
        assert run.history(["_step"]) == [{"_step": i} for i in range(18)]
        store = Store(str(tmp_path))
        few = [(0, '{"x":1}'), (1, "{}"), (2, '{"x":"b","y":null}')]
        assert history.parsed(store, few) == ([{"x": 1}, {}, {"x": "b", "y": None}], True)
        store.close()
