"""rewind record: a run to a file from the command line, and what is left of one that was ended."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import rewind
from rewind.cli.main import main

pytestmark = pytest.mark.once  # of files, signals and words: which kernel runs does not matter

ROOT = pathlib.Path(rewind.__file__).parents[1]

WALK = """\
import os
import pathlib
import signal
import sys
from dataclasses import dataclass

import numpy as np



def step(x, rng):
    return x + rng.choice((-1, 1))


def count(x, rng, by=1):
    return x + by


def fails(x, rng):
    if x == 57 and not os.path.exists("mended"):
        raise ValueError("fifty-seven")
    return x + 1


def sends(x, rng):
    if x == 57 and os.path.exists("signal"):
        signal.raise_signal(getattr(signal, pathlib.Path("signal").read_text()))
    return x + 1


def waits(x, rng):
    if x == 57 and not os.path.exists("mended"):
        print("now", file=sys.stderr, flush=True)
        sys.stdin.readline()
    return x + 1


def drift(x, rng):
    return x + rng.normal(size=3)


@dataclass
class State:
    value: float = 0.0
    n: int = 0


def live(state, rng, rate):
    return State(state.value + rate * rng.random(), state.n + 1)


def begin():
    return State(5.0, 2)


def zeros():
    return np.zeros(3)


def collect(seen, rng):
    return seen | {frozenset({rng.randrange(50)})}


def nobody():
    return set()


def double(x):
    return 2 * x


def over_40(x):
    return x > 40


def over_57(x):
    return x > 57


first = State(1.0, 1)
codec = (lambda state: [state.value, state.n], lambda tree: State(*tree))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with walk.py, to be in; modules of before are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "walk", raising=False)
    (tmp_path / "walk.py").write_text(WALK)
    return tmp_path


