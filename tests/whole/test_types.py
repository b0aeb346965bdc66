"""What ``mypy --strict`` says of the samples says: an error where one is marked, and none anywhere else."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "tests" / "helpers" / "typing").glob("*.py"))


def mypy(*args: str, cache: pathlib.Path) -> str:
    """Return what mypy says, set up as for the package: one cache serves both."""
    command = [sys.executable, "-m", "mypy", "--show-error-codes", "--no-error-summary", "--no-pretty"]
    command += ["--cache-dir", str(cache), *args]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stderr == "", done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return ROOT / ".mypy_cache" if os.access(ROOT, os.W_OK) else tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_has_the_errors_that_are_marked_and_no_others(sample, cache):
    text = sample.read_text(encoding="utf-8").splitlines()
    marked = {n: set(line.split("# E: ")[1].split(", ")) for n, line in enumerate(text, 1) if "# E: " in line}
    assert marked
    found: dict[int, set[str]] = {}
    output = mypy(str(sample), cache=cache)
    for line in output.splitlines():
        match = re.match(r"(.+?):(\d+): (error|note): (.*?)(?:  \[([a-z-]+)\])?$", line)
        assert match, line
        if match[3] == "error":
            assert pathlib.Path(ROOT, match[1]).samefile(sample), line
            found.setdefault(int(match[2]), set()).add(match[5])
    assert set(found) == set(marked), output
    for n, codes in found.items():  # versions of mypy differ in which of two codes they choose
        assert codes <= marked[n], (n, codes, text[n - 1])


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "rewind" / "py.typed").exists()
