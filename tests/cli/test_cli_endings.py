"""Success is said only of what succeeded: what ends a verb, and where it can no longer say so."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import rewind
from rewind.cli.main import main
from rewind.tracker.simulation import parts

pytestmark = pytest.mark.once

ROOT = Path(rewind.__file__).parents[1]

ENDINGS = {
    "SystemExit": "sys.exit()",
    "SystemExit: 0": "sys.exit(0)",
    "SystemExit: bye": "raise SystemExit('bye')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "Stop: enough": "raise Stop('enough')",
}

SCRIPT = """\
import sys


class Stop(BaseException):
    pass


def step(x, rng):
    return x + rng.random()


def quits(x, rng):
    {ending}


def late(x, rng):
    y = x + rng.random()
    if y > 20:
        {ending}
    return y


def metric(x):
    {ending}


def state():
    {ending}


def encode(x):
    {ending}


codec = (encode, lambda tree: tree)
"""


@pytest.fixture
def cli(capsys):
    def call(*argv):
        code = main([str(arg) for arg in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with walk.replay, whose step is nowhere."""
    monkeypatch.chdir(tmp_path)
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, seed=1, observe={"x": None}).save("walk.replay")
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, seed=2, observe={"x": None}).save("other.replay")
    return tmp_path


def write(ending, name="quits.py"):
    Path(name).write_text(SCRIPT.format(ending=ENDINGS[ending]))


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_the_step_ends_is_no_success_and_says_where(here, cli, ending):
    write(ending)
    code, out, err = cli("verify", "walk.replay", "--full", "--step", "quits.py:quits")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("rewind: error: the verb was ended: quits.py, line 13, in quits, raised ")
    assert err.rstrip().endswith(ending)


VERBS = {
    "get": ["get", "walk.replay", "5", "--step", "quits.py:quits"],
    "find": ["find", "walk.replay", "quits.py:metric", "--step", "quits.py:step"],
    "find a text": ["find", "walk.replay", "x > 20", "--observe", "x=", "--step", "quits.py:quits"],
    "bisect": ["bisect", "walk.replay", "quits.py:metric", "--step", "quits.py:step"],
    "series": ["series", "walk.replay", "--metric", "quits.py:metric", "--step", "quits.py:step"],
    "stats": ["stats", "walk.replay", "--metric", "quits.py:metric", "--step", "quits.py:step"],
    "likelihood": ["likelihood", "walk.replay", "quits.py:metric", "--at", "5", "-n", "3", "--step", "quits.py:step"],
    "branch": ["branch", "walk.replay", "5", "-o", "b.replay", "--step", "quits.py:quits"],
    "record": ["record", "quits.py:quits", "--init", "0.0", "-n", "20", "--seed", "1", "-o", "r.replay"],
    "record a state": [
        "record",
        "quits.py:step",
        "--init",
        "quits.py:state",
        "-n",
        "20",
        "--seed",
        "1",
        "-o",
        "r.replay",
    ],
    "record with a codec": "record quits.py:step --init 0.0 -n 9 --seed 1 -o r.replay --codec quits.py:codec".split(),
    "observe": "record quits.py:step --init 0.0 -n 9 --seed 1 -o r.replay --observe m=quits.py:metric".split(),
    "verify": ["verify", "walk.replay", "--step", "quits.py:late"],
    "shard": ["verify", "walk.replay", "--step", "quits.py:quits", "--shard", "1/2", "--out", "part"],
}


@pytest.mark.parametrize("ending", ["SystemExit: 0", "KeyboardInterrupt", "Stop: enough"])
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_succeeds_by_being_ended(here, cli, verb, ending):
    write(ending)
    code, out, err = cli(*VERBS[verb])
    assert (code, out) == (2, "") and "quits.py, line" in err.splitlines()[-1] and err.rstrip().endswith(ending)
    assert not {"b.replay", "part"} & set(os.listdir())


@pytest.mark.parametrize("ending", ENDINGS)
def test_nor_does_an_import(here, cli, ending):
    Path("early.py").write_text(SCRIPT.format(ending="pass") + f"\n\n{ENDINGS[ending]}\n")
    for form in ("early.py", "early"):
        code, out, err = cli("get", "walk.replay", "5", "--step", f"{form}:step")
        assert (code, out) == (2, "") and "early.py" in err
        assert err.rstrip().endswith(ending) or ending == "SystemExit: 0"


@pytest.mark.parametrize("ending", ["SystemExit", "KeyboardInterrupt", "Stop: enough"])
@pytest.mark.parametrize("verb", ["verify", "stats"])
def test_nor_a_worker(here, cli, ending, verb):
    write(ending)
    more = ["--full"] if verb == "verify" else ["--metric", "quits.py:metric"]
    step = "late" if verb == "verify" else "step"
    code, out, err = cli(verb, "walk.replay", *more, "--step", f"quits.py:{step}", "--workers", "2")
    assert (code, out) == (2, "") and "quits.py, line" in err and err.rstrip().endswith(ending)


