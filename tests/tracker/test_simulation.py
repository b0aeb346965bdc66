"""The simulation comes along: rewound with the history, gone on with to the last bit, asked what was never logged."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest
from helpers.plain import loop
from helpers.programs import without_source

import rewind
from rewind.runs import progress
from rewind.state.digest import digest
from rewind.tracker import active
from rewind.tracker.simulation import parts

pytestmark = pytest.mark.once  # of rows and where they come from: which kernel makes the states does not matter

N, BLOCK = 60, 8


def walk(x, rng, drift=0.0):
    return x + rng.gauss(0.0, 1.0) + drift


@dataclass
class Town:
    people: np.ndarray
    ill: int = 0


def live(town, rng):
    i = int(rng.integers(4))
    town.people[i] += 1
    town.ill = i
    return town


def square(x):
    return x * x


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "runs of mine" / ".rewind")


def begun(folder, n=N, log_every=3, run_id="a", **options):
    run = rewind.init("p", id=run_id, dir=folder, **options)
    run.record(walk, 0.0, n, 1, observe={"x": None, "sq": square}, log_every=log_every, block_size=BLOCK)
    return run


def texts(folder, run_id, number, low=0):
    """The rows a revision added itself, as they are stored."""
    with sqlite3.connect(os.path.join(folder, "tracker.sqlite")) as connection:
        query = """SELECT step, data FROM rows JOIN revisions r ON r.uid = rows.revision
                   WHERE r.run = ? AND r.number = ? AND step >= ? ORDER BY step"""
        found = connection.execute(query, (run_id, number, low)).fetchall()
    connection.close()
    return found


def forget():
    """As a process that did not record anything."""
    parts._RECORDED.clear()


STATES = loop(walk, 0.0, N, 1, BLOCK)


# ---- what is logged


def test_rows_hold_every_kth_state_and_the_last_of_each_block(folder):
    with begun(folder) as run:
        found = run.history()
    ends = {min(stop, N) - 1 for stop in range(BLOCK, N + BLOCK, BLOCK)}
    assert [row["_step"] for row in found] == sorted({*range(0, N, 3), *ends})
    assert all(digest([row["x"], row["sq"]]) == digest([(x := STATES[row["_step"]]), x * x]) for row in found)
    assert run.summary["x"] == STATES[-1]


def test_without_log_every_the_ends_of_blocks_are_logged(folder):
    with begun(folder, log_every=None) as run:
        assert [row["_step"] for row in run.history()] == [7, 15, 23, 31, 39, 47, 55, 59]


def test_a_simulation_that_observes_nothing_logs_a_row_at_its_end(folder):
    with rewind.init(id="a", dir=folder) as run:
        run.record(walk, 0.0, N, 1, block_size=BLOCK)
        assert run.history() == [{"_step": N - 1}] and run.step == N
        assert digest(run.state) == digest(STATES[-1])
    with rewind.init(dir=folder, resume_from="a?_step=17") as run:
        assert digest(run.state) == digest(STATES[17])
        run.record()
        assert digest(run.state) == digest(STATES[-1])


def test_vector_metrics_are_logged_as_arrays(folder):
    with rewind.init(dir=folder) as run:
        run.record(
            live, Town(np.zeros(4)), 20, 1, backend="numpy", observe={"people": "people", "ill": "ill"}, log_every=1
        )
        people = [row["people"] for row in run.history()]
    states = loop(live, Town(np.zeros(4)), 20, 1, 5, "numpy")
    assert [array.tobytes() for array in people] == [state.people.tobytes() for state in states]


def test_params_that_have_a_name_in_the_config_come_from_it(folder):
    with rewind.init(dir=folder, config={"drift": 2.5, "other": 1}) as run:
        assert run.record(walk, 0.0, 10, 1).params == {"drift": 2.5}
    with rewind.init(dir=folder, config={"drift": 2.5}) as run:
        assert run.record(walk, 0.0, 10, 1, params={"drift": 7.0}).params == {"drift": 7.0}


def test_a_row_that_is_open_takes_what_the_first_state_gives(folder):
    with rewind.init(dir=folder) as run:
        run.log({"note": "before"})
        run.log({"note": "with it"}, commit=False)
        run.record(walk, 0.0, 10, 1, observe={"x": None}, log_every=1)
        assert run.history()[:2] == [{"_step": 0, "note": "before"}, {"_step": 1, "note": "with it", "x": 0.0}]
        assert run.step == 11 and run.replay_start == 1
        assert digest(run.state_at(4)) == digest(loop(walk, 0.0, 10, 1, 4)[3])


# ---- rewound


@pytest.mark.parametrize("s", [0, 1, 7, 8, 30, 31, N - 2])
def test_the_state_and_the_simulation_are_rewound_to_the_very_step(folder, s):
    begun(folder, log_every=1).finish()
    with rewind.init(dir=folder, resume_from=f"a?_step={s}") as run:
        assert run.step == s + 1
        assert digest(run.state) == digest(STATES[s])
        kept = run.replay
        assert len(kept) == s + 1 and digest(kept[-1]) == digest(STATES[s])
        again = rewind.record(walk, 0.0, s + 1, 1, block_size=BLOCK)
        assert kept.content_hash() == again.content_hash()


@pytest.mark.parametrize("s", [0, 1, 7, 8, 30, 31, N - 2])
@pytest.mark.parametrize("known", [True, False], ids=["here", "attached"])
def test_the_same_future_again_gives_the_archived_rows_byte_for_byte(folder, s, known):
    begun(folder, log_every=1).finish()
    if not known:
        forget()
    with rewind.init(dir=folder, resume_from=f"a?_step={s}") as run:
        if known:
            run.record()
        else:
            run.record(walk, observe={"x": None, "sq": square})
        whole = run.history()
    assert texts(folder, "a", 2) == texts(folder, "a", 1, s + 1)
    assert whole == rewind.Tracker(folder).run("a@1").history()
    assert [digest(run.state_at(t)) for t in range(N)] == [digest(x) for x in STATES]


def test_the_same_future_comes_by_several_rewinds_and_goes_further(folder):
    begun(folder, n=30).finish()
    for s, n in ((17, 40), (25, 35), (33, 50), (9, N)):
        with rewind.init(dir=folder, resume_from=f"a?_step={s}") as run:
            run.record(n_steps=n)
            assert digest(run.state) == digest(STATES[n - 1])
    assert run.verify_history() == len([row for row in run.history()])
    whole = begun(folder, run_id="whole")
    assert {row["_step"]: row["x"] for row in whole.history()}.items() <= {t: x for t, x in enumerate(STATES)}.items()
    whole.finish()
    assert texts(folder, "a", 5) == texts(folder, "whole", 1, 10)


def test_states_that_are_changed_in_place_go_on_to_the_last_bit(folder):
    observe = {"ill": "ill", "people": "people"}
    with rewind.init(id="a", dir=folder) as run:
        run.record(live, Town(np.zeros(4)), 40, 1, backend="numpy", observe=observe, block_size=6, log_every=2)
    with rewind.init(dir=folder, resume_from="a?_step=21") as run:
        run.record()
    assert texts(folder, "a", 2) == texts(folder, "a", 1, 22)
    states = loop(live, Town(np.zeros(4)), 40, 1, 6, "numpy")
    assert [digest(run.state_at(t)) for t in range(40)] == [digest(state) for state in states]


def test_fresh_noise_is_another_future_of_the_same_past(folder):
    begun(folder, log_every=1).finish()
    with rewind.init(dir=folder, resume_from="a?_step=20") as run:
        new = run.record(noise="fresh")
    assert len(run.history()) == N and run.history()[:21] == rewind.Tracker(folder).run("a@1").history()[:21]
    parent = rewind.record(walk, 0.0, N, 1, observe={"x": None, "sq": square}, block_size=BLOCK)
    assert new.content_hash() == parent.branch(20, seed=new.seed, n_steps=N - 20).content_hash()
    assert [row["x"] for row in run.history()[21:]] == [new[t] for t in range(1, N - 20)]
    with rewind.init(dir=folder, fork_from="a@1?_step=20") as other:
        other.record(noise="fresh", seed=5)
        assert other.history()[:21] == run.history()[:21] and other.history()[21:] != run.history()[21:]
    with rewind.init(dir=folder, resume_from="a@1?_step=20") as again:
        again.record(noise="fresh")
        assert again.history()[:21] == run.history()[:21] and again.history()[21:] != run.history()[21:]


def test_new_config_and_another_step_function_hold_after_the_step_only(folder):
    begun(folder, config={"drift": 1.0}).finish()
    before = rewind.Tracker(folder).run("a@1").history()
    with rewind.init(dir=folder, resume_from="a?_step=20", config={"drift": -1.0}) as run:
        assert run.record().params == {"drift": -1.0}
        assert [row for row in run.history() if row["_step"] <= 20] == [row for row in before if row["_step"] <= 20]

    def flat(x, rng):
        return x

    with rewind.init(dir=folder, resume_from="a?_step=40") as run:
        held = run.state
        run.record(flat, n_steps=80, mutate=lambda x: x + 1.0, trial=False)
        assert run.state == held + 1.0 and run.state_at(40) == held
        assert {row["x"] for row in run.history(["x"], 41)} == {held + 1.0}
        assert run.verify_history() > 0


def test_a_fork_of_a_fork_takes_its_simulation_along(folder):
    begun(folder, log_every=1).finish()
    with rewind.init(id="b", dir=folder, fork_from="a?_step=40") as run:
        run.record(noise="fresh")
    with rewind.init(id="c", dir=folder, fork_from="b?_step=50") as run:
        assert digest(run.state) == digest(rewind.Tracker(folder).run("b").state_at(50))
        run.record()
        assert run.history() == rewind.Tracker(folder).run("b").history()
    with rewind.init(id="d", dir=folder, fork_from="c?_step=10") as run:
        run.record()
        assert run.history() == rewind.Tracker(folder).run("a").history()


def test_a_simulation_that_is_rewound_to_before_it_began_can_be_begun_anew(folder):
    begun(folder).finish()
    with rewind.init(dir=folder, resume_from="a?_step=-1") as run:
        assert run.replay is None and run.step == 0
        run.record(walk, 5.0, 10, 2, observe={"x": None}, log_every=1)
        assert run.state_at(0) == 5.0


def test_rows_of_ones_own_after_the_end_do_not_move_the_simulation(folder):
    with begun(folder, n=30) as run:
        run.log({"verdict": "fine"})
        assert run.step == 31 and digest(run.state) == digest(STATES[29])
        run.record(n_steps=40)
        assert run.step == 41
        assert digest(run.state) == digest(STATES[39]) and run.state_at(30) == STATES[29]
        assert run.state_at(31) == STATES[30]
        assert run.verify_history() == len(run.history()) - 1


@pytest.mark.parametrize("commit", [True, False])
def test_a_note_after_a_rewind_lets_nothing_of_the_archived_future_in(folder, commit):
    def step(x, rng, drift=1.0):
        return x + drift

    with rewind.init(id="a", dir=folder, config={"drift": 1.0}) as run:
        run.record(step, 0.0, 20, 1, observe={"x": None}, log_every=1)
    with rewind.init(dir=folder, resume_from="a?_step=5", config={"drift": 1000.0}) as run:
        run.log({"note": "more drift"}, commit=commit)
        assert run.state == 5.0 and len(run.replay) == 6
        run.record(n_steps=9)
        late = [(row["_step"], row.get("x")) for row in run.history(min_step=5)]
        # The open row takes the state of its step; in one that was closed the simulation stands still.
        expected = [(5, 5.0), (6, 1005.0)] if not commit else [(5, 5.0), (6, None), (7, 1005.0)]
        assert late[: len(expected)] == expected
        assert run.verify_history() == 9
    with rewind.init(dir=folder, fork_from="a@1?_step=5") as fork:
        for i in range(30):
            fork.log({"i": i})
        assert fork.state == 5.0 and fork.state_at(7) == 5.0


def test_the_same_call_again_goes_on_and_then_gives_what_there_is(folder):
    """So that a job can be queued again as it is."""

    def job(n_steps, die_at=None):
        def step(x, rng):
            if die_at is not None and x > die_at:
                raise ValueError("a bug")
            return x + rng.random()

        with rewind.init(id="job", dir=folder, resume="allow") as run:
            return run.record(step, 0.0, n_steps, 1, observe={"x": None}, log_every=5, block_size=10)

    with pytest.raises(rewind.StepError, match=r"run.record\(step_fn\) goes on from there when step_fn is mended"):
        job(60, die_at=10)
    assert rewind.Tracker(folder).run("job").status == "failed"
    forget()
    with pytest.warns(rewind.StepSourceWarning, match=r"die_at \(10, and now None\)"):
        job(60)
    done = job(60)
    again = rewind.record(lambda x, rng: x + rng.random(), 0.0, 60, 1, block_size=10)
    assert done[-1] == again[-1]
    run = rewind.Tracker(folder).run("job")
    assert run.status == "finished" and run.history()[-1]["x"] == again[-1]
    job(80)
    assert rewind.Tracker(folder).run("job").last_step == 79


def test_a_run_whose_first_step_fails_is_recorded_when_it_is_mended(folder):
    def broken(x, rng):
        raise ValueError("a bug")

    with rewind.init(id="a", dir=folder) as run:
        with pytest.raises(rewind.StepError):
            run.record(broken, 0.0, N, 1, observe={"x": None}, block_size=BLOCK, log_every=1)
        run.record(walk, 0.0, N, 1, observe={"x": None}, block_size=BLOCK, log_every=1)
        assert [row["x"] for row in run.history()] == STATES


# ---- in another process


def test_without_its_step_function_a_run_says_what_it_needs(folder):
    begun(folder).finish()
    forget()
    with rewind.init(dir=folder, resume_from="a?_step=20") as run:
        with pytest.raises(rewind.MissingStepError, match=r"step 20 of a@2 needs.*run.attach\(step_fn\).*walk"):
            _ = run.state
        with pytest.raises(rewind.MissingStepError, match="attach"):
            run.record()
        with pytest.raises(rewind.ArgumentError, match="sq, which no file holds. observe={} leaves them out"):
            run.record(walk)
        assert run.attach(walk, observe={"sq": square}) is run
        assert digest(run.state) == digest(STATES[20])
        run.record()
    assert texts(folder, "a", 2) == texts(folder, "a", 1, 21)


def test_a_step_function_that_does_not_give_the_past_is_refused(folder):
    begun(folder).finish()
    forget()

    def other(x, rng):
        return x + rng.gauss(0.0, 1.5)

    with rewind.init(dir=folder, resume_from="a?_step=20") as run:
        with pytest.warns(rewind.StepSourceWarning), pytest.raises(rewind.NondeterministicReplayError):
            run.record(other, observe={"x": None})
    found = rewind.Tracker(folder).run("a@1").attach(other)
    for ask in (lambda: found.state, lambda: found.state_at(21), lambda: found.state_at(0)):
        with pytest.warns(rewind.StepSourceWarning), pytest.raises(rewind.NondeterministicReplayError):
            ask()
    with pytest.raises(rewind.StepRangeError, match="step 60 is outside this run, which holds steps 0 to 59"):
        found.state_at(60)
    with pytest.raises(rewind.TrackerError, match="begins at step 0; there is no state -1"):
        found.state_at(-1)
    assert rewind.Tracker(folder).run("a").last_step == 18


def test_each_part_is_replayed_with_the_step_function_it_was_recorded_with(folder):
    def flat(x, rng):
        return x + 1.0

    begun(folder, log_every=1).finish()
    with rewind.init(dir=folder, resume_from="a?_step=20") as run:
        run.record(flat)
    forget()
    found = rewind.Tracker(folder).run("a").attach(flat, observe={"sq": square}).attach(walk, observe={"sq": square})
    assert digest(found.state_at(10)) == digest(STATES[10]) and found.state_at(59) == STATES[20] + 39.0
    assert found.verify_history() == N


# ---- refused


def test_a_second_simulation_and_a_missing_one_are_refused_with_the_way(folder):
    with begun(folder) as run:
        way = r"run.record\(n_steps=...\) goes on with the one it has. .*resume_from='a\?_step=-1'"
        for call in ((walk, 1.0, 90, 1), (walk, 0.0, 90, 2), (walk, 0, 90, 1), (walk, np.zeros(2), 90, 1)):
            with pytest.raises(rewind.ArgumentError, match=way):
                run.record(*call)
        with pytest.raises(rewind.ArgumentError, match=way):
            run.record(walk, 0.0, 90, 1, backend="numpy")
        with pytest.raises(rewind.ArgumentError, match="more than the 60 states that there are up to step 59"):
            run.record()
        with pytest.raises(rewind.ArgumentError, match="it stays as it was recorded"):
            run.record(n_steps=90, block_size=4)
        with pytest.raises(rewind.ArgumentError, match="noise is 'other'"):
            run.record(n_steps=90, noise="other")
        with pytest.raises(rewind.ArgumentError, match="noise='fresh' draws anew"):
            run.record(n_steps=90, seed=3)
        with pytest.raises(rewind.ArgumentError, match="log_every is 0"):
            run.record(n_steps=90, log_every=0)
        assert len(os.listdir(os.path.join(folder, "simulations"))) == 1
    with rewind.init(dir=folder) as run:
        with pytest.raises(rewind.TrackerError, match=r"no simulation to go on with; run.record\(step_fn, init_state"):
            run.record(walk, n_steps=10)
        with pytest.raises(rewind.ArgumentTypeError, match="n_steps is None"):
            run.record(walk, 0.0)
        with pytest.raises(rewind.TrackerError, match=r"no simulation.*run.record\(step_fn"):
            _ = run.state
        assert run.replay is None and run.replay_start is None
    with pytest.raises(rewind.RunFinishedError):
        run.record(walk, 0.0, 10, 1)


def test_arguments_that_cannot_be_meant_leave_no_simulation_behind(folder):
    with rewind.init(dir=folder) as run:
        with pytest.raises(rewind.ArgumentError):
            run.record(walk, 0.0, 0, 1)
        with pytest.raises(rewind.MetricError):
            run.record(walk, 0.0, 10, 1, observe={"x": "there"})
        with pytest.raises(rewind.ArgumentTypeError):
            run.record(walk, 0.0, 10, 1, progress=3)
        with pytest.raises(rewind.ArgumentError):
            run.record(walk, 0.0, 10, 1, durability="2s")
        assert run.replay is None and run.history() == []
        run.record(walk, 0.0, 10, 1)
        assert len(run.replay) == 10


# ---- cut off


def failing(x, rng):
    if x > 3.0:
        raise ValueError("too much")
    return x + 1.0 + rng.random()


def test_a_step_that_fails_leaves_its_rows_and_the_state_it_was_given(folder):
    run = rewind.init(id="a", dir=folder)
    with pytest.raises(rewind.StepError) as caught:
        run.record(failing, 0.0, 100, 1, observe={"x": None}, log_every=1)
    rows = run.history()
    assert [row["x"] for row in rows] == list(caught.value.run)
    assert rows[-1]["x"] > 3.0 and run.state == rows[-1]["x"]
    run.finish(1)
    with rewind.init(dir=folder, resume_from=f"a?_step={rows[-2]['_step']}") as again:
        assert again.state == rows[-2]["x"]
        again.record(walk, n_steps=10)
        assert again.verify_history() == 10


def test_ctrl_c_keeps_rows_and_states_alike_and_the_run_goes_on(folder, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)

    def enough(done):
        if done.done > 20:
            raise KeyboardInterrupt

    run = rewind.init(id="a", dir=folder)
    with pytest.raises(rewind.RecordingInterrupted, match=r"run.record\(\) goes on"):
        run.record(walk, 0.0, N, 1, observe={"x": None, "sq": square}, log_every=3, block_size=BLOCK, progress=enough)
    stopped = run.step - 1
    assert 20 < stopped < N and digest(run.state) == digest(STATES[stopped])
    run.record()
    begun(folder, run_id="whole").finish()
    whole = rewind.Tracker(folder).run("whole").history()
    assert [row for row in run.history() if row["_step"] != stopped] == [r for r in whole if r["_step"] != stopped]
    run.finish()


KILLED = """
    import os, signal, sys
    sys.path[:0] = [{tests!r}, {tests!r} + "/tracker"]
    import rewind
    from rewind.runs import progress
    from test_simulation import walk, square

    progress.INTERVAL = 0.0

    def watch(where):
        if where.done >= {die_at}:
            {flush}
            os.kill(os.getpid(), signal.SIGKILL)

    run = rewind.init(id="a", dir={folder!r})
    run.record(walk, 0.0, 3000, 1, observe={{"x": None, "sq": square}}, log_every=7, block_size=50, progress=watch)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize(("die_at", "flush"), [(1200, "run.flush()"), (1200, "pass"), (51, "run.flush()")])
