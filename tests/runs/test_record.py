"""record: metrics on the way, codecs, parameters, and everything that ends a recording early."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import pickle
import random
import signal
import threading

import numpy as np
import pytest
from helpers.plain import BACKENDS, Counting, Walker, bytes_of, digest, in_place, kept, loop, noisy, normal, walk

import rewind

backends = pytest.mark.parametrize("backend", BACKENDS)


# ---- metrics


METRICS = {
    "itself": None,
    "a part": lambda s: s[1],
    "a view": lambda s: s[:2],
    "a list": lambda s: [s[0], s[2]],
    "a sum": lambda s: float(s.sum()),
}


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_may_give_a_view_of_a_state_that_changes_in_place(metric):
    f = METRICS[metric]
    states = loop(in_place, np.zeros(3), 40, 5, 7)
    values = np.array([s if f is None else f(s) for s in states])
    run = rewind.record(in_place, np.zeros(3), 40, 5, block_size=7, observe={"m": f})
    for stats in (run.observed["m"], run.stats(f)):
        assert stats.count == 40
        assert np.asarray(stats.min).tobytes() == values.min(axis=0).tobytes()
        assert np.asarray(stats.max).tobytes() == values.max(axis=0).tobytes()
        assert np.asarray(stats.argmax).tolist() == values.argmax(axis=0).tolist()
    assert run.overview("m")["last"][-1].tobytes() == values[-1].tobytes()
    assert run.series(f).tobytes() == values.tobytes()


@dataclasses.dataclass
class Record:
    row: np.ndarray


def test_a_structured_row_is_not_a_window_on_what_comes_next():
    def step(s, rng):
        s.row["x"] += 1
        return s

    run = rewind.record(step, Record(np.zeros(2, [("x", "f8")])), 20, 5)
    assert run.series(lambda s: s.row[0])["x"].tolist() == list(range(20))
    assert run.series(lambda s: s.row["x"][:1]).ravel().tolist() == list(range(20))
    assert run.series()["row"]["x"][:, 0].tolist() == list(range(20))
    assert run.series(lambda s: {"x": (s.row["x"],)})["x"][:, 0, 0].tolist() == list(range(20))


@backends
def test_observing_changes_nothing_that_is_recorded(backend):
    plain = rewind.record(noisy, 0.0, 60, 3, backend=backend)
    watched = rewind.record(noisy, 0.0, 60, 3, backend=backend, observe={"x": None, "square": lambda x: x * x})
    assert bytes_of(plain) == bytes_of(watched)
    assert watched.verify(full=True)
    values = watched.series()
    assert watched.observed["x"].mean == watched.stats().mean
    assert watched.observed["x"].argmin == int(values.argmin())
    assert list(watched.observed) == ["x", "square"]


def test_a_metric_by_name_is_an_attribute_or_a_key():
    by_key = rewind.record(lambda s, rng: {"x": s["x"] + 1}, {"x": 0}, 5, 1, observe={"x": "x"})
    by_name = rewind.record(
        lambda s, rng: dataclasses.replace(s, x=s.x + 1.0), Walker(), 5, 1, observe={"x": "x", "t": "trail"}
    )
    by_field = rewind.record(lambda s, rng: s + 0, np.ones(2, "f8").view([("x", "f8")]).copy().reshape(2), 1, 1)
    assert by_key.observed["x"].max == 4.0 and by_name.observed["x"].max == 4.0
    assert by_name.observed["t"].mean.tolist() == [0.0] * 3
    assert by_field.stats("x").mean.tolist() == [1.0, 1.0]


def spoil_at(limit):
    def metric(s):
        if s["t"] >= limit:
            s["x"] = -1.0
        return s["x"]

    return metric


def grow(s, rng):
    s["x"] += rng.random()
    s["t"] += 1
    return s


@pytest.mark.parametrize("limit", [0, 1, 10, 13, 39])
def test_a_metric_that_changes_the_state_is_found_out(limit):
    init = {"x": 0.0, "t": 0}
    run = rewind.record(grow, init, 40, 5, block_size=10)
    want = bytes_of(run)
    with pytest.warns(rewind.MutatingMetricWarning, match="metric 'm' changed the state it was given at step"):
        looked = rewind.record(grow, init, 40, 5, block_size=10, observe={"m": spoil_at(limit)}, self_check=True)
        assert looked.verify(full=True)
    assert bytes_of(looked) == want
    if limit < 39:  # after the last step there is nothing left to spoil
        with pytest.warns(rewind.MutatingMetricWarning):
            run.stats(spoil_at(limit))
    assert bytes_of(run) == want


def test_a_metric_that_fails_names_itself_and_the_step_and_keeps_what_was_done():
    for bad in (1, 5, 6, 7, 12, 19):

        def metric(s, bad=bad):
            return s["x"] if s["t"] != bad else 1 / 0

        with pytest.raises(rewind.MetricError, match=f"metric 'm' at step {bad} raised ZeroDivisionError") as caught:
            rewind.record(grow, {"x": 0.0, "t": 0}, 20, 5, block_size=6, observe={"m": metric})
        run = caught.value.run
        assert not run.complete and len(run) <= bad and len(run) > bad - 7
        assert bytes_of(run) == bytes_of(loop(grow, {"x": 0.0, "t": 0}, len(run), 5, 6))
        assert run.observed["m"].count == len(run)
        assert run.verify(full=True)


def test_a_metric_that_changes_its_shape_or_kind_midway_keeps_what_was_done():
    for value in ("text", [1.0, 2.0], None, object()):

        def metric(s, value=value):
            return s["x"] if s["t"] < 9 else value

        with pytest.raises(rewind.MetricError, match="metric 'm' at step 9 gave") as caught:
            rewind.record(grow, {"x": 0.0, "t": 0}, 20, 5, block_size=6, observe={"m": metric})
        assert caught.value.run.verify(full=True) and len(caught.value.run) == 7


# ---- codecs


class Engine:
    """An unpicklable simulation, as they come."""

    def __init__(self, x: float = 0.0) -> None:
        self.x, self.lock, self.report = x, threading.Lock(), lambda: self.x


CODEC = (lambda engine: {"x": engine.x}, lambda tree: Engine(tree["x"]))


def drive(engine, rng):
    engine.x += normal(rng)
    return engine


@backends
def test_a_codec_keeps_a_state_that_cannot_be_pickled(backend, tmp_path):
    run = rewind.record(drive, Engine(), 23, 5, block_size=7, backend=backend, codec=CODEC, self_check=True)
    want = [engine.x for engine in loop(drive, Engine(), 23, 5, 7, backend, codec=CODEC)]
    assert [engine.x for engine in run] == want
    assert run.verify(full=True)
    assert [e.x for e in run.branch(9, noise="same")] == want[9:]
    assert [e.x for e in run.branch(9, lambda e: Engine(e.x + 1), noise="same").extend(30)][0] == want[9] + 1
    run.save(tmp_path / "a.replay")
    loaded = rewind.load(tmp_path / "a.replay", drive, codec=CODEC)
    assert [loaded.get(t).x for t in reversed(range(23))] == want[::-1]
    assert loaded.verify(full=True)
    bare = rewind.load(tmp_path / "a.replay")
    assert bare.n_steps == 23 and bare.metadata()["codec"] is True
    for ask in (lambda: bare.get(0), lambda: rewind.load(tmp_path / "a.replay", drive).get(3)):
        with pytest.raises(rewind.MissingCodecError, match=r"rewind.load\(path, codec=\(encode, decode\)\)"):
            ask()


@backends
def test_a_lossy_codec_loses_the_same_in_record_and_replay(backend):
    codec = (lambda x: np.float16(x), lambda x: float(x) + 2**-20)  # loses bits, and is not even idempotent
    run = rewind.record(noisy, 0.1, 30, 5, block_size=7, backend=backend, codec=codec, self_check=True, lossy="accept")
    want = bytes_of(loop(noisy, 0.1, 30, 5, 7, backend, codec=codec))
    assert bytes_of(run) == want and bytes_of(run[::-1]) == want[::-1]
    assert run.verify(full=True)
    for t in range(30):
        assert bytes_of(run.branch(t, noise="same")) == want[t:], t
    assert (
        bytes_of(rewind.record(noisy, 0.1, 5, 5, block_size=7, backend=backend, codec=codec, lossy="accept").extend(30))
        == want
    )


@backends
def test_a_codec_that_drifts_drifts_only_at_the_starts_of_blocks(backend):
    codec = (lambda x: x + 1.0, lambda x: x * 0.5)  # storing twice is not storing once
    run = rewind.record(noisy, 8.0, 20, 5, block_size=7, backend=backend, codec=codec, lossy="accept")
    want = bytes_of(loop(noisy, 8.0, 20, 5, 7, backend, codec=codec))
    assert bytes_of(run) == want and run.verify(full=True)
    for t in range(20):
        for u in range(20 - t):
            assert bytes_of(run.branch(t, noise="same").branch(u, noise="same")) == bytes_of(run)[t + u :], (t, u)


def test_observing_a_state_only_a_codec_can_keep():
    run = rewind.record(drive, Engine(), 23, 5, block_size=7, codec=CODEC, observe={"x": "x"})
    values = [engine.x for engine in run]
    assert run.observed["x"].max == max(values) == run.stats(lambda engine: engine.x).max
    assert run.series("x").tolist() == values
    assert run.branch(9, lambda e: Engine(e.x + 1)).observed["x"].count == 14


def test_a_state_that_cannot_be_kept_is_refused_at_the_door_with_its_path():
    state = {"env": Walker(), "hook": {"n": [lambda: 1]}}
    with pytest.raises(rewind.StateError, match=r"state\['hook'\]\['n'\]\[0\]: a lambda.*codec=\(encode, decode\)"):
        rewind.record(lambda s, rng: s, state, 5, 1)
    with pytest.raises(TypeError, match=r"state.lock: a thread lock"):
        rewind.record(drive, Engine(), 5, 1)


def test_a_state_that_cannot_be_kept_midway_leaves_the_finished_part(tmp_path):
    def step(s, rng):
        s["x"] = s["x"] + 1 if isinstance(s["x"], int) and s["x"] < 11 else (lambda: 1)
        return s

    for b in (1, 4, 5, 20):
        with pytest.raises(rewind.StateError, match=r"state\['x'\]: a lambda") as caught:
            rewind.record(step, {"x": 0}, 20, 1, block_size=b)
        run = caught.value.run
        assert not run.complete and "a lambda" in run.metadata()["stopped"]
        assert len(run) <= 12 and [s["x"] for s in run] == list(range(len(run)))
        run.save(tmp_path / "a.replay")
        assert rewind.load(tmp_path / "a.replay", step).verify(full=True)


# ---- parameters


def pull(x, rng, k=1.0, names=(), history=None):
    if history is not None:
        history.append(len(history))
        x += len(history)
    return x * k + rng.random() + len(names)


@backends
def test_parameters_reach_every_call_and_every_file(backend, tmp_path):
    params = {"k": np.float64(0.5), "names": ("a", "b"), "history": [7]}
    run = rewind.record(pull, 1.0, 20, 3, block_size=6, backend=backend, params=params, trial=False)
    want = bytes_of(loop(pull, 1.0, 20, 3, 6, backend, params={"k": 0.5, "names": ["a", "b"], "history": [7]}))
    assert bytes_of(run) == want and bytes_of(run[::-1]) == want[::-1]
    assert run.params == {"k": 0.5, "names": ["a", "b"], "history": [7]} and type(run.params["k"]) is float
    run.save(tmp_path / "a.replay")
    loaded = rewind.load(tmp_path / "a.replay", pull)
    assert loaded.params == run.params and bytes_of(loaded) == want and loaded.verify(full=True)


def test_a_list_parameter_that_a_step_changes_changes_nothing_else():
    history = [1, 2]
    run = rewind.record(pull, 1.0, 20, 3, block_size=6, params={"history": history}, trial=False)
    want = bytes_of(loop(pull, 1.0, 20, 3, 6, params={"history": [1, 2]}))
    assert history == [1, 2]
    run.params["history"].append(9)
    history.append(3)
    assert run.params == {"history": [1, 2]}
    assert bytes_of(run.get(t) for t in reversed(range(20))) == want[::-1]
    for t in range(20):
        assert bytes_of(run.branch(t, noise="same")) == want[t:], t
    assert run.verify(full=True)


# ---- a step that raises


def choke_at(t):
    def step(s, rng):
        s["x"] += rng.random()  # half of the update is done when it raises
        if s["t"] == t:
            raise KeyError("boom", t)
        s["t"] += 1
        return s

    return step


@backends
@pytest.mark.parametrize("observe", [None, {"x": "x"}])
def test_a_step_that_raises_leaves_the_state_it_choked_on(backend, observe, tmp_path):
    init = {"x": 0.0, "t": 0}
    n, b = 23, 7
    want = bytes_of(loop(choke_at(None), init, n, 5, b, backend))
    for t in [0, 1, 6, 7, 8, 13, 20, 21]:
        with pytest.raises(rewind.StepError, match=f"raised KeyError at step {t}: ") as caught:
            rewind.record(choke_at(t), init, n, 5, block_size=b, backend=backend, observe=observe)
        error = caught.value
        assert error.t == t and isinstance(error, RuntimeError)
        assert type(error.__cause__) is KeyError and error.__cause__.args == ("boom", t)
        assert len(error.run) == t + 1 and not error.run.complete
        assert digest(error.run.get(t)) == want[t]
        assert bytes_of(error.run) == want[: t + 1]
        assert "incomplete" in repr(error.run) and f"step {t}" in error.run.metadata()["stopped"]
        assert error.run.verify(full=True)
        error.run.save(tmp_path / "a.replay")
        loaded = rewind.load(tmp_path / "a.replay", choke_at(t), observe=observe)
        assert digest(loaded.get(t)) == want[t] and not loaded.complete
        with pytest.raises(rewind.StepError, match=f"at step {t}") as again:
            loaded.extend(n)
        assert digest(again.value.run.get(t)) == want[t]
        repaired = loaded.branch(t, step_fn=choke_at(None), noise="same", n_steps=n - t)
        assert bytes_of(repaired) == want[t:]
        if observe:
            assert error.run.observed["x"].count == t + 1
            assert error.run.observed["x"].mean == error.run.stats("x").mean


def test_the_last_step_of_a_run_is_never_called():
    run = rewind.record(choke_at(22), {"x": 0.0, "t": 0}, 23, 5, block_size=7)
    assert run.complete and run.get(22)["t"] == 22


@backends
def test_a_step_that_forgets_to_return_is_told_so(backend):
    def step(s, rng):
        s["t"] += 1
        return s if s["t"] != 9 else None

    with pytest.raises(rewind.StepReturnError, match="returned None at step 8 .did it forget to return") as caught:
        rewind.record(step, {"t": 0}, 20, 1, block_size=6, backend=backend)
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, rewind.StepError)
    assert caught.value.run.get(8) == {"t": 8}


def test_a_step_that_raises_only_once_keeps_the_blocks_before(tmp_path):
    calls = Counting(walk)

    def step(x, rng):
        if calls.calls == 17:
            calls.calls += 1
            raise OSError("the licence server is away")
        return calls(x, rng)

    with pytest.raises(rewind.StepError, match="at step 17: the licence server is away") as caught:
        rewind.record(step, 0, 30, 5, block_size=6, trial=False)
    run = caught.value.run
    assert run.get(17) == loop(walk, 0, 30, 5, 6)[17]
    assert bytes_of(run.extend(30)) == bytes_of(loop(walk, 0, 30, 5, 6))


def test_a_step_that_raises_earlier_when_it_is_run_again_keeps_the_blocks_before():
    calls = Counting(walk)

    def step(x, rng):
        if calls.calls >= 17:
            raise OSError("the licence server is away")
        return calls(x, rng)

    with pytest.raises(rewind.StepError, match="the replay does not reach step 17 again") as caught:
        rewind.record(step, 0, 30, 5, block_size=6, trial=False)
    assert len(caught.value.run) == 13  # two blocks, and the checkpoint of the third
    assert caught.value.run._recording.checkpoints.n == 3


# ---- Ctrl-C


class At:
    """Raise at the nth call, once."""

    def __init__(self, n, error=KeyboardInterrupt):
        self.n, self.error = n, error

    def __call__(self, *_):
        self.n -= 1
        if self.n == -1:
            raise self.error


class Pressed(At):
    """Press Ctrl-C at the nth call, once; it lands wherever the interpreter looks next."""

    def __call__(self, *_):
        self.n -= 1
        if self.n == -1:
            signal.raise_signal(signal.SIGINT)


@backends
@pytest.mark.parametrize("observe", [None, {"x": None, "pair": lambda x: [x, -x]}])
def test_an_interrupted_recording_goes_on_to_the_same_file(backend, observe, tmp_path):
    n, b = 31, 7
    whole = rewind.record(noisy, 0.0, n, 5, block_size=b, backend=backend, observe=observe)
    whole.save(tmp_path / "whole.replay")
    for t in [0, 1, 6, 7, 8, 20, 21, 29]:
        trap = At(t)

        def step(x, rng, trap=trap):
            trap()
            return noisy(x, rng)

        step.__qualname__, step.__module__ = noisy.__qualname__, noisy.__module__
        with pytest.raises(rewind.RecordingInterrupted, match=r"\.run\.extend\(31\)") as caught:
            rewind.record(step, 0.0, n, 5, block_size=b, backend=backend, observe=observe, trial=False)
        assert isinstance(caught.value, KeyboardInterrupt)
        run = caught.value.run
        assert not run.complete and run.metadata()["stopped"] == "interrupted"
        assert t - b < len(run) <= t + 1 and f"steps 0 to {len(run) - 1} of 31" in str(caught.value)
        assert bytes_of(run) == bytes_of(whole[: len(run)])
        run.save(tmp_path / "part.replay")
        part = rewind.load(tmp_path / "part.replay", observe=observe, step_fn=step)
        for done in (run.extend(n), part.extend(n)):
            assert done.complete and bytes_of(done) == bytes_of(whole)
            assert done.content_hash() == whole.content_hash()
            for name in observe or {}:
                assert done.overview(name).tobytes() == whole.overview(name).tobytes()
                for fact in ("count", "mean", "min", "max", "argmin", "first_nan"):
                    left, right = getattr(done.observed[name], fact), getattr(whole.observed[name], fact)
                    assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def test_an_interrupt_from_a_metric_or_a_codec_or_progress_is_an_interrupt():
    want = bytes_of(loop(noisy, 0.0, 20, 5, 6))
    interrupted = 0
    for k in range(1, 24):
        trap = At(k)
        for kwargs in (
            {"observe": {"m": lambda x, trap=trap: trap() or x}},
            {"codec": (lambda x, trap=trap: trap() or x, lambda x: x)},
            {"progress": At(0)},
        ):
            trap.n = k
            try:
                run = rewind.record(noisy, 0.0, 20, 5, block_size=6, **kwargs)
            except rewind.RecordingInterrupted as error:
                interrupted += 1
                run = error.run
            except KeyboardInterrupt:
                assert k <= 2  # before the recording began
                continue
            trap.n = -2
            assert bytes_of(run) == want[: len(run)]
            assert bytes_of(run.extend(25))[:20] == want
    assert interrupted > 40


def test_a_real_ctrl_c_at_any_moment_leaves_a_run_that_goes_on():
    n, b = 400, 20
    want = bytes_of(loop(noisy, 0.0, n, 5, b))
    seen = 0
    for k in range(60):
        trap = Pressed(k * 6)

        def step(x, rng, trap=trap):
            trap()
            return noisy(x, rng)

        try:
            run = rewind.record(step, 0.0, n, 5, block_size=b, observe={"x": None})
        except rewind.RecordingInterrupted as error:
            seen += 1
            run = error.run
        assert bytes_of(run) == want[: len(run)]
        if len(run) < n:
            assert bytes_of(run.extend(n)) == want
    assert seen == 60


def test_an_impatient_second_ctrl_c_loses_nothing():
    n, b = 60, 10
    want = bytes_of(loop(noisy, 0.0, n, 5, b))
    for k in range(1, 12):
        traps = [At(35), At(k)]

        def encode(x, traps=traps):
            if traps[0].n < 0:  # the first Ctrl-C was there: press again while it saves what is done
                traps[1]()
            return x

        def step(x, rng, traps=traps):
            if traps[0].n < 0:
                traps[1]()
            traps[0]()
            return noisy(x, rng)

        with pytest.raises(rewind.RecordingInterrupted) as caught:
            rewind.record(step, 0.0, n, 5, block_size=b, codec=(encode, lambda x: x), trial=False)
        traps[1].n = -2
        assert len(caught.value.run) == 31
        assert bytes_of(caught.value.run.extend(n)) == want


def test_a_ctrl_c_while_a_failure_is_written_up_keeps_the_blocks_before():
    armed = []

    def step(s, rng):
        if armed and s["t"] == 23:
            raise KeyboardInterrupt
        if s["t"] == 25:
            armed.append(True)
            raise ValueError("boom")
        return {"t": s["t"] + 1}

    with pytest.raises((rewind.StepError, rewind.RecordingInterrupted)) as caught:
        rewind.record(step, {"t": 0}, 40, 1, block_size=10, trial=False)
    assert [s["t"] for s in caught.value.run] == list(range(21))


# ---- other ways out


def test_an_exception_from_progress_comes_through_as_itself_with_the_run():
    class Enough(Exception):
        pass

    for n in range(4):
        with pytest.raises(Enough) as caught:
            rewind.record(noisy, 0.0, 20, 5, block_size=1, progress=At(min(n, 1), Enough))
        run = caught.value.run
        assert not run.complete and bytes_of(run) == bytes_of(loop(noisy, 0.0, len(run), 5, 1))
        assert "Enough" in run.metadata()["stopped"]


def test_what_stopped_a_run_can_be_saved_whatever_it_says(tmp_path):
    def progress(_):
        raise RuntimeError("caf\udce9 \0 \x1b " + "x" * 100_000)

    with pytest.raises(RuntimeError) as caught:
        rewind.record(noisy, 0.0, 20, 5, progress=progress)
    caught.value.run.save(tmp_path / "a.replay")
    assert "caf" in rewind.load(tmp_path / "a.replay").metadata()["stopped"]


def test_an_exit_from_a_step_is_an_exit():
    with pytest.raises(SystemExit) as caught:
        rewind.record(lambda x, rng: At(0, SystemExit)(), 0.0, 20, 5)
    assert len(caught.value.run) == 1


def nap(x, rng):
    return math.sqrt(x)


def _record_in_a_worker(_):
    rewind.record(nap, -1.0, 5, 1)


def test_errors_travel_between_processes_with_their_text():
    with pytest.raises(rewind.StepError) as caught:
        rewind.record(nap, -1.0, 5, 1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(rewind.StepError) as far:
            pool.map(_record_in_a_worker, [0])
    assert str(far.value) == str(caught.value) and far.value.t == 0


def test_every_error_survives_pickle_even_with_what_has_none():
    errors = []
    for call in (
        lambda: rewind.record(lambda x: x, 0, 5, 1),
        lambda: rewind.record(None, 0, 5, 1),
        lambda: rewind.record(walk, 0, 5, 1, observe={"m": 3}),
        lambda: rewind.record(walk, 0, 5, 1, codec=(lambda x: x,)),
        lambda: rewind.record(walk, 0, 5, 1, params={"f": lambda: 1}),
        lambda: rewind.record(walk, lambda: 1, 5, 1),
        lambda: rewind.record(walk, 0, 5, 1).get(9),
        lambda: rewind.record(walk, 0, 5, 1).observed["y"],
        lambda: rewind.load("/nowhere/at/all.replay"),
        lambda: rewind.record(choke_at(2), {"x": 0.0, "t": 0}, 5, 1),
        lambda: rewind.record(walk, 0, 5, 1, progress=At(0, rewind.ArgumentError("a", lambda: 1, "b"))),
    ):
        with pytest.raises(rewind.RewindError) as caught:
            call()
        errors.append(caught.value)
    for error in errors:
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error)
        assert getattr(copy, "run", None) is None  # a run stays where it is


def test_self_check_calls_every_block_again():
    step = Counting(walk)
    rewind.record(step, 0, 400, 1, block_size=20)
    once = step.since()
    rewind.record(step, 0, 400, 1, block_size=20, self_check=True)
    assert 2 * once <= step.since() <= 3 * once


def test_step_id_is_a_name_for_people():
    assert rewind.record(walk, 0, 3, 1).step_id == "helpers.plain:walk"
    assert rewind.record(walk, 0, 3, 1, step_id="a walk").step_id == "a walk"
    assert rewind.record(walk, 0, 3, 1).content_hash() == rewind.record(walk, 0, 3, 1, step_id="é\ud800").content_hash()


@pytest.mark.filterwarnings("ignore::rewind.OwnGeneratorWarning")
def test_a_runs_state_0_is_its_own_even_where_the_step_works_in_place():
    init = {"a": np.zeros(2), "l": [random.Random(3)]}
    before = digest(init)

    def step(s, rng):
        s["a"] += s["l"][0].random()
        return s

    run = rewind.record(step, init, 10, 1)
    assert digest(init) == before == digest(run.get(0)) == digest(kept(init))
    assert os.getpid() and math.isfinite(run.get(9)["a"][0])
