"""One file with everything of a run: what comes back of it, and what is refused of what nobody wrote."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile

import pytest
from helpers.programs import without_source
from helpers.tracked_family import attach, copied, execute, killed, made_once, open_bytes, seen, step

import rewind
from rewind.errors import (
    ArtifactError,
    ArtifactFormatError,
    ArtifactIntegrityError,
    ArtifactNotFoundError,
    ArtifactVersionError,
    RewindError,
    RunBusyError,
    RunExistsError,
    StoreError,
    TrackedArtifactError,
    TrackerError,
)
from rewind.tracker.transfer.export import digest_of_manifest
from rewind.tracker.transfer.import_ import import_bundle
from rewind.tracker.transfer.merge import Merge

pytestmark = pytest.mark.once

RUNS = ("root", "of_archived", "fork", "of_fork")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return made_once(tmp_path_factory)


@pytest.fixture
def folder(original, tmp_path):
    return copied(original, tmp_path)


@pytest.fixture(scope="module")
def file(original, tmp_path_factory):
    """The file of a fork of a fork."""
    path = tmp_path_factory.mktemp("bundle") / "of_fork.zip"
    rewind.Tracker(original).export("of_fork", path)
    return path


@pytest.fixture
def there(tmp_path):
    return str(tmp_path / "there")


def sound(folder):
    report = rewind.Tracker(folder).fsck(replay=attach)
    assert report.ok, report.problems
    assert report.leftovers == ()
    assert not [name for name in os.listdir(folder) if name.startswith(".rewind.tmp-")]


# ---- there and back


@pytest.mark.parametrize("run", RUNS)
def test_a_run_is_the_same_elsewhere(original, there, tmp_path, run):
    path = tmp_path / "file"
    tracker = rewind.Tracker(original)
    tracker.export(run, path)
    assert import_bundle(there, path)[0] == run
    here = rewind.Tracker(there)
    assert [revision.id for revision in here] == [run]
    for revision in tracker.run(run).revisions:
        assert seen(there, revision.ref) == seen(original, revision.ref)
    for moment in tracker.run(run).lineage:
        ref = f"{moment.run_id}@{moment.revision}"
        assert here.run(ref).digest == tracker.run(ref).digest
    assert {revision.id for revision in here.runs(removed=True)} == {m.run_id for m in here.run(run).lineage} - {run}
    sound(there)


def test_a_run_is_rewound_and_forked_elsewhere(file, there):
    import_bundle(there, file)
    with rewind.init(dir=there, resume_from="of_fork?_step=30") as run:
        assert run.attach(step).state is not None
        run.record(n_steps=40)
        assert run.revision == 2
    with rewind.init(dir=there, fork_from="of_fork@1?_step=45") as run:
        assert run.step == 46 and run.history()
    sound(there)


def test_the_same_run_gives_the_same_bytes_and_so_does_its_copy(original, file, there, tmp_path):
    rewind.Tracker(original).export("of_fork", tmp_path / "again")
    assert open_bytes(tmp_path / "again") == open_bytes(file)
    import_bundle(there, file)
    rewind.Tracker(there).export("of_fork", tmp_path / "copy")
    assert open_bytes(tmp_path / "copy") == open_bytes(file)


def test_the_manifest_comes_first_and_rows_are_lines_of_json(file):
    with zipfile.ZipFile(file) as zipped:
        assert zipped.namelist()[0] == "manifest.json"
        facts = json.loads(zipped.read("manifest.json"))
        assert (facts["format"], facts["version"], facts["run"]) == ("rewind.tracker", 2, "of_fork")
        rows = [json.loads(line) for line in zipped.read("rows/0.jsonl").splitlines()]
        assert rows[1][:2] == [3, {"x": 1, "y": 1.5, "t.s": "é"}] and type(rows[1][2]) is float


def test_what_is_here_already_is_left_as_it_is(original, folder, file):
    assert rewind.Tracker(folder).import_file(file) == []
    assert {run: seen(folder, run) for run in RUNS} == {run: seen(original, run) for run in RUNS}
    sound(folder)


def test_runs_meet_again_with_those_they_come_from(original, there, tmp_path):
    tracker = rewind.Tracker(original)
    for run in RUNS:
        tracker.export(run, tmp_path / run)
    assert import_bundle(there, tmp_path / "of_archived") == ["of_archived", "root"]
    assert import_bundle(there, tmp_path / "of_fork") == ["of_fork", "fork", "root"]
    assert import_bundle(there, tmp_path / "fork") == ["fork"]  # it was there, and removed
    assert import_bundle(there, tmp_path / "root") == ["root"]
    assert import_bundle(there, tmp_path / "root") == []
    assert {run.id for run in rewind.Tracker(there)} == set(RUNS)
    assert {run: seen(there, run) for run in RUNS} == {run: seen(original, run) for run in RUNS}
    sound(there)


def test_revisions_that_came_later_are_added(folder, there, tmp_path):
    tracker = rewind.Tracker(folder)
    tracker.export("of_fork", tmp_path / "old")
    import_bundle(there, tmp_path / "old")
    with rewind.init(dir=folder, resume_from="of_fork?_step=43") as run:
        run.log({"later": 1})
    tracker.export("of_fork", tmp_path / "new")
    assert import_bundle(there, tmp_path / "new") == ["of_fork"]
    assert rewind.Tracker(there).run("of_fork").revision == 2
    assert import_bundle(there, tmp_path / "old") == []
    assert rewind.Tracker(there).run("of_fork").revision == 2
    sound(there)


def test_what_was_purged_comes_back_whole(original, folder, tmp_path):
    tracker = rewind.Tracker(folder)
    tracker.export("root", tmp_path / "file")
    tracker.purge("root")
    tracker.export("of_fork", tmp_path / "purged")
    assert tracker.import_file(tmp_path / "file") == ["root"]
    assert {run: seen(folder, run) for run in RUNS} == {run: seen(original, run) for run in RUNS}
    sound(folder)
    assert import_bundle(str(tmp_path / "there"), tmp_path / "purged") == ["of_fork", "fork", "root"]
    assert seen(str(tmp_path / "there"), "of_fork") == seen(original, "of_fork")
    sound(str(tmp_path / "there"))


def test_a_run_that_was_purged_is_not_exported(folder, tmp_path):
    rewind.Tracker(folder).purge("root")
    with pytest.raises(TrackerError, match="it was purged"):
        rewind.Tracker(folder).export("root", tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_another_run_of_the_same_id_is_refused_by_name(file, tmp_path):
    folder = str(tmp_path / "other")
    with rewind.init(dir=folder, id="of_fork") as run:
        run.log({"x": 1})
    with pytest.raises(RunExistsError, match="of_fork"):
        rewind.Tracker(folder).import_file(file)
    assert [run.id for run in rewind.Tracker(folder)] == ["of_fork"]
    assert rewind.Tracker(folder).runs(removed=True) == []
    sound(folder)


def test_another_artifact_of_the_same_name_is_refused_by_name(file, tmp_path):
    folder, other = str(tmp_path / "other"), tmp_path / "x"
    other.write_text("another")
    with rewind.init(dir=folder, id="mine") as run:
        run.log_artifact(other, name="early")
    with pytest.raises(TrackedArtifactError, match="early:v0"):
        rewind.Tracker(folder).import_file(file)
    sound(folder)


def test_a_run_that_is_being_written_is_neither_exported_nor_imported_over(folder, file, tmp_path):
    with rewind.init(dir=folder, id="of_fork", resume="must"):
        with pytest.raises(RunBusyError, match="of_fork"):
            rewind.Tracker(folder).export("of_fork", tmp_path / "file")
        with rewind.init(dir=folder, id="child", fork_from="of_fork?_step=45"):
            pass
        with pytest.raises(RunBusyError, match="of_fork"):
            rewind.Tracker(folder).export("child", tmp_path / "file")
    rewind.Tracker(folder).export("of_fork", tmp_path / "file")
    other = str(tmp_path / "there")
    import_bundle(other, file)
    with rewind.init(dir=other, id="of_fork", resume="must"), pytest.raises((RunBusyError, RunExistsError)):
        rewind.Tracker(other).import_file(tmp_path / "file")


@pytest.mark.filterwarnings("ignore::rewind.StepSourceWarning")  # another function, which does the same
def test_a_run_that_was_killed_while_it_recorded_comes_with_its_journal(folder, there, tmp_path):
    code = f"""
