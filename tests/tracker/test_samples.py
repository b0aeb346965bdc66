"""A history in buckets, and when its rows were logged: both are beside the rows, exact, and there after a rewind."""

from __future__ import annotations

import random
import sqlite3

import pytest

import rewind
from rewind.tracker.store import database, pyramid, sampled

pytestmark = pytest.mark.once

NAN = float("nan")


def rows_read(monkeypatch):
    """Count the rows that buckets are made of one by one."""
    read = []
    kept = sampled.kept_own

    def counted(*given):
        for row in kept(*given):
            read.append(row[0])
            yield row

    monkeypatch.setattr(sampled, "kept_own", counted)
    return read


def expected(rows):
    """Return min, max and last of each key of some rows, by Python's own."""
    found = {"_first": rows[0]["_step"], "_step": rows[-1]["_step"]}
    for key in dict.fromkeys(key for row in rows for key in row if key != "_step"):
        values = [row[key] for row in rows if row.get(key) is not None]
        numbers = [value for value in values if isinstance(value, (int, float))]
        sound = [value for value in numbers if value == value]
        if values:
            found[key] = {"min": min(sound), "max": max(sound)} if sound else {}
            found[key]["last"] = values[-1]
    return found


def check(run, samples, keys=None, **window):
    """Hold buckets to the rows that they are over, all of which are in one of them."""
    rows, made = run.history(keys, **window), run.history(keys, samples=samples, **window)
    assert len(made) <= samples
    if keys:  # a bucket without values is none
        rows = [row for row in rows if any(row.get(key) is not None for key in keys)]
    parts = [[row for row in rows if one["_first"] <= row["_step"] <= one["_step"]] for one in made]
    assert [row["_step"] for part in parts for row in part] == [row["_step"] for row in rows]
    for one, part in zip(made, parts, strict=True):
        wanted = {**expected(part), "_first": one["_first"], "_step": one["_step"]} if keys else expected(part)
        assert repr(dict(sorted(one.items()))) == repr(dict(sorted(wanted.items())))
    return len(made)


def log(run, n, seed=0):
    draw = random.Random(seed)
    for i in range(n):
        row = {"x": draw.gauss(0, 1), "n": draw.randrange(10), "t": f"text {i}"}
        if i % 3 == 0:
            row |= {"sparse": draw.choice([1, 1.0, NAN, None, True, [i], float("inf"), -0.0, 0.0, 1 << 80])}
        run.log(row, step=i * 2 if i < 300 else None, commit=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    with rewind.init(dir=folder, id="a") as run:
        log(run, 4200)
    with rewind.init(dir=folder, resume_from="a?_step=3210") as run:
        log_more(run)
    with rewind.init(dir=folder, fork_from="a@1?_step=100", id="b") as run:
        log_more(run)
    return folder


def log_more(run):
    for i in range(700):
        run.log({"x": -i / 7, "later": i})


@pytest.mark.parametrize("ref", ["a@1", "a", "b"])
@pytest.mark.parametrize("samples", [1, 60, 500])
def test_buckets_have_min_max_and_last_of_exactly_their_rows(folder, ref, samples):
    run = rewind.Tracker(folder).run(ref)
    n = check(run, samples)
    assert n >= min(samples, len(run.history())) // 2
    check(run, samples, min_step=333, max_step=3300)
    check(run, samples, ["x"])
    check(run, samples, ["later", "sparse"])


def test_a_long_history_is_sampled_without_reading_its_rows(folder, monkeypatch):
    read = rows_read(monkeypatch)
    assert len(rewind.Tracker(folder).run("a@1").history(samples=30)) >= 15
    assert len(read) == 0
    rewind.Tracker(folder).run("a").history(samples=30)  # cut within a cell, by the rewind
    assert len(read) < pyramid.CELL


def test_a_run_that_is_being_logged_to_is_sampled_up_to_its_last_row(tmp_path):
    with rewind.init(dir=tmp_path, id="a") as run:
        assert run.history(samples=3) == []
        log(run, 4500)
        check(run, 20)
        log_more(run)
        check(run, 20)
    check(run, 20)


def test_samples_survive_export_and_import(folder, tmp_path, monkeypatch):
    rewind.Tracker(folder).export("b", tmp_path / "b.zip")
    rewind.init(dir=tmp_path / "there", id="other").finish()
    there = rewind.Tracker(tmp_path / "there")
    there.import_file(tmp_path / "b.zip")
    read = rows_read(monkeypatch)
    assert repr(there.run("b").history(samples=9)) == repr(rewind.Tracker(folder).run("b").history(samples=9))
    assert there.run("a@1").history(samples=30) and len(read) < 3 * pyramid.CELL
    assert there.run("b").history(times=True) == rewind.Tracker(folder).run("b").history(times=True)
    assert there.fsck().ok


def test_what_was_backfilled_is_in_the_buckets(tmp_path):
    with rewind.init(dir=tmp_path, id="a") as run:
        run.record(lambda x, rng: x + rng.gauss(0, 1), 0.0, 600, 1, observe={"x": None}, log_every=1, trial=False)
        run.backfill({"square": lambda x: x * x})
        check(run, 10)
    with rewind.init(dir=tmp_path, resume_from="a?_step=301") as run:
        run.log({"square": -1.0})
        check(run, 10)
        check(run, 10, ["square"])


def test_extremes_that_do_not_agree_with_the_rows_are_found(tmp_path):
    with rewind.init(dir=tmp_path, id="a") as run:
        log(run, 200)
    assert rewind.Tracker(tmp_path).fsck().ok
    with sqlite3.connect(tmp_path / "tracker.sqlite") as connection:
        connection.execute("UPDATE pyramids SET cells = replace(cells, 'min', 'max'), level = level + 0, step = step")
        connection.execute(
            "UPDATE pyramids SET cells = substr(cells, 1, length(cells) - 9) || '9' || substr(cells, -8)"
        )
    connection.close()
    assert any("extremes" in problem.text for problem in rewind.Tracker(tmp_path).fsck().problems)


@pytest.mark.parametrize("samples", [0, -1, True, 1.5, "5"])
def test_a_number_of_samples_that_is_none_is_refused(tmp_path, samples):
    with rewind.init(dir=tmp_path) as run, pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError)):
        run.history(samples=samples)


