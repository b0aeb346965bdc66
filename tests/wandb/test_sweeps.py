"""Sweeps: which trials there are, and that each is a run with its parameters."""

from __future__ import annotations

import json
import math
import sys

import pytest

import rewind
import rewind.wandb as wandb
from rewind.errors import ArgumentError, ArgumentTypeError, IgnoredWarning, SweepNotFoundError, UnknownSweepMethodError
from rewind.wandb.sweeps.agent import VARIABLE, command
from rewind.wandb.sweeps.space import n_trials, trial_params

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("here")]

GRID = {
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [0.1, 0.2]}, "n": {"min": 1, "max": 3}, "kind": {"value": "a"}},
}


def trials(config, n, seed=7):
    return [trial_params(config, seed, i) for i in range(n)]


# ---- which trials there are


def test_a_grid_has_each_combination_once_and_its_last_parameter_changes_fastest():
    found = trials(GRID, n_trials(GRID))
    assert [(one["lr"], one["n"]) for one in found] == [(0.1, 1), (0.1, 2), (0.1, 3), (0.2, 1), (0.2, 2), (0.2, 3)]
    assert {one["kind"] for one in found} == {"a"} and n_trials({**GRID, "run_cap": 4}) == 4


def test_parameters_in_dicts_are_dicts_in_the_config():
    config = {
        "method": "grid",
        "parameters": {"opt": {"parameters": {"name": {"values": ["a", "b"]}}}, "x": {"value": 1}},
    }
    assert trials(config, 2) == [{"opt": {"name": "a"}, "x": 1}, {"opt": {"name": "b"}, "x": 1}]


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"min": 1, "max": 3}, lambda x: type(x) is int and 1 <= x <= 3),
        ({"min": 0.5, "max": 3}, lambda x: type(x) is float and 0.5 <= x <= 3),
        ({"values": ["a", 1, None]}, lambda x: x in ("a", 1, None)),
        ({"values": [1, 2], "probabilities": [0.0, 1.0]}, lambda x: x == 2),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1}, lambda x: 1e-5 <= x <= 1e-1),
        ({"distribution": "inv_log_uniform_values", "min": 1e-5, "max": 1e-1}, lambda x: 1e-5 <= x <= 1e-1),
        ({"distribution": "log_uniform", "min": -2.0, "max": 1.0}, lambda x: math.exp(-2) <= x <= math.e),
        ({"distribution": "inv_log_uniform", "min": 0.0, "max": 1.0}, lambda x: math.exp(-1) <= x <= 1),
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 5}, lambda x: x in (0, 5, 10)),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 100, "q": 0.5}, lambda x: x % 0.5 == 0),
        ({"mu": 5.0, "sigma": 0.0}, lambda x: x == 5.0),
        ({"distribution": "log_normal", "mu": 0.0, "sigma": 1.0}, lambda x: x > 0),
        ({"distribution": "q_normal", "mu": 0.0, "sigma": 9.0, "q": 2}, lambda x: x % 2 == 0),
        ({"distribution": "beta", "a": 1.0, "b": 2.0}, lambda x: 0 <= x <= 1),
        ({"distribution": "constant", "value": 3}, lambda x: x == 3),
    ],
)
def test_each_distribution_draws_what_it_says(spec, fits):
    assert all(fits(one["x"]) for one in trials({"method": "random", "parameters": {"x": spec}}, 50))


def test_a_trial_depends_on_seed_and_number_alone_and_on_no_other_parameter():
    config = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    more = {"method": "random", "parameters": {**config["parameters"], "y": {"min": 0.0, "max": 1.0}}}
    first = trials(config, 5)
    assert first == trials(config, 5) and len({one["x"] for one in first}) == 5
    assert first != trials(config, 5, seed=8) and [one["x"] for one in trials(more, 5)] == [one["x"] for one in first]


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        ({"method": "bayes", "parameters": {"x": {"value": 1}}}, UnknownSweepMethodError, "bayes needs a model"),
        ({"method": "other", "parameters": {"x": {"value": 1}}}, UnknownSweepMethodError, "'grid' or 'random'"),
        ({"method": "grid"}, ArgumentTypeError, "parameters is None"),
        ({"method": "grid", "parameters": {"x": {"min": 0.0, "max": 1.0}}}, ArgumentError, "as the method is grid"),
        ({"method": "grid", "parameters": {"x": {"values": []}}}, ArgumentError, "a list of values that has some"),
        ({"method": "random", "parameters": {"x": 3}}, ArgumentTypeError, "parameter 'x' is 3 .*expected a dict"),
        ({"method": "random", "parameters": {"x": {"min": 2, "max": 1}}}, ArgumentError, "a max that is not below"),
        ({"method": "random", "parameters": {"x": {"q": 1}}}, ArgumentError, "parameter 'x' is"),
        ({"method": "random", "parameters": {"x": {"distribution": "odd", "min": 0, "max": 1}}}, ArgumentError, "odd"),
        ({"method": "random", "parameters": {"x": {"values": [1], "probabilities": [0.5]}}}, ArgumentError, "1 in all"),
    ],
)
def test_what_cannot_be_tried_is_refused_when_the_sweep_is_made(config, error, text):
    with pytest.raises(error, match=text):
        wandb.sweep(config)


# ---- trying them


