"""`install`: what imports wandb gets `rewind.wandb`, module by module, and it can be undone."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

import rewind
from rewind.wandb import __main__ as command
from rewind.wandb.surface import HOMES, MODULES

pytestmark = pytest.mark.once


@pytest.fixture
def stand_in():
    rewind.wandb.install()
    yield
    rewind.wandb.uninstall()


def test_an_import_of_wandb_is_rewind_wandb_itself(stand_in):
    import wandb

    assert wandb is rewind.wandb is sys.modules["wandb"]
    assert wandb.__version__ == importlib.metadata.version("wandb") == rewind.wandb.__version__
    assert "wandb" in importlib.metadata.packages_distributions()["wandb"]
    assert importlib.util.find_spec("wandb") is not None


@pytest.mark.parametrize("name", MODULES)
def test_each_module_that_is_promised_can_be_imported_and_has_its_names(stand_in, name):
    module = importlib.import_module(f"wandb.{name}")
    assert module is importlib.import_module(f"wandb.{name}")
    assert all(getattr(module, inner) is not None for inner in dir(module))
    reached = rewind.wandb
    for part in name.split("."):
        reached = getattr(reached, part)
    assert reached is module


def test_a_module_with_a_file_is_one_object_by_both_names(stand_in):
    from wandb.sdk.wandb_run import Run

    assert importlib.import_module("wandb.errors") is sys.modules["rewind.wandb.errors"]
    assert sys.modules["rewind.wandb.errors"].__spec__.name == "rewind.wandb.errors"
    assert Run is rewind.wandb.Run


def test_what_is_not_there_says_where_the_list_is(stand_in):
    with pytest.raises(ModuleNotFoundError, match=r"docs/from-wandb.md") as caught:
        importlib.import_module("wandb.sdk.launch")
    assert caught.value.name == "wandb.sdk.launch"
    with pytest.raises(AttributeError, match=r"'nothing'.*docs/from-wandb.md"):
        _ = rewind.wandb.nothing
    with pytest.raises(AttributeError, match=r"sdk.lib.nothing"):
        _ = rewind.wandb.sdk.lib.nothing


def test_uninstall_leaves_nothing_behind():
    before, finders = {name for name in sys.modules if name.startswith("wandb")}, list(sys.meta_path)
    rewind.wandb.install()
    rewind.wandb.install()  # is in place already
    importlib.import_module("wandb.sdk.lib.config_util")
    rewind.wandb.uninstall()
    rewind.wandb.uninstall()
    assert {name for name in sys.modules if name.startswith("wandb")} == before
    assert sys.meta_path == finders


def test_the_real_package_is_not_replaced_once_it_is_imported(monkeypatch):
    real = types.ModuleType("wandb")
    real.__file__ = "/site-packages/wandb/__init__.py"
    monkeypatch.setitem(sys.modules, "wandb", real)
    with pytest.raises(rewind.StandInError, match=r"imported already, from /site-packages.*python -m rewind.wandb"):
        rewind.wandb.install()
    assert sys.modules["wandb"] is real
    rewind.wandb.uninstall()
    assert sys.modules["wandb"] is real


def test_every_name_of_the_package_is_there():
    assert set(HOMES) <= set(dir(rewind.wandb))
    assert all(getattr(rewind.wandb, name) is not None for name in HOMES)
    assert rewind.wandb.run is None


def test_a_script_runs_as_the_main_program_with_its_arguments(tmp_path, monkeypatch, capsys):
    script = tmp_path / "train.py"
    script.write_text("import sys, wandb\nprint(__name__, sys.argv[1:], wandb.__name__)\n")
    monkeypatch.setattr(sys, "argv", ["before"])
    monkeypatch.setattr(sys, "path", ["before", *sys.path[1:]])
    monkeypatch.delenv("REWIND_AS_WANDB", raising=False)
    monkeypatch.setenv("REWIND_AS_WANDB", "0")  # or what the command sets would stay
    try:
        command.main([str(script), "--lr", "0.1"])
        assert sys.path[0] == str(tmp_path) and os.environ["REWIND_AS_WANDB"] == "1"
        monkeypatch.syspath_prepend(str(tmp_path))
        command.main(["-m", "train", "again"])
    finally:
        rewind.wandb.uninstall()
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["__main__ ['--lr', '0.1'] rewind.wandb", "__main__ ['again'] rewind.wandb"]


def test_the_command_says_how_it_is_used(capsys):
    for arguments, code in ([[], 2], [["-m"], 2], [["--help"], 0]):
        with pytest.raises(SystemExit) as caught:
            command.main(arguments)
        assert caught.value.code == code
        assert "python -m rewind.wandb SCRIPT" in "".join(capsys.readouterr())


def test_the_variable_is_enough_for_a_program_that_imports_rewind_and_nothing_is_loaded_unasked():
    program = "import sys, rewind; print(json.dumps(['wandb' in sys.modules, 'rewind.wandb' in sys.modules]))"
    root = str(pathlib.Path(rewind.__file__).parents[1])
    found = []
    for value in ("1", "0"):
        environment = {**os.environ, "PYTHONPATH": root, "REWIND_AS_WANDB": value}
        command = [sys.executable, "-c", f"import json; {program}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    assert found == [[True, True], [False, False]]
