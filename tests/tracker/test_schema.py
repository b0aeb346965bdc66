"""The schema of a tracker's database: what else is in it is damage, for every call, and nothing of it runs."""

from __future__ import annotations

import json

import pytest
from helpers.tracked_family import execute

import rewind
from rewind.cli.main import main
from rewind.tracker.store.database import Store

pytestmark = pytest.mark.once

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT"
EXTRA = {
    "trigger": "CREATE TRIGGER gone AFTER INSERT ON rows BEGIN DELETE FROM rows WHERE revision = new.revision; END",
    "view": f"CREATE VIEW endless AS {ENDLESS} i FROM n",
    "table": "CREATE TABLE notes (text)",
    "index": "CREATE INDEX by_data ON rows (data)",
}
ALTERED = {
    "a view without an end as a table": (
        f"DROP TABLE rows; CREATE VIEW rows AS {ENDLESS} 1 AS revision, i AS step, '{{}}' AS data FROM n",
        "no such table: rows",
    ),
    "a table that is missing": ("DROP TABLE lines", "no such table: lines"),
    "an index that is missing": ("DROP INDEX revisions_parent", "no such index: revisions_parent"),
    "a column more": ("ALTER TABLE runs ADD COLUMN more", "the table 'runs' is not as it was made"),
    "a computed column": (
        "DROP TABLE lines; CREATE TABLE lines (revision, n, step, stream, text AS (upper(stream)))",
        "the table 'lines' is not as it was made",
    ),
}


@pytest.fixture
def folder(tmp_path):
    with rewind.init(dir=tmp_path / ".rewind", id="a") as run:
        run.log({"x": 1})
    return str(tmp_path / ".rewind")


def alter(folder, sql):
    statements = [sql] if sql.startswith("CREATE TRIGGER") else sql.split(";")
    for statement in statements:
        execute(folder, statement)


VERBS = {
    "runs": lambda folder, at: rewind.Tracker(folder).runs(),
    "run": lambda folder, at: rewind.Tracker(folder).run("a"),
    "len": lambda folder, at: len(rewind.Tracker(folder)),
    "export": lambda folder, at: rewind.Tracker(folder).export("a", at / "a.zip"),
    "purge": lambda folder, at: rewind.Tracker(folder).purge("a"),
    "remove": lambda folder, at: rewind.Tracker(folder).remove("a"),
    "init": lambda folder, at: rewind.init(dir=folder, id="b"),
    "resume": lambda folder, at: rewind.init(dir=folder, id="a", resume="must"),
    "rewind": lambda folder, at: rewind.init(dir=folder, resume_from="a?_step=0"),
    "fork": lambda folder, at: rewind.init(dir=folder, fork_from="a?_step=0"),
}
SHELL = {
    "ls": ["ls"],
    "log": ["log"],
    "show": ["show", "a"],
    "history": ["history", "a"],
    "export": ["export", "a", "-o"],
    "rm": ["rm", "a", "--yes"],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("what", [*EXTRA, *ALTERED])
def test_another_schema_is_damage_for_every_verb(folder, tmp_path, what, verb):
    alter(folder, EXTRA.get(what) or ALTERED[what][0])
    expected = f"there is a {what} " if what in EXTRA else ALTERED[what][1]
    with pytest.raises(rewind.StoreDamagedError, match=f"it is damaged: {expected}"):
        VERBS[verb](folder, tmp_path)


@pytest.mark.parametrize("verb", SHELL)
@pytest.mark.parametrize("what", ["trigger", "a view without an end as a table"])
def test_another_schema_is_damage_for_every_verb_of_the_shell(folder, tmp_path, capsys, what, verb):
    alter(folder, EXTRA.get(what) or ALTERED[what][0])
    more = [str(tmp_path / "a.zip")] if verb == "export" else []
    assert main([*SHELL[verb], *more, "--dir", folder]) == 2
    assert "it is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("what", [*EXTRA, *ALTERED])
def test_fsck_names_what_is_wrong_with_the_schema(folder, capsys, what):
    alter(folder, EXTRA.get(what) or ALTERED[what][0])
    report = rewind.Tracker(folder).fsck()
    expected = f"there is a {what} " if what in EXTRA else ALTERED[what][1]
    assert not report.ok and any(f"the database: {expected}" in str(problem) for problem in report.problems)
    altered = what in ("a view without an end as a table", "a column more", "a computed column")
    assert report.n_rows == (0 if altered else 1)  # what can be read is checked
    assert main(["fsck", folder, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_trigger_that_comes_while_a_run_is_open_is_found_by_the_next_write(folder):
    run = rewind.init(dir=folder, id="b")
    run.log({"x": 1})
    run.flush()
    alter(folder, EXTRA["trigger"])
    run.log({"x": 2})
    with pytest.raises(rewind.StoreDamagedError, match="there is a trigger 'gone'"):
        run.flush()
    execute(folder, "DROP TRIGGER gone")
    run.finish()
    assert [row["x"] for row in rewind.Tracker(folder).run("b").history()] == [1, 2]


def test_what_tools_do_to_a_database_is_no_damage(folder):
    run = rewind.init(dir=folder, id="b")
    for statement in ("ANALYZE", "REINDEX", "PRAGMA optimize"):
        execute(folder, statement)
    run.log({"x": 1})
    run.finish()
    execute(folder, "VACUUM")
    assert rewind.Tracker(folder).fsck().ok


@pytest.mark.parametrize("write", [False, True])
def test_no_schema_is_trusted_and_no_extension_is_loaded(folder, write):
    store = Store(folder, write=write)
    try:
        assert store.read("PRAGMA trusted_schema") in ([(0,)], [])  # SQLite before 3.31 does not know it
        with pytest.raises(rewind.StoreError, match="not authorized"):
            store.read("SELECT load_extension('libm')")
    finally:
        store.close()
