"""Rows of a tracked run: at which step what is logged stands, and which values there are."""

from __future__ import annotations

import array
import base64
import copy
import datetime
import decimal
import enum
import fractions
import importlib
import json
import math
import pathlib
import uuid
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewind
from rewind.tracker.store.values import kept_value, restored, row_text

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


@pytest.fixture
def run(begin):
    return begin(id="k")


def rows(run):
    return [(row.pop("_step"), row) for row in run.history()]


# ---- where a row stands


def test_call_without_a_step_closes_its_row(run):
    for i in range(3):
        assert run.step == i
        run.log({"x": i})
    assert rows(run) == [(0, {"x": 0}), (1, {"x": 1}), (2, {"x": 2})]


def test_empty_call_takes_a_step(run):
    run.log({})
    run.log({"x": 1})
    assert rows(run) == [(0, {}), (1, {"x": 1})]


def test_uncommitted_call_leaves_the_row_open_for_more(run):
    run.log({"x": 1}, commit=False)
    assert run.step == 0 and rows(run) == []
    run.log({"y": 2}, commit=False)
    run.log({"z": 3})
    assert rows(run) == [(0, {"x": 1, "y": 2, "z": 3})] and run.step == 1


def test_step_above_the_current_one_writes_the_open_row_and_moves_there(run):
    run.log({"x": 1}, commit=False)
    run.log({"x": 2}, step=5)
    assert (run.step, rows(run)) == (5, [(0, {"x": 1})])
    run.log({"x": 3}, step=9)
    assert (run.step, rows(run)) == (9, [(0, {"x": 1}), (5, {"x": 2})])


def test_step_equal_to_the_current_one_merges_and_the_later_key_wins(run):
    run.log({"x": 1, "y": 1}, step=2)
    run.log({"x": 2, "z": 2}, step=2)
    run.log({"x": 3}, step=2, commit=True)
    assert rows(run) == [(2, {"y": 1, "z": 2, "x": 3})] and run.step == 3


def test_call_without_a_step_after_one_with_a_step_goes_into_its_row_and_closes_it(run):
    run.log({"a": 1}, step=5)
    run.log({"b": 2})
    assert rows(run) == [(5, {"a": 1, "b": 2})] and run.step == 6


def test_call_at_a_committed_step_is_dropped(run):
    run.log({"a": 1}, step=5, commit=True)
    with pytest.warns(rewind.DroppedWarning, match="step 5 is below the current step 6"):
        run.log({"b": 2}, step=5)
    assert rows(run) == [(5, {"a": 1})]


def test_gaps_stay_gaps(run):
    for step in (3, 10, 1000):
        run.log({"x": step}, step=step)
    run.finish()
    assert rows(run) == [(3, {"x": 3}), (10, {"x": 10}), (1000, {"x": 1000})]
    assert [row["_step"] for row in run.history(min_step=4, max_step=1000)] == [10]


@pytest.mark.parametrize("step", [7, 7.0, np.int64(7), np.float32(7)])
def test_step_in_the_data_is_the_step(run, step):
    run.log({"_step": step, "x": 1})
    run.log({"y": 2}, step=7, commit=True)
    run.log({"_step": 9, "x": 3}, step=9, commit=True)
    assert rows(run) == [(7, {"x": 1, "y": 2}), (9, {"x": 3})] and run.summary["_step"] == 9
    with pytest.warns(rewind.DroppedWarning, match="step 4 is below the current step 10"):
        run.log({"_step": 4, "x": 4})


def test_rows_of_one_history_can_be_logged_to_another_run(begin, run):
    for step in (0, 3, 10):
        run.log({"x": step, "deep": {"y": 1}}, step=step)
    run.finish()
    other = begin()
    for row in run.history():
        other.log(row)
    other.finish()
    assert other.history() == run.history()


@pytest.mark.parametrize("step", [1.5, "1", None, True, math.nan, [1], object()])
def test_step_in_the_data_that_is_no_integer_is_refused_and_nothing_is_logged(run, step):
    with pytest.raises(rewind.ArgumentTypeError, match="_step in data is .*an integer"):
        run.log({"x": 1, "_step": step})
    assert run.step == 0 and rows(run) == []


