"""verify and stats compare what the metrics give again with the table that was observed, block by block."""

from __future__ import annotations

import dataclasses
import pathlib
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import native_steps, plain, replays

import rewind
from rewind.engine.verify import sampled_blocks
from rewind.metrics.table import COLUMNS

ONCE: dict[str, bool] = {}


def spike(x, rng):
    """Jump down once in the life of this process, and forget it."""
    x = 0.5 * x + rng.normal()
    if x > 3.5 and not ONCE:
        ONCE["done"], x = True, -50.0
    return round(x, 2)


class Tank:
    """A level that is wrong for some steps, once: the class remembers."""

    overflowed = False

    def __init__(self):
        self.day, self.level = 0, 5


def fill(tank, rng):
    tank.day += 1
    tank.level = min(max(tank.level + rng.choice((-1, 1)), 0), 9)
    if tank.day == 777 and not Tank.overflowed:
        Tank.overflowed, tank.level = True, 30
    return tank


def lagging():
    """Return a step on an array whose last component is wrong once, and made anew from the others at the next step."""
    left = [5]

    def step(v, rng):
        v = np.array([v[0] + 1, round(rng.random(), 1), v[0] + v[1]])
        if v[0] == 2_000 and left:
            v[2] += left.pop()
        return v

    return step


def healed(kind):
    """Return a recording in which something happened once, and left the states of all later blocks as they are."""
    if kind == "a flag of the module":
        ONCE.clear()
        return rewind.record(spike, 0.0, 9_000, 1, backend="numpy", observe={"x": None})
    if kind == "an attribute of a class":
        Tank.overflowed = False
        return rewind.record(fill, Tank(), 2_000, 1, observe={"level": "level"})
    return rewind.record(lagging(), np.zeros(3), 3_000, 2, backend="numpy", observe={"v": lambda v: v})


KINDS = ("a flag of the module", "an attribute of a class", "a list in a closure")


@pytest.mark.parametrize("kind", KINDS)
def test_a_hidden_event_that_healed_is_refused_by_verify_and_stats(kind):
    run = healed(kind)
    (name,) = run.observed
    with pytest.raises(rewind.ObservedMismatchError) as caught:
        run.verify(full=True)
    error = caught.value
    assert isinstance(error, rewind.NondeterministicReplayError)
    start = run.overview(name)["start"]
    assert start[error.block] <= error.step < error.stop and error.metric == name
    row = run.overview(name)[error.block]
    assert np.asarray(row[error.column])[error.component] == error.expected != error.got
    for text in (f"block {error.block} ", repr(name)[1:-1], str(error.expected), str(error.got), "hidden event"):
        assert text in str(error)
    with pytest.raises(rewind.ObservedMismatchError) as again:
        run.stats(name if kind != "a flag of the module" else None)
    assert (again.value.block, again.value.got) == (error.block, error.got)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def one(kind="a flag of the module"):
    run = healed(kind)
    with pytest.raises(rewind.ObservedMismatchError) as caught:
        run.verify(full=True)
    return run, caught.value


@pytest.mark.parametrize("workers", ["threads", "processes", "processes without cloudpickle"])
def test_workers_compare_what_was_observed_too(workers, monkeypatch):
    run, error = one("a list in a closure" if workers == "processes" else "a flag of the module")
    options = {"executor": ThreadPoolExecutor} if workers == "threads" else {"workers": 2}
    if workers.endswith("cloudpickle"):
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
        run._trajectory.metrics["x"] = lambda x: x  # which no worker can be sent: it is called here
    with pytest.raises(rewind.ObservedMismatchError) as caught:
        run.verify(full=True, **options)
    assert caught.value.block == error.block and str(caught.value) == str(error)
    with pytest.raises(rewind.ObservedMismatchError) as caught:
        run.stats(run._trajectory.metrics[error.metric], executor=ThreadPoolExecutor)
    assert caught.value.block == error.block


def test_shards_compare_what_was_observed_too():
    from rewind.runs import shards

    run, error = one()
    parts = [shards.verify(run, i, 3, True) for i in (1, 2, 3)]
    assert [part.failure["block"] for part in parts if part.failure] == [error.block]
    with pytest.raises(rewind.ObservedMismatchError):
        for i in (1, 2, 3):
            shards.stats(run, i, 3)


