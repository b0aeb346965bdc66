"""Any numpy dtype becomes plain columns, and the columns become the same array again."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rewind.state.columns import MAX_TEXT, UnsupportedDtype, as_restored, dtype_from_json, dtype_to_json, merged, parts
from rewind.state.digest import digest

pytestmark = pytest.mark.once  # nothing of it is in a kernel

KINDS = {
    "bool": "?",
    "integers": "i1 i2 i4 i8 u1 u2 u4 u8 >i2 >i4 >i8 >u2 >u4 >u8",
    "floats": "f2 f4 f8 >f2 >f4 >f8",
    "complex": "c8 c16 >c8 >c16",
    "bytes": "S1 S7",
    "text": "U1 U5 >U3",
    "datetimes": "M8[s] M8[ns] M8[25us] M8[D] M8 >M8[ms] m8[s] m8[7D] >m8[h]",
    "void": "V1 V8 V13",
}
DTYPES = [np.dtype(text) for texts in KINDS.values() for text in texts.split()]
ALIGNED = np.dtype([("flag", "?"), ("x", "f8"), ("n", "i2")], align=True)
STRUCTURED = {
    "flat": np.dtype([("x", "f8"), ("n", "i4")]),
    "nested": np.dtype([("a", [("b", [("z", "c16"), ("ok", "?")]), ("n", ">i4")]), ("t", "M8[s]")]),
    "subarrays": np.dtype([("grid", "f4", (2, 3)), ("inner", [("z", "c8", (2,))], (2,)), ("name", "U3", (2,))]),
    "aligned with padding": ALIGNED,
    "odd offsets": np.dtype({"names": ["a", "b"], "formats": ["f8", "i4"], "offsets": [3, 17], "itemsize": 25}),
    "fields out of order": np.dtype({"names": ["a", "b"], "formats": ["i4", "i8"], "offsets": [8, 0]}),
    "one byte at two names": np.dtype({"names": ["a", "b"], "formats": ["u4", "u1"], "offsets": [0, 0]}),
    "some fields of another": np.dtype({"names": ["x"], "formats": ["f8"], "offsets": [8], "itemsize": 24}),
    "odd names": np.dtype([("a/b", "i4"), ("a", "c16"), ("", "f4"), ("é", "u1"), ("part0", "i8"), ("..", "?")]),
    "an empty subarray": np.dtype([("none", "f8", (0,)), ("one", "u1")]),
    "bytes and void": np.dtype([("raw", "V3"), ("text", "S5")]),
}


def random_array(data, dtype, shape):
    """Any bits there are, NaN payloads, NaT and odd bytes included; booleans and text as numpy makes them."""
    array = np.zeros(shape, dtype)
    fill(data, array)
    return array


def fill(data, array):
    if array.dtype.names is not None:
        for name in array.dtype.names:
            fill(data, array[name])
    elif array.dtype.kind == "b":
        array[...] = data.draw(hnp.arrays("?", array.shape))
    elif array.dtype.kind == "U":
        characters = st.characters(exclude_categories=["Cs"])
        strings = st.text(characters, max_size=array.dtype.itemsize // 4)
        for index in np.ndindex(array.shape):
            array[index] = data.draw(strings)
    else:
        raw = data.draw(st.binary(min_size=array.nbytes, max_size=array.nbytes))
        array[...] = np.frombuffer(raw, array.dtype).reshape(array.shape)


def through(array, order="C"):
    """Return `array` split into plain parts and merged again; the parts are what a file may hold."""
    plan = parts(array.dtype)
    plain = []
    for part in plan:
        column = part.split(array)
        assert column.shape == (*array.shape, *part.extra)
        assert column.dtype == part.plain
        assert part.plain.kind in "iufS" and part.plain.itemsize > 0 and part.plain == part.plain.newbyteorder("<")
        plain.append(column)
    return merged(array.dtype, array.shape, order, plain, plan)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and digest(a) == digest(b)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=25)  # for each of many dtypes
@given(data=st.data(), shape=st.sampled_from([(), (1,), (3,), (2, 2), (0,), (2, 0)]))
def test_every_bit_of_a_plain_dtype_comes_back(dtype, data, shape):
    array = random_array(data, dtype, shape)
    back = through(array)
    assert same(array, back)
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", STRUCTURED.values(), ids=STRUCTURED.keys())
@settings(max_examples=25)  # for each of many dtypes
@given(data=st.data(), shape=st.sampled_from([(), (1,), (3,), (2, 2), (0,)]))
def test_every_field_of_a_structured_dtype_comes_back(dtype, data, shape):
    array = random_array(data, dtype, shape)
    if array.dtype.names == ("a", "b") and array.dtype.fields["b"][1] == 0:
        array["b"] = array["b"]  # fields that overlap were filled in this order
    assert same(array, through(array))


@given(data=st.data(), dtype=hnp.nested_dtypes(max_itemsize=200))
def test_a_dtype_nobody_thought_of_comes_back_or_is_refused(data, dtype):
    try:
        restored = as_restored(dtype)
        parts(dtype)
    except UnsupportedDtype:
        return
    assert digest(restored) == digest(dtype)
    array = random_array(data, dtype, (2,))
    assert same(array, through(array))


def test_padding_is_zero_so_equal_arrays_are_equal_bytes():
    noisy = np.frombuffer(bytearray(b"\xff" * ALIGNED.itemsize * 2), ALIGNED)  # numpy copies no padding
    noisy["flag"], noisy["x"], noisy["n"] = True, 1.5, -2
    clean = np.zeros(2, ALIGNED)
    clean["flag"], clean["x"], clean["n"] = True, 1.5, -2
    assert noisy.tobytes() != clean.tobytes()
    assert through(noisy).tobytes() == through(clean).tobytes() == clean.tobytes()


@pytest.mark.parametrize("payload", [0x7FF8_0000_0000_0001, 0xFFF8_DEAD_BEEF_0000, 0x7FF0_0000_0000_0001])
@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_a_nan_keeps_its_payload(payload, dtype):
    array = (
        np.array([payload], "<u8").view("<f8").astype(dtype, copy=True)
        if dtype == "<f8"
        else (np.array([payload], ">u8").view(">f8"))
    )
    assert through(array).tobytes() == array.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_order_in_memory_is_the_one_asked_for(order):
    array = np.arange(6.0).reshape(2, 3)
    back = through(array, order)
    assert back.flags.c_contiguous == (order == "C")
    assert back.flags.f_contiguous == (order == "F")
    assert back.tolist() == array.tolist()


def test_a_view_with_strides_comes_back_as_its_values():
    array = np.arange(40, dtype=">i4").reshape(5, 8)[::-2, 1::3]
    assert through(array).tolist() == array.tolist()


@pytest.mark.parametrize("text", ["", "abc", "äöü", "日本語", "🦊🦊🦊", "a\0b", "\x7f\x80"])
def test_text_comes_back_whatever_its_characters(text):
    array = np.array([text, ""], f"U{max(1, len(text))}")
    assert through(array).tobytes() == array.tobytes()


def test_text_that_is_no_unicode_is_a_value_error():
    for code in (0x110000, 0x7FFFFFFF, 0xD800):
        array = np.array([code], "u4").view("U1")
        with pytest.raises(ValueError):
            parts(array.dtype)[0].split(array)


UNSUPPORTED = {
    "objects": np.dtype(object),
    "objects in a field": np.dtype([("x", "f8"), ("o", object)]),
    "long double": np.dtype(np.longdouble),
    "complex long double": np.dtype(np.clongdouble),
    "no bytes": np.dtype("S0"),
    "no text": np.dtype("U0"),
    "no void": np.dtype("V0"),
    "text that is too long": np.dtype(f"S{MAX_TEXT + 1}"),
    "no fields": np.dtype([]),
    "little but padding": np.dtype({"names": ["a"], "formats": ["u1"], "itemsize": 4096}),
    "nothing but padding": np.dtype({"names": ["a"], "formats": [("f8", (0,))], "itemsize": 4096}),
}


@pytest.mark.parametrize("dtype", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_a_dtype_without_plain_parts_is_refused(dtype):
    with pytest.raises(UnsupportedDtype):
        parts(dtype)


def deep(levels):
    dtype = np.dtype("f8")
    for _ in range(levels):
        dtype = np.dtype([("a", dtype)])
    return dtype


LOSSY = {
    "titles": np.dtype([(("a title", "a"), "f8")]),
    "a record": np.dtype((np.record, [("a", "f8")])),
    "a record in a field": np.dtype([("a", np.dtype((np.record, [("b", "f8")])))]),
    "fields in fields in fields": deep(9),
    "names that JSON cannot hold": np.dtype([("\ud800", "f8")]),
    "objects": np.dtype(object),
}


@pytest.mark.parametrize("dtype", LOSSY.values(), ids=LOSSY.keys())
def test_a_dtype_that_a_file_would_change_is_refused(dtype):
    with pytest.raises(UnsupportedDtype):
        as_restored(dtype)


def test_what_is_no_part_of_a_value_is_dropped_at_once_and_not_at_the_first_save():
    marked = np.dtype("f8", metadata={"unit": "m"})
    assert marked.metadata and not as_restored(marked).metadata
    assert ALIGNED.isalignedstruct and not as_restored(ALIGNED).isalignedstruct


@pytest.mark.parametrize("dtype", [*DTYPES, *STRUCTURED.values(), deep(8)], ids=str)
def test_a_dtype_comes_back_from_json(dtype):
    text = json.dumps(dtype_to_json(dtype))
    back = dtype_from_json(json.loads(text))
    assert back == dtype and digest(back) == digest(dtype)
    assert json.dumps(dtype_to_json(back)) == text


HOSTILE = [
    "O",
    "|O",
    "f16",
    "float64",
    "f8,f8",
    "(1000000000,)f8",
    "<f8 ",
    "=f8",
    "U-1",
    "S99999999999999999999",
    "",
    "None",
    "<M8[fortnight]",
    "<m8",
    "<M8[-5s]",
    "<V4294967296",
    "object",
    "record",
    "a10",
    "<c32x",
    "[('a','O')]",
    None,
    1,
    1.5,
    True,
    [],
    ["<f8"],
    {},
    {"fields": []},
    {"fields": [], "itemsize": -1},
    {"fields": [], "itemsize": 1 << 60},
    {"fields": [["a", "O", [], 0]], "itemsize": 8},
    {"fields": [["a", "<f8", [], 0]], "itemsize": 4},
    {"fields": [["a", "<f8", [], 9]], "itemsize": 8},
    {"fields": [["a", "<f8", [], -1]], "itemsize": 8},
    {"fields": [["a", "<f8", [1 << 40], 0]], "itemsize": 8},
    {"fields": [["a", "<f8", [1 << 20, 1 << 20], 0]], "itemsize": 8},
    {"fields": [["a", "<f8", [-1], 0]], "itemsize": 8},
    {"fields": [["a", "<f8", [], 0], ["a", "<f8", [], 0]], "itemsize": 8},
    {"fields": [[1, "<f8", [], 0]], "itemsize": 8},
    {"fields": [["a", "<f8", [], 0.0]], "itemsize": 8},
    {"fields": [["a", "<f8", [], True]], "itemsize": 8},
    {"fields": [["a", "<f8", [], 0, 0]], "itemsize": 8},
    {"fields": {"a": 1}, "itemsize": 8},
    {"fields": "ab", "itemsize": 8},
    {"fields": None, "itemsize": 8},
    {"fields": [["a", "<f8", 5, 0]], "itemsize": 8},
    {"fields": [["a", "<f8", [1] * 70, 0]], "itemsize": 8},
    {"fields": [], "itemsize": 8, "more": 1},
]


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_json_that_is_no_dtype_is_a_value_error(text):
    with pytest.raises((ValueError, UnsupportedDtype)):
        parts(dtype_from_json(text))


def test_fields_nested_without_end_are_a_value_error():
    text = "<f8"
    for _ in range(2000):
        text = {"fields": [["a", text, [], 0]], "itemsize": 8}
    with pytest.raises(ValueError):
        dtype_from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["fields", "itemsize", "x"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_dtype_or_a_value_error(text):
    try:
        dtype = dtype_from_json(text)
    except ValueError:
        return
    assert not dtype.hasobject


def test_hdf5_tools_see_each_part_as_a_plain_type():
    for dtype in [*DTYPES, *STRUCTURED.values()]:
        for part in parts(dtype):
            stored = h5py.h5t.py_create(part.plain)
            assert stored.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)