def test_step_in_the_data_that_is_another_one_than_that_of_the_call_is_refused(run):
    with pytest.raises(rewind.ArgumentError, match="_step in data is 3; expected the step of the call, 4"):
        run.log({"x": 1, "_step": 3}, step=4)
    assert run.step == 0 and rows(run) == []


@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
def test_row_rule_begins_after_the_kept_step(begin, run, way):
    for i in range(6):
        run.log({"x": i})
    run.finish()
    new = begin(**{way: "k?_step=3"})
    assert new.step == new.starting_step == 4
    with pytest.warns(rewind.DroppedWarning, match="step 3 is below the current step 4"):
        new.log({"x": 30}, step=3)
    new.log({"x": 40}, step=4)
    new.log({"x": 70}, step=7)
    new.finish()
    assert rows(new) == [(0, {"x": 0}), (1, {"x": 1}), (2, {"x": 2}), (3, {"x": 3}), (4, {"x": 40}), (7, {"x": 70})]


@pytest.mark.parametrize("step", [4, 0, -1, -(10**30), np.int64(3)])
def test_step_below_the_current_one_warns_once_per_step_and_drops_the_call(run, step):
    run.log({"x": 1}, step=5)
    with pytest.warns(rewind.DroppedWarning, match=f"step {step} is below the current step 5") as caught:
        run.log({"x": 2}, step=step)
    assert caught[0].filename == __file__ and len(caught) == 1
    run.log({"x": 3}, step=step)  # a second warning would be an error
    if step != 2:
        with pytest.warns(rewind.DroppedWarning, match="step 2"):
            rewind.log({"x": 3}, step=2)
    run.finish()
    assert rows(run) == [(5, {"x": 1})]


def test_step_below_the_current_one_is_an_error_where_that_is_asked_for(begin):
    run = begin(on_dropped="raise")
    run.log({"x": 1}, step=5)
    for _ in range(2):
        with pytest.raises(rewind.DroppedError, match="resume_from") as caught:
            run.log({"x": 2, "y": 1}, step=4)
        assert (caught.value.step, caught.value.current) == (4, 5)
    run.log({"z": 1}, step=5)
    run.finish()
    assert rows(run) == [(5, {"x": 1, "z": 1})]


# ---- what cannot be logged


@pytest.mark.parametrize("data", [None, 5, "x", [("x", 1)], [1], {1, 2}, object(), b"x", lambda: {}])
def test_what_is_no_dict_is_refused(run, data):
    with pytest.raises(rewind.ArgumentTypeError, match="data is .*a dict of names to values"):
        run.log(data)
    assert run.step == 0 and rows(run) == []


@pytest.mark.parametrize(
    "data", [{1: 2}, {"x": 1, None: 2}, {b"x": 1}, {("a",): 1}, {"a": {1: 2}}, {"a": {"b": {2: 3}}}]
)
def test_key_that_is_no_text_is_refused_and_nothing_is_logged(run, data):
    for options in ({}, {"step": 5}, {"step": 5, "commit": True}, {"commit": False}):
        with pytest.raises(rewind.ArgumentTypeError, match=r"a key of (data|a|a\.b) is"):
            run.log(data, **options)
        assert run.step == 0
    run.finish()
    assert rows(run) == []


@pytest.mark.parametrize("step", [1.0, 1.5, "1", True, np.True_, np.float64(1), [1], math.nan, 1j, b"1"])
def test_step_that_is_no_integer_is_refused(run, step):
    with pytest.raises(rewind.ArgumentTypeError, match="step is .*an integer"):
        run.log({"x": 1}, step=step)
    assert run.step == 0 and rows(run) == []


def test_step_is_any_integer(run):
    run.log({"x": 1}, step=np.uint8(3), commit=True)
    run.log({"x": 2}, step=np.int64(4), commit=True)
    assert rows(run) == [(3, {"x": 1}), (4, {"x": 2})]