@pytest.fixture
def cli(capsys, here):
    def call(*argv):
        code = main([str(arg) for arg in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def ended(cli, here):
    """A recording of 1,000 steps in blocks of 10 that was ended at step 57 by the step itself."""
    code, out, err = cli(
        "record", "walk.py:fails", "--init", 0, "-n", 1000, "--seed", 3, "--block-size", 10, "-o", "run.replay"
    )
    assert (code, out) == (2, "")
    return err


BEGIN = ("--init", 0, "-n", 1000, "--seed", 3, "-o", "run.replay")


# ---- a run


def test_a_run_is_the_file_that_record_writes(cli, here):
    code, out, err = cli("record", "walk.py:step", *BEGIN)
    assert (code, err) == (0, "rewind: importing STEP walk.py:step from ./walk.py\n")
    run = rewind.load("run.replay")
    size = f"{os.path.getsize('run.replay'):,}"
    assert out == f"wrote run.replay: 1,000 steps, seed 3 ({size} bytes)\ncontent hash {run.content_hash()}\n"
    sys.path.insert(0, str(here))
    try:
        import walk
    finally:
        sys.path.remove(str(here))
    expected = rewind.record(walk.step, 0, 1000, 3)
    assert run.content_hash() == expected.content_hash() and run.block_size == 32
    assert not os.path.exists("run.replay.journal")
    assert cli("get", "run.replay", -1, "--step", "walk.py:step")[1] == f"{expected[-1]}\n"


def test_json_has_every_fact(cli):
    code, out, _ = cli(
        "record", "walk.py:count", *BEGIN, "--param", "by=2", "--block-size", 50, "--observe", "x=", "--json"
    )
    run = rewind.load("run.replay")
    assert code == 0 and json.loads(out) == {
        "schema": 1,
        "verb": "record",
        "output": "run.replay",
        "n_steps": 1000,
        "block_size": 50,
        "n_checkpoints": 20,
        "seed": 3,
        "params": {"by": 2},
        "resumed": False,
        "bytes": os.path.getsize("run.replay"),
        "content_hash": run.content_hash(),
    }
    assert run.observed["x"].max == 1998


@pytest.mark.parametrize(
    "step, init, state",
    [
        ("step", "7", 7),
        ("step", "-7", -7),
        ("drift", "walk.py:zeros", "array([0., 0., 0.])"),
        ("live", "walk.py:begin", "State(value=5.0, n=2)"),
        ("live", "walk.py:State", "State(value=0.0, n=0)"),
        ("live", "walk.py:first", "State(value=1.0, n=1)"),
    ],
)
def test_state_0_is_a_json_value_or_what_code_names(cli, here, step, init, state):
    more = ["--backend", "numpy"] if step == "drift" else ["--param", "rate=0.5"] if step == "live" else []
    code, _, err = cli("record", f"walk.py:{step}", f"--init={init}", "-n", 20, "-o", "run.replay", *more)
    assert code == 0, err
    code, out, err = cli("get", "run.replay", 0, "--step", f"walk.py:{step}")
    assert (code, out) == (0, f"{state}\n"), err
    assert rewind.load("run.replay").backend == ("numpy" if step == "drift" else "python")


@pytest.mark.parametrize("init", ["[0.0, 1.0]", '{"a": 1}', '"text"', "1.5", "true", "null"])
def test_any_json_value_is_a_state(cli, here, init):
    (here / "stay.py").write_text("def step(state, rng):\n    return state\n")
    assert cli("record", "stay.py:step", "--init", init, "-n", 20, "-o", "run.replay")[0] == 0
    assert rewind.load("run.replay").get(0) == json.loads(init)


@pytest.mark.parametrize("init", ["nonsense", "{", "[1, 2", "walk.py:nothing", "nowhere.py:f", ""])
def test_a_state_that_cannot_be_meant_is_exit_2(cli, init):
    code, out, err = cli("record", "walk.py:step", f"--init={init}", "-n", 20, "-o", "run.replay")
    assert (code, out) == (2, "") and "rewind: error: " in err and not os.path.exists("run.replay")
    assert not os.path.exists("run.replay.journal")


def test_observed_metrics_params_and_codec_are_those_of_the_library(cli):
    code, _, err = cli(
        *("record", "walk.py:live", "--init", "walk.py:begin", "-n", 100, "--seed", 3, "-o", "run.replay"),
        *("--param", "rate=0.25", "--observe", "v=value", "--codec", "walk.py:codec", "--self-check"),
        *("--durability", "none"),
    )
    assert code == 0, err
    run = rewind.load("run.replay")
    assert run.params == {"rate": 0.25} and run.observed["v"].count == 100 and run.metadata()["codec"]
    code, _, err = cli("record", "walk.py:step", *BEGIN, "--force", "--observe", "d=walk.py:double", "--observe", "x=")
    assert code == 0, err
    run = rewind.load("run.replay")
    assert run.observed["d"].max == 2 * run.observed["x"].max


@pytest.mark.parametrize("budget, block", [("80", 100), ("1KB", 32), ("8", 1000)])
def test_a_budget_says_how_long_blocks_are(cli, budget, block):
    assert cli("record", "walk.py:step", *BEGIN, "--checkpoint-budget", budget)[0] == 0
    assert rewind.load("run.replay").block_size == block


@pytest.mark.parametrize(
    "more, words",
    [
        (["--checkpoint-budget", "1"], "at least the 8 bytes of one state"),
        (["--checkpoint-budget", "80", "--block-size", "5"], "Both say how long blocks are"),
        (["--block-size", "0"], "block_size is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--seed", "x"], "expected an integer"),
        (["-n", "0"], "n_steps is 0"),
        (["-n", "ten"], "invalid int value"),
        (["--param", "by"], "expected NAME=JSON"),
        (["--param", "by=2"], "by=2"),
        (["--observe", "x"], "expected NAME=CODE"),
        (["--observe", "x=walk.py:nothing"], "nothing"),
        (["--durability", "always"], "invalid choice"),
        (["--backend", "torch"], "invalid choice"),
        (["-o", "no/run.replay"], "there is no folder "),
        (["-o", "run.replay.journal"], "is the name of a journal"),
    ],
)
def test_what_cannot_be_meant_is_exit_2_and_leaves_nothing(cli, more, words):
    code, out, err = cli("record", "walk.py:step", *BEGIN, *more)
    assert (code, out) == (2, "") and words in err and "Traceback" not in err
    assert not [name for name in os.listdir() if "replay" in name]


@pytest.mark.parametrize("missing", [["--init"], ["-n"], ["--init", "-n"]])
def test_to_begin_takes_a_state_and_a_length(cli, missing):
    given = {"--init": 0, "-n": 100}
    argv = [part for option, value in given.items() if option not in missing for part in (option, value)]
    for more in ([], ["--resume"]):
        code, _, err = cli("record", "walk.py:step", "-o", "run.replay", *argv, *more)
        assert code == 2 and f"to begin a run takes {' and '.join(missing)}" in err


def test_without_a_seed_one_is_drawn_and_kept(cli):
    for name in ("a.replay", "b.replay"):
        assert cli("record", "walk.py:step", "--init", 0, "-n", 50, "-o", name)[0] == 0
    assert rewind.load("a.replay").seed != rewind.load("b.replay").seed
    assert cli("record", "walk.py:step", "--init", 0, "-n", 50, "--seed", "0xff", "-o", "c.replay")[0] == 0
    assert rewind.load("c.replay").seed == 255


# ---- a file that is there


def test_a_file_that_is_there_is_not_replaced_unasked(cli):
    assert cli("record", "walk.py:step", *BEGIN)[0] == 0
    before = pathlib.Path("run.replay").read_bytes()
    code, out, err = cli("record", "walk.py:count", *BEGIN)
    assert (code, out) == (2, "") and "run.replay exists; --resume goes on with it, --force replaces it" in err
    assert "importing" not in err and pathlib.Path("run.replay").read_bytes() == before
    assert cli("record", "walk.py:count", *BEGIN, "--force")[0] == 0
    assert rewind.load("run.replay").step_id.endswith(":count")


def test_force_replaces_a_file_when_the_new_one_is_finished(cli, here):
    assert cli("record", "walk.py:step", *BEGIN)[0] == 0
    before = pathlib.Path("run.replay").read_bytes()
    assert cli("record", "walk.py:fails", *BEGIN, "--force")[0] == 2
    assert pathlib.Path("run.replay").read_bytes() == before
    (here / "mended").touch()
    code, _, err = cli("record", "walk.py:fails", *BEGIN, "--resume")
    assert code == 0, err
    assert rewind.load("run.replay").step_id.endswith(":fails") and not os.path.exists("run.replay.journal")


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_recording_that_was_cut_off_is_not_begun_again(cli, ended, force):
    before = pathlib.Path("run.replay.journal").read_bytes()
    code, out, err = cli("record", "walk.py:step", *BEGIN, *force)
    assert (code, out) == (2, "") and "holds an unfinished recording, steps 0 to " in err
    assert "--resume goes on with it, or delete it to begin again" in err and "rewind.resume" not in err
    assert pathlib.Path("run.replay.journal").read_bytes() == before


# ---- resume


def test_the_same_command_with_resume_begins_goes_on_and_is_done(cli, here):
    command = ["record", "walk.py:fails", *BEGIN, "--block-size", 10, "--resume"]
    assert cli(*command)[0] == 2  # it begins
    assert len(rewind.load("run.replay")) == 58
    assert cli(*command)[0] == 2  # it goes on, and fails there again
    assert len(rewind.load("run.replay")) == 58
    (here / "mended").touch()
    code, out, _ = cli(*command, "--json")
    facts = json.loads(out)
    assert (code, facts["resumed"], facts["n_steps"]) == (0, True, 1000)
    before, status = pathlib.Path("run.replay").read_bytes(), os.stat("run.replay")
    code, out, _ = cli(*command, "--json")
    assert code == 0 and json.loads(out) == facts
    after = os.stat("run.replay")
    assert (after.st_ino, after.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert cli("record", "walk.py:fails", *BEGIN, "--block-size", 10, "--force", "-o", "whole.replay")[0] == 0
    assert pathlib.Path("whole.replay").read_bytes() == before
    assert cli("record", "walk.py:fails", "-o", "run.replay", "--resume")[0] == 0  # the file knows the rest


def test_a_longer_run_extends_a_finished_file(cli):
    assert cli("record", "walk.py:count", *BEGIN)[0] == 0
    assert cli("record", "walk.py:count", "-n", 3000, "-o", "run.replay", "--resume")[0] == 0
    run = rewind.load("run.replay")
    assert len(run) == 3000 and run.complete and run.block_size == 32
    code, _, err = cli("record", "walk.py:count", "-n", 2000, "-o", "run.replay", "--resume")
    assert code == 2 and "at least the 3000 there are already" in err


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("--seed", 4, "was begun with --seed 3, not 4"),
        ("--block-size", 11, "was begun with --block-size 10, not 11"),
        ("--param", "by=2", "was begun with --param {}, not {'by': 2}"),
    ],
)
def test_a_command_that_would_have_begun_another_run_does_not_go_on(cli, ended, option, value, words):
    before = pathlib.Path("run.replay.journal").read_bytes()
    code, out, err = cli("record", "walk.py:fails", "-o", "run.replay", "--resume", option, value)
    assert (code, out) == (2, "") and words in err
    assert pathlib.Path("run.replay.journal").read_bytes() == before