def test_a_killed_run_is_rewound_at_once_and_its_rows_are_those_of_the_states(folder, die_at, flush):
    program = KILLED.format(tests=os.path.dirname(os.path.dirname(__file__)), die_at=die_at, folder=folder, flush=flush)
    code = subprocess.run([sys.executable, "-c", textwrap.dedent(program)]).returncode
    assert code == -signal.SIGKILL
    found = rewind.Tracker(folder).run("a")
    last = found.last_step
    assert found.status == "crashed" and (last >= die_at - 1 if "flush" in flush else True)
    states = loop(walk, 0.0, 3000, 1, 50)
    assert all(row["x"] == states[row["_step"]] for row in found.history())
    if last < 0:
        return
    s = random.Random(die_at).choice([row["_step"] for row in found.history()] + [last])
    with rewind.init(dir=folder, resume_from=f"a?_step={last}") as run:
        assert rewind.Tracker(folder).run("a@1").status == "crashed"
        assert digest(run.attach(walk, observe={"sq": square}).state) == digest(states[last])
        assert run.verify_history() == len(run.history())
        run.record()
    with rewind.init(id="b", dir=folder) as whole:
        whole.record(walk, 0.0, 3000, 1, observe={"x": None, "sq": square}, log_every=7, block_size=50)
    assert run.history() == whole.history()
    with rewind.init(dir=folder, resume_from=f"a@1?_step={s}") as run:
        assert digest(run.attach(walk).state_at(s)) == digest(states[s])
        run.record(walk, observe={"x": None, "sq": square})
    assert run.history() == whole.history()
    # A checkpoint may be of a later step than the last row: the simulation goes on by itself up to there.
    with pytest.warns(rewind.PastEndWarning), rewind.init(dir=folder, fork_from=f"a@1?_step={last + 90}") as run:
        assert digest(run.attach(walk, observe={"sq": square}).state) == digest(states[last + 90])
        run.record()
        assert [row for row in whole.history() if not last < row["_step"] <= last + 90] == run.history()
        assert run.verify_history() == len(run.history())
    assert rewind.Tracker(folder).fsck().ok


