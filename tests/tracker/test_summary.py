"""The summary of a tracked run: exact, and over exactly the visible rows."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

import rewind
from rewind.tracker.store import writer

pytestmark = pytest.mark.once
ALL = "min,max,mean,first,last"


@pytest.fixture(params=[(1000, 4096), (3, 5)], ids=["as it is", "written all the time"])
def begin(tmp_path, monkeypatch, request):
    monkeypatch.setattr(writer, "MANY_ROWS", request.param[0])
    monkeypatch.setattr(writer, "MARK_ROWS", request.param[1])
    runs = []

    def init(**options):
        runs.append(rewind.init(dir=tmp_path, **options))
        return runs[-1]

    yield init
    for run in runs:
        run.finish()


def shown(value):
    """Return text that tells 1 from 1.0 and 0.0 from -0.0, and takes integers of any length."""
    if isinstance(value, int):
        return hex(value)
    return repr({key: shown(value[key]) for key in value} if hasattr(value, "keys") else value)


def of(begin, values, summary=ALL, key="x"):
    """Return the summary of one key, of an open run; that of the finished one is the same."""
    run = begin()
    run.define_metric(key, summary=summary)
    for value in values:
        run.log({key: value})
    found = dict(run.summary)
    run.finish()
    assert shown(run.summary) == shown(rewind.Tracker(run.dir).run(run.id).summary) == shown(found)
    return found.get(key)


def test_last_value_of_each_key_and_the_step(begin):
    run = begin()
    assert dict(run.summary) == {}
    for i in range(10):
        run.log({"x": i, "y": "text"} if i < 5 else {"x": i, "z": [1, {"a": 2}]})
    assert dict(run.summary) == {"x": 9, "y": "text", "z": [1, {"a": 2}], "_step": 9}


def test_row_that_is_open_is_not_in_it(begin):
    run = begin()
    run.log({"x": 1})
    run.log({"x": 2}, commit=False)
    assert run.summary["x"] == 1
    run.log({})
    assert run.summary["x"] == 2 and run.summary["_step"] == 1


@pytest.mark.parametrize("kind", ALL.split(","))
def test_each_kind_gives_a_dict_of_just_itself(begin, kind):
    expected = {"min": -2, "max": 5, "mean": 2.0, "first": 3, "last": 5}
    assert of(begin, [3, -2, 2, 5], kind) == {kind: expected[kind]}


def test_all_kinds_at_once_in_any_way_they_are_asked_for(begin):
    expected = {"min": -2, "max": 5, "mean": 2.0, "first": 3, "last": 5}
    for asked in (ALL, "last, mean ,min,max,first", ["max", "min", "first", "last", "mean"], set(ALL.split(","))):
        assert of(begin, [3, -2, 2, 5], asked) == expected


def test_none_is_absent(begin):
    assert of(begin, [1, 2], "none") is None


@pytest.mark.parametrize("summary", ["best", "min,median", "", "min,,max", 5, [5]])
def test_unknown_kind_is_refused(begin, summary):
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="summary"):
        begin().define_metric("x", summary=summary)


@pytest.mark.parametrize("name", ["", "a*b", "*a", "**", "_step", "_x"])
def test_name_that_is_no_metric_is_refused(begin, name):
    with pytest.raises(rewind.ArgumentError, match="name"):
        begin().define_metric(name, summary="min")
    with pytest.raises(rewind.ArgumentTypeError, match="name"):
        begin().define_metric(5)


def test_star_at_the_end_is_any_end_and_the_longest_beginning_holds(begin):
    run = begin()
    run.define_metric("loss/*", summary="min")
    run.define_metric("*", summary="max")
    run.define_metric("loss/a*", summary="mean")
    run.define_metric("loss/abc", summary="first")
    for i in (1, 3):
        run.log({"loss/x": i, "loss/ab": i, "loss/abc": i, "other": i, "_hidden": i})
    expected = {"loss/x": {"min": 1}, "loss/ab": {"mean": 2.0}, "loss/abc": {"first": 1}, "other": {"max": 3}}
    assert dict(run.summary) == {**expected, "_hidden": 3, "_step": 1}


def test_defining_late_counts_from_the_first_row(begin):
    run = begin()
    for i in (7, -3, 5):
        run.log({"x": i})
    assert run.summary["x"] == 5
    run.define_metric("x", summary=ALL)
    assert run.summary["x"] == {"min": -3, "max": 7, "mean": 3.0, "first": 7, "last": 5}


def test_defining_again_adds_kinds_unless_it_overwrites(begin):
    run = begin()
    run.log({"x": 1})
    run.define_metric("x", summary="max")
    run.define_metric("x", summary="min")
    assert run.summary["x"] == {"min": 1, "max": 1}
    run.define_metric("x", summary="last", overwrite=True)
    assert run.summary["x"] == {"last": 1}
    run.define_metric("x", overwrite=True)
    assert run.summary["x"] == 1


def test_text_is_skipped_by_min_max_and_mean_and_taken_by_first_and_last(begin):
    found = of(begin, ["begin", 3, "a", 1.0, None, "end"])
    assert found == {"min": 1.0, "max": 3, "mean": 2.0, "first": "begin", "last": "end"}
    assert of(begin, ["a", "b"], "min,max,mean") == {}


def test_nan_makes_min_max_and_mean_nan_for_good(begin):
    found = of(begin, [1.0, math.nan, 2.0])
    assert all(math.isnan(found[kind]) for kind in ("min", "max", "mean"))
    assert (found["first"], found["last"]) == (1.0, 2.0)


def test_infinities_are_numbers(begin):
    assert of(begin, [1.0, math.inf]) == {"min": 1.0, "max": math.inf, "mean": math.inf, "first": 1.0, "last": math.inf}
    assert of(begin, [-math.inf, 2], "min,mean") == {"min": -math.inf, "mean": -math.inf}
    assert math.isnan(of(begin, [-math.inf, math.inf], "mean")["mean"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1 << 20_000, 10**400, -0.0], ids=rewind.errors.show)
def test_first_and_last_value_may_be_any_number(begin, value):
    found = of(begin, [value], "first,last")
    assert list(map(shown, found.values())) == [shown(value)] * 2


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1e16, 1, -1e16], 1 / 3),
        ([1e16, 1.0, -1e16], 1 / 3),
        ([1e308, 1e308], 1e308),
        ([0.1] * 10, 0.1),
        ([1 << 2000, -(1 << 2000), 3], 1.0),
        ([10**400], math.inf),
        ([5e-324, 0.0, 5e-324], 5e-324),
        ([2**53 + 1, 2**53 + 1], 2.0**53),
        ([True, False], 0.5),
    ],
)
def test_mean_is_exact(begin, values, mean):
    assert repr(of(begin, values, "mean")) == repr({"mean": mean})


def test_huge_integers_are_kept_and_compared_exactly(begin):
    found = of(begin, [2**64 + 1, 2**64, -(10**300), 1 << 15_000])
    assert (found["min"], found["max"], found["first"]) == (-(10**300), 1 << 15_000, 2**64 + 1)


def test_first_of_equal_values_is_the_smallest(begin):
    for values in ([1, 1.0, True], [1.0, 1], [-0.0, 0.0], [0.0, -0.0, 0]):
        found = of(begin, values, "min,max")
        assert repr(found) == repr({"min": values[0], "max": values[0]})


@pytest.mark.parametrize("step", [-1, 0, 3, 4, 5, 9, 17, 29])
@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
def test_summary_is_computed_anew_over_exactly_the_visible_rows(begin, step, way):
    values = [((i * 37) % 11) * 0.1 - (i == 12) * 100 for i in range(30)]
    run = begin(id="k")
    run.define_metric("x", summary=ALL)
    for i, value in enumerate(values):
        run.log({"x": value, "at": i} | ({"late": 1} if i > 20 else {}))
    run.finish()
    new = begin(**{way: f"k?_step={step}"})
    seen = values[: step + 1]
    for more in (None, 5.0, -7.0, 0.25):
        if more is not None:
            seen.append(more)
            new.log({"x": more})
        expected = {"at": min(step, 29)} if step >= 0 else {}
        if seen:
            kinds = {"min": min(seen), "max": max(seen), "mean": float(sum(map(Fraction, seen)) / len(seen))}
            expected |= {"x": {**kinds, "first": seen[0], "last": seen[-1]}, "_step": len(seen) - 1}
        if step > 20:
            expected["late"] = 1
        assert dict(new.summary) == expected
    assert run.summary["x"]["last"] == values[-1] and run.summary["late"] == 1


def test_what_is_put_in_by_hand_holds_until_the_key_is_logged(begin):
    run = begin(id="k")
    run.log({"x": 1})
    run.summary["x"] = "by hand"
    run.summary.update({"best": 7, "list": [1, 2]})
    assert dict(run.summary) == {"x": "by hand", "best": 7, "list": [1, 2], "_step": 0}
    run.log({"x": 2})
    assert dict(run.summary) == {"x": 2, "best": 7, "list": [1, 2], "_step": 1}
    run.finish()
    assert begin(resume_from="k?_step=1").summary["best"] == 7


def test_what_was_put_in_after_the_step_is_not_there_after_a_rewind(begin):
    run = begin(id="k")
    for i in range(3):
        run.log({"x": i})
        run.summary["best"] = i
    run.finish()
    assert dict(begin(resume_from="k?_step=1").summary) == {"x": 1, "best": 1, "_step": 1}
    assert dict(begin(fork_from="k@1?_step=-1").summary) == {}


def test_summary_takes_only_what_can_be_kept(begin):
    run = begin()
    with pytest.raises(rewind.LogValueError, match="'x'"):
        run.summary["x"] = object()
    with pytest.raises(rewind.ArgumentTypeError, match="a key of summary"):
        run.summary[5] = 1
    with pytest.raises(rewind.ArgumentError, match="surrogate"):
        run.summary["\ud800"] = 1
    run.log({"x": 1})
    assert run.summary.as_dict() == {"x": 1, "_step": 0} == run.summary and list(run.summary) == ["x", "_step"]


def test_definitions_go_on_with_the_run(begin):
    run = begin(id="k")
    run.define_metric("x", summary="max")
    run.log({"x": 1})
    run.finish()
    new = begin(resume_from="k?_step=0")
    new.log({"x": -1})
    assert new.summary["x"] == {"max": 1}


def test_step_metric_is_put_into_rows_that_lack_it(begin):
    run = begin(id="k")
    run.log({"epoch": 3})
    run.define_metric("loss", step_metric="epoch")
    run.define_metric("other", step_metric="epoch", step_sync=False)
    run.log({"loss": 1})
    run.log({"other": 1})
    run.log({"loss": 2, "epoch": 4})
    run.finish()
    new = begin(resume_from="k?_step=3")
    new.log({"loss": 5})
    assert [row.get("epoch") for row in new.history()] == [3, 3, None, 4, 4]