def test_an_agent_calls_a_function_for_each_trial_and_each_is_a_run_with_its_parameters():
    def train():
        with wandb.init(config={"lr": 9.0, "own": True}) as run:
            run.config.update({"lr": 8.0, "later": 1})
            wandb.log({"loss": run.config.lr * run.config["n"]})

    sweep_id = wandb.sweep(GRID, project="walks", entity="me")
    assert wandb.Api().sweep(sweep_id).state == "PENDING"
    wandb.agent(f"me/walks/{sweep_id}", function=train)
    found = wandb.Api().sweep(f"me/walks/{sweep_id}")
    assert [(run.config["lr"], run.config["n"]) for run in found.runs] == [
        (one["lr"], one["n"]) for one in trials(GRID, 6)
    ]
    assert all(run.config["own"] and run.config["later"] == 1 and run.project == "walks" for run in found.runs)
    assert found.state == "FINISHED" and found.best_run().summary["loss"] == 0.1
    assert found.best_run("-summary_metrics.loss").summary["loss"] == pytest.approx(0.6)
    assert found.runs[0].sweep_name == sweep_id == found.runs[0].sweep.id and found.expected_run_count == 6
    assert len(wandb.Api().runs(filters={"sweep": sweep_id})) == 6
    assert [sweep.id for sweep in wandb.Api().project("walks").sweeps()] == [sweep_id]
    assert rewind.Tracker().fsck().ok


def test_agents_share_the_trials_and_count_says_how_many_one_tries():
    seen = []
    sweep_id = wandb.sweep(GRID)
    for count in (2, 1, None):
        wandb.agent(sweep_id, lambda: seen.append(wandb.init().config["n"]), count=count)
    assert seen == [1, 2, 3, 1, 2, 3]
    wandb.agent(sweep_id, lambda: seen.append("none is left"))
    assert len(seen) == 6 and wandb.run is None


def test_a_sweep_with_a_seed_is_the_same_trials_again():
    config = {"method": "random", "seed": 3, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    seen = []
    for _ in range(2):
        wandb.agent(wandb.sweep(config), lambda: seen.append(wandb.init().config.x), count=2)
    assert seen[:2] == seen[2:] == [one["x"] for one in trials(config, 2, seed=3)]


def test_a_trial_that_raises_is_a_failed_run_and_the_next_one_is_tried(capsys):
    def train():
        if wandb.init().config["n"] == 2:
            raise ValueError("no")

    sweep_id = wandb.sweep(GRID)
    wandb.agent(sweep_id, train, count=3)
    assert [run.state for run in wandb.Api().sweep(sweep_id).runs] == ["finished", "failed", "finished"]
    assert "ValueError: no" in capsys.readouterr().err


def test_an_agent_gives_up_where_the_first_three_trials_fail():
    with pytest.raises(ZeroDivisionError):
        wandb.agent(wandb.sweep(GRID), lambda: 1 / 0)


def test_a_program_is_started_with_the_parameters_as_arguments_and_init_takes_them(monkeypatch):
    sweep_id = wandb.sweep({**GRID, "program": "train.py"})
    started = []
    monkeypatch.setattr("subprocess.run", lambda words, env, check: started.append((words, env)))
    wandb.agent(sweep_id, count=1)
    ((words, env),) = started
    assert words == [sys.executable, "train.py", "--lr=0.1", "--n=1", "--kind=a"]
    monkeypatch.setenv(VARIABLE, env[VARIABLE])
    with wandb.init(config={"lr": 5}) as run:
        assert (run.config["lr"], run.config["n"], run.sweep_id) == (0.1, 1, sweep_id)


def test_the_command_of_a_sweep_is_what_it_says():
    config = {"program": "p.py", "command": ["${env}", "python3", "${program}", "${args_no_boolean_flags}", "x"]}
    assert command(config, {"a": True, "b": False, "c": [1]}) == ["python3", "p.py", "--a", "--c=[1]", "x"]
    assert command({"program": "p.py", "command": ["${args_no_hyphens}"]}, {"a": 1}) == ["a=1"]
    assert command({"program": "p.py", "command": ["${args_json}"]}, {"a": 1}) == [json.dumps({"a": 1})]


def test_a_sweep_can_be_stopped_and_its_controller_says_how_far_it_is(capsys):
    sweep_id = wandb.sweep(GRID)
    found = wandb.controller(sweep_id)
    assert not found.done() and found.sweep_config["method"] == "grid" and found.create() == sweep_id
    wandb.agent(sweep_id, lambda: wandb.Api().sweep(sweep_id).stop(), count=1)
    wandb.agent(sweep_id, lambda: pytest.fail("it was stopped"))
    found = wandb.controller(sweep_id)
    found.step()
    found.run()
    assert found.done() and "finished, 1 trials begun" in capsys.readouterr().err
    assert wandb.controller(GRID).sweep_id != sweep_id


def test_what_a_sweep_ignores_is_named():
    with pytest.warns(IgnoredWarning, match=r"sweep\(\) ignores early_terminate"):
        wandb.sweep({**GRID, "early_terminate": {"type": "hyperband"}})


def test_a_sweep_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(SweepNotFoundError, match="there are none"):
        wandb.agent("abc", lambda: None)
    there = wandb.sweep(lambda: GRID)
    with pytest.raises(SweepNotFoundError, match=f"the last ones are {there}"):
        wandb.Api().sweep("me/walks/nope")
    with pytest.raises(ArgumentError, match="a function, as the sweep has no program"):
        wandb.agent(there)