def test_a_sampled_verify_compares_the_blocks_it_replays():
    run, error = one()
    assert run.n_checkpoints > 33
    looked_at = set()
    for length in range(run.n_steps, run.n_steps - 12 * run.block_size, -run.block_size):
        ONCE.clear()
        run = rewind.record(spike, 0.0, length, 1, backend="numpy", observe={"x": None}, block_size=run.block_size)
        sampled = error.block in sampled_blocks(run.n_checkpoints, 1, False)
        looked_at.add(sampled)
        if not sampled:
            assert run.verify()
            continue
        with pytest.raises(rewind.ObservedMismatchError):
            run.verify()
    assert looked_at == {True, False}


@pytest.mark.parametrize("f", [None, "x", {"a": None}], ids=str)
def test_statistics_by_any_name_of_an_observed_metric_are_compared(f):
    run, error = one()
    with pytest.raises(rewind.ObservedMismatchError):
        run.stats(f)
    assert run.stats(lambda x: x).min > -50  # another function, whatever it gives
    start, stop = run.overview("x")["start"][error.block : error.block + 2].tolist()
    run.stats(f, stop), run.stats(f, 0, start), run.stats(f, start + 1, stop + 5)  # no block of these is unlike
    with pytest.raises(rewind.ObservedMismatchError):
        run.stats(f, start, stop)


def test_a_loaded_run_compares_what_needs_no_function_and_what_it_is_given(tmp_path):
    path = tmp_path / "run.replay"
    for kind, step in (("a flag of the module", spike), ("an attribute of a class", fill)):
        run, error = one(kind)
        run.save(path)
        again = rewind.load(path, step, allow_pickle=True)
        for check in (lambda: again.verify(full=True), lambda: again.stats(None if step is spike else "level")):  # noqa: B023
            with pytest.raises(rewind.ObservedMismatchError) as caught:
                check()
            assert str(caught.value) == str(error)
    run, error = one("a list in a closure")
    run.save(path)
    for observe in (None, {"v": lambda v: v}):  # in a new process the event would happen again, the first time
        step = lagging()
        again = rewind.load(path, step, observe=observe)
        if observe is None:
            assert again.verify(full=True)  # no file holds a function
            continue
        with pytest.raises(rewind.ObservedMismatchError) as caught:
            again.verify(full=True)
    assert caught.value.block == error.block


@pytest.mark.once
@pytest.mark.parametrize("hint", ["", "[]", "{", '{"x": "a.b"}', '{"x": 3}', '{"y": null}'])
def test_a_file_that_says_nonsense_of_its_metrics_is_verified_without(hint):
    run = rewind.record(plain.noisy, 0.0, 50, 3, backend="numpy", observe={"x": lambda x: 2 * x})
    run._recording.step["observed"] = hint
    run._trajectory.metrics.clear()
    assert run.verify(full=True)


def test_another_function_by_the_name_of_an_observed_metric_is_refused(tmp_path):
    run = rewind.record(plain.noisy, 0.0, 400, 3, backend="numpy", observe={"x": lambda x: x})
    run.save(tmp_path / "run.replay")

    again = rewind.load(tmp_path / "run.replay", plain.noisy, observe={"x": lambda x: x})
    assert again.verify(full=True)
    again._trajectory.metrics["x"] = lambda x: np.nextafter(x, np.inf)
    with pytest.raises(rewind.ObservedMismatchError, match="last bits"):
        again.verify(full=True)


def test_each_metric_is_called_once_for_each_state_that_is_verified():
    calls = plain.Counting(lambda x, rng: x)
    run = rewind.record(plain.noisy, 0.0, 500, 3, backend="numpy", observe={"x": lambda x: calls(x, None)})
    step = plain.Counting(plain.noisy)
    calls.since()
    assert run.verify(full=True) and calls.since() == 500
    without = rewind.record(step, 0.0, 500, 3, backend="numpy")
    step.since()
    without.verify(full=True)
    n = step.since()
    watched = rewind.record(step, 0.0, 500, 3, backend="numpy", observe={"x": None})
    step.since()
    watched.verify(full=True)
    assert step.since() == n