class Odd:
    def __repr__(self):
        return "<odd>"


@pytest.mark.parametrize(
    "value",
    [
        Odd(), [1, Odd()], {"a": [Odd()]}, np.array([Odd()]), lambda: 1, open, np.array(["a", 1], object), {Odd(): 1},
        [{1: 2}], (i for i in [1]), np.zeros((2, 2), [("a", int)]), Odd,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_value_that_cannot_be_kept_is_named_and_the_rest_of_the_row_is_kept(run, value):
    data = {"a": 1, "deep": {"odd": value} if not (isinstance(value, dict) and Odd not in map(type, value)) else value}
    if isinstance(value, dict) and Odd in map(type, value):
        data["deep"] = {"odd": [value]}
    with pytest.raises(
        rewind.LogValueError, match=r"cannot log 'deep\.(odd|a)'.*the rest of this call was logged"
    ) as caught:
        run.log({**data, "z": 2})
    assert caught.value.keys in (("deep.odd",), ("deep.a",)) and isinstance(caught.value, TypeError)
    run.log({"x": 3})
    assert rows(run) == [(0, {"a": 1, "z": 2}), (1, {"x": 3})]


def test_several_values_that_cannot_be_kept_are_all_named(run):
    with pytest.raises(rewind.LogValueError, match="'a', which is <odd> .*'b', which is <odd>"):
        run.log({"a": Odd(), "b": Odd(), "c": 1}, step=4)
    run.finish()
    assert rows(run) == [(4, {"c": 1})]


def test_dict_that_holds_itself_cannot_be_kept(run):
    data = {"x": 1}
    data["self"] = data
    with pytest.raises(rewind.LogValueError):
        run.log(data)
    inside = []
    inside.append(inside)
    with pytest.raises(rewind.LogValueError, match="'list'"):
        run.log({"list": inside})
    assert rows(run)[1] == (1, {}) and rows(run)[0][1]["x"] == 1


# ---- values

PLAIN = [
    0, 1, -1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400, 1 << 20_000, -(1 << 20_000),
    True, False, None,
    0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf, 1e22, 1 / 3,
    1j, complex(-0.0, math.nan),
    "", "text", "ä€😀", "\ud800", "a\x00b\n\"'\\", b"", b"\x00\xff", [], [1, [2, [3.5, None]]],
    [math.nan, -math.inf, 1 << 20_000],
    [{"a": 1, "b": [math.nan]}], [{"float": "nan"}], ["\udfff"],
]  # fmt: skip


def exact(value):
    """Return text that tells all of them apart."""
    if isinstance(value, (list, tuple)):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        long = value.dtype.char in "gG"  # its padding is whatever was in memory
        return value.dtype.str, value.shape, [repr(x) for x in value.flat] if long else value.tobytes()
    return type(value), hex(value) if type(value) is int else repr(value)


@pytest.mark.parametrize("value", PLAIN, ids=[f"{i}" for i in range(len(PLAIN))])
def test_value_comes_back_as_it_was(run, value):
    run.log({"x": value})
    assert exact(run.history()[0]["x"]) == exact(value)
    if value is not None:
        assert exact(run.summary["x"]) == exact(value)
    run.finish()
    seen = rewind.Tracker(run.dir).run("k")
    assert exact(seen.history()[0]["x"]) == exact(value)
    assert exact(seen.summary) == exact({"x": value, "_step": 0} if value is not None else {"_step": 0})


class Size(enum.IntEnum):
    BIG = 3


class Color(str, enum.Enum):
    RED = "red"


class Fruit(enum.Enum):
    APPLE = fractions.Fraction(3, 2)
    PEAR = object()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.1), 0.1), (np.float32(0.1), float(np.float32(0.1))), (np.float16(1.5), 1.5), (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1), (np.bool_(True), True), (np.array(2.5), 2.5), (np.array(7), 7),
        (np.array(math.nan), math.nan), (np.complex128(1j), 1j), (np.str_("a long enough text"), "a long enough text"),
        (np.bytes_(b"a long enough text"), b"a long enough text"), (Size.BIG, 3), (Color.RED, "red"), ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]), ({"", "b", "a"}, ["", "a", "b"]), (bytearray(b"x"), b"x"), (memoryview(b"x"), b"x"),
        ([np.float32(0.5), np.int64(3)], [0.5, 3]), (Fruit.APPLE, 1.5), ([Fruit.PEAR], ["PEAR"]),
        (datetime.datetime(2024, 5, 6, 7, 8, 9, 10), "2024-05-06T07:08:09.000010"),
        (datetime.date(2024, 5, 6), "2024-05-06"),
        (datetime.datetime(2024, 5, 6, tzinfo=datetime.timezone.utc), "2024-05-06T00:00:00+00:00"),
        (datetime.time(7, 8), "07:08:00"), (datetime.timedelta(minutes=1.5), 90.0), (decimal.Decimal("0.1"), 0.1),
        (decimal.Decimal("-Infinity"), -math.inf), (decimal.Decimal("sNaN"), math.nan),
        (decimal.Decimal("1e999"), "1E+999"), (fractions.Fraction(1, 3), 1 / 3),
        (fractions.Fraction(10**400), str(10**400)), (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    ],
)  # fmt: skip
def test_value_of_another_type_is_the_plain_one(run, value, plain):
    run.log({"x": value})
    assert exact(run.history()[0]["x"]) == exact(plain)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3), np.array([], np.float32), np.zeros((0, 3)), np.array([True, False]),
        np.arange(4, dtype=">i2"), np.array([1j, math.nan]), np.array(["a", "long"]), np.array([b"x"]),
        np.array(["2020-01-01"], "M8[D]"), np.array([math.nan, -0.0, math.inf]), np.arange(10)[::-3], np.ones((2, 2)).T,
        np.longdouble(1) / 3, np.array([1.5], np.longdouble), np.array("0-d text"),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}",
)  # fmt: skip
def test_array_is_stored_as_an_array(run, value):
    run.log({"x": value, "list": [value]})
    found = run.history()[0]
    for one in (found["x"], found["list"][0], run.summary["x"]):
        assert exact(np.asarray(one)) == exact(np.asarray(value))


