"""A few hundred mutated files, as ``python tests/stress/fuzz_files.py`` makes them by the hundred thousand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process, and /proc, are those of Linux"),
]

ROOT = Path(__file__).parents[2]


def run(script: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "stress" / script), *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_mutants_of_every_kind_are_refused_or_give_the_right_answer(tmp_path):
    done = run("fuzz_files.py", "-n", "600", "--seed", "4", "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "600 mutants with seed 4: 0 failures" in done.stdout
    totals = {}
    for line in done.stdout.splitlines():
        if found := re.match(r"(\S.*?) {2,}all +([\d,]+) +([\d,]+)", line):
            totals[found[1]] = int(found[2].replace(",", "")), int(found[3].replace(",", ""))
    assert set(totals) == {
        *("damaged", "damaged, sealed again", "structure edited", "retold"),
        *("journal damaged", "frames edited", "all"),
    }
    assert totals["damaged"][0] > 150 and totals["damaged"][1] == 0  # what was not made to fit again is never loaded
    assert (
        totals["structure edited"][1] > 20 and totals["retold"][0] > 40
    )  # and what was, is read: it is not all refused
    assert not list((tmp_path / "kept").iterdir())


def test_a_mutant_is_the_same_whoever_makes_it(tmp_path):
    tables = {
        run("fuzz_files.py", "-n", "60", "--workers", n, "--keep", str(tmp_path)).stdout.rpartition("\n60 mutants")[0]
        for n in ("1", "2")
    }
    assert len(tables) == 1 and "damaged" in tables.pop()


def test_every_seventh_bit_of_a_file_flipped_is_refused():
    done = run("bitflips.py", "--every", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("int walk", "signed", "pickled"):
        assert re.search(rf"{kind} .* ([\d,]+) flips, \1 refused, 0 loaded", done.stdout), done.stdout
