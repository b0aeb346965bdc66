"""The command line: every verb, every exit code, and that nothing is imported or unpickled unasked."""

import json
import math
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

import rewind
from rewind.cli.main import main
from rewind.cli.user_code import CodeError, Importer

pytestmark = pytest.mark.once  # of files, options and words: which kernel runs does not matter

ROOT = Path(rewind.__file__).parents[1]

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
    # a comment that belongs to step


def height(state):
    return 2 * state.value


def push(state):
    state.value += 100.0


class Tools:
    codec = (lambda state: state.value, lambda value: State(value, [0.0, 0.0, 0.0]))


if __name__ == "__main__":
    run = rewind.record(step, State(0.0, [0.0, 0.0, 0.0]), 1000, 7, params={"rate": 0.5}, observe={"value": "value"})
    run.save("run.replay")
    print("recorded")
"""


def rewind_command(*argv, cwd, env=None):
    """Run ``python -m rewind`` in its own process."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **(env or {})}
    command = [sys.executable, "-m", "rewind", *map(str, argv)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def run_script(path, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, path], cwd=cwd, env=env, capture_output=True, text=True, check=True)


def steps(x, rng):
    return x + rng.random()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with walk.py, to be in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.py").write_text(WALK)
    return tmp_path


@pytest.fixture(scope="session")
def walked(tmp_path_factory):
    """The file that ``python walk.py`` makes."""
    folder = tmp_path_factory.mktemp("walked")
    (folder / "walk.py").write_text(WALK)
    run_script("walk.py", folder)
    return folder / "run.replay"


@pytest.fixture
def recorded(here, walked):
    """The same folder after ``python walk.py``."""
    shutil.copy(walked, here)
    return here


@pytest.fixture
def simple(here):
    """A folder with plain.replay: floats, a step function that is nowhere to be found."""
    run = rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, seed=3, observe={"x": None})
    run.save("plain.replay")
    return run


