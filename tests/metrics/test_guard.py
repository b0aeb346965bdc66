"""Metrics that change the state they are given get copies: one word, no error, and nothing of it in the run."""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any

import numpy as np
import pytest

import rewind
from rewind.state.digest import digest


class Graph:
    """Fills a cache when it is first asked, as graph libraries do."""

    def __init__(self) -> None:
        self.links = [(0, 1)]

    @property
    def degrees(self) -> Any:
        if "_degrees" not in self.__dict__:
            self._degrees = {i: sum(i in link for link in self.links) for i in range(5)}
        return self._degrees


def link(graph: Graph, rng: Any) -> Graph:
    """Adds links where the cache, if there is one, says so: a metric that fills it would make another run."""
    graph.links.append((rng.randrange(5), rng.randrange(5)))
    if "_degrees" in graph.__dict__:
        graph.links.append((0, 0))
    return graph


def push(values: list[float], rng: Any) -> list[float]:
    return [*values[1:], rng.random()]


def lowest(values: list[float]) -> float:
    values.sort()
    return values[0]


def move(field: Any, rng: Any) -> Any:
    field["x"] += rng.random()
    return field


def centred(field: Any) -> float:
    field["x"] -= field["x"].mean()
    return float(np.abs(field["x"]).max())


CASES: dict[str, Any] = {
    "a cache": (link, Graph, lambda graph: graph.degrees[1]),
    "a list that is sorted": (push, lambda: [3.0, 1.0, 2.0], lowest),
    "an array changed in place": (move, lambda: {"x": np.arange(4.0)}, centred),
    "a counter": (lambda s, rng: {**s, "t": s["t"] + rng.random()}, lambda: {"t": 0.0, "seen": 0}, lambda s: tick(s)),
}
cases = pytest.mark.parametrize("name", CASES)


def tick(state: dict[str, Any]) -> float:
    state["seen"] += 1
    return float(state["t"] + 10 * state["seen"])


def plain(name: str, n: int = 60, seed: int = 3, block_size: int = 8) -> tuple[list[Any], list[float]]:
    """The states of the plain loop, which no metric looks at, and the metric of a copy of each."""
    step, init, metric = CASES[name]
    states = [copy.deepcopy(state) for state in rewind.plain_loop(step, init(), n, seed, block_size=block_size)]
    return states, [float(metric(copy.deepcopy(state))) for state in states]


@cases
def test_a_metric_that_changes_the_state_is_given_copies_with_one_word(name, tmp_path):
    step, init, metric = CASES[name]
    states, values = plain(name)
    with pytest.warns(
        rewind.MutatingMetricWarning, match="metric 'm' changed the state it was given at step 0"
    ) as said:
        run = rewind.record(step, init(), 60, 3, block_size=8, observe={"m": metric})
    assert len(said) == 1 and said[0].filename == __file__
    assert [digest(state) for state in run] == [digest(state) for state in states]
    assert run.overview("m")["last"].tolist() == values[7::8] + values[-1:]
    assert run.observed["m"].max == max(values) and run.observed["m"].argmin == values.index(min(values))
    assert run.verify(full=True) and run.stats("m").max == max(values) if name != "a cache" else True
    assert run.content_hash() == recorded(step, init, tmp_path / "run.replay", metric)


def recorded(step: Any, init: Any, path: Any, metric: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.MutatingMetricWarning)
        return rewind.record(step, init(), 60, 3, block_size=8, observe={"m": metric}, path=path).content_hash()


@cases
def test_questions_give_copies_too(name):
    step, init, metric = CASES[name]
    states, values = plain(name)
    run = rewind.record(step, init(), 60, 3, block_size=8)
    middle = sorted(values)[30]
    with pytest.warns(rewind.MutatingMetricWarning):
        assert run.stats(metric).max == max(values)
    with pytest.warns(rewind.MutatingMetricWarning, match="the condition"):
        assert run.first(lambda state: metric(state) >= middle) == next(t for t in range(60) if values[t] >= middle)
    with pytest.warns(rewind.MutatingMetricWarning, match="the condition"):
        found = list(run.where(lambda state: metric(state) >= middle))
    assert found == [t for t in range(60) if values[t] >= middle]
    with pytest.warns(rewind.MutatingMetricWarning):
        assert run.series(metric).tolist() == values
    with pytest.warns(rewind.MutatingMetricWarning):
        forks = run.branches(20, 2, metric=metric)
    assert forks.values[:, 0].tolist() == [values[20]] * 2
    assert [digest(state) for state in run] == [digest(state) for state in states] and run.verify(full=True)