@pytest.mark.parametrize("dtype", ["g", "G", "<g", ">g", ">G"])
def test_padding_of_long_doubles_is_not_stored(dtype):
    x, y = (np.array([1.5, -2.5, math.inf], dtype) for _ in range(2))
    if np.finfo(np.longdouble).nmant == 63:  # 10 bytes are the value
        raw = y.view(np.uint8).reshape(-1, np.dtype("g").itemsize)
        (raw[:, 10:] if y.dtype.isnative else raw[:, :-10])[...] = 255
        assert y.tobytes() != x.tobytes() and y.tolist() == x.tolist()
    assert kept_value(x) == kept_value(y)
    assert kept_value(x[:0]) == kept_value(y[:0])
    assert kept_value(x[1:2].reshape(())) == kept_value(y[1:2].reshape(()))
    back = np.frombuffer(base64.b64decode(kept_value(y[::-2])["ndarray"][2]), dtype)
    assert back.tolist() == [math.inf, 1.5]


def test_array_that_is_read_is_the_callers_own(run):
    run.log({"x": np.zeros(3)})
    run.history()[0]["x"][:] = 1
    assert run.history()[0]["x"].tolist() == [0, 0, 0]


def test_array_of_another_library_is_an_array(run):
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3)

    run.log({"x": Tensor(), "y": memoryview(array.array("B", [1, 2]))})
    assert run.history()[0]["x"].tolist() == [0, 1, 2] and run.history()[0]["y"] == b"\x01\x02"


class Torch:
    """What a tensor of torch says: numpy() with force=True gives its numbers, but for types that numpy lacks."""

    def __init__(self, array, kind="float32"):
        self.array, self.kind = array, kind

    def detach(self):
        return self

    def is_floating_point(self):
        return self.kind != "complex32"

    def float(self):
        return Torch(self.array.astype(np.float32))

    def numpy(self, *, force=False):
        if not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.kind != "float32":
            raise TypeError(f"Got unsupported ScalarType {self.kind}")
        return self.array

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


