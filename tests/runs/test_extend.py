"""extend: the same past byte for byte, more future, and never more than 2*sqrt(n_steps) checkpoints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.plain import BACKENDS, Counting, bytes_of, digest, in_place, loop, noisy, walk
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind

OBSERVE = {"x": None, "pair": lambda x: [x, x * x], "bad": lambda x: math.nan if x > 3 else x}


def saved(run, path):
    run.save(path)
    return path.read_bytes()


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=2, max_size=6, unique=True).map(sorted),
    b=st.one_of(st.none(), st.integers(1, 40)),
    backend=st.sampled_from(BACKENDS),
)
def test_any_number_of_goes_is_one_recording(lengths, b, backend, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extend")
    run = rewind.record(noisy, 0.0, lengths[0], 5, block_size=b, backend=backend, observe=OBSERVE)
    b = run.block_size
    for i, n in enumerate(lengths[1:]):
        past = bytes_of(run)
        run = run.extend(n)
        assert bytes_of(run)[: len(past)] == past
        assert run.n_checkpoints <= max(2 * math.sqrt(n), 1)
        if i % 2:
            run.save(folder / "goes.replay")
            run = rewind.load(folder / "goes.replay", noisy, observe=OBSERVE)
    whole = rewind.record(noisy, 0.0, lengths[-1], 5, block_size=b, backend=backend, observe=OBSERVE)
    assert bytes_of(run) == bytes_of(whole) and run.verify(full=True)
    for name in OBSERVE:
        assert run.overview(name).tobytes() == whole.overview(name).tobytes()
        for fact in ("count", "mean", "std", "min", "max", "argmin", "argmax", "nan_count", "first_nan"):
            assert np.asarray(getattr(run.observed[name], fact)).tobytes() == (
                np.asarray(getattr(whole.observed[name], fact)).tobytes()
            )
    assert run.observed["x"].mean == run.stats().mean
    if run.metadata()["stride"] == 1:
        assert saved(run, folder / "goes.replay") == saved(whole, folder / "whole.replay")


def test_a_run_that_grows_a_thousandfold_keeps_a_small_file(tmp_path):
    run = rewind.record(walk, 0, 10, 5)
    sizes = []
    for n in (100, 1000, 10_000):
        run = run.extend(n)
        assert run.block_size == 4 and run.n_checkpoints <= 2 * math.sqrt(n)
        sizes.append(len(saved(run, tmp_path / "a.replay")))
    assert sizes[-1] < 6000
    states = loop(walk, 0, 10_000, 5, 4)
    run = rewind.load(tmp_path / "a.replay", walk)
    for t in (0, 1, 4999, 5000, 9999):
        assert run.get(t) == states[t]
    assert list(run) == states and run.verify() and run.verify(full=True)
    assert list(run[9000:8000:-1]) == states[9000:8000:-1]
    assert list(run.branch(4321, noise="same", n_steps=50)) == states[4321:4371]


def test_a_thinned_run_can_be_extended_again_and_stays_within_its_cost():
    step = Counting(noisy)
    run = rewind.record(step, 0.0, 50, 5, block_size=3).extend(2000)
    stretch = run.block_size * run.metadata()["stride"]
    step.since()
    for t in (1999, 1000, 3, 1998):
        run.get(t)
        assert step.since() <= 2 * stretch
    run.extend(2001)
    assert step.since() <= 2 * stretch + 1


def test_the_shorter_run_stays_as_it_is():
    run = rewind.record(in_place, np.zeros(3), 20, 5, observe={"s": lambda x: x.sum()})
    before, facts = bytes_of(run), run.metadata()
    longer = run.extend(500)
    assert bytes_of(run) == before and run.metadata() == facts
    assert bytes_of(longer)[:20] == before and longer.observed["s"].count == 500


def test_a_run_cannot_be_extended_backwards():
    run = rewind.record(noisy, 0.0, 20, 5)
    for n in (20, 19, 0, -1):
        with pytest.raises(rewind.ArgumentError, match=r"more than the 20 this run has.*extend\(40\)"):
            run.extend(n)
    for n in (21.0, True, "30", None):
        with pytest.raises(rewind.ArgumentTypeError, match="n_steps"):
            run.extend(n)


def test_metrics_need_their_functions_to_go_on(tmp_path):
    run = rewind.record(noisy, 0.0, 20, 5, observe={"x": abs})
    run.save(tmp_path / "a.replay")
    with pytest.raises(rewind.ArgumentError, match=r"observe.*functions for x"):
        rewind.load(tmp_path / "a.replay", noisy).extend(30)
    with pytest.raises(rewind.MissingStepError, match="extend needs a replay"):
        rewind.load(tmp_path / "a.replay").extend(30)
    assert rewind.load(tmp_path / "a.replay", noisy, observe={"x": abs}).extend(30).observed["x"].count == 30


def test_an_extension_that_fails_keeps_what_it_did():
    def step(s, rng):
        if s["t"] == 77:
            raise RuntimeError("boom")
        s["t"] += 1
        return s

    run = rewind.record(step, {"t": 0}, 20, 5, block_size=6)
    with pytest.raises(rewind.StepError, match="at step 77") as caught:
        run.extend(200)
    assert caught.value.run.get(77) == {"t": 77} and len(run) == 20
    assert digest(caught.value.run.get(3)) == digest(run.get(3))


def test_a_step_that_does_not_give_the_past_again_is_not_gone_on_with(tmp_path):
    run = rewind.record(lambda x, rng: x + rng.random(), 0.0, 1000, 1)
    run.save(tmp_path / "run.replay")
    with pytest.warns(rewind.StepSourceWarning):
        other = rewind.load(tmp_path / "run.replay", lambda x, rng: x - rng.random())
    with pytest.raises(rewind.NondeterministicReplayError, match="block 31 does not reproduce step 999"):
        other.extend(2000)
    calls = [0]

    def counting(x, rng):
        calls[0] += 1
        return x + calls[0] * rng.random()

    with pytest.raises(rewind.NondeterministicReplayError):
        rewind.record(counting, 0.0, 100, 1, trial=False).extend(200)


def test_a_metric_that_is_not_the_one_observed_is_not_gone_on_with(tmp_path):
    def step(x, rng):
        return x + rng.random()

    for n in (90, 91, 100):
        rewind.record(step, 0.0, n, 1, block_size=10, observe={"x": None}).save(tmp_path / "run.replay")
        with pytest.raises(rewind.MetricError, match="metric 'x' at step 10 gives .*; expected the function that was"):
            rewind.load(tmp_path / "run.replay", step, observe={"x": lambda x: 1000 * x})
        if n == 91:  # its last block is one state, which is stored, and load has looked at that
            continue
        other = rewind.load(tmp_path / "run.replay", step, observe={"x": lambda x: x + 2**-40})
        with pytest.raises(rewind.MetricError, match="metric 'x' at step .* does not give what was observed"):
            other.extend(200)
        again = rewind.load(tmp_path / "run.replay", step, observe={"x": None}).extend(200)
        assert again.observed["x"] == again.stats()
    with pytest.raises(rewind.UnknownMetricError, match="observed no metric 'y'; it observed 'x'"):
        rewind.load(tmp_path / "run.replay", step, observe={"y": None})