def late(state: list[float]) -> float:
    """Changes only what comes later."""
    if state[0] > 40.0:
        state[1] += 0.5
    return state[0] + state[1]


def count(state: list[float], rng: Any) -> list[float]:
    state[0] += 1.0
    state[1] += rng.random() * state[1] / 8
    return state


@pytest.mark.parametrize("options", [{}, {"self_check": True}], ids=["", "self_check"])
def test_one_that_is_noticed_late_has_not_reached_the_run(options):
    states = [list(state) for state in rewind.plain_loop(count, [0.0, 1.0], 200, 5, block_size=20)]
    with pytest.warns(rewind.MutatingMetricWarning, match="metric 'm' changed the state it was given"):
        run = rewind.record(count, [0.0, 1.0], 200, 5, block_size=20, observe={"m": late}, **options)
    assert [digest(state) for state in run] == [digest(state) for state in states]
    values = [late(list(state)) for state in states]
    assert run.observed["m"].max == max(values) and run.overview("m")["last"].tolist() == values[19::20]
    assert run.verify(full=True)


def test_one_that_is_noticed_late_where_blocks_are_on_disk_has_not_reached_the_file(tmp_path):
    states = [list(state) for state in rewind.plain_loop(count, [0.0, 1.0], 200, 5, block_size=20)]
    path = tmp_path / "run.replay"
    with pytest.warns(rewind.MutatingMetricWarning, match="metric 'm' changed the state it was given"):
        run = rewind.record(count, [0.0, 1.0], 200, 5, block_size=20, observe={"m": late}, path=path)
    loaded = rewind.load(path, count)
    for one in (run, loaded):
        assert [digest(state) for state in one] == [digest(state) for state in states] and one.verify(full=True)
        assert one.observed["m"].max == max(late(list(state)) for state in states)
    assert os.listdir(tmp_path) == ["run.replay"]


def test_one_that_is_noticed_late_and_then_cut_off_leaves_a_journal_to_go_on_from(tmp_path):
    states = [list(state) for state in rewind.plain_loop(count, [0.0, 1.0], 200, 5, block_size=20)]
    path, on = tmp_path / "run.replay", [True]

    def stops(state: list[float], rng: Any) -> list[float]:
        if on and state[0] > 150.0:
            raise KeyboardInterrupt
        return count(state, rng)

    with pytest.warns(rewind.MutatingMetricWarning), pytest.raises(rewind.RecordingInterrupted):
        rewind.record(stops, [0.0, 1.0], 200, 5, block_size=20, observe={"m": late}, path=path, trial=False)
    on.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that `on` is empty now is a change of the step
        run = rewind.resume(path, stops, observe={"m": late})
    assert [digest(state) for state in run] == [digest(state) for state in states]


def test_a_question_that_is_noticed_late_is_asked_again():
    run = rewind.record(count, [0.0, 1.0], 200, 5, block_size=20)
    values = [late(list(state)) for state in run]
    with pytest.warns(rewind.MutatingMetricWarning):
        assert run.stats(late).max == max(values)
    with pytest.warns(rewind.MutatingMetricWarning, match="the condition"):
        assert run.last(lambda state: late(state) < 0) is None
    assert run.verify(full=True)


def test_metrics_that_only_look_get_the_states_themselves_and_are_called_once_a_state():
    seen: list[int] = []

    def metric(state: Any) -> float:
        seen.append(id(state))
        return float(state["x"][0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rewind.record(move, {"x": np.zeros(3)}, 100, 1, observe={"m": metric})
    assert len(seen) == 101  # and once where it was tried


def test_a_cache_that_cannot_be_pickled_is_a_change():
    def metric(state: Any) -> float:
        state["lock"] = lambda: None
        return 1.0

    with pytest.warns(rewind.MutatingMetricWarning):
        run = rewind.record(move, {"x": np.zeros(3)}, 30, 1, observe={"m": metric})
    assert list(run.get(29)) == ["x"]


def test_a_recorder_gives_copies():
    states, _ = plain("a cache", block_size=8)
    with pytest.warns(rewind.MutatingMetricWarning):
        recorder = rewind.Recorder(link, Graph(), 3, block_size=8, observe={"m": lambda graph: graph.degrees[1]})
    recorder.advance(59)
    run = recorder.finish()
    assert [digest(state) for state in run] == [digest(state) for state in states]
