"""Layouts: which states are plain columns, that they come back with their types, and that no file lies with one."""

from __future__ import annotations

import collections
import dataclasses
import json
import subprocess
import sys
import textwrap
import tracemalloc
import types
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pytest
from helpers.states import (
    STATES,
    Agent,
    Frozen,
    Inherited,
    Pair,
    Picky,
    Point,
    Slots,
    picky,
    trees,
    with_extra,
    with_secret,
)
from helpers.states import plain as plain_leaves
from hypothesis import given
from hypothesis import strategies as st

import rewind
from rewind.errors import StateClassError, StateError
from rewind.state import classes
from rewind.state import layout as layouts
from rewind.state.checkpoints import stack
from rewind.state.codec import StateCodec
from rewind.state.columns import is_text
from rewind.state.digest import digest
from rewind.state.keys import readable_name
from rewind.state.layout import MAX_COLUMNS, MAX_DEPTH, Layout
from rewind.state.nodes import Misfit
from rewind.storage.hdf5.container import is_name

pytestmark = pytest.mark.once  # nothing of it is in a kernel

T = TypeVar("T")


def types_of(value: Any) -> Any:
    """All that a value is besides its numbers: types, dtypes, orders in memory, keys."""
    if isinstance(value, np.ndarray):
        return type(value), value.dtype, value.shape, value.flags.f_contiguous, value.flags.c_contiguous
    if isinstance(value, dict):
        return dict, [(key, types_of(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [types_of(item) for item in value]
    if dataclasses.is_dataclass(value):
        return type(value), [types_of(getattr(value, f.name)) for f in dataclasses.fields(value)]
    return type(value)


def must_have(state: Any) -> Layout:
    layout = Layout.of(state)
    assert layout is not None
    return layout


def check_round_trip(state: Any) -> Layout:
    """A state comes back from its own row: by the layout itself, and by the one read from JSON."""
    layout = must_have(state)
    text = json.dumps(layout.to_json())
    again = Layout.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.columns == layout.columns
    row = layout.encode(state)
    for column, values in zip(layout.columns, row, strict=True):
        assert values.shape == column.shape
        assert values.dtype == column.dtype or (column.dtype.itemsize == 0 and values.dtype.kind == "S")
    for one in (layout, again):
        back = one.decode(row)
        assert digest(back) == digest(state)
        assert types_of(back) == types_of(state)
        assert [a.tobytes() for a in one.encode(back)] == [a.tobytes() for a in row]
    names = [column.name for column in layout.columns]
    assert len(set(names)) == len(names)
    for name in names:
        assert not any(other.startswith(name + "/") for other in names), "a dataset cannot be a group as well"
    return layout


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_a_state_comes_back_with_its_types(state):
    check_round_trip(state)


@given(trees)
def test_any_tree_comes_back_with_its_types(state):
    check_round_trip(state)


@given(st.lists(st.floats() | st.just(0.5), min_size=2, max_size=6), st.sampled_from([list, tuple]))
def test_a_list_of_numbers_takes_one_column(values, kind):
    layout = check_round_trip(kind(values))
    assert [(c.name, c.shape) for c in layout.columns] == [("state", (len(values),))]


def test_keys_keep_their_names_in_a_file_as_far_as_it_has_room_for_them():
    layout = must_have(STATES["odd keys"])
    assert [column.name for column in layout.columns] == [
        "a%2Fb",
        "%2E%2E",
        "key2",
        "key3",
        "key4",
        "ü",
        "a b",
        "-x",
        "%2E",
        "a",
        "A",
    ]
    layout = must_have(STATES["long keys"])
    assert [column.name for column in layout.columns] == ["x" * 100, "x" * 101, "x" * 64, "x" * 65]
    layout = must_have(dict.fromkeys(["größe", "温度", "a\0b", "x" * 200, "a\u200bb", "50 %"], 0))
    assert [column.name for column in layout.columns] == ["größe", "温度", "a%00b", "key3", "a%E2%80%8Bb", "50 %"]
    keys = [1, "1", 2.5, None, (0, "a"), b"x", np.int64(7), "a/b", "a%2Fb", "k"]
    layout = must_have(dict.fromkeys(keys, 0))
    assert [column.name for column in layout.columns] == [
        "key0",
        "1",
        "2.5",
        "None",
        "0,a",
        "x",
        "7",
        "a%2Fb",
        "key8",
        "k",
    ]


def test_layouts_of_files_of_version_1_keep_the_names_they_have_there():
    keys = ["a/b", "ü", "a", "key7", ""]
    layout = Layout.from_json({"dict": [[key, "int"] for key in keys]})
    assert [column.name for column in layout.columns] == ["key0", "key1", "a", "key3", "key4"]
    assert layout.to_json() == {"dict": [[key, "int"] for key in keys]} and layout.version == 1
    now = must_have(dict.fromkeys(keys, 1))
    assert [column.name for column in now.columns] == ["a%2Fb", "ü", "a", "key3", "key4"] and now.version == 2
    row = now.encode(dict.fromkeys(keys, 1))
    assert layout.decode(row) == now.decode(row) == dict.fromkeys(keys, 1)


@given(st.characters())
def test_a_name_is_one_that_the_container_admits(char):
    name = readable_name(f"a{char}") if is_text(char) else "a"
    assert is_name(name) and all(part.isprintable() for part in name)


KEYS = (
    st.integers(-(1 << 63), (1 << 63) - 1)
    | st.booleans()
    | st.none()
    | st.text(max_size=4)
    | st.binary(max_size=3)
    | st.floats(allow_nan=False)
    | st.sampled_from([np.int64(3), np.uint8(3), np.float32(0.5), np.bool_(True), np.str_("a")])
)
KEYS = KEYS | st.lists(KEYS, max_size=3).map(tuple)


@given(st.dictionaries(KEYS, plain_leaves, max_size=5), st.dictionaries(KEYS, plain_leaves, max_size=5))
def test_a_dict_of_any_keys_comes_back_with_their_order_and_types(state, other):
    layout = check_round_trip(state)
    try:
        row = layout.encode(other)
    except Misfit:
        return
    assert digest(layout.decode(row)) == digest(other)


def test_keys_that_are_equal_and_not_the_same_are_other_keys():
    for one, other in ((1, True), (1, 1.0), (0.0, -0.0), ((0, 1), (False, 1)), (1, np.int64(1)), ("a", np.str_("a"))):
        layout = must_have({one: 1})
        with pytest.raises(Misfit):
            layout.encode({other: 1})
        (key,) = layout.decode(layout.encode({one: 1}))
        assert type(key) is type(one) and digest(key) == digest(one)


@pytest.mark.parametrize("key", [float("nan"), object(), (1, object()), "\ud800", 1 << 63, np.longdouble(1), len])
def test_keys_that_no_file_holds_have_no_layout(key):
    assert Layout.of({key: 1}) is None
    assert Layout.of({"a": 1, key: 1}) is None


def test_a_dict_of_many_numbers_takes_one_column():
    layout = check_round_trip({i: float(i) for i in range(1000)})
    assert [(c.name, c.shape) for c in layout.columns] == [("state", (1000,))]
    layout = check_round_trip({"grid": {(i, i): {"x": i, "name": str(i)} for i in range(100)}})
    assert [c.name for c in layout.columns] == ["grid/x", "grid/name/value", "grid/name/length"]
    with pytest.raises(Misfit):
        layout.encode({"grid": {(i, i): {"x": i, "name": str(i)} for i in reversed(range(100))}})


# ---- leaves of several kinds


def wide_round_trip(first: Any, state: Any) -> Layout:
    layout = must_have(first)
    with pytest.raises(Misfit):
        layout.encode(state)
    wide = layout.widened(state)
    again = Layout.from_json(json.loads(json.dumps(wide.to_json())))
    assert again.columns == wide.columns and again.varies and again.version == 2
    assert again.first().to_json() == layout.to_json()
    row = wide.encode(state)
    for one in (wide, again):
        back = one.decode(row)
        assert digest(back) == digest(state) and types_of(back) == types_of(state)
    narrow, same = again.narrowed(row)
    assert narrow.to_json() == wide.to_json() and [a.tobytes() for a in same] == [a.tobytes() for a in row]
    base = wide.encode(first)
    narrow, same = wide.narrowed(base)
    assert digest(narrow.decode(same)) == digest(first) and not narrow.varies
    return wide


@pytest.mark.parametrize(
    ("first", "state", "columns"),
    [
        (0, 0.5, ["state/kind", "state/int", "state/float"]),
        (0.0, np.float64(0.5), ["state/kind", "state/float", "state/float64"]),
        ({"a": None}, {"a": 2.0}, ["a/kind", "a/float"]),
        ([0, 0, 0], [0, 0.5, None], ["state/kind", "state/int", "state/float"]),
        (np.zeros(3, "i8"), np.zeros(3), ["state/kind", "state/array_int64", "state/array_float64"]),
        (Agent(1, []), Agent(True, []), ["x/kind", "x/int", "x/bool"]),
        (
            (1, {"k": "x"}),
            (1, {"k": 1j}),
            ["0", "1/k/kind", "1/k/str/value", "1/k/str/length", "1/k/complex/real", "1/k/complex/imag"],
        ),
        (np.float32(1), np.array(1.0), ["state/kind", "state/float32", "state/array_float64"]),
        ({i: 0 for i in range(100)}, {i: i / 2 for i in range(100)}, ["state/kind", "state/int", "state/float"]),
        (None, np.zeros((2, 3), order="F"), ["state/kind", "state/array_float64"]),
        (None, {1, 2}, ["state/kind", "state/set/value", "state/set/length"]),
        (
            np.zeros(2, "M8[s]"),
            np.zeros(2, [("a", "f8")]),
            ["state/kind", "state/array_value", "state/array_value_1/a"],
        ),
    ],
)
def test_a_leaf_that_becomes_another_kind_of_leaf_has_columns_for_each(first, state, columns):
    assert [c.name for c in wide_round_trip(first, state).columns] == columns


@pytest.mark.parametrize(
    ("first", "state"),
    [
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        (np.zeros(2), np.zeros(3)),
        (1, [1]),
        ([1], {1}),
        (1, 1 << 64),
        (1, np.zeros(1)),
    ],
)
def test_what_changes_more_than_the_kind_of_a_leaf_is_a_misfit(first, state):
    with pytest.raises(Misfit):
        must_have(first).widened(state)


@given(st.data())
def test_states_whose_leaves_change_their_kinds_are_kept_exactly(data):
    scalars = plain_leaves | st.sampled_from([np.float64(0.5), np.int32(2), np.array(1.5), np.str_("x")])
    rows = data.draw(st.lists(st.tuples(scalars, scalars, scalars), min_size=1, max_size=4))
    states = [{"a": a, 1: (b, c)} for a, b, c in rows]
    codec = StateCodec.of(states[0])
    kept = stack(codec, [codec.encode(state) for state in states])
    assert not kept.pickles
    assert [kept.digest(i) for i in range(len(states))] == [digest(state) for state in states]
    assert [types_of(kept.restore(i)) for i in range(len(states))] == [types_of(state) for state in states]
    again = stack(codec, [kept.row(i) for i in range(kept.n)])
    assert (again.layout.to_json(), [c.tobytes() for c in again.columns]) == (
        kept.layout.to_json(),
        [c.tobytes() for c in kept.columns],
    )
    other_way = stack(codec, [codec.encode(state) for state in [states[0], *states[:0:-1]]])
    assert other_way.layout.to_json() == kept.layout.to_json()


def test_more_kinds_than_a_leaf_may_have_are_pickled():
    kinds = [0, 0.5, True, None, "x", b"y", 1j, np.int8(1), np.int16(1)]
    codec = StateCodec.of(0)
    kept = stack(codec, [codec.encode(value) for value in kinds])
    assert list(kept.pickles) == [8] and [kept.digest(i) for i in range(9)] == [digest(value) for value in kinds]


def test_columns_say_where_their_values_are():
    state = {"agents": [Agent(1.0, "a"), Agent(2.0, "b")], "p": (1, 2.0), "m": np.zeros(3, [("z", "c8"), ("a/b", "?")])}
    layout = must_have(state)
    assert [(c.name, c.dtype.str, c.shape) for c in layout.columns] == [
        ("agents/x", "<f8", (2,)),
        ("agents/tags/value", "|S0", (2,)),
        ("agents/tags/length", "<i8", (2,)),
        ("p/0", "<i8", ()),
        ("p/1", "<f8", ()),
        ("m/z/real", "<f4", (3,)),
        ("m/z/imag", "<f4", (3,)),
        ("m/part2", "|u1", (3,)),
    ]


# ---- what is no layout


class WithState:
    def __init__(self) -> None:
        self.x = 1


@dataclass
class OwnState:
    x: int = 1

    def __getstate__(self) -> Any:
        return {"x": -self.x}


@dataclass
class OwnNew:
    x: int = 1

    def __new__(cls, x: int = 1) -> OwnNew:
        return object.__new__(cls)


@dataclass
class OwnReduce:
    x: int = 1

    def __reduce__(self) -> Any:
        return OwnReduce, (self.x,)


class Sub(Pair):
    pass


class MyInt(int):
    pass


class MyArray(np.ndarray):
    pass


@dataclass
class Box(Generic[T]):
    x: Any = 1


def with_one_for_another() -> Agent:
    agent = with_extra()
    del agent.x  # the class still has its default
    return agent


def without_a_slot() -> Slots:
    slots = Slots(1, 2)
    del slots.y
    return slots


def nested(levels: int) -> Any:
    state: Any = 1
    for _ in range(levels):
        state = {"a": state}
    return state


NO_LAYOUT = {
    "an object": WithState(),
    "a dataclass with its own state": OwnState(),
    "a dataclass with its own new": OwnNew(),
    "a dataclass with its own reduce": OwnReduce(),
    "an attribute that is no field": with_extra(),
    "an attribute in place of a field": with_one_for_another(),
    "a field that is missing": without_a_slot(),
    "a slot that is no field": with_secret(),
    "a subclass of a namedtuple": Sub(1, 2),
    "a subclass of int": MyInt(1),
    "a subclass of ndarray": np.zeros(2).view(MyArray),
    "a generic class that remembers its parameter": Box[int](1),
    "an ordered dict": collections.OrderedDict(a=1),
    "a set of sets": {frozenset({1})},
    "keys that are objects": {len: 2},
    "keys that JSON cannot hold": {"\ud800": 1},
    "an int of 65 bits": 1 << 63,
    "an array of objects": np.array([None]),
    "long doubles": np.zeros(2, np.longdouble),
    "a record array": np.zeros(2, [("a", "f8")]).view(np.recarray),
    "records in a plain array": np.zeros(2, np.dtype((np.record, [("a", "f8")]))),
    "titles": np.zeros(2, np.dtype([(("t", "a"), "f8")])),
    "32 axes": np.zeros((1,) * 32),
    "a masked array": np.ma.zeros(2),
    "too many columns": {f"k{i}": i for i in range(MAX_COLUMNS + 1)},
    "too deep": nested(MAX_DEPTH + 1),
    "a function": len,
}


@pytest.mark.parametrize("state", NO_LAYOUT.values(), ids=NO_LAYOUT.keys())
def test_a_state_with_anything_else_in_it_has_no_layout(state):
    assert Layout.of(state) is None
    assert Layout.of({"inside": [state]}) is None


def test_the_limits_are_reached_and_not_missed():
    assert len(must_have({f"k{i}": i for i in range(MAX_COLUMNS)}).columns) == MAX_COLUMNS
    check_round_trip(nested(MAX_DEPTH))


SHARED = [1]
ARRAY = np.zeros(2)
ALIASES = {
    "a list": [SHARED, SHARED],
    "an array": {"a": ARRAY, "b": ARRAY},
    "a dataclass": [(a := Agent()), a],
    "a dict": {"a": (d := {"k": 1}), "b": [d]},
    "far apart": {"a": [{"b": ARRAY}], "c": (Frozen(ARRAY),)},
}


@pytest.mark.parametrize("state", ALIASES.values(), ids=ALIASES.keys())
def test_one_mutable_object_at_two_places_has_no_layout(state):
    assert Layout.of(state) is None


def test_what_cannot_change_may_be_at_two_places():
    text, pair = "x" * 100, (1, 2)
    check_round_trip([text, text, pair, pair, np.float64(1.0)])
    scalar = np.int64(7)
    check_round_trip({"a": scalar, "b": scalar})


MISFITS = {
    "int": (1, [1.0, True, None, "1", 1 << 63, np.int64(1), MyInt(1)]),
    "float": (1.0, [1, np.float64(1.0), None]),
    "text": ("x", [b"x", None, "\ud800", "x" * 65_537]),
    "bytes": (b"x", ["x", bytearray(b"x"), b"x" * 65_537]),
    "none": (None, [0, False]),
    "array": (
        np.zeros((2, 3)),
        [np.zeros((3, 2)), np.zeros((2, 3), "f4"), np.zeros((2, 3), order="F"), np.zeros((2, 3)).view(MyArray), 0.0],
    ),
    "array of text": (np.zeros(1, "U1"), [np.array([0xD800], "u4").view("U1"), np.array([0x110000], "u4").view("U1")]),
    "0-d array": (np.zeros(()), [np.float64(0), 0.0]),
    "numpy scalar": (np.float64(1), [1.0, np.float32(1), np.zeros(())]),
    "dict": (
        {"a": 1, "b": 2},
        [{"a": 1}, {"b": 2, "a": 1}, {"a": 1, "b": 2, "c": 3}, collections.OrderedDict(a=1, b=2)],
    ),
    "list": ([1, 2.0], [[1], (1, 2.0), [1, 2.0, 3], [2.0, 1]]),
    "packed list": ([1.0, 2.0], [[1.0], (1.0, 2.0), [1.0, 2], [1.0, np.float64(2)], []]),
    "packed arrays": ([np.zeros(2), np.zeros(2)], [[np.zeros(2), np.zeros(3)], [ARRAY, ARRAY]]),
    "dataclass": (
        Agent(),
        [Inherited(), Frozen(0.0, []), with_extra(), with_one_for_another(), {"x": 0.0, "tags": []}],
    ),
    "slots": (Slots(1, 2), [without_a_slot(), Slots(1, 2.0)]),
    "namedtuple": (Pair(1, 2), [(1, 2), Sub(1, 2), Point(1, 2), Pair(1, None)]),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_state_outside_its_layout_is_a_misfit(name):
    first, others = MISFITS[name]
    layout = must_have(first)
    for other in others:
        with pytest.raises(Misfit):
            layout.encode(other)
    layout.encode(first)


@given(trees, trees)
def test_a_layout_encodes_a_state_exactly_or_not_at_all(first, other):
    layout = must_have(first)
    try:
        row = layout.encode(other)
    except Misfit:
        return
    assert digest(layout.decode(row)) == digest(other)


def test_decoding_makes_new_objects_each_time():
    layout = must_have({"a": np.zeros(2), "l": [1.0, 2.0], "d": Agent()})
    row = layout.encode({"a": np.zeros(2), "l": [1.0, 2.0], "d": Agent()})
    one, two = layout.decode(row), layout.decode(row)
    one["a"][0] = 7
    one["l"][0] = 7.0
    one["d"].tags.append(7)
    assert digest(two) == digest({"a": np.zeros(2), "l": [1.0, 2.0], "d": Agent()})
    assert two["a"].flags.owndata and two["a"].flags.writeable


# ---- classes


def test_a_local_class_is_refused_with_advice():
    @dataclass
    class Local:
        x: int = 1

    class LocalPair(NamedTuple):
        x: int = 1

    for state in (Local(), [LocalPair()]):
        with pytest.raises(StateError, match="top level of a module, or pass codec="):
            Layout.of(state)


def test_a_class_that_was_replaced_under_its_name_is_refused(monkeypatch):
    state = Agent()
    monkeypatch.setattr(sys.modules[Agent.__module__], "Agent", Inherited)
    with pytest.raises(StateError, match="cannot be found again by its name"):
        Layout.of(state)


def test_a_class_with_other_fields_is_not_the_class_of_the_file():
    tree = must_have(Agent()).to_json()
    tree["dataclass"].reverse()
    with pytest.raises(StateClassError):
        Layout.from_json(tree).require_classes()


NAMES = [
    ("not_imported_anywhere:Thing", "from not_imported_anywhere import Thing"),
    ("not.imported:Outer.Inner", "from not.imported import Outer"),
    ("json.tool:Thing", "from json.tool import Thing"),
    ("__main__:Nobody", "define or import Nobody in your own script"),
    ("os:path", "from os import path"),
    ("os:path.join", "from os import path"),
    ("builtins:dict", "from builtins import dict"),
    (":", ""),
    ("", ""),
    (f"{Agent.__module__}:Agent.x", ""),
    (f"{Agent.__module__}:STATES.keys", ""),
    (f"{Agent.__module__}:<locals>.Agent", ""),
]


@pytest.mark.parametrize(("name", "advice"), NAMES)
@pytest.mark.parametrize("kind", ["dataclass", "namedtuple"])
def test_a_class_that_is_not_imported_is_named_with_its_import(name, advice, kind):
    before = set(sys.modules)
    layout = Layout.from_json({kind: [["x", "float"]], "class": name})
    for use in (layout.require_classes, lambda: layout.decode([np.array(1.0)])):
        with pytest.raises(StateClassError) as caught:
            use()
        assert isinstance(caught.value, ImportError)
        assert advice in str(caught.value)
    assert set(sys.modules) == before


class Trap(types.ModuleType):
    """A module that runs code when anything is asked of it, as a lazily imported one does."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


class TrapInstance:
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


def test_looking_for_a_class_runs_nothing(monkeypatch):
    lazy = types.ModuleType("lazy_module")
    exec("def __getattr__(name):\n    raise AssertionError(name)\nclass Empty:\n    pass", lazy.__dict__)
    lazy.__dict__["instance"] = TrapInstance()
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    monkeypatch.setitem(sys.modules, "trap_module", Trap("trap_module"))
    monkeypatch.setitem(sys.modules, "trap_instance", TrapInstance())
    for name in ("lazy_module:Thing", "lazy_module:Empty.x", "lazy_module:instance.x", "lazy_module:instance",
                 "trap_module:Thing", "trap_instance:Thing"):  # fmt: skip
        with pytest.raises(StateClassError):
            classes.find_class(name, "dataclass", ("x",))


def test_a_class_of_a_module_that_traps_questions_is_still_found(monkeypatch):
    trap = Trap("trap_module")
    object.__getattribute__(trap, "__dict__")["Agent"] = Agent
    monkeypatch.setitem(sys.modules, "trap_module", trap)
    assert classes.find_class("trap_module:Agent", "dataclass", ("x", "tags")) is Agent


def test_restoring_a_state_runs_no_code_of_its_class():
    layout = must_have(picky(1))
    back = layout.decode(layout.encode(picky(2)))
    assert type(back) is Picky and back.n == 2


def test_a_layout_in_another_process_asks_for_the_import_and_then_works(tmp_path):
    (tmp_path / "shapes.py").write_text("import dataclasses\n@dataclasses.dataclass\nclass Shape:\n    n: int = 3\n")
    script = textwrap.dedent("""
        import sys
        from rewind.state.layout import Layout
        from rewind.errors import StateClassError
        layout = Layout.from_json({"dataclass": [["n", "int"]], "class": "shapes:Shape"})
        try:
            layout.require_classes()
        except StateClassError as error:
            assert "from shapes import Shape" in str(error), error
        assert "shapes" not in sys.modules
        import numpy, shapes
        print(layout.decode([numpy.array(7)]))
    """)
    path = [str(tmp_path), *sys.path]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {path!r}\n{script}"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "Shape(n=7)\n", done.stderr


# ---- layouts out of files

HOSTILE = [
    [],
    1,
    1.5,
    True,
    "x",
    "int ",
    {},
    {"dict": 1},
    {"dict": [1]},
    {"dict": [["a"]]},
    {"dict": [["a", "int", 1]]},
    {"dict": [["a", "int"], ["a", "int"]]},
    {"dict": [[["a"], "int"]]},
    {"dict": [[1, "int"], [True, "int"]]},
    {"dict": [[1.5, "int"]]},
    {"dict": [[1 << 63, "int"]]},
    {"dict": [[{"str": "a"}, "int"]]},
    {"dict": [[{"str": ""}, "int"]]},
    {"dict": [[{"str": "a b"}, "int"], ["a b", "int"]]},
    {"dict": [[{"str": 1}, "int"]]},
    {"dict": [[{"str": "\ud800b"}, "int"]]},
    {"dict": [[{"float": "nan"}, "int"]]},
    {"dict": [[{"float": "1"}, "int"]]},
    {"dict": [[{"float": 1}, "int"]]},
    {"dict": [[{"tuple": 1}, "int"]]},
    {"dict": [[{"numpy": ["O", 1]}, "int"]]},
    {"dict": [[{"numpy": ["|u1", 300]}, "int"]]},
    {"dict": [[{"numpy": ["<f8", "nan"]}, "int"]]},
    {"dict": [[{"bytes": "0"}, "int"]]},
    {"dict": "int", "keys": [1, 1]},
    {"dict": "int", "keys": 5},
    {"dict": None, "keys": [1, 2]},
    {"dict": {"dtype": "<f8", "shape": [0]}, "keys": [1]},
    {"set": "list"},
    {"set": ["set"]},
    {"generator": "os.system"},
    {"generator": 5},
    {"one_of": []},
    {"one_of": ["int"]},
    {"one_of": ["int", "int"]},
    {"one_of": ["int", "float", "bool"]},
    {"one_of": ["int", {"list": ["int"]}]},
    {"one_of": ["int", {"one_of": ["int", "float"]}]},
    {"one_of": ["int", {"dtype": "<f8", "shape": [2]}]},
    {"one_of": 5},
    {"one_of": {"int": 1}},
    {"dict": [["a", "nope"]]},
    {"dict": {"ab": 1}},
    {"dict": "ab"},
    {"list": 1},
    {"list": "xy"},
    {"list": [], "tuple": []},
    {"list": "int", "length": -1},
    {"list": "int", "length": 1.0},
    {"list": "int", "length": True},
    {"list": "int", "length": 1 << 70},
    {"list": None, "length": 5},
    {"list": {"list": []}, "length": 1 << 39},
    {"list": {"dtype": "<f8", "shape": [0]}, "length": 1 << 39},
    {"tuple": {"dict": []}, "length": 1 << 39},
    {"dtype": "O"},
    {"dtype": "O", "shape": [1]},
    {"dtype": "<f8", "shape": [-1]},
    {"dtype": "<f8", "shape": 3},
    {"dtype": "<f8", "shape": [1.5]},
    {"dtype": "<f8", "shape": ["1"]},
    {"dtype": "<f8", "shape": [1 << 41]},
    {"dtype": "<f8", "shape": [1] * 32},
    {"dtype": "<f8", "shape": [2], "order": "K"},
    {"dtype": "<f8", "order": "F", "x": 1},
    {"dtype": {"fields": [], "itemsize": 1 << 30}, "shape": [1 << 39]},
    {"dtype": {"fields": [["a", "|u1", [], 0]], "itemsize": 1 << 30}, "shape": []},
    {"dtype": {"fields": [["a", "<f8", [0], 0]], "itemsize": 64}, "shape": [1 << 39]},
    {"dataclass": [["x", "int"]]},
    {"dataclass": [["x", "int"]], "class": 5},
    {"dataclass": [[1, "int"]], "class": "a:b"},
    {"dataclass": 5, "class": "a:b"},
    {"dataclass": [["x"]], "class": "a:b"},
    {"namedtuple": [], "class": "a:b", "z": 1},
    {"class": "a:b"},
    {"length": 3},
    {"shape": [3]},
    {"dict": [], "list": []},
    {"list": [{"list": [{"dict": [["a", []]]}]}]},
    {"list": [{"dtype": "<i8"}] * 501},
]


@pytest.mark.parametrize("tree", HOSTILE, ids=lambda tree: repr(tree)[:60])
def test_json_that_is_no_layout_is_a_value_error(tree):
    with pytest.raises(ValueError):
        Layout.from_json(tree)


def test_a_layout_nested_without_end_is_a_value_error():
    for wrap in (lambda t: {"list": [t]}, lambda t: {"list": t, "length": 2}, lambda t: {"dict": [["a", t]]}):
        tree: Any = "int"
        for _ in range(400):
            tree = wrap(tree)
        with pytest.raises(ValueError):
            Layout.from_json(tree)


words = st.sampled_from(
    [
        "int",
        "float",
        "str",
        "dict",
        "list",
        "tuple",
        "dtype",
        "shape",
        "order",
        "length",
        "class",
        "dataclass",
        "C",
        "<f8",
        "U",
        "|V9",
        "<M8[s]",
        "fields",
        "itemsize",
        "a:b",
        "F",
        "",
        "x/y",
    ]
)
numbers = st.integers(-2, 40) | st.sampled_from([1 << 31, 1 << 39, 1 << 62, 1 << 80])
any_json = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=15,
)
real_trees = st.sampled_from([must_have(state).to_json() for state in STATES.values()])


@st.composite
def mutated(draw):
    """The JSON of a real layout with one place changed."""
    tree = json.loads(json.dumps(draw(real_trees)))
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key, item in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            places.append((node, key))
            visit(item)

    visit(tree)
    if not places:
        return draw(any_json)
    node, key = draw(st.sampled_from(places))
    if draw(st.booleans()):
        node[key] = draw(any_json)
    else:
        del node[key]
    return tree


@given(any_json | mutated())
def test_any_json_is_a_layout_or_a_value_error_and_promises_no_more_than_it_stores(tree):
    try:
        layout = Layout.from_json(tree)
    except ValueError:
        return
    size = sum(column.dtype.itemsize * int(np.prod(column.shape, dtype=object)) for column in layout.columns)
    if size > 1 << 16:
        return
    row = [np.zeros(c.shape, c.dtype if c.dtype.itemsize else "S1") for c in layout.columns]
    tracemalloc.start()
    try:
        layout.decode(row)
    except StateClassError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 200 * size + 2_000_000


def test_the_names_of_the_limits_are_what_a_file_can_hold():
    from rewind.storage.hdf5.container import MAX_JSON_DEPTH, MAX_OBJECTS, MAX_PATH_DEPTH
    from rewind.storage.hdf5.messages import MAX_RANK, MAX_STRING

    assert layouts.MAX_RANK + 1 == MAX_RANK
    assert layouts.MAX_DEPTH + 4 < MAX_PATH_DEPTH
    assert 2 * MAX_COLUMNS < MAX_OBJECTS
    assert layouts.MAX_DEPTH * 3 + 8 * 3 + 3 <= MAX_JSON_DEPTH
    from rewind.state.columns import MAX_TEXT

    assert MAX_TEXT <= MAX_STRING


def test_field_names_that_numpy_keeps_as_its_own_text_are_columns():
    names = np.array(["x", "v"])
    dtype = np.dtype([(name, "f8") for name in names])
    assert {type(name) for name in dtype.names} == {np.str_}
    plain = np.dtype([(str(name), "f8") for name in names])
    run, want = (rewind.record(lambda s, rng: s, np.zeros(3, one), 8, 1, backend="numpy") for one in (dtype, plain))
    assert not run._recording.checkpoints.pickles and run.content_hash() == want.content_hash()