# ---- never logged, and proved


def test_a_metric_that_was_never_logged_is_computed_for_past_rows(folder):
    begun(folder, log_every=1).finish()
    with rewind.init(dir=folder, resume_from="a?_step=30") as run:
        assert run.backfill({"cube": lambda x: x**3, "self": None}) == 31
        assert [row["cube"] for row in run.history()] == [x**3 for x in STATES[:31]]
        run.define_metric("cube", summary="min,max,mean")
        assert run.summary["cube"]["max"] == max(x**3 for x in STATES[:31]) and run.summary["self"] == STATES[30]
        run.record()
        assert "cube" not in run.history()[31]
        run.backfill({"abs": abs})
        assert [row["abs"] for row in run.history()] == [abs(x) for x in STATES]
        assert run.backfill({"cube": lambda x: x**3}) == N - 31 and run.backfill({"abs": abs}) == 0
        assert [row["cube"] for row in run.history()] == [x**3 for x in STATES]
        with pytest.raises(rewind.ArgumentError, match="'x'"):
            run.backfill({"new": abs, "x": None})
        with pytest.raises(rewind.MetricError):
            run.backfill({"new": abs, "bad": lambda x: "text"})
        assert "new" not in run.history()[0]
    assert run.summary["abs"] == abs(STATES[-1])
    assert "cube" not in rewind.Tracker(folder).run("a@1").history()[0]
    with rewind.init(dir=folder, fork_from="a?_step=10") as fork:
        assert [row["cube"] for row in fork.history()] == [x**3 for x in STATES[:11]]
        assert fork.summary["cube"]["max"] == max(x**3 for x in STATES[:11])
        fork.log({"cube": 1e9})
        assert fork.summary["cube"]["max"] == 1e9


