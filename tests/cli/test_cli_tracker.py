"""The verbs for tracked runs: what is listed, drawn, written, removed, sent and checked."""

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import rewind
from rewind.cli.main import main
from rewind.tracker import graph as tree
from rewind.tracker.media import Media
from rewind.tracker.moment import Moment

pytestmark = pytest.mark.once

ROOT = Path(rewind.__file__).parents[1]
BEGAN = 1_700_000_000  # 2023-11-14T22:13:20Z


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to be in, without a tracker, in UTC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REWIND_DIR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def cli(capsys):
    def call(*argv):
        code = main([str(arg) for arg in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def logged(n, values=None, **options):
    """A finished run of `n` rows more."""
    with rewind.init(**options) as run:
        for _ in range(n):
            run.log({"x": run.step / 2} if values is None else values)
    return run


def killed(program):
    """Run a program that ends by SIGKILL, behind its last line."""
    code = f"import os, rewind\n{textwrap.dedent(program)}\nrun.flush(); os.kill(os.getpid(), 9)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=env, timeout=60).returncode == -signal.SIGKILL


def began_at_fixed_times():
    """Give all runs times that a test can write down: a second apart, in the order they began."""
    with sqlite3.connect(".rewind/tracker.sqlite") as database:
        database.execute("UPDATE revisions SET began = ? + uid, ended = NULL", (BEGAN,))
        query = "UPDATE runs SET began = (SELECT min(began) FROM revisions WHERE run = runs.id)"
        database.execute(query)
    database.close()


@pytest.fixture(scope="module")
def family_made(tmp_path_factory):
    """Make, once, the folder that `family` copies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("family"))
        patch.delenv("REWIND_DIR", raising=False)
        make_family()
        yield Path.cwd() / ".rewind"


@pytest.fixture
def family(family_made, here):
    """A rewind, a rewind of that, a fork of an archived revision, a fork of the fork, and a run that was killed."""
    shutil.copytree(family_made, ".rewind")


def make_family():
    logged(300, id="k3f9", project="walks", config={"rate": 0.1, "how": {"kind": "a", "n": 3}})
    logged(200, resume_from="k3f9?_step=199", config={"rate": 0.5}, tags=["b", "a"], notes="slower\nand wider")
    logged(10, resume_from="k3f9?_step=250")
    logged(5, fork_from="k3f9@1?_step=280", id="side", name="of the archive")
    logged(5, fork_from="side?_step=282", id="deep", project="forks")
    killed("run = rewind.init(id='kill')\nfor i in range(7): run.log({'x': i})")
    began_at_fixed_times()


# ---- ls


def test_ls_has_a_line_for_each_run(family, cli):
    assert cli("ls") == (
        0,
        textwrap.dedent("""\
            id    revisions  status    last step  began                name            project  forked from
            k3f9  3          finished  260        2023-11-14T22:13:21  -               walks    k3f9@2?_step=250
            side  1          finished  285        2023-11-14T22:13:24  of the archive  walks    k3f9@1?_step=280
            deep  1          finished  287        2023-11-14T22:13:25  -               forks    side@1?_step=282
            kill  1          crashed   6          2023-11-14T22:13:26  -               -        -
        """),
        "",
    )
    assert [line.split()[0] for line in cli("ls", "--project", "forks")[1].splitlines()] == ["id", "deep"]
    assert cli("ls", "--project", "none") == (0, "no runs of project 'none'\n", "")
    assert cli("ls", "--removed") == (0, "no removed runs\n", "")


def test_ls_as_json(family, cli):
    facts = json.loads(cli("ls", "--json")[1])
    assert (facts["schema"], facts["verb"], facts["dir"]) == (1, "ls", os.path.abspath(".rewind"))
    assert facts["runs"][1] == {
        "id": "side",
        "revisions": 1,
        "status": "finished",
        "last_step": 285,
        "began": BEGAN + 4,
        "name": "of the archive",
        "project": "walks",
        "entity": None,
        "forked_from": "k3f9@1?_step=280",
        "removed": False,
    }


def test_a_run_that_is_being_written_is_running(here, cli):
    with rewind.init(id="now") as run:
        run.log({"x": 1})
        run.flush()
        assert "now  1          running  0 " in cli("ls")[1]
        assert cli("log", "--oneline")[1] == "now@1  begun, 0, running\n"
        assert "status      running\n" in cli("show", "now")[1]


@pytest.mark.parametrize("argv", [["ls"], ["log"], ["show", "k3f9"], ["history", "k3f9"], ["rm", "k3f9", "-y"]])
def test_a_folder_without_a_tracker_is_exit_2(here, cli, argv):
    code, out, err = cli(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("rewind: error: ") and "there is no tracker here" in err and err.count("\n") == 1
    assert not os.path.exists(".rewind")


def test_an_empty_tracker_has_no_runs(here, cli):
    logged(1, id="gone")
    assert cli("rm", "gone", "--purge", "-y")[0] == 0
    assert cli("ls") == cli("log") == cli("log", "--graph") == (0, "no runs\n", "")
    assert json.loads(cli("log", "--json")[1])["revisions"] == []


def test_the_folder_is_what_dir_says_or_the_environment(here, cli, monkeypatch):
    logged(1, id="here", dir="a")
    assert cli("ls", "--dir", "a")[1].split()[-5] == "here" or "here" in cli("ls", "--dir", "a")[1]
    monkeypatch.setenv("REWIND_DIR", str(here / "a"))
    assert "here" in cli("ls")[1]
    assert cli("ls", "--dir", "b")[0] == 2


def test_a_database_that_is_none_is_exit_2(here, cli):
    os.mkdir(".rewind")
    Path(".rewind/tracker.sqlite").write_text("this is no database at all")
    for argv in (["ls"], ["log"], ["show", "k3f9"], ["history", "k3f9"], ["rm", "k3f9", "-y"]):
        code, out, err = cli(*argv)
        assert (code, out) == (2, "") and "no SQLite database" in err


# ---- log


def test_the_tree_of_a_family(family, cli):
    assert cli("log", "--graph", "--oneline") == (
        0,
        textwrap.dedent("""\
            * kill@1  begun, 0-6, crashed
            * k3f9@3  rewound at step 250 of k3f9@2, 251-260, finished
            o k3f9@2  rewound at step 199 of k3f9@1, 200-399, finished
            | * deep@1  forked at step 282 of side@1, 283-287, finished
            | * side@1  forked at step 280 of k3f9@1, 281-285, finished  "of the archive"
            |/
            o k3f9@1  begun, 0-299, finished
        """),
        "",
    )


def test_the_list_of_a_family_is_the_newest_first(family, cli):
    assert [line.split()[0] for line in cli("log", "--oneline")[1].splitlines()] == [
        "kill@1", "deep@1", "side@1", "k3f9@3", "k3f9@2", "k3f9@1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("run", "refs"),
    [
        ("k3f9", "deep@1 side@1 k3f9@3 k3f9@2 k3f9@1"),  # itself, and what left it
        ("side", "deep@1 side@1 k3f9@1"),  # and what it left, but not the rest of that
        ("deep", "deep@1 side@1 k3f9@1"),
        ("kill", "kill@1"),
        ("k3f9@3", "k3f9@3 k3f9@2 k3f9@1"),
        ("k3f9@1", "k3f9@1"),
    ],
)
def test_the_history_of_one_run(family, cli, run, refs):
    assert [line.split()[0] for line in cli("log", run, "--oneline")[1].splitlines()] == refs.split()
    drawn = cli("log", run, "--oneline", "--graph")[1]
    assert {word for word in drawn.split() if "@" in word and word[-1] != ","} >= set(refs.split())


def test_a_revision_as_a_paragraph(family, cli):
    digest = rewind.Tracker().run("k3f9@2").digest
    assert cli("log", "k3f9@2")[1].split("\n\nrevision k3f9@1")[0] == textwrap.dedent(f"""\
        revision k3f9@2 (archived)
        Parent:   k3f9@1?_step=199 (rewound)
        Digest:   {digest}
        Project:  walks
        Tags:     b, a
        Began:    2023-11-14T22:13:22
        Steps:    200-399, finished
        Config:   rate: 0.1 -> 0.5
        Summary:  x 199.5

            slower
            and wider""")


def test_paragraphs_in_the_tree(family, cli):
    digests = {run.ref: run.digest for run in (rewind.Tracker().run(f"{name}@1") for name in ("deep", "side", "k3f9"))}
    assert cli("log", "deep", "--graph")[1] == textwrap.dedent(f"""\
        * revision deep@1 (current)
        | Parent:   side@1?_step=282 (forked)
        | Digest:   {digests["deep@1"]}
        | Project:  forks
        | Began:    2023-11-14T22:13:25
        | Steps:    283-287, finished
        | Summary:  x 143.5
        |
        * revision side@1 (current)
        | Parent:   k3f9@1?_step=280 (forked)
        | Digest:   {digests["side@1"]}
        | Name:     of the archive
        | Project:  walks
        | Began:    2023-11-14T22:13:24
        | Steps:    281-285, finished
        | Summary:  x 142.5
        |
        o revision k3f9@1 (archived)
          Parent:   begun
          Digest:   {digests["k3f9@1"]}
          Project:  walks
          Began:    2023-11-14T22:13:21
          Steps:    0-299, finished
          Config:   rate: 0.1
                    how: kind='a', n=3
          Summary:  x 149.5
    """)


def test_log_as_json_has_every_revision(family, cli):
    facts = json.loads(cli("log", "--json")[1])
    first = facts["revisions"][-2]
    assert (facts["schema"], facts["verb"], facts["run"]) == (1, "log", None)
    assert (first["run"], first["parent"], first["first_step"], first["last_step"]) == (
        "k3f9@2", "k3f9@1?_step=199", 200, 399,
    )  # fmt: skip
    assert first["summary"] == {"x": 199.5, "_step": 399} and first["config"]["rate"] == 0.5
    assert facts["revisions"][0]["summary"] == {"x": 6, "_step": 6}  # of a run that nobody closed
    assert json.loads(cli("log", "--json", "--oneline", "--graph")[1])["revisions"][0]["run"] == "kill@1"


def test_rewound_to_the_start_and_resumed(here, cli):
    logged(3, id="a")
    logged(0, resume_from="a?_step=-1")
    logged(2, id="a", resume="must")
    assert cli("log", "--graph", "--oneline")[1] == textwrap.dedent("""\
        * a@3  resumed at the start of a@2, 0-1, finished
        o a@2  rewound at the start of a@1, no rows, finished
        o a@1  begun, 0-2, finished
    """)


def node(uid, parent=None, run=None, removed=False):
    left = None if parent is None else Moment("p", 0, 1)
    known = (
        run or f"r{uid}",
        1,
        "forked" if parent else "begun",
        run or f"r{uid}",
        "finished",
        float(uid),
        parent,
        left,
    )
    return tree.Node(uid, *known, None, None, True, removed, None, None)


def drawing(nodes):
    found = {one.uid: one for one in nodes}
    return [place.before + (place.node.run if place.node else "") for place in tree.drawn(found, found)]


def test_many_forks_of_one_revision_take_two_lanes():
    lines = drawing([node(1), *(node(uid, 1) for uid in range(2, 6))])
    assert lines == ["* r5", "| * r4", "|/", "| * r3", "|/", "| * r2", "|/", "* r1"]


def test_a_chain_of_many_revisions_takes_one_lane_and_no_recursion():
    n = 20_000
    assert drawing([node(1), *(node(uid, uid - 1) for uid in range(2, n + 1))]) == [
        f"* r{uid}" for uid in range(n, 0, -1)
    ]


def test_rewinds_ever_further_back_do_not_fill_the_screen():
    n = 2000
    chain = [node(1, run="a"), *(node(uid, uid - 1, "a") for uid in range(2, n))]
    leaves = [node(2 * n - uid, uid, "a") for uid in range(n - 1, 0, -1)]
    lines = drawing(chain + leaves)
    assert len([line for line in lines if not line.endswith("|/")]) == 2 * n - 2
    assert max(map(len, lines)) < 64


def test_a_parent_that_is_not_there_makes_a_root_and_a_circle_hangs_nothing():
    assert drawing([node(2, 1)]) == ["* r2"]
    circle = {1: node(1, 2), 2: node(2, 1)}
    assert list(tree.drawn(circle, circle)) == []
    assert tree.past(circle, [1]) == {1, 2}


def test_a_thousand_rewinds_are_drawn(here, cli):
    logged(1, id="deep")
    with sqlite3.connect(".rewind/tracker.sqlite") as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(revisions)") if row[1] not in ("uid", "number")]
        kept = [name for name in names if name not in ("parent", "kind", "began")]
        for n in range(2, 1001):
            database.execute(
                f"INSERT INTO revisions (uid, number, parent, kind, began, {', '.join(kept)}) "
                f"SELECT ?, ?, ?, 'rewound', began + ?, {', '.join(kept)} FROM revisions WHERE uid = 1",
                (n, n, n - 1, n),
            )
        database.execute("UPDATE runs SET current = 1000")
    database.close()
    lines = cli("log", "--graph", "--oneline")[1].splitlines()
    assert len(lines) == 1000 and lines[0].startswith("* deep@1000  rewound") and lines[-1].startswith("o deep@1 ")
    assert cli("log", "deep@500")[1].count("revision deep@") == 500


# ---- which run


def test_the_beginning_of_an_id_is_enough(family, cli):
    assert cli("show", "k3")[1] == cli("show", "k3f9")[1] == cli("show", "k3f9@3")[1]
    assert cli("show", "k3f@1")[1] == cli("show", "k3f9@1")[1]
    code, out, err = cli("show", "k")
    assert (code, out) == (1, "") and "there is no run 'k'" in err
    logged(1, id="k3e0")
    assert cli("show", "k3") == (2, "", "rewind: error: 'k3' is the beginning of 2 run ids: k3e0, k3f9\n")
    logged(1, id="k3")
    assert cli("log", "k3", "--oneline")[1].startswith("k3@1 ")  # a whole id is no beginning


@pytest.mark.parametrize("verb", [["show"], ["log"], ["history"], ["rm", "-y"], ["export", "-o", "x"]])
def test_an_unknown_run_is_exit_1_and_the_nearest_is_named(family, cli, verb):
    code, out, err = cli(verb[0], "k3f8", *verb[1:])
    assert (code, out) == (1, "") and "there is no run 'k3f8'" in err and "'k3f9'" in err and err.count("\n") == 1


@pytest.mark.parametrize("verb", ["show", "log", "history"])
def test_an_unknown_revision_is_exit_1(family, cli, verb):
    assert cli(verb, "k3f9@7") == (1, "", "rewind: error: run 'k3f9@7' has no such revision; it has 1, 2, 3\n")


@pytest.mark.parametrize("verb", [["show"], ["log"], ["history"], ["rm", "-y"], ["export", "-o", "x"]])
def test_a_moment_is_no_run(family, cli, verb):
    code, out, err = cli(verb[0], "k3f9@1?_step=3", *verb[1:])
    said = f"rewind: error: 'k3f9@1?_step=3' is a moment, and {verb[0]} takes a run: k3f9@1\n"
    assert (code, out, err) == (2, "", said)


@pytest.mark.parametrize("text", ["", "a/b", "a@x", "a@0", "a#", " a"])
def test_what_is_no_id_is_exit_2(family, cli, text):
    code, out, err = cli("show", text)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "expected a run id" in err


# ---- show


def walk(state, rng):
    return state + rng.random()


def test_show_has_all_of_a_revision(family, cli):
    Path("model.bin").write_bytes(b"12345")
    with rewind.init(resume_from="k3f9?_step=255") as run:
        run.log_line("first\x1b[31m\nsecond")
        run.log({"x": float("nan"), "y": np.arange(3)})
        run.log_artifact("model.bin", aliases="best")
        run.use_artifact("model.bin:best")
        run.record(walk, 0.0, 20, 7, observe={"w": None}, log_every=5)
    shown = cli("show", "k3f9")[1]
    assert "run          k3f9@4, of 4 revisions\nproject      walks\n" in shown
    assert (
        "forked from  k3f9@3?_step=255\n"
        "lineage      rewound at step 255 of k3f9@3\n             k3f9@3?_step=255\n             k3f9@2?_step=250\n"
        in shown
    )
    assert "beside       2 lines (--lines), 0 samples of the system\n" in shown
    assert "artifacts    model.bin:v0 (latest, best): " in shown and "5 bytes" in shown
    assert "used         model.bin:v0 at step 256\n" in shown
    assert "seed 7, " in shown and "test_cli_tracker:walk\n" in shown
    assert shown.endswith("logs w every 5 steps and at block ends\n")
    facts = json.loads(cli("show", "k3f9", "--json")[1])
    (part,) = facts["simulation"]
    assert (part["n_steps"], part["seed"], part["log_every"], part["noise"], part["first"]) == (20, 7, 5, None, 257)
    assert facts["n_rows"] == 257 + facts["n_own_rows"] - 1 and facts["n_lines"] == 2
    assert facts["artifacts"][0]["aliases"] == ["latest", "best"]
    assert facts["lineage"] == ["k3f9@3?_step=255", "k3f9@2?_step=250", "k3f9@1?_step=199"]
    assert facts["digest"] == rewind.Tracker().run("k3f9").digest
    assert cli("show", "k3f9", "--lines")[1] == "255  log     first\\x1b[31m\n255  log     second\n"
    os.remove(part["file"])
    assert f"{part['file']}: No such file or directory" in cli("show", "k3f9")[1]


def test_show_lists_the_files_of_rows(here, cli):
    class Note(Media):
        def in_row(self, key, keep):
            return {key: keep(key, "notes", b"hello", ".txt")}

    with rewind.init(id="k") as run:
        for i in range(8):
            run.log({f"note{i}": Note()})
    first, *_, last = run.media
    facts = json.loads(cli("show", "k", "--json")[1])["media"]
    assert len(facts) == 8
    assert facts[0] == {"path": first.path, "step": 0, "bytes": 5, "digest": first.digest, "file": first.location}
    shown = cli("show", "k")[1]
    assert "8 files, 40 bytes" in shown and f"{first.path}: 5 bytes" not in shown
    assert f"{last.path}: 5 bytes, at step 7" in shown and last.location in shown


def test_names_with_blanks_unicode_and_control_characters_stay_on_their_line(here, cli):
    logged(1, id="a b", name="two\nlines\x1b[31m", project="日本 語")
    logged(1, id="ü")
    lines = cli("ls")[1].splitlines()
    assert len(lines) == 3 and "two\\nlines\\x1b[31m  日本 語  -" in lines[1]
    assert lines[2].index("-  ") - lines[1].index("two") == 0
    assert cli("log", "--oneline")[1].splitlines()[1] == 'a b@1  begun, 0, finished  "two\\nlines\\x1b[31m"'
    for argv in (["show", "a b"], ["log", "a b"], ["log", "--graph", "a b"]):
        assert "two\\nlines\\x1b[31m\n" in cli(*argv)[1]


# ---- history


@pytest.fixture
def odd(here):
    """A run with every kind of value."""
    with rewind.init(id="odd") as run:
        run.log({"x": 1.5, "n": 1})
        run.log({"x": float("nan"), "text": 'a,"b"\n\x1b'})
        run.log({"x": float("-inf"), "a": np.array([1.0, np.nan]), "none": None, "l": [1, "é"], "yes": True})
        run.log({"big": 2**70}, step=9)


def test_history_is_csv_with_every_key(odd, cli):
    assert cli("history", "odd") == (
        0,
        "_step,x,n,text,a,none,l,yes,big\n"
        "0,1.5,1,,,,,,\n"
        '1,nan,,"a,""b""\n\x1b",,,,,\n'
        '2,-inf,,,"[1.0, {""float"": ""nan""}]",null,"[1, ""\\u00e9""]",True,\n'
        "9,,,,,,,,1180591620717411303424\n",
        "",
    )
    assert cli("history", "odd", "--csv")[1] == cli("history", "odd")[1]


def test_history_as_safe_csv_has_no_text_that_a_spreadsheet_runs(here, cli):
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\n=1", "\uff1d1", "a=1", "", "'=1", "1-1"]
    with rewind.init(id="k") as run:
        for text in texts:
            run.log({"text": text, "=name": -1.5, "n": -2, "list": ["=1"]})
    texts_of = (cli("history", "k", option)[1] for option in ("--csv", "--safe-csv"))
    plain, safe = (list(csv.reader(io.StringIO(text, newline=""))) for text in texts_of)
    assert [row[1] for row in plain[1:]] == texts and plain[0] == ["_step", "text", "=name", "n", "list"]
    assert [row[1] for row in safe[1:]] == [f"'{text}" for text in texts[:9]] + texts[9:]
    assert safe[0] == ["_step", "text", "'=name", "n", "list"]
    assert all(row[2:] == ["-1.5", "-2", '["=1"]'] for row in safe[1:])
    assert cli("history", "k", "--safe-csv", "-o", "k.csv")[0] == 0
    with open("k.csv", newline="") as file:
        assert list(csv.reader(file)) == safe
    code, _, err = cli("history", "k", "--safe-csv", "--jsonl")
    assert code == 2 and "--safe-csv is for CSV" in err


def test_history_of_some_keys_and_steps(odd, cli):
    assert cli("history", "odd", "--keys", "n,big")[1] == "_step,n,big\n0,1,\n9,,1180591620717411303424\n"
    assert cli("history", "odd", "--keys", "x", "--min-step", 1, "--max-step", 2)[1] == "_step,x\n1,nan\n"
    assert cli("history", "odd", "--min-step", 5)[1] == "_step,big\n9,1180591620717411303424\n"
    assert cli("history", "odd", "--max-step", 0)[1] == "_step\n"
    code, out, err = cli("history", "odd", "--keys", "y")
    assert (code, out) == (1, "") and "no row has 'y'; there is x, n, text, a" in err


def test_history_as_json_and_as_lines(odd, cli):
    facts = json.loads(cli("history", "odd", "--json", "--max-step", 3)[1])
    assert (facts["schema"], facts["verb"], facts["run"], facts["n_rows"]) == (1, "history", "odd@1", 3)
    assert facts["rows"][1] == {"_step": 1, "x": {"float": "nan"}, "text": 'a,"b"\n\x1b'}
    assert facts["rows"][2]["a"] == {"dtype": "float64", "shape": [2], "data": [1.0, {"float": "nan"}]}
    lines = cli("history", "odd", "--jsonl", "--max-step", 3)[1].splitlines()
    assert list(map(json.loads, lines)) == facts["rows"]
    assert cli("history", "odd", "--json", "--csv")[0] == 2


def test_a_large_array_is_written_out(here, cli):
    with rewind.init(id="a") as run:
        run.log({"a": np.arange(5000)})
    assert json.loads(cli("history", "a", "--json")[1])["rows"][0]["a"]["data"][-1] == 4999


def test_history_to_a_file(odd, cli):
    code, out, _ = cli("history", "odd", "-o", "odd.csv")
    assert (code, out) == (0, "wrote odd.csv: 4 rows of 8 columns\n")
    assert Path("odd.csv").read_text() == cli("history", "odd")[1]
    assert cli("history", "odd", "-o", "odd.csv") == (2, "", "rewind: error: odd.csv exists; --force replaces it\n")
    facts = json.loads(cli("history", "odd", "-o", "odd.csv", "--force", "--json")[1])
    assert facts["output"] == "odd.csv" and "rows" not in facts
    assert Path("odd.csv").read_text() == cli("history", "odd", "--json")[1]


def test_history_of_a_rewound_run_is_what_it_kept_and_its_own(family, cli):
    rows = cli("history", "k3f9")[1].splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == list(map(str, range(261)))
    assert len(cli("history", "k3f9@1")[1].splitlines()) == 301


def test_a_terminal_is_not_told_what_to_do_by_a_row(odd, cli, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["history", "odd"]) == 0
    assert "\x1b" not in screen.getvalue() and "\\x1b" in screen.getvalue()


def test_a_reader_that_goes_away_ends_a_long_history_quietly(here):
    logged(20_000, {"text": "x" * 20}, id="long")
    command = f"{sys.executable} -m rewind history long | head -1"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, env=env, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("_step,text\n", "")


# ---- rm


def test_rm_asks_and_archives(family, cli, monkeypatch):
    answers = io.StringIO("n\n\nyes\n")
    monkeypatch.setattr(answers, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", answers)
    question = "archive run side? It stays on disk; rewind rm --restore side brings it back. [y/N] "
    assert cli("rm", "side") == (1, "side stays as it is\n", question)
    assert cli("rm", "si") == (1, "side stays as it is\n", question)
    assert cli("rm", "side") == (0, "archived side; rewind rm --restore side brings it back\n", question)
    assert "side" not in cli("ls")[1].replace("side@", "") and "side" in cli("ls", "--removed")[1]
    assert (
        "| x side@1  forked at step 280 of k3f9@1, 281-285, finished, removed  "
        in cli("log", "--graph", "--oneline")[1]
    )
    code, out, _ = cli("rm", "side")
    assert (code, out) == (0, "side is archived; rewind rm --restore side brings it back, --purge deletes it\n")
    assert cli("rm", "--restore", "side") == (0, "side is back\n", "")
    assert cli("rm", "--restore", "side") == (0, "side was not removed\n", "")


def test_a_removed_run_that_nobody_came_from_is_in_no_tree_but_its_own(family, cli):
    assert cli("rm", "deep", "-y")[0] == 0
    assert "deep" not in cli("log", "--graph", "--oneline")[1]
    assert cli("log", "deep", "--oneline", "--graph")[1].startswith("x deep@1 ")
    assert "removed" in cli("show", "deep")[1].splitlines()[0]


def test_without_a_terminal_rm_takes_yes(family, cli, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    for more in ([], ["--purge"]):
        code, out, err = cli("rm", "side", *more)
        assert (code, out) == (2, "") and "--yes" in err
    assert cli("rm", "side", "--purge", "--restore")[0] == 2
    assert cli("rm", "k3f9@1", "-y") == (
        2, "", "rewind: error: rm takes a whole run, not one revision of it: k3f9@1\n",
    )  # fmt: skip
    assert len(rewind.Tracker()) == 4


def test_purge_says_what_goes_and_what_stays_for_whom(family, cli, monkeypatch):
    answers = io.StringIO("\ny\n")
    monkeypatch.setattr(answers, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", answers)
    gone = "229 rows; 281 rows stay, which deep, side came from"
    question = f"delete run k3f9: {gone}? Nothing brings it back. [y/N] "
    assert cli("rm", "k3f9", "--purge") == (1, "k3f9 stays as it is\n", question)
    assert cli("rm", "k3f9", "--purge") == (0, f"deleted k3f9: {gone}\n", question)
    assert cli("log", "side", "--graph", "--oneline")[1].splitlines()[-1] == "x k3f9@1  begun, 0-280, purged"
    assert len(cli("history", "deep")[1].splitlines()) == 289
    assert cli("fsck", ".rewind")[0] == 0
    code, _, err = cli("rm", "k3f9", "--restore")
    assert code == 2 and "it was purged" in err
    assert cli("rm", "kill", "--purge", "-y") == (0, "deleted kill: 7 rows\n", "")


def test_a_run_that_is_being_written_is_not_removed(here, cli):
    with rewind.init(id="busy"):
        code, _, err = cli("rm", "busy", "-y")
        assert code == 2 and "run 'busy' has a writer" in err


# ---- export and import


def test_a_run_goes_to_another_folder_in_one_file(family, cli):
    assert cli("rm", "kill", "-y")[0] == 0
    code, out, _ = cli("export", "deep", "-o", "deep.run")
    assert code == 0 and out == f"wrote deep.run: run deep ({os.path.getsize('deep.run'):,} bytes)\n"
    assert cli("export", "deep", "-o", "deep.run") == (2, "", "rewind: error: deep.run exists; --force replaces it\n")
    code, out, _ = cli("import", "deep.run", "--dir", "other")
    assert code == 0 and out.startswith(
        f"imported deep to {os.path.abspath('other')}, and what it comes from, removed: "
    )
    assert cli("history", "deep", "--dir", "other")[1] == cli("history", "deep")[1]
    drawn = cli("log", "--graph", "--oneline", "--dir", "other")[1]
    assert [line[:8] for line in drawn.splitlines()] == ["* deep@1", "x side@1", "x k3f9@1"]
    code, out, _ = cli("import", "deep.run", "--dir", "other")
    assert code == 0 and "already" in out
    assert cli("fsck", "other")[0] == 0
    code, _, err = cli("import", "nothing.run")
    assert code == 2 and err.count("\n") == 1


def test_a_damaged_export_is_refused(family, cli):
    assert cli("export", "deep", "-o", "deep.run")[0] == 0
    data = bytearray(Path("deep.run").read_bytes())
    data[len(data) // 2] ^= 4
    Path("deep.run").write_bytes(data)
    code, out, err = cli("import", "deep.run", "--dir", "other")
    assert (code, out) == (2, "") and err.count("\n") == 1


# ---- fsck


@pytest.mark.parametrize("path", [".rewind", ".", ".rewind/tracker.sqlite"])
def test_fsck_takes_the_folder_of_a_tracker(family, cli, path):
    code, out, err = cli("fsck", path)
    assert (code, err) == (0, "")
    assert out.startswith("ok: ") and "4 runs, 6 revisions, 527 rows, 1 left by a process that ended\n" in out
    facts = json.loads(cli("fsck", path, "--json")[1])
    assert facts["ok"] and facts["problems"] == [] and facts["n_rows"] == 527


def test_fsck_finds_a_row_that_was_changed(family, cli):
    with sqlite3.connect(".rewind/tracker.sqlite") as database:
        database.execute("""UPDATE rows SET data = '{"x":7.0}' WHERE step = 230""")
    database.close()
    code, out, _ = cli("fsck", ".rewind")
    assert code == 1 and "DAMAGED: k3f9@2: the digest of its rows" in out and " problems: " in out
    assert any(problem["ref"] == "k3f9@2" for problem in json.loads(cli("fsck", ".rewind", "--json")[1])["problems"])


def test_fsck_of_what_is_no_database_is_damaged(here, cli):
    os.mkdir(".rewind")
    Path(".rewind/tracker.sqlite").write_text("this is no database at all")
    code, out, _ = cli("fsck", ".")
    assert code == 1 and "DAMAGED: " in out and "no SQLite database" in out


def test_replay_is_for_a_tracker_and_step_for_replay(family, cli):
    rewind.record(walk, 0.0, 10, 1).save("run.replay")
    code, _, err = cli("fsck", "run.replay", "--replay")
    assert code == 2 and "rewind verify run.replay" in err
    for option in (["--step", "a:b"], ["--observe", "x=a:b"], ["--codec", "a:b"]):
        code, _, err = cli("fsck", ".rewind", *option)
        assert code == 2 and f"{option[0]} is for --replay" in err
        assert cli("fsck", "run.replay", *option)[0] == 2


WALK = """\
import rewind

def step(x, rng):
    return x + rng.random()

def other(x, rng):
    return x - rng.random()

def double(x):
    return 2 * x

if __name__ == "__main__":
    with rewind.init(id="sim") as run:
        run.record(step, 0.0, 40, 7, observe={"x": None, "d": double}, log_every=3)
"""


@pytest.fixture
def simulated(here):
    Path("walk.py").write_text(WALK)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "walk.py"], env=env, check=True, timeout=60)


def test_fsck_replays_a_history_with_the_recorded_step(simulated, cli):
    code, out, err = cli("fsck", ".", "--replay", "--observe", "d=walk.py:double")
    assert code == 0 and "1 history replayed" in out
    assert "rewind: importing step __main__:step from ./walk.py (source hash matches)\n" in err
    code, out, err = cli("fsck", ".", "--replay", "--observe", "d=walk.py:double", "--step", "walk.py:step")
    assert code == 0 and "1 history replayed" in out and "rewind: importing --step walk.py:step from ./walk.py\n" in err


def test_fsck_names_the_first_row_that_the_simulation_does_not_give(simulated, cli):
    argv = ("fsck", ".", "--replay", "--observe", "d=walk.py:double")
    code, out, _ = cli(*argv, "--step", "walk.py:other")
    assert code == 2 and "not replayed: sim@1: its step function is __main__:step, and --step" in out
    assert "DAMAGED" not in out
    with sqlite3.connect(".rewind/tracker.sqlite") as database:
        (data,) = database.execute("SELECT data FROM rows WHERE step = 9").fetchone()
        database.execute("UPDATE rows SET data = ? WHERE step = 9", (json.dumps({**json.loads(data), "x": 0.5}),))
    database.close()
    code, out, _ = cli(*argv)
    assert code == 1 and "step 9 of sim@1 is the first row that its simulation does not give: x is 0.5" in out


def test_fsck_without_the_functions_says_which_option_gives_them(simulated, cli):
    code, out, _ = cli("fsck", ".", "--replay")
    assert code == 2 and "not replayed: sim@1: " in out and "--observe NAME=" in out
    Path("walk.py").rename("elsewhere.py")
    code, out, err = cli("fsck", ".", "--replay", "--observe", "d=elsewhere.py:double")
    assert code == 2 and "not replayed: sim@1: it was recorded with __main__:step" in out and "--step" in out
    assert "importing step" not in err
    code, out, err = cli("fsck", ".", "--replay", "--step", "nothing.py:step", "--observe", "d=elsewhere.py:double")
    assert (code, out) == (2, "") and "there is no file nothing.py" in err


# ---- help


@pytest.mark.parametrize("verb", ["ls", "log", "show", "history", "rm", "export", "import"])
def test_help_of_each_verb(cli, verb):
    code, out, err = cli(verb, "--help")
    assert (code, err) == (0, "") and "--dir DIR" in out and "--json" in out
    assert f"\n    {verb} " in cli("--help")[1]


def test_listing_imports_neither_h5py_nor_pandas(family):
    lines = [["ls"], ["log", "--graph"], ["show", "k3f9"], ["history", "k3f9", "-o", "x", "--force"]]
    program = (
        f"import sys; from rewind.cli.main import main; codes = [main(argv) for argv in {lines}]; "
        "print(codes, *{'h5py', 'pandas'} & set(sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0]"


def test_a_program_without_a_guard_adds_no_run_when_its_step_function_is_imported(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    Path("job.py").write_text(
        "import rewind\n\n\ndef step(x, rng):\n    return x + rng.random()\n\n\n"
        "run = rewind.init(id='job')\nrun.record(step, 0.0, 30, seed=1, observe={'x': None})\nrun.finish()\n"
    )
    subprocess.run([sys.executable, "job.py"], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    code, out, err = cli("fsck", ".", "--replay")
    assert code == 0 and out.startswith("ok") and "calls rewind.init at line 8, where its import ended" in err
    assert [run.ref for run in rewind.Tracker(tmp_path / ".rewind").runs()] == ["job@1"]