# ---- when rows were logged


def test_rows_carry_when_they_were_logged_and_how_long_the_run_took(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])

    def log_at(run, *times):
        for seconds in times:
            now[0] = seconds
            run.log({"x": seconds})

    with rewind.init(dir=tmp_path, id="a") as run:
        log_at(run, 1001.0, 1002.5, 1004.0)
    now[0] = 5000.0
    with rewind.init(dir=tmp_path, resume_from="a?_step=1") as run:
        log_at(run, 5001.0)
        rows = run.history(times=True)
    assert [row["_timestamp"] for row in rows] == [1001.0, 1002.5, 5001.0]
    assert [row["_runtime"] for row in rows] == [1.0, 2.5, 3.5]  # the time between is not the run's
    assert rows[0] == {"_step": 0, "x": 1001.0, "_timestamp": 1001.0, "_runtime": 1.0}
    assert run.history(["_runtime"], min_step=2) == [{"_step": 2, "_runtime": 3.5}]
    assert list(run.scan_history(times=True)) == rows
    assert run.history()[0] == {"_step": 0, "x": 1001.0}  # the same noise gives the same rows


def test_a_time_that_was_altered_is_found(tmp_path):
    with rewind.init(dir=tmp_path, id="a") as run:
        run.log({"x": 1})
    with sqlite3.connect(tmp_path / "tracker.sqlite") as connection:
        connection.execute("UPDATE rows SET seconds = seconds + 1")
    connection.close()
    assert not rewind.Tracker(tmp_path).fsck().ok


# ---- a store of an earlier release


@pytest.fixture
def old(tmp_path):
    """A folder as release 0.5 left it, whose database lacks what version 2 adds."""
    connection = sqlite3.connect(tmp_path / "tracker.sqlite", isolation_level=None)
    connection.executescript(database._SCHEMA)
    connection.execute(f"PRAGMA application_id = {database.APPLICATION}")
    connection.execute("PRAGMA user_version = 1")
    rows = [(1, i, f'{{"x":{float(i)}}}') for i in range(300)]
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
    facts = "uid, run, number, kind, parent_step, name, tags, config, state, began"
    values = (1, "a", 1, "begun", -1, "a", "[]", "{}", "running", 1000.0)
    connection.execute(f"INSERT INTO revisions ({facts}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.execute("INSERT INTO runs VALUES ('a', NULL, NULL, 1000.0, 1, 0)")
    connection.close()
    return tmp_path


def test_a_store_of_release_0_5_is_read_as_it_is(old):
    run = rewind.Tracker(old).run("a")
    assert check(run, 10) == 10 and run.status == "crashed"
    assert run.history(["_timestamp"]) == [] and run.history(times=True) == run.history()
    assert run.summary == {"x": 299.0, "_step": 299}
    assert rewind.Tracker(old).fsck().ok
    connection = sqlite3.connect(old / "tracker.sqlite")
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_a_store_of_release_0_5_goes_on_being_written(old):
    with rewind.init(dir=old, resume_from="a?_step=200") as run:
        log_more(run)
        check(run, 30)
    assert [len(one.history()) for one in run.revisions] == [300, 901]
    rows = run.history(times=True)
    assert "_timestamp" not in rows[200] and rows[201]["_timestamp"] > 0
    assert rewind.Tracker(old).fsck().ok
