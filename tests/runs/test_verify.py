"""verify and self_check: no step with hidden state is ever certified, and a refusal says why."""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from helpers.plain import Counting, noisy, walk
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind

#: The trial finds most of these in the first steps; here it is verify, or self_check, that has to.
record = functools.partial(rewind.record, trial=False)


class Hidden:
    """Steps that keep something outside their state, each made anew with `make`."""

    @staticmethod
    def closure_counter():
        count = itertools.count()
        return lambda x, rng: x + next(count)

    @staticmethod
    def mutable_default():
        def step(x, rng, cache=[0.0]):  # noqa: B006
            cache[0] = 0.5 * cache[0] + rng.random()
            return x + cache[0]

        return step

    @staticmethod
    def attribute_of_the_step():
        class Model:
            drift = 0.0

            def __call__(self, x, rng):
                self.drift += 0.001
                return x + rng.random() + self.drift

        return Model()

    @staticmethod
    def environment_with_its_own_rng():
        own = random.Random(1)
        return lambda x, rng: x + rng.random() + own.random()

    @staticmethod
    def environment_with_its_own_generator():
        own = np.random.default_rng(1)
        return lambda x, rng: x + own.standard_normal()

    @staticmethod
    def warm_start():
        guess = [1.0]

        def step(x, rng):
            target = x + 2 + rng.random()
            for _ in range(3):  # Newton for the square root: the last bits depend on where it began
                guess[0] = 0.5 * (guess[0] + target / guess[0])
            return guess[0]

        return step

    @staticmethod
    def global_random():
        return lambda x, rng: x + random.random()

    @staticmethod
    def global_numpy():
        return lambda x, rng: x + np.random.random()  # noqa: NPY002

    @staticmethod
    def unseeded_generator():
        return lambda x, rng: x + np.random.default_rng().random()

    @staticmethod
    def entropy():
        return lambda x, rng: x + os.urandom(1)[0] / 256 + int.from_bytes(os.urandom(4), "big")

    @staticmethod
    def clock():
        return lambda x, rng: x + time.perf_counter_ns() % 1_000_003

    @staticmethod
    def first_call_only():
        seen = []

        def step(x, rng):
            if not seen:
                seen.append(rng.random())
            return x + rng.random()

        return step

    @staticmethod
    def swapped_rng():
        kept = []

        def step(x, rng):
            kept.append(rng.random())
            return x + kept[len(kept) // 2] + len(kept)

        return step

    @staticmethod
    def alias_outside():
        shared = np.zeros(1)

        def step(x, rng):
            shared[:] += rng.random()
            return x + float(shared[0])

        return step


HIDDEN = [name for name in vars(Hidden) if not name.startswith("_")]


def every(k, kick=3):
    """Return a step that is kicked every k-th call: it adds as much to every block, but not at the same step."""
    count = itertools.count()
    return lambda x, rng: x + (kick if next(count) % k == k - 1 else 1)


def refuses(ask):
    with pytest.raises(rewind.NondeterminismError) as caught:
        ask()
    return caught.value


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("n, b", [(2, 1), (2, 2), (3, 2), (10, 30), (40, 7), (100, 10), (2000, 45)])
def test_a_step_with_hidden_state_is_never_certified(name, n, b):
    run = record(getattr(Hidden, name)(), 0.0, n, 5, block_size=b)
    error = refuses(lambda: run.verify(full=True))
    refuses(run.verify)
    assert isinstance(error, rewind.NondeterministicReplayError) and isinstance(error, RuntimeError)
    assert f"block {error.block} does not reproduce step {error.step}" in str(error)


@pytest.mark.parametrize("name", HIDDEN)
def test_self_check_refuses_at_the_first_block_that_differs(name):
    error = refuses(lambda: record(getattr(Hidden, name)(), 0.0, 500, 5, block_size=20, self_check=True))
    assert isinstance(error, rewind.NondeterministicStepError)
    assert error.block == 0 and error.step <= 20
    assert len(error.run) <= 20 and not error.run.complete


@pytest.mark.parametrize("k", [2, 3, 5, 7, 10, 11, 20, 50])
@pytest.mark.parametrize("n, b", [(30, 40), (31, 40), (100, 10), (101, 10), (100, 7), (400, 20), (1000, 50)])
def test_what_comes_once_in_every_block_is_not_certified_wherever_it_comes(k, n, b):
    run = record(every(k), 0, n, 5, block_size=b)
    if n > k:
        refuses(lambda: run.verify(full=True))
        if k <= b:
            refuses(run.verify)
    if n > 2 * k:
        refuses(lambda: record(every(k), 0, n, 5, block_size=b, self_check=True).verify(full=True))


@settings(deadline=None, max_examples=150)
@given(k=st.integers(2, 40), phase=st.integers(0, 39), n=st.integers(2, 120), b=st.integers(1, 130))
def test_no_counter_taken_modulo_anything_is_certified(k, phase, n, b):
    count = itertools.count(phase)
    run = record(lambda x, rng: x + (next(count) % k == 0), 0, n, 5, block_size=b)
    if any((phase + t) % k == 0 for t in range(n - 1)):  # it did show in the recording
        refuses(lambda: run.verify(full=True))


@settings(deadline=None, max_examples=100)
@given(k=st.integers(2, 12), n=st.integers(20, 120), b=st.integers(5, 130))
def test_no_hidden_phase_is_certified(k, n, b):
    count = itertools.count()
    run = record(lambda x, rng: (3 * x + next(count) % k) % 1_000_003, 1, n, 5, block_size=b)
    refuses(lambda: run.verify(full=True))


@pytest.mark.parametrize("n, b", [(10, 20), (100, 10), (5000, 71)])
def test_the_sample_includes_the_tail(n, b):
    calls = Counting(walk)

    def step(x, rng):
        return calls(x, rng) + (1000 if calls.calls == n - 1 else 0)  # the very last step, once

    run = record(step, 0, n, 5, block_size=b)
    error = refuses(run.verify)
    assert error.block == (n - 1) // b and error.step == n - 1


def test_a_step_that_draws_elsewhere_in_the_last_block_only_is_refused_by_default():
    n = 10_000

    def step(s, rng):
        return {"t": s["t"] + 1, "x": s["x"] + (random.random() if s["t"] == n - 2 else rng.random())}

    run = record(step, {"t": 0, "x": 0.0}, n, 5)
    error = refuses(run.verify)
    assert (error.block, error.step) == (99, n - 1) and error.path == "['x']"
    assert error.global_rng == ("random's global generator",)


def test_every_block_is_looked_at_when_asked_for_all():
    n = 10_000

    def step(s, rng):
        return {"t": s["t"] + 1, "x": s["x"] + (random.random() if s["t"] == 5432 else rng.random())}

    run = record(step, {"t": 0, "x": 0.0}, n, 5)
    error = refuses(lambda: run.verify(full=True))
    assert (error.block, error.step) == (54, 5433)


@pytest.mark.parametrize("k", [10, 100, 1000, 999])
def test_a_rare_leak_is_found(k):
    count = itertools.count(1)
    run = record(
        lambda x, rng: x + rng.random() + (0.5 if next(count) % k == 0 else 0), 0.0, 10_000, 5, block_size=1000
    )
    refuses(lambda: run.verify(full=True))


def test_a_refusal_names_step_field_values_versions_and_generator():
    def step(s, rng):
        s["agents"][1]["x"] = random.random() if s["t"] == 33 else rng.random()
        s["t"] += 1
        return s

    run = record(step, {"t": 0, "agents": [{"x": 0.0}, {"x": 0.0}]}, 100, 5)
    error = refuses(run.verify)
    text = str(error)
    assert (error.block, error.step, error.path) == (3, 34, "['agents'][1]['x']")
    assert "block 3 does not reproduce step 34: ['agents'][1]['x'] is " in text
    assert repr(error.expected)[:8] in text and repr(error.got)[:8] in text and error.expected != error.got
    assert f"python {sys.version.split()[0]}" in text and f"numpy {np.__version__}" in text
    assert "step source" in text and "random's global generator" in text
    assert run.get(3)["t"] == 3  # the run is as usable as before


def test_numpys_global_generator_is_named_too():
    def step(x, rng):
        return x + np.random.random()  # noqa: NPY002

    error = refuses(record(step, 0.0, 50, 5).verify)
    assert error.global_rng == ("numpy.random's global generator",)
    assert "draw from the rng it is given" in str(error)
    error = refuses(lambda: record(step, 0.0, 50, 5, self_check=True))
    assert error.global_rng == ("numpy.random's global generator",)


def test_a_file_that_was_made_by_another_step_is_refused_with_a_warning_first(tmp_path):
    record(noisy, 0.0, 50, 5).save(tmp_path / "a.replay")
    with pytest.warns(rewind.StepSourceWarning, match="source"):
        loaded = rewind.load(tmp_path / "a.replay", lambda x, rng: noisy(x, rng) + 1e-9)
    error = refuses(loaded.verify)
    assert "The source of step_fn is not the source that was recorded" in str(error)


def test_verify_passes_what_is_honest_and_says_true():
    run = record(noisy, 0.0, 1000, 5)
    assert run.verify() is True and run.verify(full=True) is True
    assert run.branch(17, noise="same").verify(full=True) and run.branch(17).extend(3000).verify(full=True)


def test_verify_costs_what_it_says():
    step = Counting(walk)
    run = record(step, 0, 250_000, 5)
    step.since()
    run.verify()
    assert step.since() < 75 * 500  # 33 blocks twice, the first and the last three times more
    run.verify(full=True)
    assert step.since() < 2.1 * 250_000


def test_a_step_that_raises_when_it_is_run_again_does_not_pass():
    calls = Counting(walk)

    def step(x, rng):
        if calls.calls > 99:
            raise OSError("gone")
        return calls(x, rng)

    run = record(step, 0, 100, 5)
    with pytest.raises(rewind.RewindError, match="gone"):
        run.verify()


# ---- in another process

MODULE = """
    import itertools, os, random
    import numpy as np

    count = itertools.count()
    own = random.Random(1)
    drift = [0.0]

    def counter(x, rng):
        return x + rng.random() + next(count)

    def block_counter(x, rng):  # block_size is 10
        return x + (5 if next(count) % 10 == 9 else 1)

    def parity(x, rng):
        return x + rng.random() + next(count) % 2

    def own_rng(x, rng):
        return x + own.random()

    def warm(x, rng):
        drift[0] = 0.9 * drift[0] + rng.random()
        return x + drift[0]

    def global_random(x, rng):
        return x + random.random()

    def global_numpy(x, rng):
        return x + np.random.random()

    def set_order(x, rng):
        words = {f"w{rng.randrange(1000)}" for _ in range(8)}
        return x + len(next(iter(words))) * x / 3 + hash("".join(words)) % 7

    def hashes(x, rng):
        return x + hash("a") % 1009

    def a_file(x, rng):
        with open("drift.txt") as file:
            return x + rng.random() + float(file.read())

    def pid(x, rng):
        return x + os.getpid()

    def honest(x, rng):
        return x + rng.random()
"""

RECORD = """
    import json, sys, rewind, leaky
    done = {}
    for name in sys.argv[2:]:
        for n, b in ((2, 2), (9, 10), (100, 10)):
            run = rewind.record(getattr(leaky, name), 1.0, n, 5, block_size=b, trial=False)
            run.save(f"{name}-{n}.replay")
            done[f"{name}-{n}"] = run.content_hash()
    print(json.dumps(done))
"""

#: Each name in a process of its own, where the module is imported: one must not move the counter of the next.
VERIFY = """
    import json, os, sys, warnings, rewind
    load, refused = rewind.load, rewind.NondeterministicReplayError
    for name in sys.argv[2:]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy may have threads
            child = os.fork() if hasattr(os, "fork") else 0
        if child == 0:
            import leaky
            done = {}
            for n in (2, 9, 100):
                for full in (False, True):
                    run = load(f"{name}-{n}.replay", getattr(leaky, name))
                    try:
                        done[f"{name}-{n}-{full}"] = run.verify(full)
                    except refused as error:
                        done[f"{name}-{n}-{full}"] = str(error)
            print(json.dumps(done), flush=True)
            break
        assert os.waitpid(child, 0)[1] == 0, name
"""


def in_a_fresh_process(folder, code, names, hash_seed):
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": f"{os.getcwd()}:{folder}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), "-", *names],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: result for line in done.stdout.splitlines() for name, result in json.loads(line).items()}