@pytest.fixture
def cli(capsys):
    def call(*argv):
        code = main([str(arg) for arg in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


# ---- entry points


def test_version_names_the_kernel_numpy_and_h5py(cli):
    code, out, err = cli("--version")
    assert (code, err) == (0, "")
    assert out == (
        f"rewind {rewind.__version__} ({rewind.kernel_name} kernel, numpy {np.__version__}, h5py {h5py.__version__})\n"
    )


def test_reading_and_help_do_not_import_h5py(recorded):
    lines = [["--help"], ["--version"], ["get", "--help"], ["info", "run.replay"]]
    program = (
        f"import sys; from rewind.cli.main import main; codes = [main(argv) for argv in {lines}]; "
        "print('h5py' in sys.modules, codes)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False [0, 0, 0, 0]"


def test_python_dash_m_is_the_command(recorded):
    done = rewind_command("get", "run.replay", "0", "--field", "value", "--step", "walk.py:step", cwd=recorded)
    assert (done.returncode, done.stdout) == (0, "0.0\n")
    assert done.stderr == "rewind: importing --step walk.py:step from ./walk.py\n"


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["get", "x.replay"], ["branch", "x.replay", "3"]])
def test_wrong_usage_is_exit_2_and_one_line(cli, argv):
    code, out, err = cli(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("rewind: error: ") and err.count("\n") == 1 and "--help" in err


def test_help_explains_exit_codes_and_json(cli):
    assert "exit codes: 0" in cli("--help")[1]
    assert "'float': 'nan'" in " ".join(cli("stats", "--help")[1].split())


# ---- info


def test_info_says_what_the_file_says(recorded, cli):
    code, out, err = cli("info", "run.replay")
    assert (code, err) == (0, "")
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert lines["steps"] == "1,000"
    assert lines["blocks"] == "32 of 32 steps"
    assert lines["checkpoints"] == "32, every 32 steps"
    assert lines["state"] == "__main__:State(value: float, seen: list of 3 x float)"
    assert lines["step"].startswith("__main__:step (walk.py, source ")
    assert lines["params"] == "rate=0.5"
    assert lines["observed"].startswith("value: mean ") and " at step 999" in lines["observed"]
    assert lines["trust"] == "needs no pickle"
    assert lines["complete"] == "yes"
    assert f"{os.path.getsize('run.replay'):,} bytes" in lines["file"]


def test_info_json_has_the_content_hash_the_library_computes(simple, cli):
    code, out, _ = cli("info", "plain.replay", "--json")
    facts = json.loads(out)
    assert (code, facts["schema"], facts["verb"], facts["n_steps"], facts["seed"]) == (0, 1, "info", 100, 3)
    assert facts["content_hash"] == simple.content_hash()
    known = rewind.load("plain.replay").metadata()
    assert {key: facts[key] for key in known.keys() & facts.keys() - {"observed"}} == {
        key: known[key] for key in known.keys() & facts.keys() - {"observed"}
    }


def test_info_reads_layouts_aloud(here, cli):
    state = {"a": np.zeros((2, 3), "i1"), "b": (1, "x", None), "c": np.zeros(2, [("p", "f8"), ("q", "i4", (2,))])}
    rewind.record(lambda s, rng: s, state, 4, seed=0).save("tree.replay")
    code, out, _ = cli("info", "tree.replay")
    assert code == 0
    assert "{a: int8[2, 3], b: (int, str, None), c: {p: float64, q: int32[2]}[2]}" in out


def test_info_of_a_branch_shows_its_lineage(simple, cli):
    simple.branch(40, noise="same").branch(7).save("fork.replay")
    _, out, _ = cli("info", "fork.replay")
    assert "at step 7, with fresh noise" in out
    assert f"its step 0 is step 47 of the root, from {simple.content_hash()[:12]} at step 40" in out


def test_info_of_an_incomplete_run_says_why(here, cli):
    def fails(x, rng):
        if x == 50:
            raise ValueError("no more")
        return x + 1

    with pytest.raises(rewind.StepError) as failure:
        rewind.record(fails, 0, 100, seed=1)
    failure.value.run.save("part.replay")
    _, out, _ = cli("info", "part.replay")
    assert "complete      no: step_fn raised at step 50\n" in out


def test_what_a_file_says_reaches_the_terminal_without_control_characters(here, cli):
    rewind.record(lambda x, rng: x, 0, 5, seed=1, step_id="evil\x1b[2J:step\nfake line").save("evil.replay")
    _, out, _ = cli("info", "evil.replay")
    assert "\x1b" not in out and "fake line" not in [line.strip() for line in out.splitlines()]
    code, _, err = cli("get", "evil.replay", "4")
    assert code == 2 and "\x1b" not in err and err.count("\n") == 1


# ---- get


def test_get_takes_steps_in_every_form(simple, cli):
    code, out, err = cli("get", "plain.replay", "0", "-100", "start", "0%", "10")
    assert (code, err) == (0, "")
    assert out.splitlines() == [*["0:  0.0"] * 4, f"10:  {simple[10]!r}"]


def test_shares_and_ends_are_steps(recorded, cli):
    code, out, _ = cli("get", "run.replay", "50%", "100%", "end", "-1", "12.5%", "--json")
    assert code == 0
    assert [state["step"] for state in json.loads(out)["states"]] == [499, 999, 999, 999, 124]


def test_get_gives_the_state_of_the_recording_script(recorded, cli):
    done = rewind_command("get", "run.replay", "-1", cwd=recorded)
    assert done.returncode == 0
    assert done.stderr == "rewind: importing step __main__:step from ./walk.py (source hash matches)\n"
    assert done.stdout.startswith("State(value=2") and "recorded" not in done.stdout
    code, out, _ = cli("get", "run.replay", "-1", "--json", "--field", "value")
    assert code == 0
    assert f"value={json.loads(out)['states'][0]['state']!r}" in done.stdout


def test_a_field_is_a_path_into_the_state(recorded, cli):
    values = [cli("get", "run.replay", "3", "--field", path)[1] for path in ("seen[0]", "seen.0", ".seen[-3]")]
    assert len(set(values)) == 1 and float(values[0]) > 0
    code, out, err = cli("get", "run.replay", "3", "--field", "seen[0].x.y")
    assert (code, out) == (1, "") and "at step 3 state.seen.0 has no x" in err
    code, _, err = cli("get", "run.replay", "3", "--field", "valve")
    assert code == 1 and err.endswith("rewind: error: at step 3 the state has no valve; it has value, seen\n")


def test_fields_of_dicts_and_structured_arrays(here, cli):
    state = {"agents": [{"x": 1.5}, {"x": 2.5}], "table": np.array([(1, 2.5)], [("n", "i8"), ("w", "f8")])}
    rewind.record(lambda s, rng: s, state, 4, seed=0).save("tree.replay")
    assert cli("get", "tree.replay", "0", "--field", "agents[1].x")[1] == "2.5\n"
    assert cli("get", "tree.replay", "0", "--field", "agents['1']['x']")[1] == "2.5\n"
    assert cli("get", "tree.replay", "0", "--field", "table.w")[1] == "array([2.5])\n"


@pytest.mark.parametrize("t", ["100", "-101", "101%", "999999999999999999999"])
def test_a_step_outside_the_run_is_exit_1(simple, cli, t):
    code, out, err = cli("get", "plain.replay", t)
    assert (code, out) == (1, "")
    assert err.startswith(f"rewind: error: step {t} is outside this run")


@pytest.mark.parametrize("t", ["x", "1.5", "", "5%%", "0x10"])
def test_what_is_no_step_is_exit_2(simple, cli, t):
    code, _, err = cli("get", "plain.replay", t)
    assert code == 2 and "expected an integer, negative to count from the end, 50%, start or end" in err


def test_json_of_values_json_has_no_word_for(here, cli):
    state = {
        "nan": math.nan,
        "inf": -math.inf,
        "z": 1 - 2j,
        "b": b"\x00\xff",
        "big": 2**62 + 1,
        "small": np.arange(3, dtype="u2"),
        "large": np.full(2000, np.nan),
    }
    rewind.record(lambda s, rng: s, state, 2, seed=0).save("odd.replay")
    _, out, _ = cli("get", "odd.replay", "0", "--json")

    def refuse(word):
        raise AssertionError(word)

    found = json.loads(out, parse_constant=refuse)["states"][0]["state"]
    large = found.pop("large")
    assert found == {
        "nan": {"float": "nan"},
        "inf": {"float": "-inf"},
        "z": {"complex": [1.0, -2.0]},
        "b": {"bytes": "00ff"},
        "big": 2**62 + 1,
        "small": {"dtype": "uint16", "shape": [3], "data": [0, 1, 2]},
    }
    assert (large["shape"], large["min"], large["nan_count"]) == ([2000], None, 2000)


# ---- verify


@pytest.mark.parametrize("full", [[], ["--full"]])
def test_verify_says_what_it_did(recorded, cli, full):
    code, out, err = cli("verify", "run.replay", *full)
    assert code == 0
    assert out == "ok: run.replay replays bit for bit (every block; 1,000 steps)\n"
    code, out, _ = cli("verify", "run.replay", "--json", *full)
    assert code == 0 and json.loads(out)["ok"] is True


def test_verify_compares_what_was_observed_and_says_what_it_cannot(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "once.py").write_text(
        "LEFT = [-50.0]\ndef double(s): return 2 * s['x']\n"
        "def step(s, rng):\n    odd = LEFT.pop() if LEFT and s['n'] == 700 else 1.0\n"
        "    return {'n': s['n'] + 1, 'x': min(rng.random(), odd)}\n"
    )
    argv = ["record", "once.py:step", "--init", '{"n": 0, "x": 0.0}', "-n", "1000", "--seed", "1", "-o", "run.replay"]
    assert cli(*argv, "--observe", "x=x", "--observe", "twice=once.py:double")[0] == 0
    argv = ["verify", "run.replay", "--full", "--step", "once.py:step"]
    code, out, err = cli(*argv)
    assert code == 1 and "metric 'x'" in out and "twice is not compared; --observe gives the functions" in err
    code, out, err = cli(*argv, "--observe", "twice=once.py:double", "--observe", "x=x")
    assert code == 1 and "metric 'twice'" in out and "not compared" not in err


def test_verify_with_another_step_is_exit_1_and_says_where(recorded, cli):
    (recorded / "other.py").write_text(WALK.replace("rng.random()", "rng.random() / 2"))
    code, out, err = cli("verify", "run.replay", "--step", "other.py:step", "--json")
    facts = json.loads(out)
    assert (code, facts["ok"]) == (1, False)
    assert "rewind: warning: the source of __main__:step is not the source run.replay was recorded with" in err
    assert cli("verify", "run.replay", "--step", "other.py:step")[1].startswith("NOT reproduced: block ")


def test_a_step_that_raises_in_verify_is_a_difference_and_in_get_an_error(recorded, cli):
    (recorded / "raises.py").write_text(WALK.replace("    return State(state.value +", "    1 / 0\n    return State("))
    code, out, _ = cli("verify", "run.replay", "--step", "raises.py:step")
    assert code == 1 and "step_fn raised ZeroDivisionError at step" in out
    code, out, err = cli("get", "run.replay", "5", "--step", "raises.py:step")
    assert (code, out) == (2, "") and "raises.py" in err and "step_fn raised ZeroDivisionError at step 0" in err


# ---- stats


def test_stats_of_observed_metrics_need_no_step_code(recorded, cli):
    (recorded / "walk.py").unlink()
    code, out, err = cli("stats", "run.replay", "--json")
    facts = json.loads(out)
    assert (code, err, facts["replayed"]) == (0, "", False)
    assert facts["metrics"]["value"]["count"] == 1000 and facts["metrics"]["value"]["argmax"] == 999


def test_stats_by_replay_have_the_digits_of_the_observed_ones(recorded, cli):
    observed = json.loads(cli("stats", "run.replay", "--json")[1])["metrics"]["value"]
    code, out, _ = cli("stats", "run.replay", "--metric", "value", "--json")
    assert (code, json.loads(out)["metrics"]["value"]) == (0, observed)
    code, out, err = cli("stats", "run.replay", "--metric", "walk.py:height", "--json")
    assert code == 0 and "importing --metric walk.py:height from ./walk.py" in err
    assert json.loads(out)["metrics"]["walk.py:height"]["mean"] == 2 * observed["mean"]


def test_stats_of_a_window(recorded, cli):
    _, out, _ = cli("stats", "run.replay", "--metric", "value", "--start", "10", "--stop", "-10", "--json")
    facts = json.loads(out)
    assert (facts["start"], facts["stop"], facts["metrics"]["value"]["count"]) == (10, 990, 980)
    code, _, err = cli("stats", "run.replay", "--metric", "value", "--start", "10", "--stop", "10")
    assert code == 2 and "at least one step" in err
    _, out, _ = cli("stats", "run.replay", "--metric", "value", "--start", "50%", "--stop", "end", "--json")
    assert json.loads(out)["metrics"]["value"]["count"] == 500


def test_stats_of_an_observed_name_that_is_no_attribute_says_how_to_see_it(here, cli):
    (here / "walk.py").write_text(WALK.replace('{"value": "value"}', '{"twice": height}'))
    run_script("walk.py", here)
    code, _, err = cli("stats", "run.replay", "--metric", "twice")
    assert code == 2 and "'twice' was observed while recording: leave --metric out to see it" in err


# ---- branch


def test_branch_writes_a_run_that_verifies(recorded, cli):
    code, out, err = cli("branch", "run.replay", "500", "--mutate", "walk.py:push", "-o", "my fork.replay", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["n_steps"] == 500 and facts["params"] == {"rate": 0.5}
    assert "value not observed in the branch" in err
    assert cli("verify", "my fork.replay", "--full")[0] == 0
    before, after = (
        float(cli("get", file, t, "--field", "value")[1])
        for file, t in (("run.replay", "500"), ("my fork.replay", "0"))
    )
    assert after == before + 100.0
    again = json.loads(cli("branch", "run.replay", 500, "--mutate", "walk.py:push", "-o", "b.replay", "--json")[1])
    assert again["content_hash"] == facts["content_hash"]


def test_branch_takes_params_a_length_and_the_noise_of_its_parent(recorded, cli):
    argv = [
        "branch",
        "run.replay",
        "-100",
        "--noise",
        "same",
        "--param",
        "rate=0.25",
        "--n-steps",
        "20",
        "-o",
        "f.replay",
    ]
    code, out, _ = cli(*argv)
    assert code == 0 and out.startswith(
        "wrote f.replay: 20 steps from step 900 of run.replay, the noise of run.replay\n"
    )
    facts = json.loads(cli("info", "f.replay", "--json")[1])
    assert (facts["params"], facts["start"], facts["noise"]) == ({"rate": 0.25}, 900, "same")


def test_branch_replaces_no_file_unasked_and_never_its_parent(recorded, cli):
    (recorded / "old.replay").write_text("precious")
    code, _, err = cli("branch", "run.replay", "5", "-o", "old.replay")
    assert code == 2 and "old.replay exists; --force replaces it" in err
    assert (recorded / "old.replay").read_text() == "precious"
    assert cli("branch", "run.replay", "5", "-o", "old.replay", "--force")[0] == 0
    before = (recorded / "run.replay").read_bytes()
    assert cli("branch", "run.replay", "5", "-o", "./run.replay", "--force")[0] == 2
    assert (recorded / "run.replay").read_bytes() == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--param", "rate"], "expected NAME=JSON"),
        (["--param", "rate=fast"], "expected NAME=JSON"),
        (["--param", "speed=1"], "speed=1). Its signature is "),
        (["--noise", "same", "--seed", "4"], "no seed with noise='same'"),
        (["--seed", "-4"], "seed is -4; expected an integer >= 0"),
        (["--mutate", "walk.py:missing"], "walk.py has no missing; its functions are step, height, push"),
        (["--n-steps", "0"], "n_steps is 0"),
    ],
)
def test_arguments_of_branch_that_cannot_be_meant(recorded, cli, argv, words):
    code, out, err = cli("branch", "run.replay", "5", "-o", "f.replay", *argv)
    assert (code, out) == (2, "") and words in err.splitlines()[-1]
    assert not (recorded / "f.replay").exists()


# ---- fsck and diff


def test_fsck_finds_a_sound_file_sound_and_runs_nothing(recorded, cli):
    (recorded / "walk.py").write_text("raise SystemExit('imported')")
    code, out, err = cli("fsck", "run.replay")
    assert (code, err) == (0, "") and out.startswith("ok: run.replay: seal, structure, schema and content hash")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-7], lambda data: data[:300], lambda data: b"", lambda data: b"x" * 900]
)
def test_fsck_of_a_damaged_file_is_exit_1(simple, cli, damage):
    data = Path("plain.replay").read_bytes()
    Path("bad.replay").write_bytes(damage(data))
    code, out, _ = cli("fsck", "bad.replay")
    assert code == 1 and out.startswith("DAMAGED: bad.replay: ")
    code, out, _ = cli("fsck", "bad.replay", "--json")
    assert code == 1 and json.loads(out)["ok"] is False
    code, out, err = cli("info", "bad.replay")
    assert (code, out) == (2, "") and err.startswith("rewind: error: bad.replay: ")


