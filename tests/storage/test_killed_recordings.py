"""Recorders that are killed in the middle of a file operation: all that they said was finished is there.

``tests/stress/kill.py`` kills hundreds, at random moments.
"""

from __future__ import annotations

import os
import random

import pytest
from helpers.crashes import (
    JOURNAL,
    TARGET,
    begin,
    case_of,
    either,
    examine,
    forked,
    kill_at,
    killed_at,
    lay_out,
    n_operations,
    reference,
    require_finished,
    require_saved,
    save_in_turn,
    spread,
    watched,
)

import rewind
from rewind.storage import replay_file

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
]


@pytest.mark.parametrize("name", ["dataclass", "int walk", "recorder of a walk", "large states"])
def test_recorder_killed_in_a_file_operation_loses_no_finished_block(tmp_path, name):
    case, rng = case_of(name), random.Random(f"{name} 1")
    n = n_operations(case, tmp_path, begin)
    for number in [rng.randrange(1, n // 4), rng.randrange(n // 4, n - 12), rng.randrange(n - 12, n)]:
        spread(str(tmp_path), {})
        killed = killed_at(case, str(tmp_path), number, begin)
        assert not killed.ended
        examine(case, str(tmp_path), max([0, *killed.said]), rng)
        require_finished(case, str(tmp_path))


def test_recording_whose_every_resumption_is_killed_comes_to_the_file_of_one_that_was_not(tmp_path):
    case, rng, folder = case_of("dataclass"), random.Random(2), str(tmp_path)
    kills, killed = 0, killed_at(case, folder, 14, begin)
    while not killed.ended:
        kills += 1
        examine(case, folder, max([0, *killed.said]), rng)
        killed = killed_at(case, folder, rng.randrange(22, 29), either)
    assert kills >= 3
    assert examine(case, folder, 0, rng, returned=True).complete
    assert (tmp_path / TARGET).read_bytes() == reference(case).file


def test_save_killed_over_an_old_file_leaves_the_old_one_or_the_new(tmp_path):
    case, folder, rng = case_of("extended"), str(tmp_path), random.Random(3)
    for _ in range(3):
        lay_out(case, folder)
        number = rng.randrange(1, 40)
        killed = forked(watched(case, folder, save_in_turn, kill_at(number)))
        assert not killed.ended
        require_saved(case, folder, killed.said)
        spread(folder, {})


def test_recorder_killed_before_it_began_is_not_in_the_way(tmp_path):
    case = case_of("tiny")
    for number in range(1, n_operations(case, tmp_path, begin)):
        spread(str(tmp_path), {})
        killed_at(case, str(tmp_path), number, begin)
        if (tmp_path / JOURNAL).exists() and (tmp_path / JOURNAL).stat().st_size > 3000:
            break
        with pytest.raises(FileNotFoundError):
            rewind.load(tmp_path / TARGET)
        with pytest.raises(FileNotFoundError):
            rewind.resume(tmp_path / TARGET, case.step)
        require_finished(case, str(tmp_path))
    assert number > 2


def test_refused_recorder_leaves_the_recording_that_was_cut_off(tmp_path):
    case = case_of("tiny")
    killed_at(case, str(tmp_path), n_operations(case, tmp_path, begin) - 12, begin)
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(rewind.UnfinishedRecordingError):
        begin(case, str(tmp_path / TARGET))
    assert (tmp_path / JOURNAL).read_bytes() == before
    require_finished(case, str(tmp_path))


def test_file_that_is_finished_while_it_is_looked_for_is_loaded(tmp_path, monkeypatch):
    case, path = case_of("tiny"), tmp_path / TARGET
    truth = reference(case).file
    real, missed = replay_file.load, []

    def load(*args, **options):
        try:
            return real(*args, **options)
        except FileNotFoundError:
            missed.append(path.write_bytes(truth))
            raise

    monkeypatch.setattr(replay_file, "load", load)
    assert rewind.load(path).complete and len(missed) == 1


def test_recording_whose_beginning_is_damaged_is_not_taken_for_one_that_never_began(tmp_path):
    case = case_of("tiny")
    killed_at(case, str(tmp_path), n_operations(case, tmp_path, begin) - 12, begin)
    damaged = bytearray((tmp_path / JOURNAL).read_bytes())
    damaged[1000] ^= 1
    (tmp_path / JOURNAL).write_bytes(damaged)
    with pytest.raises(rewind.ArtifactFormatError, match="beginning is damaged"):
        rewind.load(tmp_path / TARGET)
    with pytest.raises(rewind.ArtifactFormatError, match="in the way"):
        begin(case, str(tmp_path / TARGET))
    assert (tmp_path / JOURNAL).read_bytes() == damaged


@pytest.mark.parametrize("left", [b"", b"rewind jou", bytes(700)])
def test_journal_with_nothing_in_it_is_no_recording(tmp_path, left):
    (tmp_path / JOURNAL).write_bytes(left)
    with pytest.raises(FileNotFoundError, match="before there was anything in it"):
        rewind.load(tmp_path / TARGET)
    require_finished(case_of("tiny"), str(tmp_path))
