"""Scripts without a guard: a verb that imports one for its functions runs no simulation and writes nothing."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import rewind
from rewind.cli.main import main
from rewind.steps.importing import ImportEnded, ends_import, importing

pytestmark = pytest.mark.once

ROOT = Path(rewind.__file__).parents[1]

#: The quickstart of the first version, word for word, with fewer steps.
QUICKSTART = """\
import rewind
def step(x, rng):
    return x + (1 if rng.random() < 0.5 else -1)
run = rewind.record(step, init_state=0, n_steps=1_000, seed=42)
x = run.get(842)
fork = run.branch(842, mutate=lambda s: s + 100)
stats = run.stats(lambda s: s)
run.save("run.replay")
loaded = rewind.load("run.replay", step_fn=step, allow_pickle=True)
loaded.verify()
"""

TOWN = """\
import rewind


class Town:
    def __init__(self, people):
        self.people, self.log = people, {1, 2}


def step(town, rng):
    town.people += rng.randrange(3)
    return town


def people(town):
    return town.people


print("once more")
with rewind.Recorder(step, Town(5), seed=1, block_size=10) as recorder:
    recorder.advance(99)
recorder.run.save("run.replay")
rewind.load("run.replay", step, allow_pickle=True).verify()
print("done once more")
"""


@pytest.fixture
def cli(capsys):
    def call(*argv):
        code = main([str(arg) for arg in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folders that ``python script.py`` leaves, by the text of the script."""
    folders = {}

    def make(text):
        if text not in folders:
            folders[text] = folder = tmp_path_factory.mktemp("made")
            (folder / "script.py").write_text(text)
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "script.py"], cwd=folder, env=env, check=True, capture_output=True)
        return folders[text]

    return make


@pytest.fixture
def script(made, monkeypatch):
    """Be in the folder of a script that has run once, and return what the files in it are."""

    def enter(text):
        folder = made(text)
        monkeypatch.chdir(folder)
        return lambda: {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.*")}

    return enter


ENDED = "rewind: ./script.py calls rewind.record at line 4, where its import ended: what it defines before that is used"


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["get", "run.replay", "842"], None),
        (["verify", "run.replay", "--full"], "ok: run.replay replays bit for bit"),
        (["find", "run.replay", "positive.py:positive", "-n", "1"], None),
        (["series", "run.replay", "--stop", "3"], None),
        (["stats", "run.replay", "--step", "script:step"], "state"),
    ],
)
def test_the_quickstart_unguarded_serves_the_shell_and_is_not_run_again(script, cli, argv, answer):
    files = script(QUICKSTART)
    Path("positive.py").write_text("def positive(x):\n    return x > 0\n")
    before = files()
    code, out, err = cli(*argv)
    assert code == 0 and (out.startswith(answer) if answer else out)
    assert err.count(ENDED) == 1 and err.count("\n") <= 3
    assert files() == before
    if argv[0] == "get":
        step = {}
        exec(QUICKSTART.partition("run =")[0], step)
        assert int(out) == rewind.load("run.replay", step["step"]).get(842)


def test_a_verb_takes_no_step_beyond_what_it_needs(script, cli, monkeypatch):
    counted = QUICKSTART.replace("    return", "    COUNT.append(1)\n    return")
    script(f"import sys\nCOUNT = sys.__dict__.setdefault('count', [])\n{counted}")
    monkeypatch.setattr(sys, "count", [], raising=False)
    for t in (0, 31, 842):
        sys.count.clear()
        assert cli("get", "run.replay", str(t))[0] == 0
        assert len(sys.count) <= 2 * 32  # a block, of which the first is gone through to its end, to check it


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["get", "run.replay", "55", "--field", "people"], None),
        (["verify", "run.replay"], "ok"),
        (["stats", "run.replay", "--metric", "script.py:people"], "script.py:people"),
    ],
)
def test_states_of_classes_of_an_unguarded_script_come_back(script, cli, argv, answer):
    files = script(TOWN)
    before = files()
    code, out, err = cli(*argv, "--allow-pickle")
    assert code == 0 and (answer is None or out.startswith(answer))
    assert "calls rewind.Recorder at line 19" in err and "done once more" not in err
    assert files() == before


