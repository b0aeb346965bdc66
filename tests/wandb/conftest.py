"""A folder to log to, and no run, variable or thing that stands in which a test leaves behind."""

import os

import pytest

import rewind
from rewind.tracker import active


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to be in, in which nothing says which run is meant."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("REWIND_", "WANDB_")) and name != "REWIND_KERNEL":
            monkeypatch.delenv(name)
    monkeypatch.setattr(active, "_RUNS", [])
    yield tmp_path
    for run in active.open_runs():
        run.finish()
    rewind.wandb.uninstall()
