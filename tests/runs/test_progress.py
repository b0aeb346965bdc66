"""progress: what a callback is told, how often, and what happens when it has had enough."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from helpers.plain import bytes_of, loop, noisy

import rewind
from rewind.runs import progress as module


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when it is told to."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def passes(run):
    return {
        "record": lambda p: rewind.record(noisy, 0.0, 100, 5, progress=p),
        "extend": lambda p: run.extend(200, progress=p),
        "branch": lambda p: run.branch(10, progress=p),
        "stats": lambda p: run.stats(progress=p),
        "verify": lambda p: run.verify(True, progress=p),
    }


@pytest.mark.parametrize("op", ["record", "extend", "branch", "stats", "verify"])
def test_a_pass_reports_at_block_ends(op, clock):
    run = rewind.record(noisy, 0.0, 100, 5)
    told = []

    def tick(progress):
        clock.now += 1.0
        told.append(progress)

    passes(run)[op](tick)
    assert all(p.op == op and 0 < p.done <= p.total and p.elapsed >= 0 for p in told)
    assert [p.done for p in told] == sorted({p.done for p in told}) and told[-1].done == told[-1].total
    assert len(told) >= 9
    with pytest.raises(dataclasses.FrozenInstanceError):
        told[0].done = 3


def test_it_is_called_at_most_ten_times_a_second_and_at_the_end(clock):
    told = []
    rewind.record(noisy, 0.0, 10_000, 5, progress=told.append)
    assert [p.done for p in told] == [100, 10_000]  # the clock stood still

    def step(x, rng):
        clock.now += 0.001
        return noisy(x, rng)

    told.clear()
    rewind.record(step, 0.0, 10_000, 5, block_size=10, progress=told.append)
    assert 90 <= len(told) <= 102
    gaps = [b.elapsed - a.elapsed for a, b in zip(told[:-2], told[1:-1], strict=True)]
    assert min(gaps) >= 0.1


@pytest.mark.parametrize("op", ["record", "extend", "branch", "stats", "verify"])
def test_raising_from_it_stops_cleanly(op, clock):
    class Enough(Exception):
        pass

    run = rewind.record(noisy, 0.0, 100, 5)
    before = bytes_of(run)

    def enough(progress):
        clock.now += 1
        if progress.block >= 3 or op == "verify":
            raise Enough(op)

    with pytest.raises(Enough, match=op) as caught:
        passes(run)[op](enough)
    assert bytes_of(run) == before and run.verify()
    if op in ("record", "extend", "branch"):
        part = caught.value.run
        assert not part.complete and 0 < len(part) < 200 and part.verify(full=True)
        if op == "record":
            assert bytes_of(part) == bytes_of(loop(noisy, 0.0, len(part), 5, 10))


@pytest.mark.parametrize("bad", [3, "yes", [], object()])
def test_it_is_a_callable_or_a_bool(bad):
    with pytest.raises(rewind.ArgumentTypeError, match="progress is .*expected True, None or a callable"):
        rewind.record(noisy, 0.0, 10, 5, progress=bad)


def test_true_shows_one_line_on_stderr_without_tqdm(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    rewind.record(noisy, 0.0, 1000, 5, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.endswith("record: 1,000 of 1,000 (100%), 0 s\n")
    rewind.record(noisy, 0.0, 1000, 5, progress=False)
    assert capsys.readouterr() == ("", "")