CALLS = {
    "record": "rewind.record(step, 0.0, 10, 1)",
    "record within a function": "def main():\n    rewind.record(step, 0.0, 10, 1)\nmain()",
    "Recorder": "rewind.Recorder(step, 0.0, 1)",
    "Recorder.resume": "rewind.Recorder.resume('run.replay', step)",
    "resume": "rewind.resume('run.replay', step)",
    "Run.branch": "rewind.load('run.replay', step).branch(3)",
    "Run.branches": "rewind.load('run.replay', step).branches(3, 2)",
    "Run.likelihood": "rewind.load('run.replay', step).likelihood(bool, [3], n=2)",
    "Run.extend": "rewind.load('run.replay', step).extend(50)",
    "Run.verify": "rewind.load('run.replay', step).verify()",
    "Run.save": "rewind.load('run.replay', step).save('run.replay')",
    "plain_loop": "list(rewind.plain_loop(step, 0.0, 10, 1))",
    "init": "with rewind.init(dir='tracked') as run:\n    run.log({'x': 1})",
    "log": "rewind.log({'x': 1})",
}


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A folder with a run whose step is nowhere."""
    monkeypatch.chdir(tmp_path)
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 20, 1).save("run.replay")
    return tmp_path


def unguarded(folder, call, name="later.py"):
    before = "import rewind\n\n\ndef step(x, rng):\n    return x + rng.random()\n\n\n"
    after = "\nopen('ran', 'w').close()\n\n\ndef late(x):\n    return x\n"
    (folder / name).write_text(before + call + after)


@pytest.mark.parametrize("form", ["later.py", "later"])
@pytest.mark.parametrize("call", CALLS)
def test_the_first_call_that_runs_or_writes_ends_the_import(recorded, cli, call, form):
    unguarded(recorded, CALLS[call])
    before = sorted(recorded.iterdir())
    code, _, err = cli("get", "run.replay", "7", "--step", f"{form}:step")
    name = call.partition(" ")[0]
    assert (code, f"later.py calls rewind.{name} at line" in err) == (0, True)
    code, out, err = cli("stats", "run.replay", "--step", f"{form}:step", "--metric", f"{form}:late")
    assert (code, out) == (2, "") and "has no late yet" in err and 'if __name__ == "__main__":' in err
    assert [path for path in sorted(recorded.iterdir()) if path.name != "__pycache__"] == before
    assert "later" not in sys.modules


@pytest.mark.parametrize(
    "call",
    [
        "try:\n    rewind.record(step, 0.0, 10, 1)\nexcept Exception:\n    pass",
        "try:\n    run = rewind.record(step, 0.0, 10, 1)\nexcept:\n    pass\nrun.save('x')",
        "class Run:\n    run = rewind.record(step, 0.0, 10, 1)",
        "try:\n    rewind.record(step, 0.0, 10, 1)\nfinally:\n    raise SystemExit(1)",
    ],
)
def test_no_script_goes_on_after_such_a_call(recorded, cli, call):
    unguarded(recorded, call)
    assert cli("get", "run.replay", "7", "--step", "later.py:step")[0] == 0
    assert not Path("ran").exists()


def test_what_asks_a_run_a_question_does_not_end_an_import(recorded, cli):
    unguarded(recorded, "LIMIT = rewind.load('run.replay', step).get(7)")
    code, _, err = cli("stats", "run.replay", "--step", "later.py:step", "--metric", "later.py:late")
    assert code == 0 and "ended" not in err and Path("ran").exists()


def test_a_module_that_an_other_imports_ends_and_the_other_goes_on(recorded, cli):
    unguarded(recorded, CALLS["record"], "inner.py")
    Path("outer.py").write_text("from inner import step\n\n\ndef double(x):\n    return 2 * x\n")
    for form in ("outer.py", "outer"):
        code, _, err = cli("stats", "run.replay", "--step", "inner.py:step", "--metric", f"{form}:double")
        assert code == 0 and err.count("./inner.py calls rewind.record") == 1
        sys.modules.pop("outer", None)
    assert not {"inner", "ran"} & {*sys.modules, *os.listdir()}


def test_an_import_that_fails_before_such_a_call_fails_as_ever(recorded, cli):
    unguarded(recorded, "1 / 0\n" + CALLS["record"])
    code, _, err = cli("get", "run.replay", "7", "--step", "later.py:step")
    assert code == 2 and "ZeroDivisionError" in err and "ended" not in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_pool_of_a_script_records_nothing_either(recorded, cli):
    pool = """
import concurrent.futures, multiprocessing
def one(seed):
    rewind.record(step, 0.0, 10, seed)
    open(f"ran {seed}", "w").close()
with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    runs = list(pool.map(one, [1, 2]))
"""
    unguarded(recorded, pool)
    code, _, err = cli("get", "run.replay", "7", "--step", "later.py:step")
    assert code == 0 and "calls rewind.record at line 14" in err
    assert not [name for name in os.listdir() if name.startswith("ran")]


@pytest.mark.parametrize(
    ("method", "cloudpickle", "step"),
    [
        ("fork", True, []),
        ("spawn", False, []),
        ("spawn", True, ["--step", "script:step"]),
    ],
)
def test_workers_of_a_verb_do_not_run_the_script(script, cli, monkeypatch, method, cloudpickle, step):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    files = script(TOWN.replace('print("done once more")', 'open("ran.txt", "a").write("once more")'))
    if cloudpickle:
        pytest.importorskip("cloudpickle")
    else:
        monkeypatch.setattr("rewind.engine.transport._cloudpickle", lambda: None)
    default = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    before = files()
    try:
        code, out, _ = cli("verify", "run.replay", "--workers", "2", "--allow-pickle", *step)
    finally:
        multiprocessing.set_start_method(default, force=True)
    assert code == 0 and out.startswith("ok")
    assert files() == before


def test_only_the_thread_that_imports_is_meant(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = """
    import threading
    from rewind.steps.importing import ends_import
    seen = []
    thread = threading.Thread(target=lambda: seen.append(ends_import("record")))
    thread.start()
    thread.join()
    try:
        ends_import("record")
    except BaseException as error:
        seen.append(error)
    """
    (tmp_path / "threaded_import.py").write_text(textwrap.dedent(source))
    told = []
    with importing(told.append):
        ends_import("record")  # no module is being imported: nothing ends
        import threaded_import

    first, second = threaded_import.seen
    assert first is None and isinstance(second, ImportEnded) and threading.active_count() >= 1
    assert [one.call for one in told] == ["record"]
    sys.modules.pop("threaded_import")