def test_fsck_finds_every_flipped_bit(simple, cli):
    data = Path("plain.replay").read_bytes()
    for at in range(0, len(data), 97):
        Path("bad.replay").write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        assert cli("fsck", "bad.replay")[0] == 1, at


def test_diff_has_a_line_for_each_key_that_differs(simple, cli):
    simple.save("same.replay")
    assert cli("diff", "plain.replay", "same.replay") == (0, "content hashes agree: the same run\n", "")
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, seed=4, observe={"x": None}).save("other.replay")
    code, out, _ = cli("diff", "plain.replay", "other.replay")
    assert code == 1
    assert "seed: 3 | 4\n" in out and out.endswith("content hashes differ\n") and "observed.x.mean: " in out
    facts = json.loads(cli("diff", "plain.replay", "other.replay", "--json")[1])
    assert facts["differences"]["seed"] == [3, 4] and facts["same_content"] is False


def test_runs_told_differently_are_still_the_same_run(simple, cli):
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, seed=3, observe={"x": None}, step_id="b").save("b.replay")
    code, out, _ = cli("diff", "plain.replay", "b.replay")
    assert code == 1 and out.endswith("content hashes agree: the same run, told differently\n")


# ---- files


@pytest.mark.parametrize("verb", [["info"], ["fsck"], ["verify"], ["stats"], ["get", "0"], ["branch", "0", "-o", "x"]])
def test_a_missing_file_and_a_folder_are_exit_2(here, cli, verb):
    (here / "folder").mkdir()
    for name, words in (("gone.replay", "No such file"), ("folder", "folder")):
        code, out, err = cli(verb[0], name, *verb[1:])
        assert (code, out) == (2, "") and words in err and err.startswith("rewind: error: cannot read")
        assert err.count("\n") == 1