# ---- what must pass without a word


def odd_numbers(x, rng):
    """Numbers of every kind: NaN of both signs, infinities, zeros of both signs, subnormal and large ones."""
    values = (x, -x, 0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 5e-324, 1e308, 0.1, 1e-3)
    return float(values[rng.integers(len(values))])


def growing(v, rng):
    return v * 1.01 + 1e6 * rng.random(3)


METRICS = {
    "numbers": (odd_numbers, 1.0, {"x": None, "flag": lambda x: x > 0, "count": lambda x: 3}),
    "arrays": (growing, np.full(3, 1e6), {"v": None, "pair": lambda v: (v[0], -v[1]), "m": lambda v: np.outer(v, v)}),
    "integers beyond doubles": (plain.walk, 2**70, {"x": None}),
}


@pytest.mark.parametrize("kind", METRICS)
def test_what_is_as_it_was_observed_passes(kind, tmp_path):
    step, state, observe = METRICS[kind]
    backend = "python" if step is plain.walk else "numpy"
    run = rewind.record(step, state, 200, 5, backend=backend, observe=observe, block_size=37)
    run.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay", step, observe=observe, allow_pickle=True)
    longer = run.extend(270)
    later = [run.branch(100, noise="same"), run.branch(100, seed=1), run.branch(37, n_steps=1), longer.branch(250)]
    for one in (run, loaded, longer, *later):
        assert one.verify(full=True) and one.verify()
        for name, f in observe.items():
            whole = one.stats(name if f is None else f)
            assert whole.count == one.n_steps
            if one.n_steps > 60:
                one.stats(f, 41), one.stats(name, 0, 60), one.stats(f, max_lag=2 if np.ndim(whole.mean) == 0 else None)


def test_recordings_of_every_kind_pass(tmp_path):
    thinned = replays.thinned().extend(500)
    assert thinned.metadata()["stride"] > 1
    stopped = replays.stopped()
    recorder = rewind.Recorder(plain.noisy, 0.0, seed=1, backend="numpy", observe={"x": None, "v": lambda x: [x, -x]})
    recorder.advance(150)
    for run in (thinned, stopped, recorder.run):
        assert run.verify(full=True)
    assert thinned.stats() == thinned.observed["x"]


@pytest.mark.parametrize("name", ["drift", "ring"])
def test_native_steps_pass_and_are_refused(library, name):
    example = next(case for case in native_steps.CASES if case.name == name)
    step = rewind.native_step(getattr(library, name))
    value = (lambda x: float(np.max(x))) if name == "ring" else None
    observe = {"top": value, "both": lambda x: [float(np.min(x)), float(np.max(x))]}
    run = rewind.record(step, example.state, 2_000, 3, backend="numpy", params=example.params, observe=observe)
    assert run.verify(full=True) and run.verify() and run.verify(full=True, workers=2)
    run.stats("top"), run.stats("both")
    table = run._recording.metrics["top"]
    rows = {column: np.array(table.rows[column]) for column in COLUMNS}
    rows["max"][7] += 1.0
    run._recording.metrics["top"] = dataclasses.replace(table, rows=rows)
    for check in (lambda: run.verify(full=True), lambda: run.verify(full=True, workers=2), lambda: run.stats("top")):
        with pytest.raises(rewind.ObservedMismatchError, match="block 7 .* max of metric 'top'"):
            check()


@pytest.mark.once
@pytest.mark.filterwarnings("ignore::rewind.StepSourceWarning")
@pytest.mark.parametrize("kind", ["drift", "town", "thinned", "lead_branch", "same_branch", "drift_2"])
def test_files_of_earlier_releases_pass(kind):
    make, step = replays.KINDS[kind]
    metrics = make()._trajectory.metrics
    path = pathlib.Path(__file__).parents[1] / "golden" / f"{kind}.replay"
    run = rewind.load(path, step, allow_pickle=True, observe=metrics)
    assert metrics and run.verify(full=True) and run.verify()
    assert [run.stats(function).count for function in metrics.values()] == [len(run)] * len(metrics)
