"""Power that goes in a recording: what was said to be on the disk is, whatever became of the rest.

``tests/stress/power_cut.py`` cuts it thousands of times.
"""

from __future__ import annotations

import os
import random

import pytest
from helpers.crashes import (
    Op,
    begin,
    case_of,
    claims,
    cut_over,
    cut_power,
    either,
    lay_out,
    logged,
    moments,
    rebuilt,
    require_finished,
    save_over,
    spread,
)

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.name != "posix", reason="the names in a folder cannot be flushed here"),
]

MODELS = ["prefix", "reorder"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["dataclass", "int walk", "recorder of a walk", "large states"])
def test_power_cut_spares_every_block_that_was_said_to_be_finished(tmp_path, name, model):
    case, rng, folder = case_of(name), random.Random(f"{name} {model}"), str(tmp_path)
    log = logged(case, folder, begin)
    for upto in moments(log, 5, rng):
        cut_power(case, log, upto, rng, model, folder)
        require_finished(case, folder)


@pytest.mark.parametrize("model", MODELS)
def test_power_that_goes_again_and_again_spares_it_too(tmp_path, model):
    case, rng, folder = case_of("dataclass"), random.Random(4), str(tmp_path)
    log = logged(case, folder, begin)
    for _ in range(4):
        files, _ = cut_power(case, log, rng.randrange(len(log.ops) // 3, len(log.ops) - 3), rng, model, folder)
        spread(folder, files)
        log = logged(case, folder, either)
    require_finished(case, folder)


@pytest.mark.parametrize("model", MODELS)
def test_power_cut_in_a_save_leaves_the_old_file_or_the_new(tmp_path, model):
    case, rng, folder = case_of("extended"), random.Random(5), str(tmp_path)
    lay_out(case, folder)
    log = logged(case, folder, save_over)
    for upto in range(len(log.ops) + 1):
        cut_over(case, log, upto, rebuilt(log, upto, rng, model), folder)


def test_flushing_is_what_spares_it(tmp_path):
    """A writer that said the same and did not flush is found out."""
    case, folder = case_of("tiny"), str(tmp_path)
    log = logged(case, folder, begin)
    log.ops = [op for op in log.ops if op.what != "sync"]
    for model in MODELS:
        rng, lost = random.Random(6), 0
        for _ in range(10):
            upto = next(i for i, op in enumerate(log.ops) if op == Op("claim", at=12)) + 1
            assert claims(log, upto) == (12, False)
            try:
                cut_power(case, log, upto, rng, model, folder)
            except AssertionError:
                lost += 1
        assert lost