def test_paths_may_have_spaces(here, cli):
    folder = here / "my runs"
    folder.mkdir()
    (folder / "my walk.py").write_text(WALK)
    run_script("my walk.py", folder)
    code, out, err = cli("get", "my runs/run.replay", "7", "--field", "value", "--step", "my runs/my walk.py:step")
    assert code == 0 and float(out) > 0 and "from ./my runs/my walk.py" in err


def test_a_file_that_a_tool_rewrote_is_read_with_h5py(simple, cli):
    with h5py.File("plain.replay") as old, h5py.File("rewritten.replay", "w") as new:
        for name in old:
            old.copy(name, new)
        for name, value in old.attrs.items():
            new.attrs.create(name, value, dtype=old.attrs.get_id(name).dtype)
    code, _, err = cli("info", "rewritten.replay")
    assert code == 2 and "h5py" in err
    code, out, _ = cli("info", "rewritten.replay", "--reader", "h5py", "--json")
    assert code == 0 and json.loads(out)["content_hash"] == simple.content_hash()
    code, out, _ = cli("fsck", "rewritten.replay", "--reader", "h5py")
    assert code == 0 and "no seal" in out


# ---- step code


def test_a_recorded_step_is_found_in_a_module_too(here, cli, monkeypatch):
    (here / "pack").mkdir()
    (here / "pack" / "__init__.py").write_text("")
    (here / "pack" / "model.py").write_text(WALK)
    (here / "record.py").write_text(
        "import rewind\nfrom pack.model import step, State\n"
        "rewind.record(step, State(0.0, [0.0, 0.0, 0.0]), 100, 7).save('run.replay')\n"
    )
    run_script("record.py", here)
    for verb in (["get", "run.replay", "0"], ["verify", "run.replay"], ["stats", "run.replay", "--metric", "value"]):
        done = rewind_command(*verb, cwd=here)
        assert done.returncode == 0
        assert (
            done.stderr
            == "rewind: importing step pack.model:step from pack/model.py (source hash matches)\n".replace(
                "pack/model.py", os.path.join(".", "pack", "model.py")
            )
        )


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace("rng.random()", "rng.random() * 2"), "is not the source that was recorded"),
        (lambda text: text.replace("def step(", "def other("), "./walk.py has no step"),
        (lambda text: text + text[text.index("def step") : text.index("def height")], "defines step 2 times"),
        (lambda text: "(" + text, "cannot be read"),
        (lambda text: None, "there is no walk.py in the working directory"),
    ],
)
def test_another_source_is_not_imported_unasked(recorded, edit, words):
    canary = "open('canary', 'w').close()\n"
    new = edit(WALK)
    (recorded / "walk.py").unlink()
    if new is not None:
        (recorded / "walk.py").write_text(canary + new)
    done = rewind_command("get", "run.replay", "5", cwd=recorded)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and "Name it with --step MODULE:NAME or FILE.py:NAME" in done.stderr
    assert "recorded with __main__:step" in done.stderr and done.stderr.count("\n") == 1
    assert not (recorded / "canary").exists()