def test_backfill_refuses_what_it_cannot_give(folder):
    with begun(folder) as run:
        for bad in ({"y": "there"}, {"y": lambda x: "text"}, {"y": lambda x: 1 / 0}):
            with pytest.raises(rewind.MetricError):
                run.backfill(bad)
        for bad in ([("y", None)], {3: None}):
            with pytest.raises(rewind.ArgumentTypeError):
                run.backfill(bad)
        with pytest.raises(rewind.ArgumentError):
            run.backfill({"_step": None})
        assert set(run.history()[0]) == {"_step", "x", "sq"}
    with rewind.init(dir=folder) as run, pytest.raises(rewind.TrackerError, match="no simulation to replay"):
        run.backfill({"y": None})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE rows SET data = replace(data, '\"x\":', '\"x\":1') WHERE step = 33", "step 33 of a@1 is the first"),
        ("DELETE FROM rows WHERE step = 33", "step 33 of a@1.*x is None in the history"),
        ("UPDATE rows SET data = '{}' WHERE step = 33", "step 33 of a@1.*x is None in the history"),
        ("UPDATE rows SET data = replace(data, '\"sq\":', '\"sq\":-') WHERE step IN (36, 48)", "step 36 of a@1.*sq"),
    ],
)
def test_a_history_that_the_simulation_does_not_give_is_found_by_its_first_row(folder, change, problem):
    begun(folder).finish()
    run = rewind.Tracker(folder).run("a")
    assert run.verify_history() == len(run.history())
    with sqlite3.connect(os.path.join(folder, "tracker.sqlite")) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(rewind.HistoryMismatchError, match=problem) as caught:
        run.verify_history()
    assert caught.value.step in (33, 36) and caught.value.ref == "a@1"


