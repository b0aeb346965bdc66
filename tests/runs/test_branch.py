"""branch: another future from any step, with new noise or the same, and the parent as it was."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.plain import (
    BACKENDS,
    Crowd,
    Frozen,
    Walker,
    branch_seed,
    bytes_of,
    crowd,
    digest,
    kept,
    noisy,
    normal,
    rng_of_block,
    text,
    tree,
)

import rewind
from rewind.runs.branch import branch_plan, shortened
from rewind.runs.execute import run_plan
from rewind.runs.options import Options

backends = pytest.mark.parametrize("backend", BACKENDS)


def continued(step, state, run, t, n, backend, params=None):
    """Return the plain loop from `state` at step `t` of a run, on the run's own noise."""
    b, states = run.block_size, []
    rng = rng_of_block(run.seed, t // b, backend)
    before = kept(run.get(t - t % b))
    for _ in range(t % b):  # bring the generator to where it stood
        before = step(before, rng, **(params or {}))
    state = kept(state)
    for u in range(t, t + n):
        if u % b == 0:
            state, rng = kept(state), rng_of_block(run.seed, u // b, backend)
        states.append(kept(state))
        state = step(state, rng, **(params or {}))
    return states


@backends
@pytest.mark.parametrize("t", [0, 1, 6, 7, 8, 13, 14, 22])
def test_with_the_same_noise_every_difference_is_the_intervention(backend, t, tmp_path):
    run = rewind.record(noisy, 0.0, 23, 5, block_size=7, backend=backend)
    parent = bytes_of(run)
    fork = run.branch(t, lambda x: x + 100, noise="same")
    want = bytes_of(continued(noisy, run.get(t) + 100, run, t, 23 - t, backend))
    assert bytes_of(fork) == want and fork.verify(full=True) and bytes_of(fork[::-1]) == want[::-1]
    fork.save(tmp_path / "fork.replay")
    loaded = rewind.load(tmp_path / "fork.replay", noisy)
    assert bytes_of(loaded) == want and loaded.verify(full=True)
    for u in range(0, 23 - t):
        assert bytes_of(loaded.branch(u, noise="same")) == want[u:]
    longer = run.branch(t, lambda x: x + 100, noise="same", n_steps=40)
    assert bytes_of(longer) == bytes_of(continued(noisy, run.get(t) + 100, run, t, 40, backend))
    assert bytes_of(fork.extend(40)) == bytes_of(longer) == bytes_of(loaded.extend(40))
    assert bytes_of(run) == parent


@backends
def test_siblings_share_their_noise_and_seeds_make_them_independent(backend):
    run = rewind.record(noisy, 0.0, 50, 5, block_size=7, backend=backend)
    a, b = run.branch(20), run.branch(20, lambda x: x)
    assert a.seed == b.seed == branch_seed(5, 20) and bytes_of(a) == bytes_of(b)
    assert bytes_of(a)[0] == digest(run.get(20)) and bytes_of(a)[1:] != bytes_of(run)[21:]
    assert bytes_of(run.branch(20, n_steps=9)) == bytes_of(a)[:9]
    c = run.branch(20, seed=np.uint64(9))
    assert c.seed == 9 and bytes_of(c)[1:] != bytes_of(a)[1:]
    # A branch of a same-noise branch at the same absolute step is a sibling, too.
    assert run.branch(13, noise="same").branch(7).seed == a.seed


def test_mutate_returns_the_new_state_or_changes_its_copy():
    init = {"a": np.zeros(2), "n": 0, "list": [0.0, 1.0], "deep": {"t": (np.zeros(2), np.ones(2))}}
    run = rewind.record(tree, init, 30, 5)
    parent = bytes_of(run)

    def clamp(s):
        s["a"][:] = 7

    for t in (0, 7, 12):
        a, b = run.branch(t, clamp), run.branch(t, lambda s: {**s, "a": np.full(2, 7.0)})
        assert bytes_of(a) == bytes_of(b) and a.get(0)["a"].tolist() == [7, 7]
    assert bytes_of(run) == parent
    kept_alive = []
    fork = run.branch(3, lambda s: kept_alive.append(s) or s)
    kept_alive[0]["a"][:] = -1
    assert bytes_of(fork)[0] == parent[3]


@pytest.mark.parametrize("state", [1, 1.0, "a", b"a", (1, 2), True, 1j, np.float64(1), Frozen(0.0, (1, 2.0))])
def test_a_mutate_that_forgets_to_return_is_told_so_where_it_cannot_have_meant_it(state):
    run = rewind.record(lambda s, rng: s, state, 5, 1)
    if isinstance(state, Frozen):
        assert digest(run.branch(2, lambda s: None).get(0)) == digest(state)
    else:
        with pytest.raises(rewind.StateError, match="return the new state from mutate"):
            run.branch(2, lambda s: None)


def test_what_mutate_raises_comes_through():
    run = rewind.record(noisy, 0.0, 20, 5)
    with pytest.raises(ZeroDivisionError):
        run.branch(3, lambda x: 1 / 0)
    with pytest.raises(rewind.StateError, match="a lambda"):
        run.branch(3, lambda x: lambda: x)
    assert run.verify(full=True)


def test_a_mutate_may_change_what_a_state_is():
    run = rewind.record(lambda s, rng: s * 2, 1, 20, 5)
    assert run.branch(3, lambda s: np.ones(2)).get(2).tolist() == [4.0, 4.0]
    assert run.branch(3, lambda s: "ab", n_steps=3).get(2) == "ab" * 4


def pull(x, rng, k=1.0, b=0):
    return x * k + b + normal(rng)


@backends
def test_parameters_are_inherited_and_new_ones_win(backend):
    run = rewind.record(pull, 0.0, 30, 5, block_size=7, backend=backend, params={"k": 0.5})
    fork = run.branch(10, params={"b": 2}, noise="same")
    assert fork.params == {"k": 0.5, "b": 2} and run.params == {"k": 0.5}
    b = run.block_size
    rng = rng_of_block(5, 1, backend)
    state = run.get(7)
    for _ in range(3):
        state = pull(state, rng, k=0.5)
    want = []
    for u in range(10, 30):
        if u % b == 0:
            rng = rng_of_block(5, u // b, backend)
        want.append(state)
        state = pull(state, rng, k=0.5, b=2)
    assert bytes_of(fork) == bytes_of(want) and fork.verify(full=True)
    assert bytes_of(run.branch(10, params={"k": 0.5}, noise="same")) == bytes_of(run)[10:]
    whole = rewind.record(pull, 0.0, 30, 5, block_size=7, backend=backend, params={"k": 1})
    assert type(whole.branch(10, params={"k": True}, noise="same").params["k"]) is bool
    assert run.branch(10, params={"k": 0.25}).branch(3, params={"b": 1}).params == {"k": 0.25, "b": 1}
    with pytest.raises(rewind.ArgumentTypeError, match=r"step_fn.*z=1\). Its signature is"):
        run.branch(10, params={"z": 1})


@backends
def test_another_step_may_take_over(backend):
    run = rewind.record(noisy, 0.0, 30, 5, block_size=7, backend=backend)
    fork = run.branch(10, step_fn=lambda x, rng: noisy(x, rng) / 2, noise="same")
    halved = continued(noisy, run.get(10), run, 10, 1, backend)
    assert digest(fork.get(0)) == digest(halved[0]) and fork.get(1) == run.get(11) / 2
    assert fork.verify(full=True) and fork.step_id != run.step_id


def test_a_lineage_walks_to_the_root(tmp_path):
    run = rewind.record(noisy, 0.0, 50, 5)
    assert run.lineage == () and run.parent_hash is None and run.branch_point is None and run.start == 0
    chain = [run]
    for t in (10, 5, 3, 2):
        chain.append(chain[-1].branch(t, lambda x: x + 1, noise="same" if t % 2 else "fresh"))
        chain[-1].save(tmp_path / "a.replay")
        chain[-1] = rewind.load(tmp_path / "a.replay", noisy)
    last = chain[-1]
    assert [a.content_hash for a in last.lineage] == [r.content_hash() for r in chain[-2::-1]]
    assert [a.branch_point for a in last.lineage] == [2, 3, 5, 10] and last.start == 20
    assert len({r.content_hash() for r in chain}) == 5


def test_a_branch_holds_nothing_of_its_parent(tmp_path):
    heavy = {"a": np.random.default_rng(1).random(5000)}

    def step(s, rng):
        return {"a": s["a"] + 1}

    run = rewind.record(step, heavy, 100, 1)
    small = run.branch(99, lambda s: {"a": s["a"][:2]}, n_steps=1)
    run.save(tmp_path / "run.replay")
    small.save(tmp_path / "small.replay")
    assert (tmp_path / "small.replay").stat().st_size < 20_000 < (tmp_path / "run.replay").stat().st_size


def test_metrics_are_observed_in_a_branch_too():
    observe = {"n": lambda s: len(s.walkers), "one": lambda s: 1}
    run = rewind.record(crowd, Crowd([Walker(), Walker()]), 30, 5, observe=observe)
    fork = run.branch(7, lambda s: s.walkers.pop() and None)
    assert fork.observed["n"].max == 1.0 and fork.observed["n"].count == 23
    assert fork.branch(3).observed["n"].count == 20
    assert fork.overview("n")["start"].tolist() == [0, 6, 12, 18]


@backends
def test_a_branch_of_a_stopped_run_goes_on_with_a_repaired_step(backend):
    def broken(x, rng):
        if normal(rng) > 2.2:
            raise ArithmeticError("too far")
        return x + 1

    with pytest.raises(rewind.StepError) as caught:
        rewind.record(broken, 0, 100_000, 3, block_size=50, backend=backend)
    run, t = caught.value.run, caught.value.t
    repaired = run.branch(t, step_fn=lambda x, rng: normal(rng) * 0 + x + 1, noise="same", n_steps=10)
    assert [int(x) for x in repaired] == list(range(t, t + 10))


def up(x, rng):
    return x + rng.random()


def down(x, rng):
    return x - rng.random()


def test_a_branch_names_the_step_it_was_made_with(tmp_path):
    rewind.record(up, 0.0, 50, 1, step_id="the walk").save(tmp_path / "run.replay")
    with pytest.warns(rewind.StepSourceWarning):
        other = rewind.load(tmp_path / "run.replay", down, check=False)
    same, changed = rewind.load(tmp_path / "run.replay", up), other.branch(20)
    assert same.branch(20).step_id == same.extend(60).step_id == "the walk"
    assert changed.step_id == same.branch(20, step_fn=down).step_id == f"{__name__}:down"
    changed.save(tmp_path / "changed.replay")
    assert rewind.load(tmp_path / "changed.replay", down).verify(full=True)  # and no warning


def test_a_class_of_the_recording_script_is_found_in_the_module_of_the_step(tmp_path):
    (tmp_path / "script.py").write_text(
        "import dataclasses, rewind\n"
        "@dataclasses.dataclass\nclass Agent:\n    x: float\n"
        "@dataclasses.dataclass\nclass World:\n    agents: list\n"
        "def step(w, rng):\n    w.agents[0].x += rng.random()\n    return w\n"
        "if __name__ == '__main__':\n"
        "    rewind.record(step, World([Agent(0.0), Agent(1.0)]), 50, 1).save('run.replay')\n"
    )
    (tmp_path / "user.py").write_text(
        "import rewind, script\n"
        "run = rewind.load('run.replay', script.step)\n"
        "assert run.verify(full=True) and type(run[-1]) is script.World\n"
        "assert run.extend(70).verify(full=True) and run.branch(13, noise='same').verify(full=True)\n"
    )
    for name in ("script.py", "user.py"):
        command = [sys.executable, "-W", "error", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


# ---- to a file, block by block


class Enough(Exception):
    pass


def raising_at(done):
    """A progress that stops the recording at the first block end with so many states done."""

    def progress(now):
        if now.done >= done:
            raise Enough

    return progress


OBSERVE = {"x": None, "pair": lambda x: [x, x * x]}
WAYS = {
    "fresh": {},
    "fresh, mutated": {"mutate": lambda x: x + 1, "seed": 3},
    "same": {"noise": "same"},
    "same, mutated": {"noise": "same", "mutate": lambda x: x + 100},
}


def file_of(run, path):
    run.save(path)
    return path.read_bytes()


@backends
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("t", [7, 10, 20])
def test_a_branch_to_a_file_that_was_cut_off_becomes_the_file_of_one_that_was_not(backend, way, t, tmp_path):
    run = rewind.record(noisy, 0.0, 60, 5, block_size=7, backend=backend, observe=OBSERVE)
    path, more = tmp_path / "branch.replay", WAYS[way]
    want = file_of(run.branch(t, n_steps=40, **more), tmp_path / "want.replay")
    whole = run.branch(t, n_steps=40, path=path, **more)
    assert path.read_bytes() == want and not os.path.exists(f"{path}.journal")
    path.unlink()

    left = [16 + t % 7]  # the steps up to step t are made once more

    def halting(x, rng):
        left[0] -= 1
        if left[0] == -1:
            raise KeyboardInterrupt
        return noisy(x, rng)

    plan, row = branch_plan(run._trajectory, t, n_steps=40, **more)
    plan = dataclasses.replace(plan, step=type(plan.step)(halting, {}))  # and the file says it is `noisy`
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        run_plan(type(run), plan, row, Options(path=path))
    part = caught.value.run
    assert 1 <= len(part) < 40 and bytes_of(part) == bytes_of(whole[: len(part)])
    resumed = rewind.resume(path, noisy, observe=OBSERVE)
    assert path.read_bytes() == want and resumed.content_hash() == whole.content_hash()
    assert resumed.lineage == whole.lineage and resumed.start == t


@pytest.mark.parametrize("way", WAYS)
def test_a_progress_that_raises_leaves_a_branch_that_can_be_resumed(way, tmp_path):
    run = rewind.record(noisy, 0.0, 60, 5, block_size=7, observe=OBSERVE)
    path = tmp_path / "branch.replay"
    want = file_of(run.branch(10, n_steps=40, **WAYS[way]), tmp_path / "want.replay")
    with pytest.raises(Enough):
        run.branch(10, n_steps=40, path=path, durability="none", progress=raising_at(1), **WAYS[way])
    assert not path.exists()
    with pytest.raises(rewind.UnfinishedRecordingError):
        run.branch(10, n_steps=40, path=path, **WAYS[way])
    rewind.resume(path, noisy, observe=OBSERVE)
    assert path.read_bytes() == want


def test_what_is_about_a_file_needs_one_for_a_branch_too(tmp_path):
    run = rewind.record(noisy, 0.0, 20, 5)
    with pytest.raises(rewind.ArgumentError, match="path= as well"):
        run.branch(3, durability="none")
    with pytest.raises(rewind.ArgumentError, match="path= as well"):
        run.branch(3, on_signal="checkpoint")
    with pytest.raises(rewind.ArgumentError, match="durability"):
        run.branch(3, path=tmp_path / "branch.replay", durability="never")
    assert list(tmp_path.iterdir()) == []
    parent = tmp_path / "run.replay"
    run.save(parent)
    loaded = rewind.load(parent, noisy)
    child = loaded.branch(3, path=parent)  # its own parent is in memory, and may go
    assert rewind.load(parent, noisy).content_hash() == child.content_hash()


def test_the_plan_of_a_branch_may_have_metrics_of_its_own():
    run = rewind.record(noisy, 0.0, 30, 5, observe={"x": None})
    assert (
        list(branch_plan(run._trajectory, 3)[0].metrics) == ["x"]
        and branch_plan(run._trajectory, 3, observe={})[0].metrics == {}
    )
    plan, row = branch_plan(run._trajectory, 3, observe={"low": lambda x: -x})
    assert run_plan(type(run), plan, row, Options()).observed["low"].count == 27
    with pytest.raises(rewind.MetricError):
        branch_plan(run._trajectory, 3, observe={"x": lambda x: "text"})
    with pytest.raises(rewind.ArgumentError):
        branch_plan(run._trajectory, 3, observe={"no name": None})


# ---- a run as it was when it was shorter


def first_states(run, n):
    return rewind.Run(*shortened(run._trajectory, n))


@backends
@pytest.mark.parametrize("n", [1, 2, 6, 7, 8, 14, 15, 21, 22, 23])
def test_the_first_states_of_a_run_are_the_run_that_was_recorded_so_long(backend, n, tmp_path):
    named = {"block_size": 7, "backend": backend, "observe": OBSERVE}
    run, short = (rewind.record(noisy, 0.0, k, 5, **named) for k in (23, n))
    want, path = file_of(short, tmp_path / "short.replay"), tmp_path / "cut.replay"
    cut = first_states(run, n)
    assert cut.content_hash() == short.content_hash() and file_of(cut, path) == want and cut.complete
    assert bytes_of(cut) == bytes_of(short) and cut.verify(full=True)
    assert cut.extend(30).content_hash() == short.extend(30).content_hash()
    run.save(path)
    assert file_of(first_states(rewind.load(path, noisy, observe=OBSERVE), n), path) == want
    plain = rewind.load(tmp_path / "short.replay", noisy)
    run.save(path)
    bare = first_states(rewind.load(path, noisy), n)  # the metrics have no functions here
    assert bytes_of(bare) == bytes_of(plain) and list(bare.observed) == (["x", "pair"] if n == 23 else [])


@backends
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n", [1, 4, 5, 11, 12, 20])
def test_so_are_those_of_a_branch(backend, way, n, tmp_path):
    run = rewind.record(noisy, 0.0, 60, 5, block_size=7, backend=backend, observe=OBSERVE)
    whole, short = (run.branch(10, n_steps=k, **WAYS[way]) for k in (20, n))
    want = file_of(short, tmp_path / "short.replay")
    assert file_of(first_states(whole, n), tmp_path / "cut.replay") == want
    assert first_states(whole, n).lineage == short.lineage and first_states(whole, n).verify(full=True)


def growing_text(x, rng):
    return x + "é" if rng.random() < 0.5 else x


def set_of(x, rng):
    return x ^ {int(rng.random() * 9)}


def widening(x, rng):
    return np.append(x, rng.random()) if rng.random() < 0.2 else x + rng.random()


@pytest.mark.parametrize(
    "step, init, observe",
    [
        (growing_text, "", {"n": len}),
        (text, "", None),
        (set_of, {1}, {"n": len}),
        (widening, np.zeros(2), {"n": len}),
        (crowd, Crowd([Walker(), Walker()]), {"x": lambda s: [w.x for w in s.walkers][:1], "n": lambda s: 1}),
        (lambda x, rng: None, None, None),
    ],
)
@pytest.mark.parametrize("n", [1, 6, 12, 13, 29])
def test_so_are_those_of_states_that_are_kept_otherwise(step, init, observe, n, tmp_path):
    trial = init is not None  # the last one changes nothing, as it is meant to
    run, short = (rewind.record(step, init, k, 5, block_size=6, observe=observe, trial=trial) for k in (30, n))
    assert file_of(first_states(run, n), tmp_path / "cut") == file_of(short, tmp_path / "short")


@pytest.mark.parametrize("n", [1, 10, 41, 50, 199])
def test_a_thinned_run_keeps_its_stride_and_one_without_metrics_replays_a_stretch(n):
    calls = []

    def step(x, rng):
        calls.append(x)
        return noisy(x, rng)

    run = rewind.Recorder(step, 0.0, 5, block_size=4).advance(199).run
    stride = run._recording.stride
    calls.clear()
    cut = first_states(run, n)
    assert stride > 1 and len(calls) < 4 * stride and cut._recording.stride == stride
    assert bytes_of(cut) == bytes_of(run[:n]) and cut.verify(full=True)
    assert cut.n_checkpoints == -(-cut._recording.grid.n_blocks // stride)


def test_what_there_is_of_a_run_that_was_stopped_is_a_run_as_well():
    def step(x, rng):
        return 1 / 0 if x == 17 else x + 1

    with pytest.raises(rewind.StepError) as caught:
        rewind.record(step, 0, 60, 5, block_size=7, observe={"x": None})
    run = caught.value.run
    for n in (3, 16, 18):
        want = rewind.record(step, 0, n, 5, block_size=7, observe={"x": None})
        assert first_states(run, n).content_hash() == want.content_hash()
    for n in (0, 19):
        with pytest.raises(rewind.ArgumentError):
            first_states(run, n)


def test_another_step_function_inherits_the_parameters_it_has_and_no_others():
    def drifting(x, rng, drift=0.0, scale=1.0):
        return x + scale * rng.random() + drift

    run = rewind.record(drifting, 0.0, 20, 1, params={"drift": 2.0, "scale": 3.0})
    assert run.branch(5, step_fn=lambda x, rng: x + 1).params == {}
    assert run.branch(5, step_fn=lambda x, rng, scale: x + scale).params == {"scale": 3.0}
    assert run.branch(5, step_fn=lambda x, rng, **given: x + given["drift"]).params == {"drift": 2.0, "scale": 3.0}
    assert run.branch(5).params == {"drift": 2.0, "scale": 3.0}
    with pytest.raises(rewind.ArgumentTypeError, match="drift=1.0"):
        run.branch(5, step_fn=lambda x, rng: x, params={"drift": 1.0})
