"""What the command line loads before a verb runs: no numpy, no kernel; and what help says of the verbs all the same."""

from __future__ import annotations

import inspect
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import rewind
from rewind import kernel
from rewind.cli import exit_codes, version
from rewind.cli.late import late
from rewind.cli.main import main
from rewind.cli.parser import ALIASES, VERBS, _columns

pytestmark = pytest.mark.once  # those that are about a kernel name it

ROOT = pathlib.Path(rewind.__file__).parents[1]


def python(program, **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("argv", [["--help"], ["--version"], [], ["record", "--help"], ["nonsense"]])
def test_help_version_and_wrong_usage_load_neither_numpy_nor_a_verb(argv):
    loaded = "'numpy', 'dataclasses', 'rewind.kernel', 'rewind.errors', 'rewind.cli.call', 'rewind.cli.record'"
    program = "import sys; from rewind.cli.main import main; before = set(sys.modules); "
    # A kernel that is asked for by name is loaded, so that --version says what is wrong with it.
    done = python(f"{program}main({argv}); print(*{{{loaded}}} & set(sys.modules))", REWIND_KERNEL="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""


def test_a_verb_loads_no_other(tmp_path):
    rewind.record(lambda x, rng: x + 1, 0, 50, 1).save(tmp_path / "run.replay")
    argv = ["info", str(tmp_path / "run.replay"), "--json"]
    done = python(
        f"import sys; from rewind.cli.main import main; main({argv}); print('rewind.cli.show' in sys.modules)"
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr


# ---- verbs


@pytest.mark.parametrize("name", VERBS)
def test_the_first_line_of_a_verb_is_its_help(name, capsys):
    function, options = VERBS[name]
    text = (inspect.getdoc(late(function)) or "").split("\n")[0]
    assert text == (inspect.getdoc(options) or "").split("\n")[0] and text.endswith(".")
    assert main([name, "--help"]) == exit_codes.OK
    help_of_verb = " ".join(capsys.readouterr().out.split())
    assert text in help_of_verb and f"usage: rewind {name} " in help_of_verb
    main(["--help"])
    assert f"{text[0].lower()}{text[1:-1]}" in " ".join(capsys.readouterr().out.split())


def test_run_is_another_name_for_record(tmp_path, capsys):
    assert ALIASES == {"record": ["run"]}
    (tmp_path / "walk.py").write_text("def step(x, rng):\n    return x + rng.choice((-1, 1))\n")
    said = []
    for verb in ("record", "run"):
        out = tmp_path / f"{verb}.replay"
        argv = [verb, f"{tmp_path / 'walk.py'}:step", "--init", "0", "-n", "50", "--seed", "3", "--json"]
        assert main([*argv, "-o", str(out)]) == exit_codes.OK
        said.append(capsys.readouterr().out.replace(str(out), "OUT"))
    assert said[0] == said[1] and '"verb": "record"' in said[0]


# ---- the kernel


@pytest.mark.parametrize("wanted", ["", "compiled", "python"])
def test_version_says_the_kernel_that_runs_without_loading_it(wanted):
    runs = python("from rewind.kernel import kernel_name; print(kernel_name)", REWIND_KERNEL=wanted)
    said = python("from rewind.cli.version import kernel_that_runs; print(kernel_that_runs())", REWIND_KERNEL=wanted)
    assert (said.returncode, said.stdout) == (runs.returncode, runs.stdout)
    if runs.returncode:  # there is no compiled one
        assert said.stderr.splitlines()[-1] == runs.stderr.splitlines()[-1]


def test_version_fails_as_the_library_does_where_the_kernel_is_none():
    done = python("from rewind.cli.main import main; main(['--version'])", REWIND_KERNEL="fast")
    assert done.returncode and "REWIND_KERNEL is 'fast'" in done.stderr


def test_version_looks_for_the_extensions_that_the_kernel_imports(monkeypatch):
    modules = {
        f"..{name}" if not folder else f".{name}" for folder, names in version._EXTENSIONS.items() for name in names
    }
    assert modules == set(kernel._COMPILED)
    monkeypatch.setenv("REWIND_KERNEL", "")
    monkeypatch.setattr(version, "_is_built", lambda folder, name: name != "_sums")
    assert version.kernel_that_runs() == "python"


def test_the_version_of_a_package_is_asked_of_the_installation(monkeypatch, tmp_path):
    (tmp_path / "numpy-9.8.7.dist-info").mkdir()
    (tmp_path / "numpydoc-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(tmp_path)])
    assert version._installed("numpy") == "numpy 9.8.7"
    assert version._installed("h5py") == "no h5py"


@pytest.mark.parametrize("columns", [None, "50", "0", "-3", "wide"])
def test_help_is_as_wide_as_argparse_makes_it(columns, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert _columns() == shutil.get_terminal_size().columns
