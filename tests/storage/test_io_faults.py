"""A disk that fails at any one call, or from there on: recording says so, keeps what there is, and can be gone on with.

``tests/stress/io_faults.py`` fails each call with each error.
"""

from __future__ import annotations

import errno
import itertools
import os
import random

import pytest
from helpers.crashes import INTERRUPT, SHORT, Fault, fail, n_calls

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.name != "posix", reason="the calls are those of POSIX"),
]

FAULTS = [
    (errno.ENOSPC, False),
    (errno.EIO, True),
    (INTERRUPT, False),
    (errno.EIO, False),
    (errno.ENOSPC, True),
    (errno.EACCES, False),
    (SHORT, False),
]


@pytest.mark.parametrize(
    "name", ["tiny record", "tiny resume", "tiny Recorder", "extend", "record, large states", "save"]
)
def test_call_that_fails_is_said_and_loses_nothing(tmp_path, name):
    rng, kinds, outcomes = random.Random(name), itertools.cycle(FAULTS), set()
    n = n_calls(name, str(tmp_path))
    for number in range(1, n + 1):
        error, sticky = next(kinds)
        outcomes.add(fail(name, Fault(number, error, sticky), str(tmp_path), rng))
    assert {"finished", "raised"} <= outcomes and n > 10