def test_a_run_is_forked_while_another_process_records_it(folder, tmp_path):
    ready, done = tmp_path / "ready", tmp_path / "done"
    program = f"""
        import os, sys, time
        sys.path[:0] = [{os.path.dirname(os.path.dirname(__file__))!r}, {os.path.dirname(__file__)!r}]
        import rewind
        from rewind.runs import progress
        from test_simulation import walk, square

        progress.INTERVAL = 0.0

        def watch(where):
            if where.done >= 1000 and not os.path.exists({str(ready)!r}):
                run.flush()
                open({str(ready)!r}, "w").close()
                while not os.path.exists({str(done)!r}):
                    time.sleep(0.002)

        run = rewind.init(id="a", dir={folder!r})
        run.record(walk, 0.0, 3000, 1, observe={{"x": None, "sq": square}}, log_every=1, block_size=50, progress=watch)
        run.finish()
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        while not ready.exists():
            assert child.poll() is None
        states = loop(walk, 0.0, 3000, 1, 50)
        with pytest.raises(rewind.RunBusyError, match=f"process {child.pid}"):
            rewind.init(dir=folder, resume_from="a?_step=900")
        with rewind.init(id="b", dir=folder, fork_from="a?_step=990") as fork:
            assert digest(fork.attach(walk, observe={"sq": square}).state) == digest(states[990])
            fork.record(n_steps=1100)
            assert [row["x"] for row in fork.history()] == states[:1100]
    finally:
        done.touch()
        assert child.wait() == 0
    assert rewind.Tracker(folder).run("a").history()[:991] == fork.history()[:991]


# ---- what a hostile review found


def test_what_is_logged_while_it_is_recorded_goes_with_the_next_row_and_shifts_none(folder):
    with rewind.init(dir=folder) as run:

        def step(x, rng):
            if x in (10.0, 27.0):
                run.log({"note": x})
            return x + 1.0

        run.record(step, 0.0, 50, 1, observe={"x": None}, log_every=1, block_size=7, trial=False)
        assert [row["x"] for row in run.history(["x"])] == [float(t) for t in range(50)]
        assert sorted(row["note"] for row in run.history(["note"])) == [10.0, 27.0]
        assert run.step == 50
        run.log({"after": 1})
        assert run.history()[-1] == {"_step": 50, "after": 1}

        def bad(x, rng):
            run.log({"note": x}, step=1000)
            return x

        with pytest.raises(rewind.StepError) as caught:
            run.record(bad, n_steps=60, trial=False)
        assert "none while run.record is under way" in str(caught.value.__cause__)


def test_the_functions_of_a_run_that_was_purged_are_not_those_of_another_with_its_id(folder):
    def one(x, rng):
        return x + 1

    with rewind.init(id="b", dir=folder) as run:
        run.record(one, 0, 20, 1, observe={"x": None}, block_size=5)
    rewind.Tracker(folder).purge("b")
    program = f"""
        import rewind

        def two(x, rng):
            return x + 2

        with rewind.init(id="b", dir={folder!r}) as run:
            run.record(two, 0, 20, 1, observe={{"x": None}}, block_size=5)
    """
    subprocess.run([sys.executable, "-c", without_source(textwrap.dedent(program))], check=True)
    with rewind.init(dir=folder, resume_from="b?_step=13") as run:
        with pytest.raises(rewind.MissingStepError):
            _ = run.state
        with pytest.warns(rewind.StepSourceWarning), pytest.raises(rewind.NondeterministicReplayError):
            _ = run.attach(one).state


def test_names_that_rows_have_of_their_own_are_not_observed(folder):
    with rewind.init(dir=folder) as run:
        with pytest.raises(rewind.ArgumentError, match="does not begin with _"):
            run.record(walk, 0.0, 10, 1, observe={"_step": None})


def test_warnings_of_a_recording_name_the_line_of_the_caller(folder):
    run, array = rewind.init(dir=folder), np.zeros(3)
    with pytest.warns(rewind.SharedMemoryWarning) as shared:
        run.record(lambda state, rng: state, {"all": array, "some": array[:2]}, 8, 1)
    run.finish()
    run = rewind.init(dir=folder)
    with pytest.warns(rewind.PickledStatesWarning) as pickled:
        run.record(lambda state, rng: [*state, 1], [1], 20, 1)
    run.finish()
    assert {warning.filename for warning in [*shared, *pickled]} == {__file__}


# ---- a rewind that cannot go on


def as_it_was(folder, run_id="a"):
    found = rewind.Tracker(folder).run(run_id)
    assert [one.ref for one in found.revisions] == [f"{run_id}@1"] and len(found.history()) > 30
    report = rewind.Tracker(folder).fsck()
    assert report.ok and not report.leftovers


@pytest.mark.parametrize("call", [lambda run: run.record(), lambda run: run.state, lambda run: run.replay])
@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
def test_rewind_whose_step_function_is_missing_leaves_no_empty_revision(folder, call, way):
    begun(folder, log_every=1).finish()
    forget()
    with pytest.raises(rewind.MissingStepError):
        with rewind.init(dir=folder, config={"a": 1}, system_metrics=True, **{way: f"a?_step={N // 2 + 1}"}) as run:
            call(run)
    as_it_was(folder)
    assert [one.id for one in rewind.Tracker(folder)] == ["a"]
    assert (run.finished, run.ref, run.status, len(run.history())) == (True, "a@1", "finished", N)
    run.finish()
    with rewind.init(dir=folder, resume_from="a?_step=30") as run:
        assert run.revision == 2


@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
def test_so_it_does_where_nobody_catches_the_error_and_the_program_ends(folder, monkeypatch, way):
    begun(folder, log_every=1).finish()
    forget()
    run = rewind.init(dir=folder, **{way: f"a?_step={N // 2 + 1}"})
    with pytest.raises(rewind.MissingStepError) as caught:
        run.record()
    monkeypatch.setattr(sys, "last_value", caught.value, raising=False)
    active._finish_all()
    as_it_was(folder)
    assert [one.id for one in rewind.Tracker(folder)] == ["a"] and run.finished


def test_rewind_that_could_not_go_on_and_logged_something_stays(folder):
    begun(folder, log_every=1).finish()
    forget()
    with rewind.init(dir=folder, resume_from="a?_step=30") as run:
        with pytest.raises(rewind.MissingStepError):
            run.record()
        run.log_line("why")
    assert (run.ref, run.logs()) == ("a@2", [(30, "log", "why")])
    with rewind.init(dir=folder, resume_from="a?_step=20") as run:
        with pytest.raises(rewind.MissingStepError):
            run.record()
        run.record(walk, observe={})  # given after all
    assert (run.ref, run.kind) == ("a@3", "rewound")
    with rewind.init(dir=folder, resume_from="a@1?_step=10") as run, pytest.raises(rewind.MissingStepError):
        parts._RECORDED.clear()
        with rewind.init(dir=folder, id="child", fork_from="a?_step=5"):
            run.record()
    assert run.ref == "a@4"  # somebody comes from it


def test_rewind_that_is_finished_without_a_row_stays(folder):
    begun(folder).finish()
    rewind.init(dir=folder, resume_from="a?_step=30").finish(1)
    assert rewind.Tracker(folder).run("a").ref == "a@2"