def test_tensor_is_its_numbers_wherever_it_is_and_whatever_its_type(run):
    run.log(
        {"loss": Torch(np.array(0.5, np.float32)), "low": Torch(np.array(1.5), "BFloat16"), "b": [Torch(np.array(2.0))]}
    )
    run.log({"x": Torch(np.array([1.0, -2.0]), "Float8_e4m3fn")})
    (_, scalars), (_, arrays) = rows(run)
    assert exact(scalars) == exact({"loss": 0.5, "low": 1.5, "b": [2.0]})
    assert arrays["x"].dtype == np.float32 and arrays["x"].tolist() == [1.0, -2.0]
    with pytest.raises(rewind.LogValueError, match="'x'"):
        run.log({"x": Torch(np.array([1j]), "complex32")})


def test_numbers_of_a_type_that_a_library_registers_are_float32(run):
    # As ml_dtypes, which jax and tensorflow use, registers bfloat16 and the floats of 8 bits.
    name = "numpy._core._rational_tests" if hasattr(np, "_core") else "numpy.core._rational_tests"
    rational = importlib.import_module(name).rational
    array = np.array([rational(1, 2), rational(-3, 4)])
    run.log({"x": array[0], "a": array, "zero": np.array(rational(5, 1))})
    ((_, row),) = rows(run)
    assert exact(row) == exact({"x": 0.5, "a": np.array([0.5, -0.75], np.float32), "zero": 5.0})


def test_table_keeps_the_names_of_its_columns(run):
    DataFrame = type("DataFrame", (), {  # no mapping
        "columns": ("a", "name"), "itertuples": None, "__array__": lambda self: np.zeros((2, 2)),
        "__getitem__": lambda self, name: {"a": np.array([1.5, 2.5]), "name": np.array(["x", None], object)}[name],
    })  # fmt: skip
    run.log({"frame": DataFrame(), "array": np.array([(1, 0.5), (2, 1.5)], [("n", int), ("x", float)])})
    run.summary["best"] = DataFrame()
    row = run.history()[0]
    assert row["frame"]["a"].tolist() == [1.5, 2.5] and row["frame"]["name"] == ["x", None]
    assert row["array"]["n"].tolist() == [1, 2] and row["array"]["x"].tolist() == [0.5, 1.5]
    assert run.summary["best"]["name"] == ["x", None]


def test_nested_dicts_become_dotted_keys(run):
    run.log({"a": {"b": {"c": 1}, "d": 2}, "e": {}, "f.g": 3, "": {"": 4}})
    assert rows(run) == [(0, {"a.b.c": 1, "a.d": 2, "e": {}, "f.g": 3, ".": 4})]


@pytest.mark.parametrize(
    "data", [{"a": {"b": 1}, "a.b": 2}, {"a.b": Ellipsis, "a": {"b": 1}}, {"a.b": {"c": 1}, "a": {"b.c": 1}}]
)
def test_name_in_two_spellings_is_refused_and_nothing_is_logged(run, data):
    with pytest.raises(rewind.ArgumentError, match=r"a name in data is 'a\.b.*; expected each name once"):
        run.log({"x": 1, **data}, step=3)
    assert run.step == 0 and rows(run) == []


def test_keys_are_any_text(run):
    data = {"ä": 1, "\ud800": 2, "": 3, " ": 4, "a\x00": 5, '"': 6, "x" * 10_000: 7, "float": 8}
    run.log(data)
    run.finish()
    assert rows(run) == [(0, data)]


def test_dict_of_the_caller_is_never_changed(run):
    data = {"a": {"b": {}, "c": [1, {"d": 2}]}, "_step": 0, "n": np.float32(1), "s": {1}}
    before = copy.deepcopy(data)
    run.log(data)
    run.log(data, commit=False)
    run.log({"more": 1})
    assert data == before


