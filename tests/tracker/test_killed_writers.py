"""Programs that log, killed at random moments: every row of the last commit is there, and nothing is mixed.

``tests/stress/tracker_kill.py`` kills hundreds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stress"))

from tracker_kill import trials

pytestmark = [pytest.mark.once, pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no SIGKILL here")]


def test_killed_programs_leave_every_row_of_their_last_commit_and_runs_that_are_rewound_at_once():
    count, wrong = trials(8, seed=4)
    assert not wrong and count["trials"] == 8