@pytest.mark.parametrize(
    "step_id",
    [
        "os:system",
        "canary:step",
        "..canary:step",
        "__main__:step",
        "subprocess:Popen",
        "a b:c",
        "canary:step.__call__",
        ":",
    ],
)
def test_a_hostile_step_id_imports_nothing(here, step_id):
    (here / "canary.py").write_text("open('imported', 'w').close()\ndef step(x, rng):\n    return x\n")
    (here / "os.py").write_text("open('imported', 'w').close()\ndef system(x, rng):\n    return x\n")
    folder = here / "elsewhere"
    folder.mkdir()
    rewind.record(steps, 0.0, 50, seed=1, step_id=step_id).save("run.replay")
    program = "import sys; from rewind.cli.main import main; sys.exit(main(['get', 'run.replay', '3']))"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, *(["-P"] if sys.version_info >= (3, 11) else ["-I"]), "-c", program]
    if "-I" in command:  # Python 3.10 has no -P: put the library on the path by hand
        command[-1] = f"import sys; sys.path.insert(0, {str(ROOT)!r}); " + program
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rewind: error: step 3 needs the step function of this run.")
    assert not (here / "imported").exists()


def test_a_symlink_out_of_the_working_directory_is_not_followed_unasked(recorded):
    inside = recorded / "inside"
    inside.mkdir()
    (inside / "walk.py").symlink_to(recorded / "walk.py")
    (recorded / "run.replay").rename(inside / "run.replay")
    done = rewind_command("get", "run.replay", "5", cwd=inside)
    assert done.returncode == 2 and "there is no walk.py in the working directory" in done.stderr
    assert rewind_command("get", "run.replay", "5", "--step", "walk.py:step", cwd=inside).returncode == 0