@pytest.mark.parametrize(
    "more, words",
    [
        (("--backend", "numpy"), "was begun with --backend 'python', not 'numpy'"),
        (("--init", 1), "was begun with --init 0, not 1"),
        (("--init", "[1.0, 2.0]"), "was begun with --init 0, not [1.0, 2.0]"),
        (("--init", "walk.py:one"), "was begun with --init 0, not 1"),
        (("--observe", "x="), "was begun with --observe [], not ['x']"),
    ],
)
@pytest.mark.parametrize("done", [False, True])
def test_a_changed_backend_state_or_metric_is_refused_as_a_changed_seed_is(cli, here, done, more, words):
    (here / "walk.py").write_text(WALK + "\ndef one():\n    return 1\n")
    command = ["record", "walk.py:fails", *BEGIN, "--block-size", 10]
    assert cli(*command)[0] == 2
    (here / "mended").touch()
    if done:
        assert cli(*command, "--resume")[0] == 0
    file = pathlib.Path("run.replay" if done else "run.replay.journal")
    before = file.read_bytes()
    code, out, err = cli(*command, "--resume", *more)
    assert (code, out) == (2, "") and words in err
    assert file.read_bytes() == before
    assert cli(*command, "--resume")[0] == 0  # as it was


def test_a_vector_that_is_another_one_is_named_by_what_differs(cli, here):
    (here / "vector.py").write_text(
        "import os\ndef init():\n    return [0.0] * 64\n\ndef step(x, rng):\n"
        "    if x[0] > 30 and not os.path.exists('mended'):\n        raise ValueError\n"
        "    return [y + rng.random() for y in x]\n"
    )
    command = ["record", "vector.py:step", "-n", 1000, "--seed", 3, "-o", "run.replay", "--resume", "--init"]
    assert cli(*command, "vector.py:init")[0] == 2
    (here / "mended").touch()
    for init, words in ("[1.0, 2.0]", "not [1.0, 2.0]"), (json.dumps([0.0] * 63 + [1.0]), "--init[63] 0.0, not 1.0"):
        code, _, err = cli(*command, init)
        assert code == 2 and words in err, err
    assert cli(*command, "vector.py:init")[0] == 0


