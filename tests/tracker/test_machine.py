"""What a run remembers of the machine, the command and the code that logged it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

import rewind
from rewind.cli.main import main
from rewind.tracker import machine

pytestmark = pytest.mark.once


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with a changed file, and a process that begins its first run there."""
    machine.git_state.cache_clear()
    here = tmp_path / "code"
    here.mkdir()
    (here / "step.py").write_text("drift = 1\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-C", str(here)]
    for call in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *call], check=True)
    monkeypatch.chdir(here)
    monkeypatch.delenv(machine.NO_CODE, raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", "train.py", "--lr", "0.1"])
    yield here
    machine.git_state.cache_clear()


def logged(folder, run_id="a", **options):
    with rewind.init(dir=folder, id=run_id, **options) as run:
        run.log({"x": 1})
    return rewind.Tracker(folder).run(run_id)


def test_a_run_tells_command_arguments_git_host_system_python_and_packages(repository, tmp_path):
    (repository / "step.py").write_text("drift = 2\n")
    found = logged(tmp_path / ".rewind").machine
    assert (found["command"], found["arguments"]) == ("python -u train.py", ["--lr", "0.1"])
    assert found["directory"] == str(repository) and found["host"] == platform.node()
    assert found["python"] == platform.python_version() and platform.system() in found["system"]
    assert found["packages"]["numpy"] == np.__version__ and "json" not in found["packages"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert found["git"]["commit"] == commit and found["git"]["dirty"] is True
    with open(found["git"]["diff"]) as file:
        assert "-drift = 1\n+drift = 2\n" in file.read()


def test_a_clean_directory_has_no_diff(repository, tmp_path):
    run = logged(tmp_path / ".rewind")
    assert run.machine["git"]["dirty"] is False and run.machine["git"]["diff"] is None
    assert run.artifacts == [] and run.duration >= 0


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_the_code_is_left_out_on_request(repository, tmp_path, monkeypatch, way):
    (repository / "step.py").write_text("secret = 2\n")
    if way == "environment":
        monkeypatch.setenv("REWIND_NO_CODE", "1")
    run = logged(tmp_path / ".rewind", **({"save_code": False} if way == "argument" else {}))
    assert "git" not in run.machine and run.machine["python"] == platform.python_version()
    kept = b"".join(path.read_bytes() for path in (tmp_path / ".rewind").rglob("*") if path.is_file())
    assert b"secret" not in kept


def test_the_program_of_minus_c_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c", "x"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "password = 1", "x"])
    assert machine.command() == {"command": "python -c ...", "arguments": ["x"]}


def test_show_tells_it_as_text_and_json(repository, tmp_path, capsys):
    (repository / "step.py").write_text("drift = 2\n")
    run = logged(tmp_path / ".rewind")
    assert main(["show", "a", "--dir", run.dir]) == 0
    text = capsys.readouterr().out
    for part in ("python -u train.py", "--lr 0.1", f"{run.machine['git']['commit']} (dirty)", platform.node(), "numpy"):
        assert part in text
    assert all(f"\n{label} " in text for label in ("duration", "system", "python", "packages", "git"))
    assert main(["show", "a", "--dir", run.dir, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["machine"] == run.machine and told["duration"] == run.duration


def test_it_survives_export_import_and_purge(repository, tmp_path):
    (repository / "step.py").write_text("drift = 2\n")
    run = logged(tmp_path / ".rewind")
    with rewind.init(dir=run.dir, id="b", fork_from="a?_step=0"):
        pass
    tracker = rewind.Tracker(run.dir)
    tracker.export("a", tmp_path / "a.zip")
    logged(tmp_path / "there", "other")
    there = rewind.Tracker(tmp_path / "there")
    there.import_file(tmp_path / "a.zip")
    found, before = there.run("a").machine, run.machine
    with open(found["git"].pop("diff")) as new, open(before["git"].pop("diff")) as old:
        assert new.read() == old.read()
    assert found == before and there.fsck().ok
    tracker.purge("a")
    assert tracker.fsck().ok and tracker.run("b").machine["git"]["dirty"] is True


def test_what_it_remembers_is_in_the_digest(tmp_path):
    import sqlite3

    logged(tmp_path)
    with sqlite3.connect(tmp_path / "tracker.sqlite") as connection:
        connection.execute("UPDATE revisions SET machine = replace(machine, 'python', 'ruby')")
    connection.close()
    assert not rewind.Tracker(tmp_path).fsck().ok


def test_a_folder_without_git_and_one_that_is_gone_have_no_commit(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert "git" not in logged(tmp_path / "a").machine
    os.rmdir(gone)
    assert logged(tmp_path / "b").machine["directory"] is None
