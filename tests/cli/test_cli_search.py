"""The verbs that ask: find, bisect, series, likelihood, diff, and passes in shards; their answers are the library's."""

import contextlib
import csv
import io
import json
import math
import os
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import rewind
from rewind.cli.main import main
from rewind.metrics.condition import parse

pytestmark = pytest.mark.once  # of files, options and words: which kernel runs does not matter

ROOT = Path(rewind.__file__).parents[1]
FORMS = "MODULE:NAME or FILE.py:NAME, for example walk.py:step"
SAYS = "rewind: importing step __main__:step from ./walk.py (source hash matches)\n"

WALK = """\
from dataclasses import dataclass

import numpy as np

import rewind


@dataclass
class State:
    value: float
    seen: list


def step(state, rng, rate=1.0):
    return State(state.value + rate * rng.random(), [state.value, *state.seen[:2]])


def height(state):
    return 2 * state.value


def itself(state):
    return state.value


def vector(state):
    return [state.value, *state.seen]


def high(state):
    return state.value > 100


def odd(state):
    return state.value > 100 and int(state.value) % 2


def broken(state):
    return state.values > 100


def push(state):
    state.value += 100.0


if __name__ == "__main__":
    first = State(0.0, [0.0, 0.0, 0.0])
    run = rewind.record(step, first, 1000, 7, params={"rate": 0.5}, observe={"value": "value", "v": vector})
    run.save("run.replay")
    run.branch(500, push, noise="same").save("pushed.replay")
    run.branch(500, noise="same").save("tail.replay")
    rewind.record(step, first, 1000, 8, params={"rate": 0.5}, observe={"value": "value"}).save("other.replay")
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder in which walk.py was run."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "walk.py").write_text(WALK)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "walk.py"], cwd=folder, env=env, check=True)
    return folder


@pytest.fixture
def recorded(made, tmp_path, monkeypatch):
    """A copy of that folder, to be in."""
    folder = tmp_path / "here"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(capsys):
    def call(*argv):
        code = main([str(arg) for arg in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def values(made):
    """The values of all states, by the library."""
    program = (
        "import walk, rewind, json, sys; sys.modules['__main__'].State = walk.State;"
        "run = rewind.load('run.replay', walk.step); print(json.dumps([s.value for s in run]))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=made, env=env, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture
def states(values):
    return list(values)


def count(x, rng):
    return x + 1


class Odd:
    pass


# ---- find


def test_find_gives_the_first_step(recorded, cli, states):
    first = next(t for t, value in enumerate(states) if value > 100)
    assert cli("find", "run.replay", "value > 100", "--observe", "value=value") == (0, f"{first}\n", SAYS)
    code, out, err = cli("find", "run.replay", "walk.py:high")
    assert (code, out) == (0, f"{first}\n")
    assert err == SAYS + "rewind: importing COND walk.py:high from ./walk.py\n"
    code, out, _ = cli("find", "run.replay", "value > 100", "--observe", "value=walk.py:itself", "--json")
    assert code == 0 and json.loads(out) == {
        "schema": 1,
        "verb": "find",
        "file": "run.replay",
        "condition": "value > 100",
        "start": 0,
        "stop": 1000,
        "steps": [first],
    }


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
@pytest.mark.parametrize("window", [(0, 1000), (430, 700)])
def test_find_gives_all_the_first_or_the_last_of_a_window(recorded, cli, states, workers, window):
    start, stop = window
    hits = [t for t in range(start, stop) if states[t] > 100 and int(states[t]) % 2]
    options = ["--start", start, "--stop", stop, *workers]

    def found(*more):
        return [int(line) for line in cli("find", "run.replay", "walk.py:odd", *options, *more)[1].splitlines()]

    assert found() == hits[:1]
    assert found("--all") == hits
    assert found("--all", "-n", 3) == found("-n", 3) == hits[:3]
    assert found("--last") == hits[:-2:-1]
    assert found("--last", "-n", 100) == hits[:-101:-1]
    assert found("--last", "--all") == hits[::-1]
    assert found("--last", "--before", 600, "-n", 2) == [t for t in hits if t < 600][:-3:-1]


def test_steps_of_find_come_in_every_form(recorded, cli, states):
    last = max(t for t in range(500) if states[t] > 100)
    assert cli("find", "run.replay", "walk.py:high", "--last", "--before", "50%")[1] == f"{last}\n"
    assert cli("find", "run.replay", "walk.py:high", "--start", "-10", "--stop", "end")[1] == "990\n"


def test_what_the_table_rules_out_needs_no_code_at_all(recorded, cli):
    (recorded / "walk.py").write_text("raise SystemExit('imported')")
    for verb in ("find", "bisect"):
        for condition in ("value > 1e6", "isnan(value)", "any(isnan(v))", "v[0] < 0 or value < 0", "1 > 2"):
            code, out, err = cli(verb, "run.replay", condition)
            assert (code, out) == (1, "") and err.startswith(f"rewind: {condition} holds at no step from 0 to 999")
            assert err.count("\n") == 1
    code, out, err = cli("find", "run.replay", "value > 1e6", "--json", "--all", "--last", "--workers", "2")
    assert (code, json.loads(out)["steps"], err) == (1, [], "")
    code, out, err = cli("bisect", "run.replay", "value > 1e6", "--json")
    assert (code, json.loads(out)["step"], err) == (1, None, "")
    assert cli("find", "run.replay", "value > 1e6", "--quiet") == (1, "", "")


def test_what_the_table_rules_out_unpickles_nothing(here, cli):
    rewind.record(lambda s, rng: s, [Odd()], 50, 1, observe={"x": lambda s: 1}, trial=False).save("p.replay")
    assert cli("find", "p.replay", "x > 1")[0] == 1
    code, _, err = cli("find", "p.replay", "x > 0", "--observe", "x=x")
    assert code == 3 and "--allow-pickle" in err


def test_the_function_of_a_metric_is_asked_for(recorded, cli):
    (recorded / "walk.py").write_text("raise SystemExit('imported')")
    for verb in (["find"], ["bisect"], ["likelihood", "--at", "3"]):
        code, out, err = cli(verb[0], "run.replay", "value > 100 and v[0] > 1", *verb[1:])
        assert (code, out) == (2, "")
        assert err == (
            "rewind: error: looking for 'value > 100 and v[0] > 1' inside blocks needs the functions of value, v, "
            "and a file holds no functions: give --observe value=CODE --observe v=CODE, where CODE is "
            f"{FORMS}, an attribute or key of the state, or nothing where it is the state itself\n"
        )
    code, _, err = cli("find", "run.replay", "value > 100 and v[0] > 1", "--observe", "v=v")
    assert code == 2 and "needs the functions of value, and" in err


def test_a_metric_that_is_the_state_itself_has_nothing_behind_its_name(here, cli):
    (here / "count.py").write_text("def step(x, rng):\n    return x + 1\n")
    rewind.record(count, 0, 100, 1, observe={"x": None}).save("run.replay")
    code, out, _ = cli("find", "run.replay", "x >= 31", "--observe", "x=", "--step", "count.py:step")
    assert (code, out) == (0, "31\n")


@pytest.mark.parametrize(
    ("observe", "words"),
    [
        ("value", "--observe is 'value'; expected NAME=CODE, NAME=ATTRIBUTE, or NAME= where it is the state itself"),
        ("=value", "--observe is '=value'; expected NAME=CODE"),
        ("height=height", "this run observed no metric 'height'; it observed 'value', 'v'"),
        ("value=walk.py:low", "walk.py has no low; its functions are step, height"),
        ("value=valve", "metric 'value' at step 0 is no attribute or key of the state, which has "),
        ("value=walk.py:vector", "metric 'value' at step 0 gives ["),
    ],
)
def test_observe_that_cannot_be_meant_is_exit_2(recorded, cli, observe, words):
    code, out, err = cli("find", "run.replay", "value > 100", "--observe", "value=value", "--observe", observe)
    if observe.startswith("value="):
        assert "--observe gives value twice" in err
        code, out, err = cli("find", "run.replay", "value > 100", "--observe", observe)
    assert (code, out) == (2, "") and words in err


def test_another_function_than_the_one_observed_is_refused(recorded, cli, states):
    """The table, by which blocks are left out, is that of the one observed."""
    code, out, err = cli("find", "run.replay", "value > 100", "--observe", "value=walk.py:height")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == (
        f"rewind: error: metric 'value' at step 64 gives {2 * states[64]!r}, and in that block {states[64]!r} to "
        f"{states[95]!r} was observed; expected the function that was observed"
    )


def test_a_condition_that_cannot_be_read_is_pointed_at(recorded, cli):
    (recorded / "walk.py").unlink()
    for verb in (["find"], ["bisect"], ["likelihood", "--at", "0"]):
        code, out, err = cli(verb[0], "run.replay", "value > > 3", *verb[1:])
        assert (code, out) == (2, "")
        with pytest.raises(rewind.ConditionError) as error:
            parse("value > > 3", {"value": ()})
        message, _, pointed = str(error.value).partition("\n")
        assert err == f"{pointed}\nrewind: error: {message}\n" and pointed == "    value > > 3\n            ^"
    code, _, err = cli("find", "run.replay", "valve > 3")
    assert code == 2 and "there is no metric 'valve', at character 1; did you mean value?" in err
    assert cli("find", "run.replay", "__import__('os').system('touch canary')")[0] == 2
    assert not Path("canary").exists()


def test_a_predicate_that_raises_is_shown_with_its_traceback(recorded, cli):
    code, out, err = cli("find", "run.replay", "walk.py:broken")
    assert (code, out) == (2, "") and "in broken\n" in err
    assert err.splitlines()[-1].startswith("rewind: error: the condition raised AttributeError at step 0: ")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-n", "0"], "-n is 0; expected an integer >= 1"),
        (["--before", "5"], "--before goes with --last; --stop ends a window"),
        (["--start", "7", "--stop", "7"], "the window is (7, 7); expected at least one step of 0 to 999"),
        (["--last", "--before", "0"], "the window is (0, 0); expected at least one step of 0 to 999"),
        (["--workers", "0"], "workers is 0; expected an integer >= 1"),
        (["--start", "x"], "expected an integer, negative to count from the end, 50%, start or end"),
    ],
)
def test_arguments_of_find_that_cannot_be_meant(recorded, cli, argv, words):
    code, out, err = cli("find", "run.replay", "walk.py:high", *argv)
    assert (code, out) == (2, "") and words in err.splitlines()[-1]


def test_a_step_outside_the_run_is_exit_1(recorded, cli):
    code, out, err = cli("find", "run.replay", "walk.py:high", "--start", "1001")
    assert (code, out, err) == (1, "", "rewind: error: step 1001 is outside this run, which holds steps 0 to 999\n")


def test_a_search_with_the_wrong_step_is_no_answer(recorded, cli):
    (recorded / "half.py").write_text(WALK.replace("rng.random()", "rng.random() / 2"))
    code, out, err = cli("find", "run.replay", "half.py:high", "--step", "half.py:step")
    assert (code, out) == (2, "") and "does not reproduce step" in err.splitlines()[-1]


# ---- bisect


def test_bisect_finds_where_a_condition_begins(recorded, cli, states):
    first = next(t for t, value in enumerate(states) if value > 100)
    assert cli("bisect", "run.replay", "value > 100", "--observe", "value=value") == (0, f"{first}\n", SAYS)
    code, out, _ = cli("bisect", "run.replay", "walk.py:high", "--json", "--start", "10")
    facts = json.loads(out)
    assert (code, facts["verb"], facts["step"], facts["start"]) == (0, "bisect", first, 10)
    code, out, _ = cli("bisect", "run.replay", "walk.py:high", "--stop", "100")
    assert (code, out) == (1, "")


def test_a_condition_that_is_not_monotone_is_an_error_of_bisect(recorded, cli):
    code, out, err = cli("bisect", "run.replay", "value < 100", "--observe", "value=value")
    assert (code, out) == (2, "")
    assert err == SAYS + (
        "rewind: error: the condition is not monotone: it holds at step 0 and not at step 999. "
        "rewind find looks at every step\n"
    )


# ---- series


def test_series_is_csv_that_round_trips(recorded, cli, states):
    code, out, err = cli("series", "run.replay")
    assert (code, err) == (0, SAYS)
    header, *lines = csv.reader(io.StringIO(out))
    assert header == ["step", "value", "seen[0]", "seen[1]", "seen[2]"]
    assert [int(line[0]) for line in lines] == list(range(1000))
    assert [float(line[1]) for line in lines] == states
    assert [float(line[2]) for line in lines[1:]] == states[:-1]


def test_several_metrics_are_columns_of_one_table(recorded, cli, states):
    argv = ["--metric", "value", "--metric", "walk.py:vector", "--start", 10, "--stop", 100, "--every", 30]
    code, out, _ = cli("series", "run.replay", *argv)
    header, *lines = csv.reader(io.StringIO(out))
    assert code == 0 and header == ["step", "value", *(f"walk.py:vector[{i}]" for i in range(4))]
    assert lines == [[str(t), *map(repr, (states[t], *states[t : t - 4 : -1]))] for t in (10, 40, 70)]
    assert cli("series", "run.replay", *argv, "--workers", 2)[1] == out


def test_series_as_json_has_every_digit(recorded, cli, states):
    code, out, _ = cli("series", "run.replay", "--json", "--metric", "value")
    assert code == 0 and json.loads(out) == {
        "schema": 1,
        "verb": "series",
        "file": "run.replay",
        "start": 0,
        "stop": 1000,
        "every": 1,
        "steps": list(range(1000)),
        "columns": {"value": states},
    }
    assert cli("series", "run.replay", "--to", "json", "--metric", "value")[1] == out
    code, text, _ = cli("series", "run.replay", "--metric", "value", "-o", "out.json")
    assert (code, text) == (0, "wrote out.json: 1,000 steps of value\n") and Path("out.json").read_text() == out


def test_series_as_npz_has_whole_arrays(recorded, cli, states):
    code, out, _ = cli("series", "run.replay", "-o", "out.npz", "--stop", 50, "--json")
    assert code == 0 and json.loads(out) == {
        "schema": 1,
        "verb": "series",
        "file": "run.replay",
        "start": 0,
        "stop": 50,
        "every": 1,
        "output": "out.npz",
        "to": "npz",
        "n_steps": 50,
        "columns": ["value", "seen"],
    }
    with np.load("out.npz", allow_pickle=False) as table:
        assert table.files == ["step", "value", "seen"]
        assert table["step"].tolist() == list(range(50)) and table["value"].tolist() == states[:50]
        assert table["seen"].shape == (50, 3)
    before = Path("out.npz").read_bytes()
    assert cli("series", "run.replay", "-o", "again.npz", "--stop", 50)[0] == 0
    assert Path("again.npz").read_bytes() == before


def test_a_binary_table_goes_to_a_file(recorded, cli):
    code, out, err = cli("series", "run.replay", "--to", "npz")
    assert (code, out) == (2, "")
    assert err == "rewind: error: --to npz needs -o OUT: it is binary, and stdout is for text\n"


def test_series_replaces_no_file_unasked_and_never_the_run(recorded, cli):
    Path("out.csv").write_text("precious")
    code, _, err = cli("series", "run.replay", "-o", "out.csv")
    assert (code, err) == (2, "rewind: error: out.csv exists; --force replaces it\n")
    assert Path("out.csv").read_text() == "precious"
    assert cli("series", "run.replay", "-o", "out.csv", "--force", "--stop", 2)[0] == 0
    assert Path("out.csv").read_text().startswith("step,value,seen[0]") and len(Path("out.csv").read_text()) < 200
    before = Path("run.replay").read_bytes()
    assert cli("series", "run.replay", "-o", "run.replay", "--force")[0] == 2
    assert Path("run.replay").read_bytes() == before
    code, _, err = cli("series", "run.replay", "-o", "gone/out.csv")
    assert code == 2 and "-o gone/out.csv: there is no folder gone" in err
    assert not [name for name in os.listdir() if name.startswith(".rewind")]


def test_stored_states_need_no_step_code(here, cli):
    run = rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, seed=3)
    run.save("plain.replay")
    code, out, err = cli("series", "plain.replay", "--every", "10")
    assert (code, err) == (0, "")
    assert [float(line.split(",")[1]) for line in out.splitlines()[1:]] == [run[t] for t in range(0, 100, 10)]
    code, _, err = cli("series", "plain.replay")
    assert code == 2 and "series needs the step function of this run" in err


def test_tables_of_odd_states(here, cli):
    first = {
        "step": 3,
        "name": 'a "b", c',
        "z": 1 - 2j,
        "nan": math.nan,
        "big": 2**62 + 1,
        "flag": True,
        "grid": np.arange(4.0).reshape(2, 2),
        "table": np.array([(1, 2.5)], [("n", "i8"), ("w", "f8")]),
        "deep": {"x": np.float32(0.1)},
    }
    rewind.record(lambda s, rng: s, first, 2, seed=0, block_size=1).save("odd.replay")
    code, out, _ = cli("series", "odd.replay")
    header, *lines = csv.reader(io.StringIO(out))
    row = dict(zip(header, lines[1], strict=True))
    assert code == 0 and row == {
        "step": "1",
        "state.step": "3",
        "name": 'a "b", c',
        "z": "(1-2j)",
        "nan": "nan",
        "big": str(2**62 + 1),
        "flag": "True",
        "grid[0][0]": "0.0",
        "grid[0][1]": "1.0",
        "grid[1][0]": "2.0",
        "grid[1][1]": "3.0",
        "table[0].n": "1",
        "table[0].w": "2.5",
        "deep.x": repr(float(np.float32(0.1))),
    }
    assert cli("series", "odd.replay", "-o", "odd.npz")[0] == 0
    with np.load("odd.npz", allow_pickle=False) as table:
        assert table["grid"].shape == (2, 2, 2) and table["deep.x"].dtype == np.float32
    facts = json.loads(cli("series", "odd.replay", "--to", "json")[1])
    assert facts["columns"]["nan"] == [{"float": "nan"}] * 2 and facts["columns"]["big"] == [2**62 + 1] * 2


def test_what_numpy_would_pickle_is_refused_as_npz(here, cli):
    rewind.record(lambda s, rng: s, {"x": None}, 2, seed=0, block_size=1).save("none.replay")
    code, _, err = cli("series", "none.replay", "-o", "none.npz")
    assert code == 2 and "x is no array of numbers or text, and npz holds nothing else; use --to json" in err
    assert not Path("none.npz").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--every", "0"], "--every is 0; expected an integer >= 1"),
        (["--metric", "value", "--metric", "value"], "--metric value is given twice"),
        (["--metric", "valve"], "metric 'valve' at step 0 is no attribute or key of the state, which has "),
        (["--metric", "value", "--metric", "walk.py:broken"], "metric 'broken' at step 0 raised AttributeError"),
        (["--json", "--to", "csv"], "--json and --to csv are two forms of one answer"),
    ],
)
def test_arguments_of_series_that_cannot_be_meant(recorded, cli, argv, words):
    code, out, err = cli("series", "run.replay", *argv)
    assert (code, out) == (2, "") and words in err.splitlines()[-1]


def test_a_window_without_a_step_is_a_table_without_a_line(recorded, cli):
    assert cli("series", "run.replay", "--metric", "value", "--start", 5, "--stop", 5)[:2] == (0, "step,value\n")


# ---- likelihood


def test_likelihood_is_the_table_of_the_library(here, cli):
    (here / "walk.py").write_text(
        "def step(x, rng):\n    return x + rng.random() - 0.5\n\n\ndef up(x):\n    return x > 3\n"
    )
    namespace: dict = {}
    exec((here / "walk.py").read_text(), namespace)
    run = rewind.record(namespace["step"], 0.0, 100, 3, observe={"x": None})
    run.save("run.replay")
    table = run.likelihood("x > 3", [0, 50, 90], n=40, n_steps=60, seed=9, confidence=0.9)
    argv = [
        "--at",
        "0,50%,-10",
        "-n",
        40,
        "--n-steps",
        60,
        "--seed",
        9,
        "--confidence",
        "0.9",
        "--step",
        "walk.py:step",
    ]
    table["step"][1] = 49
    table[1] = run.likelihood("x > 3", 49, n=40, n_steps=60, seed=9, confidence=0.9)[0]
    code, out, _ = cli("likelihood", "run.replay", "x > 3", "--observe", "x=", "--json", *argv)
    facts = json.loads(out)
    rows = [dict(zip(table.dtype.names, row, strict=True)) for row in table.tolist()]
    assert code == 0 and facts["table"] == rows and (facts["event"], facts["confidence"]) == ("x > 3", 0.9)
    code, out, _ = cli("likelihood", "run.replay", "walk.py:up", *argv, "--workers", 2)
    assert code == 0 and out.splitlines()[0].split() == ["step", "share", "low", "high", "hits/n"]
    assert [line.split() for line in out.splitlines()[1:]] == [
        [str(r["step"]), f"{r['share']:.4f}", f"{r['low']:.4f}", f"{r['high']:.4f}", f"{r['hits']}/40"] for r in rows
    ]


def test_steps_of_likelihood_may_be_a_slice(recorded, cli):
    def steps(text):
        code, out, _ = cli(
            "likelihood", "run.replay", "walk.py:high", f"--at={text}", "-n", 1, "--n-steps", 1, "--json"
        )
        return [row["step"] for row in json.loads(out)["table"]] if code == 0 else code

    assert steps("0:1000:400") == [0, 400, 800]
    assert steps("-3:") == [997, 998, 999]
    assert steps("10:50%:200") == [10, 210, 410]
    assert steps("10:5:1") == 2 and steps("0:10:0") == 2 and steps("0:10:x") == 2 and steps("0:1:2:3") == 2
    assert steps("x") == 2 and steps("0,1000") == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--at", "5", "-n", "0"], "n is 0; expected an integer >= 1"),
        (["--at", "5", "--confidence", "1"], "confidence is 1.0; expected a number between 0 and 1"),
        (["--at", "5:1"], "expected at least one step to branch at"),
        (["--at", "1:2:3:4"], "--at is '1:2:3:4'; expected T, T,T,... or START:STOP:STEP with a STEP of at least 1"),
        ([], "the following arguments are required: --at"),
    ],
)
def test_arguments_of_likelihood_that_cannot_be_meant(recorded, cli, argv, words):
    code, out, err = cli("likelihood", "run.replay", "walk.py:high", *argv)
    assert (code, out) == (2, "") and words in err.splitlines()[-1]


# ---- diff


def parted(cli, *argv):
    code, out, _ = cli("diff", *argv, "--json")
    return code, json.loads(out)


def test_diff_says_where_runs_part(recorded, cli, states):
    code, out, err = cli("diff", "run.replay", "pushed.replay")
    assert code == 1 and err == SAYS
    assert out.splitlines()[-2:] == [
        "states first differ at step 500 of the root (step 500 | step 0): .value is "
        f"{states[500]!r} | {states[500] + 100!r} (0 of 16 stored states agree)",
        "content hashes differ",
    ]
    code, facts = parted(cli, "run.replay", "pushed.replay")
    assert code == 1 and (facts["states"], facts["note"]) == ("part", None)
    assert facts["divergence"] == {
        "step": 500,
        "path": ".value",
        "value": states[500],
        "other": states[500] + 100,
        "exact": True,
        "n_agreeing": 0,
        "n_common": 16,
    }


def test_diff_of_a_branch_that_changes_nothing_agrees(recorded, cli):
    code, out, _ = cli("diff", "run.replay", "tail.replay")
    assert code == 1 and "\nstates agree at all 500 steps that both have\n" in out
    assert parted(cli, "run.replay", "tail.replay")[1]["divergence"] is None


def test_diff_of_two_seeds_is_found_inside_a_block(recorded, cli):
    code, facts = parted(cli, "run.replay", "other.replay")
    found = facts["divergence"]
    assert (code, found["step"], found["path"], found["exact"]) == (1, 1, ".value", True)
    assert (found["n_agreeing"], found["n_common"]) == (1, 32)


def test_diff_of_the_same_run_imports_nothing(recorded, cli):
    (recorded / "walk.py").write_text("raise SystemExit('imported')")
    shutil.copy("run.replay", "same.replay")
    assert cli("diff", "run.replay", "same.replay") == (0, "content hashes agree: the same run\n", "")
    code, facts = parted(cli, "run.replay", "same.replay")
    assert (code, facts["divergence"], facts["states"], facts["note"]) == (0, None, "agree", None)


def test_without_step_code_stored_states_tell(recorded, cli):
    (recorded / "walk.py").unlink()
    code, out, err = cli("diff", "run.replay", "other.replay")
    assert (code, err) == (1, "")
    line = out.splitlines()[-2]
    assert line.startswith("states first differ at step 32 or before: .value is ")
    assert "(1 of 32 stored states agree); the exact step needs the step functions of both: " in line
    assert line.endswith(f"--step {FORMS} (run.replay: there is no walk.py in the working directory)")
    code, facts = parted(cli, "run.replay", "other.replay")
    found = facts["divergence"]
    assert (found["step"], found["path"], found["exact"], found["n_agreeing"]) == (32, ".value", False, 1)
    assert facts["states"] == "part" and facts["note"].startswith("the exact step needs")


def test_stored_states_that_agree_without_step_code_are_not_called_the_same(here, cli):
    def also(x, rng):
        return 1 + x

    rewind.record(count, 0, 95, 1, block_size=10).save("a.replay")
    rewind.record(also, 0, 100, 1, block_size=10).save("b.replay")
    code, out, _ = cli("diff", "a.replay", "b.replay")
    assert code == 1 and "\nstored states agree; whether all do needs the step functions of both: --step" in out
    assert parted(cli, "a.replay", "b.replay")[1]["states"] == "stored agree"


def test_diff_takes_step_code_for_both_sides(recorded, cli):
    (recorded / "walk.py").rename("mine.py")
    code, facts = parted(cli, "run.replay", "other.replay", "--step", "mine.py:step")
    assert (code, facts["divergence"]["step"], facts["divergence"]["exact"]) == (1, 1, True)
    Path("half.py").write_text(WALK.replace("rng.random()", "rng.random() / 2"))
    argv = ["run.replay", "tail.replay", "--step", "mine.py:step", "--other-step", "half.py:step"]
    code, out, err = cli("diff", *argv, "--json")
    assert (code, out) == (2, "") and "does not reproduce step" in err  # it is not the step of that file
    code, _, err = cli("diff", "run.replay", "other.replay", "--step", "gone.py:step")
    assert code == 2 and "--step gone.py:step: there is no file gone.py" in err
    code, _, err = cli("diff", "run.replay", "other.replay", "--step", "mine.py:step", "--other-step", "gone.py:step")
    assert code == 2 and "--other-step gone.py:step: there is no file gone.py" in err


def test_diff_of_metadata_alone_looks_at_no_state(recorded, cli):
    code, out, err = cli("diff", "run.replay", "other.replay", "--metadata")
    assert (code, err) == (1, "") and "states" not in out and "seed: 7 | 8\n" in out
    code, facts = parted(cli, "run.replay", "other.replay", "--metadata")
    assert code == 1 and not {"divergence", "states", "note"} & set(facts)


def test_runs_that_cannot_be_compared_are_still_told_apart(here, cli):
    rewind.record(lambda x, rng: x, 0, 5, 1).save("a.replay")
    rewind.record(lambda x, rng: x, 0.0, 5, 1).save("b.replay")
    code, out, _ = cli("diff", "a.replay", "b.replay")
    assert code == 1 and "\nstates not compared; other is a run of " in out and "layout: 'int' | 'float'" in out
    assert parted(cli, "a.replay", "b.replay")[1]["states"] == "not compared"


def test_diff_of_pickled_states_asks_for_leave(here, cli):
    program = (
        "import rewind\n\n\nclass S:\n    def __init__(self, x):\n        self.x = x\n\n"
        "    def __setstate__(self, facts):\n        self.__dict__ = facts\n\n\n"
        "def step(s, rng):\n    return S(s.x + rng.random())\n\n\n"
        "if __name__ == '__main__':\n    for seed in (1, 2):\n"
        "        rewind.record(step, S(0.0), 50, seed).save(f'{seed}.replay')\n"
    )
    Path("pick.py").write_text(program)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "pick.py"], env=env, check=True, capture_output=True)
    code, out, err = cli("diff", "1.replay", "2.replay")
    assert (code, err) == (
        1,
        "",
    ) and "\nstates not compared; 1.replay holds pickles: --allow-pickle compares them" in out
    code, facts = parted(cli, "1.replay", "2.replay", "--allow-pickle")
    assert (code, facts["divergence"]["step"], facts["divergence"]["path"]) == (1, 1, ".x")
    Path("pick.py").unlink()
    code, out, _ = cli("diff", "1.replay", "2.replay", "--allow-pickle")
    assert code == 1 and "states not compared; pickled states need the code of both runs: there is no pick.py" in out


# ---- stats


def test_several_metrics_are_one_pass_of_stats(recorded, cli):
    code, out, _ = cli("stats", "run.replay", "--metric", "value", "--metric", "walk.py:height", "--json")
    found = json.loads(out)["metrics"]
    assert code == 0 and list(found) == ["value", "walk.py:height"]
    assert found["walk.py:height"]["mean"] == 2 * found["value"]["mean"]
    assert (
        found["value"] == json.loads(cli("stats", "run.replay", "--metric", "value", "--json")[1])["metrics"]["value"]
    )
    assert json.loads(cli("stats", "run.replay", "--metric", "value", "--json", "--workers", 2)[1])["metrics"] == {
        "value": found["value"]
    }


def test_stats_take_a_histogram_and_lags(recorded, cli, states):
    argv = ["--metric", "value", "--histogram", "0,100,200", "--max-lag", "2"]
    code, out, _ = cli("stats", "run.replay", *argv, "--json")
    found = json.loads(out)["metrics"]["value"]
    assert code == 0 and found["histogram"]["data"] == np.histogram(states, [0, 100, 200])[0].tolist()
    assert found["edges"]["data"] == [0.0, 100.0, 200.0] and len(found["autocovariance"]["data"]) == 3
    assert "\n  histogram       [" in cli("stats", "run.replay", *argv)[1]
    assert cli("stats", "run.replay", "--metric", "value", "--histogram=-inf,0,inf")[0] == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--histogram", "0,a"], "--histogram is '0,a'; expected E0,E1,..., the edges of its bins"),
        (["--histogram", "1,0"], "expected the edges of its bins, at least 2 increasing numbers"),
        (["--max-lag", "1000"], "max_lag is 1000; expected a lag below 1000"),
        (["--metric", "value"], "--metric value is given twice"),
    ],
)
def test_arguments_of_stats_that_cannot_be_meant(recorded, cli, argv, words):
    code, out, err = cli("stats", "run.replay", "--metric", "value", *argv)
    assert (code, out) == (2, "") and words in err.splitlines()[-1]


# ---- shards


def sharded(cli, n, *argv):
    """Do all shards, and return the parts."""
    verb, file, *more = argv
    names = [f"part{i}.json" for i in range(1, n + 1)]
    codes = [cli(verb, file, "--shard", f"{i}/{n}", "--out", names[i - 1], *more)[0] for i in range(1, n + 1)]
    return codes, names


@pytest.mark.parametrize("n", [1, 3, 40])
@pytest.mark.parametrize(
    "argv",
    [
        ["verify", "run.replay"],
        ["verify", "run.replay", "--full"],
        ["stats", "run.replay", "--metric", "value", "--histogram", "0,100,200", "--max-lag", "3"],
        ["stats", "run.replay", "--metric", "walk.py:vector", "--metric", "value", "--start", "7", "--stop", "-5"],
    ],
)
def test_merge_answers_as_the_verb_in_one_piece(recorded, cli, n, argv):
    codes, names = sharded(cli, n, *argv)
    assert set(codes) == {0}
    for how in ([], ["--json"]):
        assert cli("merge", *names[::-1], *how) == (0, cli(*argv, *how)[1], "")


def test_a_shard_says_what_it_did(recorded, cli):
    code, out, _ = cli("verify", "run.replay", "--shard", "2/3", "--out", "p.json")
    assert (code, out) == (0, "ok: shard 2 of 3 of run.replay, 11 of 32 stretches; wrote p.json\n")
    code, out, _ = cli("stats", "run.replay", "--metric", "value", "--shard", "3/3", "--out", "p.json", "--json")
    assert code == 0 and json.loads(out) == {
        "schema": 1,
        "verb": "stats",
        "file": "run.replay",
        "shard": [3, 3],
        "part": "p.json",
        "n_items": 11,
        "steps": [672, 1000],
    }


def test_a_shard_that_fails_writes_its_part_and_merge_tells_of_the_earliest(recorded, cli):
    (recorded / "half.py").write_text(WALK.replace("rng.random()", "rng.random() / 2"))
    argv = ["verify", "run.replay", "--step", "half.py:step"]
    codes, names = sharded(cli, 3, *argv)
    assert codes == [1, 1, 1]
    for how in ([], ["--json"]):
        assert cli("merge", *names, *how) == (1, cli(*argv, *how)[1], "")
    assert cli("verify", "run.replay", "--shard", "1/3", "--out", "part1.json")[0] == 0
    code, out, _ = cli("merge", *names)
    assert code == 1 and out.startswith("NOT reproduced: block ")


def test_a_step_that_raises_fails_its_shard(recorded, cli):
    (recorded / "raises.py").write_text(WALK.replace("    return State(state.value +", "    1 / 0\n    return State("))
    argv = ["verify", "run.replay", "--step", "raises.py:step"]
    codes, names = sharded(cli, 2, *argv)
    code, out, _ = cli("merge", *names)
    assert codes == [1, 1] and code == 1 and "step_fn raised ZeroDivisionError at step" in out
    assert cli("merge", *names, "--json")[1] == cli(*argv, "--json")[1]


def test_merge_says_what_is_wrong(recorded, cli):
    _, names = sharded(cli, 3, "verify", "run.replay")
    code, out, err = cli("merge", *names[:2])
    assert (code, out, err) == (2, "", "rewind: error: shard 3 of 3 is missing; pass the parts of all 3\n")
    shutil.copy("part1.json", "copy.json")
    code, out, err = cli("merge", *names, "copy.json")
    assert (code, out, err) == (2, "", "rewind: error: shard 1 of 3 is there twice: part1.json and copy.json\n")
    cli("verify", "other.replay", "--shard", "3/3", "--out", "part3.json")
    code, _, err = cli("merge", *names)
    assert code == 2 and "part1.json and part3.json are not parts of one pass: the run is '" in err
    for data, words in ((b"{", "it is not JSON"), (b"{}", 'it has no "format": "rewind.shard"')):
        Path("bad.json").write_bytes(data)
        code, out, err = cli("merge", "bad.json")
        assert (code, out) == (2, "") and err.startswith("rewind: error: bad.json: ") and words in err
    code, _, err = cli("merge", "gone.json")
    assert (code, err) == (2, "rewind: error: cannot read gone.json: No such file or directory\n")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--shard", "0/3", "--out", "p"], "--shard is '0/3'; expected I/N, the I-th of N shards, for example 1/16"),
        (["--shard", "4/3", "--out", "p"], "--shard is '4/3'; expected I/N"),
        (["--shard", "3", "--out", "p"], "--shard is '3'; expected I/N"),
        (["--shard", "1/3"], "--shard 1/3 needs --out PART, the file it writes for rewind merge"),
        (["--out", "p"], "--out goes with --shard I/N"),
        (["--shard", "1/3", "--out", "walk.py"], "walk.py exists; it is no part of a sharded pass"),
        (["--shard", "1/3", "--out", "run.replay"], "--out run.replay is the run itself"),
        (["--shard", "1/3", "--out", "gone/p"], "--out gone/p: there is no folder gone"),
    ],
)
def test_shards_that_cannot_be_meant_are_refused_before_any_work(recorded, cli, argv, words):
    for verb in ("verify", "stats"):
        code, out, err = cli(verb, "run.replay", *argv)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1


def test_observed_statistics_have_no_shards(recorded, cli):
    code, out, err = cli("stats", "run.replay", "--shard", "1/3", "--out", "p.json")
    assert (code, out) == (2, "")
    assert err == (
        "rewind: error: run.replay holds the statistics of value, v: there is nothing to replay. Leave --shard out, or "
        "name what to replay with --metric\n"
    )


# ---- terminals


def read_terminal(work):
    """Return what ``work(terminal)`` writes to a terminal, the descriptor that it is given and closes."""
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def read():
        seen = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(master, 1 << 16):
                seen += piece
        return seen.decode()

    try:
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(read)
            work(slave)
            return seen.result()
    finally:
        os.close(master)


def on_a_terminal(*argv):
    """Return what the command writes to a terminal as its stderr."""

    def work(slave):
        with open(slave, "w") as terminal, open(os.devnull, "w") as nothing:
            with contextlib.redirect_stderr(terminal), contextlib.redirect_stdout(nothing):
                assert main([*map(str, argv)]) in (0, 1)

    return read_terminal(work)


@pytest.mark.parametrize(
    ("op", "argv"),
    [
        ("first", ["find", "run.replay", "walk.py:high"]),
        ("where", ["find", "run.replay", "walk.py:high", "--all"]),
        ("series", ["series", "run.replay"]),
        ("stats", ["stats", "run.replay", "--metric", "value"]),
        ("stats", ["stats", "run.replay", "--metric", "value", "--shard", "1/2", "--out", "p.json"]),
        ("verify", ["verify", "run.replay", "--shard", "1/2", "--out", "p.json"]),
        ("likelihood", ["likelihood", "run.replay", "walk.py:high", "--at", "0", "-n", "2"]),
        ("diff", ["diff", "run.replay", "tail.replay", "--step", "walk.py:step", "--other-step", "again.py:step"]),
    ],
)
def test_a_long_pass_shows_progress_on_a_terminal_unless_it_is_to_be_quiet(recorded, monkeypatch, op, argv):
    shutil.copy("walk.py", "again.py")
    assert f"{op}: " in on_a_terminal(*argv)
    quiet = on_a_terminal(*argv, "--quiet")
    assert f"{op}: " not in quiet and "%" not in quiet
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in on_a_terminal(*argv)


def test_a_process_whose_stderr_is_a_terminal_shows_progress(recorded):
    command = [sys.executable, "-m", "rewind", "series", "run.replay"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def work(slave):
        try:
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=slave, check=True)
        finally:
            os.close(slave)

    assert "series: " in read_terminal(work)


# ---- the rest


@pytest.mark.parametrize("verb", ["find", "bisect", "series", "likelihood", "diff", "merge", "verify", "stats"])
def test_every_verb_explains_itself(cli, verb):
    code, out, _ = cli(verb, "--help")
    assert code == 0 and len(out.splitlines()) > 8 and "None" not in out


@pytest.mark.parametrize(
    "argv",
    [
        ["find", "x > 0"],
        ["bisect", "x > 0"],
        ["series"],
        ["likelihood", "x > 0", "--at", "0"],
        ["diff", "plain.replay"],
    ],
)
def test_a_file_that_is_not_there_is_exit_2(here, cli, argv):
    code, out, err = cli(argv[0], "gone.replay", *argv[1:])
    said = "'gone.replay' is neither a file nor a tracked run" if argv[0] == "diff" else "cannot read gone.replay"
    assert (code, out) == (2, "") and err.startswith(f"rewind: error: {said}")


def test_step_0_of_a_branch_that_begins_inside_a_block_is_replayed(recorded, cli, states):
    code, out, err = cli("get", "tail.replay", "0", "--field", "value")
    assert (code, out, err) == (0, f"{states[500]!r}\n", SAYS)


def test_ctrl_c_in_a_pass_is_exit_130(recorded, cli):
    (recorded / "stop.py").write_text(
        WALK.replace("    return State(", "    __import__('signal').raise_signal(2)\n    return State(")
    )
    for argv in (
        ["find", "walk.py:high"],
        ["series", "-o", "out.csv"],
        ["verify", "--shard", "1/2", "--out", "p.json"],
    ):
        code, out, err = cli(argv[0], "run.replay", *argv[1:], "--step", "stop.py:step")
        assert (code, out) == (130, "") and err.endswith("rewind: error: interrupted; nothing was written\n")
    assert not Path("out.csv").exists() and not Path("p.json").exists()