def test_what_the_caller_changes_after_the_call_changes_nothing(run):
    data = {"a": {"b": [1, [2]]}, "x": np.zeros(2), "y": bytearray(b"ab")}
    run.log(data, commit=False)
    data["a"]["b"][1].append(3)
    data["a"]["c"] = 1
    data["x"][:] = 7
    data["y"][0] = 0
    data["z"] = 1
    run.log({})
    ((_, row),) = rows(run)
    assert (
        row["a.b"] == [1, [2]] and row["x"].tolist() == [0, 0] and row["y"] == b"ab" and set(row) == {"a.b", "x", "y"}
    )


def test_none_is_kept_in_the_row_and_absent_from_the_summary(run):
    run.log({"x": None, "y": 1})
    assert rows(run) == [(0, {"x": None, "y": 1})] and dict(run.summary) == {"y": 1, "_step": 0}


def test_any_mapping_is_a_dict(run):
    class Mine(dict):
        pass

    import types

    run.log(types.MappingProxyType({"a": Mine(b=1)}))
    assert rows(run) == [(0, {"a.b": 1})]


leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
tree = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@given(tree)
def test_any_tree_of_plain_values_comes_back(value):
    kept = kept_value(value)
    text = row_text({"x": kept})
    text.encode("ascii")
    assert exact(restored(json.loads(text)["x"])) == exact(value)


@given(st.dictionaries(st.text(), st.floats() | st.integers() | st.text(), max_size=5))
def test_text_of_a_row_is_what_json_gives(row):
    import json

    text = row_text(row)
    assert list(json.loads(text)) == list(row)
    if not any(isinstance(value, float) and not math.isfinite(value) for value in row.values()):
        assert text == json.dumps(row, separators=(",", ":"))


def test_logging_warns_of_nothing(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(2000):
            run.log({"x": i, "y": i * 0.5}, step=i * 2)
    assert len(run.history()) == 1999  # the last one is open


def test_dicts_that_hold_themselves_or_branch_without_end_are_refused_and_the_rest_is_kept(run):
    ring = {"a": 1}
    ring["b"] = ring["c"] = ring
    wide = {"x": 0}
    for _ in range(60):
        wide = {"l": wide, "r": wide}
    with pytest.raises(rewind.LogValueError):
        run.log({"ring": ring, "kept": 1})
    with pytest.raises(rewind.ArgumentError, match="over 100,000"):
        run.log({"wide": wide, "kept": 2})
    assert [row["kept"] for row in run.history()] == [1]


def test_what_is_under_a_mask_is_missing(run):
    run.log({"a": np.ma.masked, "b": np.ma.array([1, 2], mask=[True, False]), "c": [np.ma.masked, 1]})
    row = run.history()[-1]
    assert math.isnan(row["a"]) and math.isnan(row["b"][0]) and row["b"][1] == 2 and math.isnan(row["c"][0])
    with pytest.raises(rewind.LogValueError):
        run.log({"x": np.ma.array(["a", "b"], mask=[True, False])})
    run.log({"x": np.ma.array([1, 2]), "y": np.longdouble(0.5)})
    assert run.history()[-1]["x"].tolist() == [1, 2] and type(run.history()[-1]["y"]) is float
    assert [row["_step"] for row in run.history()] == [0, 1, 2]


def test_an_object_whose_attributes_fail_is_named(run):
    class Odd:
        def __getattr__(self, name):
            raise KeyError(name)

    with pytest.raises(rewind.LogValueError, match="'x'"):
        run.log({"x": Odd(), "y": 1})
    assert run.history() == [{"_step": 0, "y": 1}]


def test_steps_of_a_history_are_asked_for_by_any_integer(run):
    run.log({"x": 1})
    assert run.history(min_step=10**30) == run.history(max_step=-(10**30)) == run.logs(min_step=10**30) == []
    assert len(run.history(min_step=-(10**30), max_step=10**30)) == 1
    with pytest.raises(rewind.ArgumentTypeError):
        run.history(5)
