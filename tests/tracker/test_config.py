"""The config of a tracked run: what goes in, what changes, and what a run that goes on gets of the old one."""

from __future__ import annotations

import argparse
import collections
import copy
import dataclasses
import datetime
import enum
import fractions
import math
import pathlib
import pickle
import threading
import uuid

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


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


@dataclasses.dataclass
class Optimiser:
    name: str = "adam"
    betas: tuple = (0.9, 0.999)
    inner: object = None


class Thing:
    pass


class Shouting:
    def __repr__(self):
        return "SHOUT"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pathlib.PurePosixPath("a/b"), "a/b"), (Color.RED, "red"), (Color.PAIR, "PAIR"),
        (datetime.date(2020, 1, 2), "2020-01-02"), (datetime.timedelta(seconds=3), 3.0),
        (uuid.UUID(int=3), "00000000-0000-0000-0000-000000000003"), (fractions.Fraction(1, 4), 0.25),
        (float("inf"), float("inf")), (-np.float32("inf"), float("-inf")), ([float("inf")], [float("inf")]),
        (1j, "1j"), (b"x", "x"), (1 << 20_000, hex(1 << 20_000)), (np.array([1j]), ["1j"]),
        (np.datetime64("2020-01-01"), "2020-01-01"), (range(3), [0, 1, 2]), (collections.deque([1]), [1]),
        ({1: 2, None: 3, (1, 2): 4, 1.5: 5, "1": 6}, {"1": 2, "None": 3, "1,2": 4, "1.5": 5, "1 (str)": 6}),
        (Optimiser(inner=Optimiser()),
         {"name": "adam", "betas": [0.9, 0.999], "inner": {"name": "adam", "betas": [0.9, 0.999], "inner": None}}),
        (argparse.Namespace(depth=Color.RED), {"depth": "red"}),
        (collections.namedtuple("Pair", "a b")(1, 2), [1, 2]),
        (math.sqrt, "math.sqrt"), (Thing, f"{__name__}.Thing"), (math, "math"), (range, "builtins.range"),
        (Thing(), f"<{__name__}.Thing object>"), (Shouting(), "SHOUT"), ({Shouting()}, ["SHOUT"]), (..., "Ellipsis"),
        ({"__float__": "inf"}, {"__float__": "inf"}),
        ({"__float__": {"__float__": 1}}, {"__float__": {"__float__": 1}}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_whatever_a_program_gives_is_kept(begin, value, expected):
    run = begin(config={"a": value})
    run.config["b"] = value
    assert dict(run.config) == {"a": expected, "b": expected} == kept(run)
    run.config.update({"a": value})  # is the same value
    run.finish()
    assert kept(run) == {"a": expected, "b": expected}


def test_not_a_number_is_kept_and_the_same_again(begin):
    run = begin(config={"a": float("nan"), "b": [float("nan")]})
    run.config.update({"a": float("nan"), "b": [float("nan")]})
    assert math.isnan(kept(run)["a"]) and math.isnan(kept(run)["b"][0])
    with pytest.raises(rewind.ConfigError):
        run.config["a"] = 1.0


def test_a_config_that_holds_itself_is_kept_up_to_there(begin):
    values = {"x": 1}
    values["a"] = values
    assert begin(config=values).config["x"] == 1
    deep = values = {}
    for _ in range(1000):
        values["a"] = values = {}
    assert list(begin(config=deep).config) == ["a"]


def test_the_config_may_be_in_a_file(begin, tmp_path):
    (tmp_path / "config.json").write_text('{"lr": {"value": 0.1, "desc": "rate"}, "n": {"a": 1}, "wandb_version": 1}')
    assert dict(begin(config=str(tmp_path / "config.json")).config) == {"lr": 0.1, "n": {"a": 1}}
    yaml = pytest.importorskip("yaml")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"lr": 0.5, "n": {"value": [1]}}))
    assert dict(begin(config=tmp_path / "config.yaml").config) == {"lr": 0.5, "n": [1]}


@pytest.mark.parametrize("text", [None, "[1]", "{", "3"])
def test_a_file_that_is_no_config_is_an_error(begin, tmp_path, text):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(rewind.ArgumentError, match="config is '.*nfig.json'"):
        begin(config=str(path))


@pytest.mark.parametrize("config", [3, [1], Thing, len])
def test_a_config_without_fields_is_refused(begin, config):
    with pytest.raises(rewind.ArgumentTypeError, match="config is"):
        begin(config=config)


def test_an_object_with_fields_is_a_config(begin):
    thing = Thing()
    thing.a = 1
    assert dict(begin(config=thing).config) == {"a": 1} and dict(begin(config=Optimiser()).config)["name"] == "adam"


def test_keys_are_chosen(begin):
    values = {"a": 1, "b": 2, "c": 3}
    assert dict(begin(config=values, config_exclude_keys=["a"]).config) == {"b": 2, "c": 3}
    assert dict(begin(config=values, config_include_keys=["a", "b"], config_exclude_keys=["b"]).config) == {"a": 1}


def test_group_and_job_type_are_labels_and_no_part_of_the_config(begin):
    run = begin(id="k", group="g", job_type="train", config={"a": 1, "_rewind": 5})
    run.config["b"] = 2
    assert (run.group, run.job_type) == ("g", "train")
    assert dict(run.config) == kept(run) == {"a": 1, "b": 2, "_rewind": 5}
    run.job_type = "eval"
    run.finish()
    seen = rewind.Tracker(run.dir).run("k")
    assert (seen.group, seen.job_type, seen.config["_rewind"]) == ("g", "eval", 5)
    again = begin(id="k", resume="must", group="other")
    assert (again.group, again.job_type) == ("other", "eval")


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