ONCE = """\
import sys
calls = []


class Stop(BaseException):
    pass


def step(x, rng):
    calls.append(x)
    if len(calls) > {limit}:
        {ending}
    return x + 2 * rng.random()
"""


@pytest.mark.parametrize("ending", ["SystemExit", "KeyboardInterrupt", "Stop: enough"])
def test_a_difference_that_had_been_found_stays_one(here, cli, ending):
    # The last block is one of 9 steps that are compared by three replays; the fourth does not give the last state.
    Path("once.py").write_text(ONCE.format(limit=44, ending=ENDINGS[ending]))
    code, out, err = cli("verify", "walk.replay", "--step", "once.py:step")
    assert code == 1 and out.startswith("NOT reproduced: block 9 does not reproduce step 99; and then once.py, line 12")
    assert out.rstrip().endswith(ending)
    answer = cli("verify", "walk.replay", "--step", "once.py:step", "--json")[1]
    assert json.loads(answer)["ok"] is False
    write(ending)
    code, out, _ = cli("diff", "walk.replay", "other.replay", "--step", "quits.py:quits")
    assert code == 1 and "quits.py, line 13, in quits, raised" in out and "seed: 1 | 2" in out


@pytest.mark.parametrize("ending", ["SystemExit: 0", "KeyboardInterrupt", "Stop: enough"])
def test_fsck_keeps_the_problems_it_had_found(tmp_path, monkeypatch, cli, ending):
    monkeypatch.chdir(tmp_path)

    def quits(x, rng):
        return x + rng.random()

    quits.__qualname__ = "quits"
    for name in ("a", "b"):
        with rewind.init(dir=".rewind", id=name) as run:
            run.record(quits, 0.0, 20, seed=1, observe={"x": None})
    monkeypatch.setattr(parts, "_RECORDED", {})  # another process
    write(ending)
    code, out, err = cli("fsck", ".", "--replay", "--step", "quits.py:quits", "--observe", "x=")
    assert code == 2 and out.count("not replayed") == 2 and out.count("quits.py, line 13, in quits, raised") == 2
    with contextlib.closing(sqlite3.connect(".rewind/tracker.sqlite")) as connection:
        connection.execute("UPDATE revisions SET digest = 'nonsense' WHERE run = 'a'")
        connection.commit()
    code, out, err = cli("fsck", ".", "--replay", "--step", "quits.py:quits", "--observe", "x=")
    assert code == 1 and "DAMAGED: a@1" in out and out.count("not replayed") == 2


def test_a_library_call_lets_them_pass_with_what_there_is():
    def late(x, rng):
        if x == 7:
            sys.exit("enough")
        return x + 1

    with pytest.raises(SystemExit, match="enough") as caught:
        rewind.record(late, 0, 20, seed=1, block_size=5)
    assert len(caught.value.run) == 6


# ---- streams


def command(argv, cwd, shell):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = f"{sys.executable} -m rewind {argv} {shell}"
    return subprocess.run(["sh", "-c", line], cwd=cwd, env=env, capture_output=True, text=True).returncode


@pytest.mark.skipif(os.name != "posix", reason="needs a shell of POSIX")
@pytest.mark.parametrize(
    ("argv", "streams", "code"),
    [
        ("get walk.replay 0", "2>&-", 0),
        ("get walk.replay 5", "2>&-", 2),
        ("get walk.replay 0", ">&-", 2),
        ("get walk.replay 0", ">&- 2>&-", 2),
        ("get walk.replay 5", "2>/dev/full", 2),
        ("get walk.replay 0", "2>/dev/full", 0),
        ("--version", ">/dev/full", 2),
        ("get --help", ">&-", 2),
        ("nonsense", "2>&-", 2),
        ("nonsense", "2>/dev/full", 2),
    ],
)
def test_streams_that_are_closed_or_full_end_with_the_right_code(here, argv, streams, code):
    if "/dev/full" in streams and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    assert command(argv, here, streams) == code


def test_what_is_opened_does_not_become_stderr(here, monkeypatch, capsys):
    kept = os.dup(2)
    monkeypatch.setattr(sys, "stderr", None)
    try:
        os.close(2)
        assert main(["get", "walk.replay", "0"]) == 0
        assert os.fstat(2).st_rdev == os.stat(os.devnull).st_rdev
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@pytest.mark.parametrize("levels", [900, 5_000, 200_000])
def test_what_is_nested_deeply_is_refused_in_a_line(here, cli, levels):
    Path("walk.py").write_text(SCRIPT.format(ending="pass"))
    init = "[" * levels + "]" * levels
    argv = ["record", "walk.py:step", "-n", "9", "--seed", "1", "-o", "r.replay"]
    code, out, err = cli(*argv, "--init", init)
    assert (code, out) == (2, "") and "Traceback" not in err and len(err) < 1000
    code, out, err = cli(*argv, "--init", "0", "--param", f"a={init}")
    assert (code, out) == (2, "") and "Traceback" not in err and len(err) < 1000
    assert not Path("r.replay").exists()