def test_no_hidden_state_is_certified_in_a_fresh_process(tmp_path):
    (tmp_path / "leaky.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "drift.txt").write_text("0.25")
    names = ["counter", "block_counter", "parity", "own_rng", "warm", "global_random", "global_numpy", "set_order"]
    names += ["hashes", "a_file", "pid", "honest"]
    in_a_fresh_process(tmp_path, RECORD, names, 1)
    (tmp_path / "drift.txt").write_text("0.5")
    results = {}
    for some in [names] if hasattr(os, "fork") else [[name] for name in names]:
        results |= in_a_fresh_process(tmp_path, VERIFY, some, 2)
    assert len(results) == 6 * len(names)
    certified = {name for name, result in results.items() if result is True and not name.startswith("honest")}
    # One transition, and a counter that shows at its 9th call: too few calls for anyone to see it.
    assert certified <= {"block_counter-2-False", "block_counter-2-True"}, certified
    assert all(result is True for name, result in results.items() if name.startswith("honest"))
    assert "does not reproduce" in results["set_order-100-True"]


def test_statistics_of_a_run_that_is_not_reproduced_are_refused():
    calls = [0]

    def counting(x, rng):
        calls[0] += 1
        return x + rng.random() + 1e-9 * calls[0]

    run = record(counting, 0.0, 50, 1, block_size=7)
    for window in ((0, None), (3, 30), (43, 50)):
        with pytest.raises(rewind.NondeterministicReplayError, match="does not reproduce step"):
            run.stats(None, *window)


@pytest.mark.parametrize("t", range(0, 2000, 167))
def test_one_draw_of_a_generator_of_its_own_in_the_whole_run_is_refused_after_a_load(t, tmp_path):
    def make():
        own = np.random.default_rng(3)

        def step(state, rng):
            i, x = state
            return i + 1, x + rng.random() + (own.normal() if i == t else 0.0)

        return step

    record(make(), (0, 0.0), 2000, 1).save(tmp_path / "run.replay")
    with pytest.raises(rewind.NondeterministicReplayError):
        rewind.load(tmp_path / "run.replay", make()).verify(full=True)  # as a new process would have it