import os, rewind
def step(x, rng):
    if x > 20:
        os._exit(9)
    return x + 1
run = rewind.init("p", dir={folder!r}, id="killed")
run.record(step, 0, 100, seed=1, observe={{"x": None}}, log_every=2, block_size=5, trial=False)
"""
    assert subprocess.run([sys.executable, "-c", without_source(code)], check=False).returncode == 9
    rewind.Tracker(folder).export("killed", tmp_path / "file")
    assert rewind.Tracker(folder).run("killed").status == "crashed"
    import_bundle(there, tmp_path / "file")
    assert [name for name in os.listdir(f"{there}/simulations")] == ["killed.1.1.replay.journal"]
    run = rewind.Tracker(there).run("killed").attach(lambda x, rng: x + 1)
    assert run.history() == rewind.Tracker(folder).run("killed").history()
    assert run.state_at(17) == 17
    sound_report = rewind.Tracker(there).fsck()
    assert sound_report.ok, sound_report.problems


def test_a_killed_run_without_a_simulation_is_closed_and_exported(folder, there, tmp_path):
    killed(folder)
    rewind.Tracker(folder).export("killed", tmp_path / "file")
    import_bundle(there, tmp_path / "file")
    assert seen(there, "killed") == seen(folder, "killed")


def test_contents_that_would_pack_like_a_bomb_are_exported_and_imported(there, tmp_path):
    (tmp_path / "zeros").write_bytes(bytes(3 << 20))
    with rewind.init(dir=str(tmp_path / "here"), id="a") as run:
        run.log_artifact(tmp_path / "zeros")
        for _ in range(5_000):
            run.log({"x": 0})
    rewind.Tracker(tmp_path / "here").export("a", tmp_path / "file")
    assert import_bundle(there, tmp_path / "file") == ["a"]
    assert len(rewind.Tracker(there).run("a").history()) == 5_000
    sound(there)


def test_an_export_that_fails_leaves_the_old_file(folder, tmp_path):
    (tmp_path / "file").write_text("old")
    (path,) = [os.path.join(h, n) for h, _, names in os.walk(f"{folder}/contents") for n in names if n != "x"][:1]
    os.unlink(path)
    with pytest.raises(RewindError):
        rewind.Tracker(folder).export("root", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".rewind.")] == []


# ---- what nobody wrote


def rewritten(file, target, change, honest=True):
    """Write the members of a file as `change(members)` leaves them, with digests that fit, if that is honest."""
    with zipfile.ZipFile(file) as zipped:
        members = {name: zipped.read(name) for name in zipped.namelist()}
    change(members)
    facts = json.loads(members.pop("manifest.json"))
    if honest:
        for name in [*facts["members"], *members]:
            if name in members and not name.startswith("contents/"):
                data = members[name]
                facts["members"][name] = [len(data), hashlib.blake2b(data, digest_size=32).hexdigest()]
            else:
                facts["members"].pop(name, None)
        facts["digest"] = digest_of_manifest(facts)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("manifest.json", json.dumps(facts))
        for name, data in members.items():
            out.writestr(name, data)
    return target


def line(table, i, change):
    """Return what changes the i-th line of a table."""

    def of(members):
        name = f"{table}.jsonl"
        lines = members[name].splitlines()
        value = json.loads(lines[i])
        changed = change(value)
        lines[i] = json.dumps(value if changed is None else changed).encode()
        members[name] = b"\n".join(lines) + b"\n"

    return of


def fact(name, value, i=0):
    return line("revisions", i, lambda facts: facts.update({name: value}))


def cell(table, k, value, i=0):
    return line(table, i, lambda row: row.__setitem__(k, value))


def put(name, data):
    return lambda members: members.__setitem__(name, data)


def drop(name):
    return lambda members: members.pop(name)


def twice(name):
    return lambda members: members.update({name: members[name].split(b"\n")[0] + b"\n" + members[name]})


def every(prefix, change):
    return lambda members: members.update({n: change(data) for n, data in members.items() if n.startswith(prefix)})


def swapped(name, old, new):
    def change(members):
        assert old in members[name]
        members[name] = members[name].replace(old, new, 1)

    return change


LIES = {
    "a row": swapped("rows/0.jsonl", b'"x":1', b'"x":2'),
    "a row less": lambda members: members.update({"rows/0.jsonl": members["rows/0.jsonl"].split(b"\n", 1)[1]}),
    "a row twice": twice("rows/0.jsonl"),
    "a row of no JSON": swapped("rows/0.jsonl", b'"x":1', b'"x":NaN'),
    "a row with a key twice": swapped("rows/0.jsonl", b'"x":1', b'"x":1,"x":1'),
    "a row of objects": swapped("rows/0.jsonl", b'"x":1', b'"x":{"ndarray":["|O",[1],"AAAAAAAAAAA="]}'),
    "a row of a huge array": swapped("rows/0.jsonl", b'"x":1', b'"x":{"ndarray":["<f8",[1000000000],""]}'),
    "a row that is deep": swapped("rows/0.jsonl", b'"x":1', b'"x":' + b"[" * 100_000 + b"]" * 100_000),
    "a row at a step that is none": swapped("rows/0.jsonl", b"[3,", b"[99999999999999999999,"),
    "a row at -1": swapped("rows/0.jsonl", b"[0,", b"[-1,"),
    "a row of half a line": lambda members: members.update({"rows/0.jsonl": members["rows/0.jsonl"][:-9]}),
    "rows that are not UTF-8": put("rows/0.jsonl", b'[0,{"\xff":1}]\n'),
    "no rows": drop("rows/0.jsonl"),
    "rows of nobody": put("rows/77.jsonl", b""),
    "no table": drop("lines.jsonl"),
    "a run id": line("runs", 0, lambda facts: facts.update(id="../x")),
    "a run twice": lambda members: members.update({"runs.jsonl": members["runs.jsonl"] * 2}),
    "a label": line("runs", 0, lambda facts: facts.update(project=5)),
    "half a surrogate": line("runs", 0, lambda facts: facts.update(project="\ud800")),
    "facts more": fact("uid", 5),
    "a config": fact("config", {"k": 5}),
    "a config of no object": fact("config", []),
    "a summary": fact("summary", {"x": 99}),
    "a name": fact("name", "other"),
    "a tag": fact("tags", [5]),
    "a definition": fact("defined", {"y": {"summary": ["median"]}}),
    "a parent": fact("parent", 0),
    "a parent that is none": fact("parent", True, 1),
    "a parent after it": fact("parent", 99, 1),
    "a parent step": fact("parent_step", 11, 1),
    "a kind": fact("kind", "other"),
    "a state": fact("state", "running"),
    "a state of a purged one": fact("state", "purged"),
    "a number": fact("number", 0),
    "a number twice": fact("number", 1, 1),
    "a run of another": fact("run", "nobody"),
    "a digest": fact("digest", "0" * 64),
    "a digest of nothing": fact("digest", None),
    "a digest of a parent": fact("parent_digest", "0" * 64, 1),
    "a digest of a simulation": fact("simulation_digest", "0" * 64, 1),
    "a number of rows": fact("n_rows", 1 << 70),
    "a last step": fact("last_step", 3),
    "a time": fact("began", "now"),
    "a line": cell("lines", 4, "other"),
    "a line of nobody": cell("lines", 0, 99),
    "a line at a true step": cell("lines", 2, True),
    "a line with more": line("lines", 0, lambda row: [*row, 1]),
    "a value assigned": cell("assigned", 4, "4"),
    "a value assigned of no JSON": cell("assigned", 4, "{"),
    "a value computed": cell("backfilled", 3, "0.5"),
    "an artifact": cell("artifacts", 0, "../x"),
    "an artifact with another manifest": cell("artifacts", 4, "[]"),
    "an artifact with a path": swapped("artifacts.jsonl", b"read me.txt", b"../readme"),
    "an artifact of nobody": lambda members: members.update({"artifact_events.jsonl": b""}),
    "an event": cell("artifact_events", 2, 9),
    "an event of nothing": cell("artifact_events", 4, 99),
    "an event with an alias": cell("artifact_events", 5, "[5]"),
    "a simulation": cell("simulations", 2, 3),
    "a simulation with metrics": cell("simulations", 6, {"s": 5}),
    "a simulation of another kind": cell("simulations", 8, "../../x"),
    "a simulation of no file": cell("simulations", 8, None),
    "a file of a simulation": every("simulations/", lambda data: data[:900] + b"rubbish" + data[907:]),
    "a file of no simulation": put("simulations/0.1.replay", b"x"),
    "a member outside": put("../x", b"x"),
    "a member from the root": put("/tmp/x", b"x"),
    "a member of another name": put("contents/x", b"x"),
    "contents of nobody": put("contents/" + "0" * 64, b"x"),
    "contents that are others": every("contents/", lambda data: b"x"),
    "no contents": lambda members: members.pop(next(name for name in members if name.startswith("contents/"))),
}  # fmt: skip


@pytest.mark.parametrize("what", LIES)
def test_a_file_that_somebody_made_up_with_fitting_digests_is_refused(file, there, tmp_path, what):
    path = rewritten(file, tmp_path / "file", LIES[what])
    with pytest.raises((ArtifactFormatError, ArtifactIntegrityError)) as caught:
        import_bundle(there, path)
    assert str(path) in str(caught.value)
    assert not os.path.exists(there)
    assert sorted(os.listdir(tmp_path)) == ["file"]


def manifest(**facts):
    def change(members):
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), **facts}).encode()

    return change


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (manifest(format="other"), ArtifactFormatError),
        (manifest(version=3), ArtifactVersionError),
        (manifest(version="1"), ArtifactFormatError),
        (manifest(run="fork"), ArtifactError),
        (manifest(run=5), ArtifactError),
        (manifest(more=5), ArtifactError),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(file, there, tmp_path, change, error, honest):
    with pytest.raises(error):
        import_bundle(there, rewritten(file, tmp_path / "file", change, honest))
    assert not os.path.exists(there)


def test_facts_that_no_revision_digests_are_held_by_the_manifest(file, there, tmp_path):
    change = fact("exit_code", 3)
    with pytest.raises(ArtifactIntegrityError, match=r"revisions\.jsonl"):
        import_bundle(there, rewritten(file, tmp_path / "file", change, honest=False))


def test_what_would_unpack_to_too_much_is_refused_before_it_is(file, there, tmp_path):
    with pytest.raises(ArtifactFormatError, match="would unpack"):
        import_bundle(there, rewritten(file, tmp_path / "file", put("lines.jsonl", bytes(64 << 20))))


def test_members_twice_are_refused(file, there, tmp_path):
    data = io.BytesIO(open_bytes(file))
    with zipfile.ZipFile(data, "a") as zipped, pytest.warns(UserWarning, match="Duplicate"):
        zipped.writestr("runs.jsonl", b"")
    (tmp_path / "file").write_bytes(data.getvalue())
    with pytest.raises(ArtifactFormatError, match="two members"):
        import_bundle(there, tmp_path / "file")


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip file", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_file_is_refused(there, tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ArtifactFormatError, match="no file of a tracked run"):
        import_bundle(there, tmp_path / "file")
    assert not os.path.exists(there)


def test_a_file_that_is_not_there_or_a_folder_is_an_error_of_the_file(there, tmp_path):
    with pytest.raises(ArtifactNotFoundError):
        import_bundle(there, tmp_path / "none")
    with pytest.raises(ArtifactError):
        import_bundle(there, tmp_path)
    assert not os.path.exists(there)


def test_a_folder_that_cannot_be_made_is_an_error_of_the_folder(file, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(StoreError):
        import_bundle(str(tmp_path / "x" / "y"), file)


def test_damaged_files_are_refused_or_give_the_same_run(original, file, tmp_path):
    data, chance = open_bytes(file), random.Random(5)
    expected, n_refused = seen(original, "of_fork"), 0
    for trial in range(100):
        damaged = bytearray(data)
        if trial % 5 == 4:
            del damaged[chance.randrange(len(data)) :]
        elif trial % 5 == 3:
            at = chance.randrange(len(data))
            damaged[at:at] = bytes(chance.randrange(1, 9))
        else:
            # Half of them where the names and sizes are.
            low = data.rindex(b"PK\x01\x02") - 1500 if trial % 2 else 0
            for _ in range(chance.choice([1, 1, 3])):
                damaged[chance.randrange(low, len(data))] ^= 1 << chance.randrange(8)
        path, there = tmp_path / "file", str(tmp_path / f"there{trial}")
        path.write_bytes(damaged)
        try:
            import_bundle(there, path)
        except ArtifactError as error:
            assert str(path) in str(error)
            assert not os.path.exists(there)
            n_refused += 1
        else:
            assert seen(there, "of_fork") == expected
    assert n_refused > 50


def test_nothing_is_changed_where_the_disk_fails_in_the_middle(original, folder, tmp_path, monkeypatch):
    rewind.Tracker(folder).export("of_fork", tmp_path / "file")
    for name in ("of_fork", "of_archived"):
        rewind.Tracker(folder).purge(name)
    before = {run: seen(folder, run) for run in ("root", "fork")}
    monkeypatch.setattr(Merge, "_move_simulations", lambda *_: execute(folder, "SELECT 1") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rewind.Tracker(folder).import_file(tmp_path / "file")
    monkeypatch.undo()
    assert {run: seen(folder, run) for run in ("root", "fork")} == before
    assert len(rewind.Tracker(folder).runs()) == 2
    sound(folder)