def test_a_partial_is_not_taken_for_the_function_inside_it(here):
    (here / "part.py").write_text(
        "import functools\nimport rewind\ndef step(x, rng, by=1):\n    return x + by\n"
        "if __name__ == '__main__':\n"
        "    rewind.record(functools.partial(step, by=2), 0, 100, 7).save('run.replay')\n"
    )
    run_script("part.py", here)
    done = rewind_command("get", "run.replay", "99", cwd=here)
    assert done.returncode == 2 and "recorded with functools.partial(__main__:step)" in done.stderr


@pytest.mark.parametrize("decorate", ["", "@keep\n", "@keep  # why\n@named(\n    'x',\n)\n"])
def test_the_source_of_a_decorated_step_is_found_again(here, decorate):
    (here / "deco.py").write_text(
        "import functools\nimport rewind\n"
        "def keep(f):\n    @functools.wraps(f)\n    def call(x, rng):\n        return f(x, rng)\n    return call\n"
        "def named(name):\n    return keep\n"
        f"if True:\n{textwrap.indent(decorate, '    ')}    def step(x, rng):\n        'What it does.'\n\n"
        "        return x + rng.random()\n        # a last word\n    # and another\n"
        "if __name__ == '__main__':\n    rewind.record(step, 0.0, 100, 7).save('run.replay')\n"
    )
    run_script("deco.py", here)
    done = rewind_command("get", "run.replay", "99", cwd=here)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("walk", "--step is 'walk'; expected MODULE:NAME or FILE.py:NAME"),
        ("walk.py:", "expected MODULE:NAME or FILE.py:NAME"),
        ("gone.py:step", "there is no file gone.py"),
        ("no_such_module_here:step", "--step: no module named no_such_module_here in "),
        ("os.no_such:step", "no module named os.no_such"),
        ("walk.py:State.nothing", "walk.py has no State.nothing"),
        ("walk.py:Tools.codec", "expected a callable"),
    ],
)
def test_step_code_that_is_not_there_is_exit_2(recorded, cli, code, words):
    code, out, err = cli("get", "run.replay", "5", "--step", code)
    assert (code, out) == (2, "") and words in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import no_such_thing_at_all", "ModuleNotFoundError: No module named 'no_such_thing_at_all'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("def step(:", "SyntaxError: "),
    ],
)
@pytest.mark.parametrize("form", ["{}.py:step", "{}:step"])
def test_an_import_that_fails_inside_shows_the_users_traceback(recorded, body, words, form):
    (recorded / "broken.py").write_text(f"print('hello')\n{body}\n")
    done = rewind_command("get", "run.replay", "5", "--step", form.format("broken"), cwd=recorded)
    assert (done.returncode, done.stdout) == (2, "")
    assert "broken.py" in done.stderr and "importlib" not in done.stderr and "stepcode.py" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("rewind: error: importing ") and words in last