def test_a_state_that_is_drawn_anew_by_each_call_is_not_taken_for_a_changed_one(cli, here):
    (here / "walk.py").write_text(WALK + "\nimport random\n\ndef drawn():\n    return 10 + random.randrange(10**12)\n")
    command = ["record", "walk.py:count", *BEGIN, "--resume", "--init", "walk.py:drawn"]
    assert cli(*command)[0] == 0 and cli(*command, "-n", 2000)[0] == 0
    assert len(rewind.load("run.replay")) == 2000


def test_a_first_try_that_made_no_step_is_not_in_the_way_of_the_corrected_command(cli, here):
    (here / "walk.py").write_text(WALK + "\ndef normal(x, rng):\n    return x + rng.standard_normal()\n")
    command = ["record", "walk.py:normal", *BEGIN, "--init", "0.0", "--resume"]
    assert cli(*command)[0] == 2 and os.path.exists("run.replay.journal")
    code, out, err = cli(*command, "--backend", "numpy", "--json")
    assert code == 0, err
    assert json.loads(out)["resumed"] is False and rewind.load("run.replay").backend == "numpy"


def test_another_step_is_refused_and_a_mended_one_is_not(cli, here):
    command = [*BEGIN, "--block-size", 10, "--resume"]
    assert cli("record", "walk.py:fails", *command)[0] == 2
    code, _, err = cli("record", "walk.py:count", *command)
    assert code == 2 and "was begun with STEP 'walk:fails', not 'walk:count'" in err


def test_resume_begins_where_a_recording_was_cut_off_before_it_began(cli):
    pathlib.Path("run.replay.journal").write_bytes(b"")
    code, _, err = cli("record", "walk.py:step", *BEGIN, "--resume")
    assert code == 0, err
    assert len(rewind.load("run.replay")) == 1000 and not os.path.exists("run.replay.journal")


