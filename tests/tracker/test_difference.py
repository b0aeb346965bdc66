"""How two tracked runs differ: config, the step at which their rows part and both rows, summaries side by side."""

from __future__ import annotations

import json
import shutil

import pytest

import rewind
from rewind.cli.main import main
from rewind.tracker.store import history

pytestmark = pytest.mark.once

NAN = float("nan")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs that share a past, and one that does not."""
    folder = tmp_path_factory.mktemp("differ")

    def logged(rows, **options):
        with rewind.init(dir=folder, **options) as run:
            for row in rows:
                run.log(row)

    rows = [{"x": i, "y": NAN if i == 3 else i / 2} for i in range(10)]
    logged(rows, id="k", config={"lr": 0.1, "net": {"depth": 2, "wide": True}})
    logged([{"x": 5, "y": 2.5}, {"x": 60, "y": 3.0}], resume_from="k?_step=4", config={"lr": 0.2, "more": None})
    logged(
        [dict(reversed(row.items())) for row in rows], id="same", config={"net": {"wide": True, "depth": 2}, "lr": 0.1}
    )
    logged([{"x": 0.0}, {"x": 1}], id="other")
    logged([], id="none")
    return rewind.Tracker(folder)


@pytest.fixture
def cli(capsys, made):
    def call(*argv):
        code = main(["diff", *map(str, argv), "--dir", made.dir])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_difference_has_config_the_first_row_that_differs_and_both_summaries(made):
    found = made.diff("k@1", "k@2")
    assert (found.a, found.b, found.same) == ("k@1", "k@2", False)
    assert found.config == {"lr": (0.1, 0.2), "more": (None, None)}
    assert (found.step, found.n_same) == (6, 6)
    assert found.rows == ({"_step": 6, "x": 6, "y": 3.0}, {"_step": 6, "x": 60, "y": 3.0})
    assert found.summary == {"x": (9, 60), "y": (4.5, 3.0), "_step": (9, 6)}


def test_rows_of_the_common_past_are_not_read(made, monkeypatch):
    read = []
    real = history.texts
    monkeypatch.setattr(history, "texts", lambda store, seen, low=0: read.append(low) or real(store, seen, low))
    assert made.diff("k@1", "k@2").step == 6 and read == [5, 5]


def test_runs_with_the_same_rows_are_the_same_whatever_the_order_of_their_keys(made):
    found = made.diff("k@1", "same")
    assert (found.same, found.config, found.step, found.rows, found.n_same) == (True, {}, None, (None, None), 10)
    assert made.diff("k", "k").same


def test_types_of_values_count(made):
    found = made.diff("other", "k@1")
    assert (found.step, found.rows[0]) == (0, {"_step": 0, "x": 0.0})


@pytest.mark.parametrize(("a", "b", "gone"), [("k@2", "none", 1), ("none", "k@2", 0)])
def test_row_that_only_one_has_is_the_first_difference(made, a, b, gone):
    found = made.diff(a, b)
    assert found.step == 0 and found.rows[gone] is None and found.rows[1 - gone]["x"] == 0
    assert found.summary["x"][gone] is None


def test_gap_and_a_value_that_was_computed_later_are_found(made, tmp_path):
    shutil.copytree(made.dir, tmp_path / "copy")
    with rewind.init(dir=tmp_path / "copy", id="gap") as run:
        run.log({"x": 0, "y": 0.0})
        run.log({"x": 2, "y": 1.0}, step=2, commit=True)
    assert rewind.Tracker(tmp_path / "copy").diff("k@1", "gap").rows == ({"_step": 1, "x": 1, "y": 0.5}, None)
    with rewind.init(dir=tmp_path / "copy", id="s") as run:
        run.record(lambda x, rng: x + 1, 0, 9, seed=1, observe={"x": None}, log_every=1)
    with rewind.init(dir=tmp_path / "copy", resume_from="s?_step=8") as run:
        run.backfill({"double": lambda x: 2 * x})
    found = rewind.Tracker(tmp_path / "copy").diff("s@1", "s@2")
    assert (found.step, found.rows[1]) == (0, {"_step": 0, "x": 0, "double": 0})


def test_open_runs_and_digests_are_compared(made, tmp_path):
    shutil.copytree(made.dir, tmp_path / "copy")
    tracker = rewind.Tracker(tmp_path / "copy")
    with rewind.init(dir=tracker.dir, fork_from="k@1?_step=8") as run:
        run.log({"x": 9, "y": 4.5})
        run.flush()
        assert tracker.diff(tracker.run("k@1").digest[:8], run.id).same
    with pytest.raises(rewind.RunNotFoundError):
        tracker.diff("k", "nobody")


# ---- in the shell


def test_diff_of_two_runs_has_tables_with_a_column_for_each(cli, made):
    code, out, err = cli("k@1", made.run("k@2").digest[:8])
    assert (code, err) == (1, "")
    assert out == (
        "config  k@1   k@2\n"
        "lr      0.1   0.2\n"
        "more    -     -\n"
        "\n"
        "rows first differ at step 6, after 6 that agree\n"
        "row    k@1  k@2\n"
        "_step  6    6\n"
        "x      6    60\n"
        "y      3.0  3.0\n"
        "\n"
        "summary  k@1  k@2\n"
        "x        9    60\n"
        "y        4.5  3.0\n"
        "_step    9    6\n"
    ).replace("0.1   0.2", "0.1  0.2").replace("k@1   k@2", "k@1  k@2").replace("-     -", "-    -")
    assert "; none@1 has none there\n" in cli("k", "none")[1]


def test_diff_of_two_runs_as_json_and_of_the_same_run(cli):
    facts = json.loads(cli("k@1", "k", "--json")[1])
    assert (facts["schema"], facts["verb"], facts["run"], facts["other"]) == (1, "diff", "k@1", "k@2")
    assert facts["config"] == {"lr": [0.1, 0.2], "more": [None, None]} and facts["same"] is False
    assert (facts["step"], facts["rows"][1]["x"], facts["summary"]["x"]) == (6, 60, [9, 60])
    code, out, _ = cli("k@1", "same")
    assert code == 0 and out.startswith("rows agree: 10\n\nsummary  k@1  same@1\n")


@pytest.mark.parametrize(("a", "b"), [("nobody", "k"), ("k", "no/body.replay"), ("k", "deadbeef"), ("", "k")])
def test_what_is_neither_file_nor_run_is_told_what_diff_takes(cli, made, a, b):
    code, out, err = cli(a, b)
    wrong = b if a == "k" else a
    assert (code, out) == (2, "") and f"{wrong!r} is neither a file nor a tracked run in {made.dir}; " in err
    assert "diff takes two replay files, or two tracked runs, each an ID, ID@REV or the digest" in err


def test_without_a_tracker_it_says_so_too(capsys, tmp_path):
    assert main(["diff", "a", "b", "--dir", str(tmp_path / "none")]) == 2
    assert "'a' is neither a file nor a tracked run in" in capsys.readouterr().err


def test_file_and_run_are_not_compared_and_options_of_files_are_refused(cli, tmp_path):
    (tmp_path / "a.replay").write_text("")
    code, _, err = cli(tmp_path / "a.replay", "k")
    assert code == 2 and "diff takes two files or two runs" in err
    for options in (["--step", "m:f"], ["--metadata"], ["--allow-pickle"]):
        code, _, err = cli("k@1", "k", *options)
        assert code == 2 and f"{options[0]} is about replay files" in err
    assert cli("k@9", "k")[0] == 1  # no such revision
    code, _, err = cli("k?_step=3", "k")
    assert code == 2 and "is a moment" in err
