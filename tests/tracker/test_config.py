"""The config of a tracked run: what goes in, what changes, and what a run that goes on gets of the old one."""

from __future__ import annotations

import argparse
import copy
import enum
import pickle
import threading

import numpy as np
import pytest

import rewind

pytestmark = pytest.mark.once


@pytest.fixture
def begin(tmp_path):
    runs = []

    def init(**options):
        runs.append(rewind.init(dir=tmp_path, **options))
        return runs[-1]

    yield init
    for run in runs:
        run.finish()


def kept(run):
    """Return the config as somebody sees who reads the folder."""
    return rewind.Tracker(run.dir).run(run.ref).config


@pytest.mark.parametrize("way", ["resume", "rewind", "fork"])
def test_new_values_win_and_missing_top_level_keys_come_from_the_old_run(begin, way):
    run = begin(id="k", config={"a": 1, "b": {"x": 1, "y": 2}, "c": 3})
    run.log({})
    run.finish()
    options = {"resume": {"id": "k", "resume": "must"}, "rewind": {"resume_from": "k?_step=0"}}
    new = begin(config={"a": 10, "b": {"x": 5}, "d": None}, **options.get(way, {"fork_from": "k?_step=0"}))
    expected = {"a": 10, "b": {"x": 5}, "d": None, "c": 3}
    assert dict(new.config) == kept(new) == expected
    assert kept(run) == {"a": 1, "b": {"x": 1, "y": 2}, "c": 3}


def test_changed_value_is_a_config_error(begin):
    run = begin(config={"a": 1, "b": [1, {"x": 2}]})
    for change in (
        lambda: run.config.update({"new": 1, "a": 2}),
        lambda: run.config.__setitem__("a", 2),
        lambda: setattr(run.config, "a", 2),
        lambda: run.config.update(b=[1, {"x": 3}]),
        lambda: run.config.__delitem__("a"),
        lambda: run.config.pop("a"),
        lambda: run.config.update({"a": True}),
    ):
        with pytest.raises(
            rewind.ConfigError, match=r"config\['[ab]'\] is .*(allow_val_change=True|cannot be deleted)"
        ):
            change()
    assert dict(run.config) == kept(run) == {"a": 1, "b": [1, {"x": 2}]}  # nothing of the update was added


def test_same_value_again_is_fine_and_new_keys_are_added(begin):
    run = begin(config={"a": 1})
    run.config.update({"a": 1, "b": 2})
    run.config["c"] = 3
    run.config.d = 4
    run.config.update(e=5)
    run.config.setdefaults({"a": 100, "f": 6})
    assert dict(run.config) == kept(run) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}
    assert (run.config.a, run.config["b"], run.config.get("z"), len(run.config)) == (1, 2, None, 6)


def test_value_changes_where_it_is_allowed(begin):
    run = begin(config={"a": 1})
    run.config.update({"a": 2}, allow_val_change=True)
    assert run.config["a"] == kept(run)["a"] == 2


def test_sets_and_tuples_become_lists(begin):
    run = begin(config={"a": (1, (2, 3)), "b": {3, 1, 2}, "c": frozenset({"", "b", "a"}), "d": {1, "a", None, 2.5}})
    expected = {"a": [1, [2, 3]], "b": [1, 2, 3], "c": ["", "a", "b"]}
    assert {key: run.config[key] for key in "abc"} == expected and len(run.config["d"]) == 4
    assert kept(run) == dict(run.config)


def test_numpy_and_enums_become_plain(begin):
    class Color(str, enum.Enum):
        RED = "red"

    class Size(enum.IntEnum):
        BIG = 3

    values = {"a": np.float32(0.5), "b": np.arange(3), "c": np.bool_(True), "d": np.array(4), "e": np.str_("text")}
    run = begin(config={**values, "f": Color.RED, "g": Size.BIG})
    assert dict(run.config) == {"a": 0.5, "b": [0, 1, 2], "c": True, "d": 4, "e": "text", "f": "red", "g": 3}
    assert all(type(value) in (float, list, bool, int, str) for value in run.config.values())


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "config['a']"), ({"b": [1, object()]}, "config['a']['b'][1]"), (float("nan"), "config['a']"),
        ({"b": float("inf")}, "config['a']['b']"), (lambda: 1, "config['a']"), (1j, "config['a']"),
        (b"x", "config['a']"),
        ({1: 2}, "a key of config['a']"), ({object()}, "an item of config['a']"), (np.array([1j]), "config['a'][0]"),
        (np.datetime64("2020-01-01"), "config['a']"), (1 << 20_000, "config['a']"), (range, "config['a']"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_value_that_is_not_json_is_refused_with_the_key_named(begin, value, name):
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError)) as caught:
        begin(config={"a": value})
    assert str(caught.value).startswith(f"{name} is")
    run = begin()
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError)):
        run.config["a"] = value
    assert dict(run.config) == {}


def test_config_that_holds_itself_is_refused(begin):
    values = {}
    values["a"] = values
    with pytest.raises(rewind.ArgumentTypeError, match="config"):
        begin(config=values)


def test_key_that_is_no_text_is_refused(begin):
    with pytest.raises(rewind.ArgumentTypeError, match="a key of config is 1"):
        begin(config={1: 2})


def test_config_is_what_argparse_gives(begin):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.1)
    run = begin(config=parser.parse_args(["--rate", "0.5"]))
    run.config.update(argparse.Namespace(depth=3))
    assert dict(run.config) == {"rate": 0.5, "depth": 3}


def test_config_of_the_caller_is_never_changed_and_may_change(begin):
    values = {"a": [1, 2], "b": {"c": (1,)}}
    before = copy.deepcopy(values)
    run = begin(config=values)
    assert values == before
    values["a"].append(3)
    run.config["a"].append(4)
    assert run.config["a"] == kept(run)["a"] == [1, 2]


def test_copies_of_a_config_are_plain_dicts(begin):
    run = begin(config={"a": [1]})
    for one in (copy.copy(run.config), copy.deepcopy(run.config), pickle.loads(pickle.dumps(run.config))):
        assert type(one) is dict and one == {"a": [1]}
    assert repr(run.config) == "{'a': [1]}" and run.config == {"a": [1]}


def test_key_that_is_not_there_is_a_key_error_or_an_attribute_error(begin):
    run = begin()
    with pytest.raises(KeyError):
        run.config["a"]
    with pytest.raises(AttributeError, match="config has no 'a'"):
        run.config.a  # noqa: B018
    with pytest.raises(AttributeError, match="update"):
        run.config = {"a": 1}


def test_text_of_any_kind_comes_back(begin):
    values = {"ä": "ü", "\ud800": "half", "": " ", "a.b": "\x00"}
    run = begin(config=values)
    assert kept(run) == dict(run.config) == values
    run.finish()
    assert begin(fork_from=f"{run.id}?_step=-1").config == values


def test_threads_that_add_values_lose_none(begin):
    run = begin()

    def work(name):
        for i in range(40):
            run.config[f"{name}{i}"] = i

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(run.config) == len(kept(run)) == 120


def test_a_value_deep_inside_is_a_change_too_and_may_be_allowed(begin):
    run = begin(config={"n": {"a": 1}, "lr": 1})
    with pytest.raises(rewind.ConfigError):
        run.config.update({"n": {"a": True}})
    run.config.update({"n": {"a": 1.0}})
    run.config.update({"n": {"a": True}, "lr": 1.0}, allow_val_change=True)
    assert kept(run)["n"]["a"] is True and type(kept(run)["lr"]) is float