def test_modules_and_nested_names_come_from_the_working_directory_first(recorded, cli):
    (recorded / "named_walk.py").write_text(WALK + "\n\nclass Model:\n    step = staticmethod(step)\n")
    code, out, err = cli("get", "run.replay", "5", "--field", "value", "--step", "named_walk:Model.step")
    assert code == 0 and float(out) > 0
    assert err.startswith(f"rewind: imported --step named_walk:Model.step from {os.path.join('.', 'named_walk.py')}\n")


def test_main_leaves_the_interpreter_as_it_was(recorded, cli):
    before = sys.modules["__main__"], list(sys.path)
    assert cli("verify", "run.replay")[0] == 0
    assert (sys.modules["__main__"], sys.path) == before
    assert "walk" not in sys.modules


def test_a_script_named_like_a_module_does_not_become_it(here, cli):
    (here / "random.py").write_text(WALK)
    import random

    with Importer(lambda text: None) as importer:
        assert importer.named("random.py:step", "--step").__name__ == "step"
        assert sys.modules["random"] is random
        with pytest.raises(CodeError, match="no_such"):
            importer.named("random.py:no_such", "--step")


def test_what_step_code_prints_does_not_mix_with_the_answer(recorded, cli):
    (recorded / "loud.py").write_text(
        WALK.replace("def step(", "print('import')\n\n\ndef step(", 1).replace(
            "    return State", "    print('step')\n    return State"
        )
    )
    code, out, err = cli("get", "run.replay", "40", "--json", "--step", "loud.py:step")
    assert code == 0 and json.loads(out)["states"] and "import\n" in err and "step\n" in err


def test_a_codec_is_a_pair_named_like_step_code(here, cli):
    (here / "walk.py").write_text(WALK.replace('observe={"value": "value"}', "codec=Tools.codec, lossy='accept'"))
    run_script("walk.py", here)
    code, _, err = cli("get", "run.replay", "5")
    assert code == 2 and "--codec MODULE:NAME" in err
    assert "needs the codec" in cli("info", "run.replay")[1].replace("states need", "needs")
    code, out, _ = cli("get", "run.replay", "5", "--codec", "walk.py:Tools.codec", "--field", "value")
    assert code == 0 and float(out) > 0
    assert cli("verify", "run.replay", "--codec", "walk.py:Tools.codec")[0] == 0
    code, _, err = cli("verify", "run.replay", "--codec", "walk.py:step")
    assert code == 2 and "expected a pair of callables (encode, decode)" in err