def test_pickled_states_are_gone_on_with_where_that_is_allowed(cli, here):
    command = ["record", "walk.py:collect", "--init", "walk.py:nobody", "-n", 100, "--seed", 3, "-o", "run.replay"]
    assert cli(*command)[0] == 0
    longer = [*command, "-n", 200, "--resume"]
    code, out, err = cli(*longer)
    assert (code, out) == (3, "") and "allow" in err
    assert cli(*longer, "--allow-pickle")[0] == 0
    assert len(rewind.load("run.replay", allow_pickle=True)) == 200


def test_metrics_have_to_be_given_again(cli, here):
    command = ["record", "walk.py:fails", *BEGIN, "--observe", "x=", "--observe", "d=walk.py:double"]
    assert cli(*command)[0] == 2
    (here / "mended").touch()
    code, _, err = cli("record", "walk.py:fails", "-o", "run.replay", "--resume", "--observe", "x=")
    assert code == 2 and "functions for d" in err
    assert cli(*command, "--resume")[0] == 0
    assert rewind.load("run.replay").observed["d"].max == 1998


def test_a_busy_file_is_exit_2_and_names_who_has_it(cli):
    recorder = rewind.Recorder(lambda x, rng: x + 1, 0, 3, block_size=10, path="run.replay").advance(20)
    for more in ([], ["--resume"]):
        code, _, err = cli("record", "walk.py:count", *BEGIN, *more)
        assert code == 2 and f"process {os.getpid()} on" in err and "is recording to it" in err
    recorder.close()


# ---- what is left of one that failed


def test_a_step_that_raises_shows_its_traceback_and_leaves_the_state_it_was_given(cli, ended):
    assert 'walk.py", line' in ended and "ValueError: fifty-seven" in ended and "in fails" in ended
    last = ended.splitlines()[-1]
    assert last.startswith("rewind: error: step_fn raised ValueError at step 57: fifty-seven.")
    assert "rewind get run.replay -- -1 shows the state it was given, and --resume goes on" in last
    assert ".run" not in last.replace("run.replay", "") and not os.path.exists("run.replay")
    assert os.path.exists("run.replay.journal")
    for name in ("run.replay", "run.replay.journal"):
        code, out, _ = cli("get", name, "--step", "walk.py:fails", "--", -1)
        assert (code, out) == (0, "57\n")


def test_info_tells_of_a_recording_in_progress(cli, ended):
    code, out, err = cli("info", "run.replay")
    assert (code, err) == (0, "")
    lines = dict(line.split(None, 1) for line in out.splitlines())
    size = os.path.getsize("run.replay.journal")
    assert lines["file"].endswith(f"run.replay.journal ({size:,} bytes), the journal of a recording")
    assert lines["steps"] == "58 of 1,000" and lines["complete"] == "no: step_fn raised at step 57"
    facts = json.loads(cli("info", "run.replay", "--json")[1])
    found = facts["journal"]
    assert os.path.basename(found.pop("path")) == "run.replay.journal" and isinstance(found.pop("host"), str)
    assert found == {"writing": False, "pid": os.getpid(), "planned_steps": 1000, "damaged_bytes": 0}
    assert (facts["n_steps"], facts["complete"], facts["bytes"], facts["sealed"]) == (58, False, size, False)
    assert json.loads(cli("info", "run.replay.journal", "--json")[1])["journal"]["planned_steps"] == 1000


def test_info_of_a_recorder_that_is_at_work(cli):
    with rewind.Recorder(lambda x, rng: x + 1, 0, 3, block_size=10, path="run.replay") as recorder:
        recorder.advance(25)
        facts = json.loads(cli("info", "run.replay", "--json")[1])
        assert facts["journal"]["writing"] and facts["journal"]["planned_steps"] is None and facts["n_steps"] == 21
        out = cli("info", "run.replay")[1]
        assert "21 of a number nobody gave" in out and f"still going on, by process {os.getpid()}" in out
    assert json.loads(cli("info", "run.replay", "--json")[1])["journal"] is None


def test_fsck_checks_a_recording_in_progress(cli, ended):
    code, out, _ = cli("fsck", "run.replay")
    assert code == 0 and out.startswith("ok: ")
    assert out.endswith("run.replay.journal, a recording that is not finished: 6 intact blocks\n")
    path = pathlib.Path("run.replay.journal")
    data = path.read_bytes()
    path.write_bytes(data + b"abc")
    code, out, _ = cli("fsck", "run.replay")
    assert code == 0 and out.endswith(", and 3 damaged bytes after them\n")
    facts = json.loads(cli("fsck", "run.replay", "--json")[1])
    assert facts["ok"] and facts["journal"]["damaged_bytes"] == 3 and not facts["complete"]
    bad = bytearray(data)
    bad[40] ^= 1
    path.write_bytes(bad)
    code, out, err = cli("fsck", "run.replay")
    assert code != 0 and "ok" not in out
    path.write_bytes(b"what nobody should lose")
    code, out, _ = cli("fsck", "run.replay.journal")
    assert code == 1 and out.startswith("DAMAGED: ") and "no journal of a recording" in out
    facts = json.loads(cli("fsck", "run.replay.journal", "--json")[1])
    assert facts["ok"] is False and "no journal" in facts["problem"]


def test_a_recording_that_is_not_finished_is_asked_what_any_run_is(cli, ended, here):
    (here / "mended").touch()  # the source is the same
    assert cli("verify", "run.replay", "--step", "walk.py:fails")[0] == 0
    assert cli("verify", "run.replay", "--full", "--step", "walk.py:fails")[0] == 0
    code, out, _ = cli("find", "run.replay", "walk.py:over_40", "--step", "walk.py:fails")
    assert code == 0 and "41" in out
    assert cli("find", "run.replay", "walk.py:over_57", "--step", "walk.py:fails")[0] == 1
    code, out, _ = cli("stats", "run.replay", "--step", "walk.py:fails", "--json")
    assert code == 0 and "58" in out
    assert not os.path.exists("run.replay")


# ---- signals


@contextlib.contextmanager
def own_handlers(*numbers):
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield before
        assert {number: signal.getsignal(number) for number in numbers} == before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no SIGUSR1 here")
@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_ends_a_run_with_its_own_exit_code(cli, here, name, code):
    (here / "signal").write_text(name)
    command = ["record", "walk.py:sends", *BEGIN, "--block-size", 10, "--no-trial"]
    with own_handlers(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        got, out, err = cli(*command)
    assert (got, out) == (code, "")
    last = err.splitlines()[-1]
    assert last == (
        f"rewind: error: interrupted by {name}, with steps 0 to 60 on disk; the same command with --resume goes on"
    )
    assert len(rewind.load("run.replay")) == 61
    (here / "signal").unlink()
    assert cli(*command, "--resume")[0] == 0
    assert rewind.load("run.replay").complete


@pytest.mark.once
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no SIGUSR1 here")
@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_job_that_is_told_to_end_can_be_queued_again_as_it_is(here, name, code):
    command = [
        sys.executable,
        "-m",
        "rewind",
        "record",
        "walk.py:waits",
        *map(str, BEGIN),
        "--block-size",
        "10",
        "--no-trial",
    ]
    command.append("--resume")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **pipes) as child:
        try:
            while child.stderr.readline() not in ("now\n", ""):
                pass
            child.send_signal(getattr(signal, name))
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write("\n")
                child.stdin.close()
            said = child.stderr.read()
            assert (child.wait(60), child.stdout.read()) == (code, "")
        finally:
            child.kill()
    assert f"interrupted by {name}, with steps 0 to 60 on disk" in said
    assert len(rewind.load("run.replay")) == 61
    (here / "mended").touch()
    done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and "wrote run.replay: 1,000 steps, seed 3" in done.stdout


def test_doctor_says_what_record_would_meet(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim.py").write_text(
        "import random\n"
        "class Sim:\n    def __init__(self):\n        self.x, self.rng = 0.0, random.Random(1)\n"
        "def own(sim, rng):\n    sim.x += sim.rng.random()\n    return sim\n"
        "def good(x, rng, pull):\n    return x * pull + rng.random()\n"
        "def bad(x, rng):\n    return x + random.random()\n"
    )
    code, out, _ = cli("doctor", "sim.py:good", "--init", "0.5", "--param", "pull=0.5", "-n", "1000")
    assert code == 0 and "nothing found" in out and "draws from rng  yes" in out
    code, out, _ = cli("doctor", "sim.py:own", "--init", "sim.py:Sim", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["verb"] == "doctor" and facts["ok"] is True and facts["draws"] is False
    assert facts["generators"] == ["state.rng: a random.Random"]
    assert [finding["kind"] for finding in facts["findings"]] == ["OwnGeneratorWarning"]
    code, out, _ = cli("doctor", "sim.py:bad", "--init", "0.5", "--seed", "3")
    assert code == 1 and "1. record refuses this" in out
    assert cli("doctor", "sim.py:bad", "--init", "nonsense:")[0] == 2
    assert list(tmp_path.glob("*.replay*")) == []