# ---- pickles

PICKLED = WALK.replace("from dataclasses import dataclass\n", "import sys\n").replace(
    "@dataclass\nclass State:\n    value: float\n    seen: list\n",
    "class State:\n"
    "    def __init__(self, value, seen):\n        self.value, self.seen = value, seen\n\n"
    "    def __setstate__(self, facts):\n        print('unpickled', file=sys.stderr)\n        self.__dict__ = facts\n",
)


@pytest.fixture(scope="session")
def pickled_walk(tmp_path_factory):
    """The file that the script makes then."""
    folder = tmp_path_factory.mktemp("pickled")
    (folder / "walk.py").write_text(PICKLED)
    run_script("walk.py", folder)
    return folder / "run.replay"


@pytest.fixture
def pickled(here, pickled_walk):
    (here / "walk.py").write_text(PICKLED)
    shutil.copy(pickled_walk, here)
    return here


def test_pickles_are_refused_before_any_code_is_imported(pickled, cli):
    (pickled / "walk.py").write_text(PICKLED + "\nopen('canary', 'w').close()\n")
    for verb in (["get", "5"], ["verify"], ["stats", "--metric", "value"], ["branch", "5", "-o", "x.replay"]):
        code, out, err = cli(verb[0], "run.replay", *verb[1:])
        assert (code, out) == (3, "") and "32 of 32 checkpoints as pickles" in err and "--allow-pickle" in err
    assert not (pickled / "canary").exists()


def test_what_needs_no_pickle_unpickles_nothing(pickled, cli):
    for verb in (["info"], ["fsck"], ["stats"], ["diff", "run.replay"]):
        code, _, err = cli(verb[0], "run.replay", *verb[1:])
        assert (code, err) == (0, "")
    assert "32 of 32 checkpoints are pickles: needs --allow-pickle" in cli("info", "run.replay")[1]


def test_pickled_states_of_a_script_come_back_when_allowed(pickled):
    done = rewind_command("get", "run.replay", "-1", "--allow-pickle", "--field", "value", cwd=pickled)
    assert done.returncode == 0 and float(done.stdout) > 200
    done = rewind_command("verify", "run.replay", "--allow-pickle", "--full", cwd=pickled)
    assert done.returncode == 0, done.stderr
    done = rewind_command("branch", "run.replay", "9", "-o", "f.replay", "--allow-pickle", cwd=pickled)
    assert done.returncode == 0, done.stderr
    assert rewind_command("verify", "f.replay", "--allow-pickle", cwd=pickled).returncode == 0


# ---- leaving


def test_ctrl_c_is_exit_130_and_one_line(recorded, cli):
    (recorded / "stop.py").write_text(
        WALK.replace("    return State(", "    __import__('signal').raise_signal(2)\n    return State(")
    )
    code, out, err = cli("get", "run.replay", "5", "--step", "stop.py:step")
    assert (code, out) == (130, "") and err.endswith("rewind: error: interrupted; nothing was written\n")
    code, out, err = cli("branch", "run.replay", "0", "-o", "f.replay", "--step", "stop.py:step")
    assert code == 130 and "Traceback" not in err and not (recorded / "f.replay").exists()


def test_a_closed_pipe_is_silent(simple):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "rewind", "info", "plain.replay"]
    done = subprocess.run(command, env=env, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_an_error(simple):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "rewind", "info", "plain.replay"]
        done = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "rewind: error: cannot write the result: No space left on device\n")


def test_a_bug_in_the_users_mutate_is_shown_whole(recorded, cli):
    (recorded / "walk.py").write_text(WALK.replace("state.value += 100.0", "state.nothing.at_all()"))
    code, _, err = cli("branch", "run.replay", "5", "--mutate", "walk.py:push", "-o", "f.replay")
    assert code == 2 and "Traceback" in err and "state.nothing.at_all()" in err


def test_names_in_any_encoding_are_no_trouble(here):
    rewind.record(lambda x, rng: x, "señal €", 5, seed=1).save("ñ€.replay")
    done = rewind_command("get", "ñ€.replay", "0", cwd=here, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stderr == ""
