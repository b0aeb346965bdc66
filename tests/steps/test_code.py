"""What a step function does, as it is read: what is a change and is named, and what is none."""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import re
import sys
import types
from collections import namedtuple

import numpy as np
import pytest

import rewind
from rewind.steps.code import Code, changes, classes_in, parts_of
from rewind.steps.source import changed, describe

pytestmark = pytest.mark.once

PROGRAM = """
import functools, math
from dataclasses import dataclass
import numpy as np

RATE = 0.5
TABLE = np.arange(4.0)
OPTIONS = {"gain": 2, "steps": [1, 2]}

def deep(x):
    return x * RATE

def helper(x):
    return math.sin(deep(x)) + TABLE[1]

@dataclass
class Town:
    size: float = 1.0

    def grow(self, by):
        return Town(self.size + by)

class Model:
    def __init__(self, rate):
        self.rate, self.calls = rate, 0

    def move(self, town, rng):
        self.calls += 1
        return town.grow(self.rate * rng.random())

model = Model(3)

def make(gain):
    def step(town, rng, k=3, *, scale=1.0):
        town = model.move(town, rng)
        return Town(helper(town.size) * gain * OPTIONS["gain"] + k * scale)
    return step

step = make(4)
"""


def program(text=PROGRAM, name="program"):
    """A module with the names of a program, as a cell or a file that was run."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(text, "<cell>", "exec"), vars(module))
    return module


@pytest.fixture
def here():
    yield program()
    del sys.modules["program"]


def read(module):
    return Code(module.step, [module.Town])


def with_code(function, other):
    function.__code__ = other.__code__


CHANGES = {
    "swapped code": (
        "step_fn",
        lambda m: with_code(m.step, program(PROGRAM.replace("k * scale", "k - scale"), "p2").step),
    ),
    "constant": (r"RATE \(0.5, and now 0.25\)", lambda m: setattr(m, "RATE", 0.25)),
    "another type": (r"RATE \(0.5, and now 1\)", lambda m: setattr(m, "RATE", 1)),
    "helper": ("helper", lambda m: setattr(m, "helper", lambda x: x)),
    "helper's helper": ("deep", lambda m: setattr(m, "deep", lambda x: x)),
    "code of a helper's helper": ("deep", lambda m: with_code(m.deep, lambda x: x)),
    "closure": (r"gain \(4, and now 5\)", lambda m: setattr(m.step.__closure__[0], "cell_contents", 5)),
    "default": (r"k= \(3, and now 4\)", lambda m: setattr(m.step, "__defaults__", (4,))),
    "keyword default": (r"scale= \(1.0, and now 2.0\)", lambda m: setattr(m.step, "__kwdefaults__", {"scale": 2.0})),
    "array in place": ("TABLE", lambda m: m.TABLE.__setitem__(3, -1.0)),
    "another array": ("TABLE", lambda m: setattr(m, "TABLE", m.TABLE.astype("f4"))),
    "dict in place": ("OPTIONS", lambda m: m.OPTIONS.__setitem__("gain", 3)),
    "list in a dict": (r"OPTIONS\['steps'\]", lambda m: m.OPTIONS["steps"].append(3)),
    "method": ("Town.grow", lambda m: setattr(m.Town, "grow", lambda self, by: self)),
    "code of a method": ("Town.grow", lambda m: with_code(m.Town.grow, lambda self, by: self)),
    "method of an object": ("Model.move", lambda m: setattr(m.Model, "move", lambda self, town, rng: town)),
    "attribute of an object": (r"model.rate \(3, and now 4\)", lambda m: setattr(m.model, "rate", 4)),
    "cell that was run again": (
        "Town.grow",
        lambda m: exec(compile(PROGRAM.replace("self.size + by", "by"), "<cell>", "exec"), vars(m)),
    ),
    "field": (
        "Town",
        lambda m: exec(compile(PROGRAM.replace("size: float = 1.0", "size: float = 2.0"), "", "exec"), vars(m)),
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_seen_at_once_and_named(kind, here):
    name, change = CHANGES[kind]
    before = read(here)
    assert before.same() and before.same_at_length()
    change(here)
    assert not before.same()
    news = before.news(read(here))
    assert any(re.fullmatch(name, one) for one in news), news
    assert changes(parts_of(before.text), parts_of(read(here).text))


NOTHING_NEW = {
    "comments and blank lines": lambda text: text.replace("\ndef", "\n\n# why\n\ndef").replace("):\n", "):  # so\n\n"),
    "docstrings": lambda text: text.replace("(x):\n", '(x):\n    "What it does."\n').replace(
        "rng):\n", 'rng):\n        "Moves."\n'
    ),
    "longer lines": lambda text: text.replace(" * gain * OPTIONS", "\n            * gain\n            * OPTIONS"),
    "annotations": lambda text: text.replace("def deep(x)", "def deep(x: float) -> float"),
    "the order of definitions": lambda text: text.replace("RATE = 0.5\n", "", 1).replace(
        "def make", "RATE = 0.5\ndef make"
    ),
    "what it does not read": lambda text: text + "\nOTHER = 3\ndef unused(): return OTHER\n",
    "the order of a dict": lambda text: text.replace('{"gain": 2, "steps": [1, 2]}', '{"steps": [1, 2], "gain": 2}'),
}


@pytest.mark.parametrize("kind", NOTHING_NEW)
def test_what_changes_nothing_is_no_change(kind, here):
    before = read(here).text
    again = program(NOTHING_NEW[kind](PROGRAM))
    assert NOTHING_NEW[kind](PROGRAM) != PROGRAM
    assert changes(parts_of(before), parts_of(read(again).text)) == []


def test_the_same_code_run_again_is_no_change(here):
    before = read(here)
    exec(compile(PROGRAM, "<cell>", "exec"), vars(here))
    assert not before.same()  # other objects
    assert before.news(read(here)) == []


def test_a_text_is_the_same_in_a_module_of_another_name(here):
    other = program(name="p3")
    assert read(here).text == read(other).text


def test_code_of_another_python_says_nothing():
    text = Code(lambda x, rng: x).text
    assert parts_of(text) and parts_of("2.7" + text[text.index(";") :]) is None
    hints = {"code": "2.7; step_fn: 00000000", "source": "a"}
    assert changed(hints, {"code": text, "source": "a"}) is None
    assert changed(hints, {"code": text, "source": "b"}) == []


# ---- hidden state


def test_what_the_step_writes_is_hidden_state_and_no_change():
    scope = program(
        """
N, LOG, MEMO, SEEN, MODEL = 0, [], {}, set(), None
class Model:
    def __init__(self): self.count, self.rows, self.rate = 0, [], 2
    def go(self, x):
        self.count += 1
        self.rows.append(x)
        return x * self.rate
MODEL = Model()
def outer():
    kept, total = [], 0
    def step(x, rng):
        global N
        nonlocal total
        N += 1
        total += 1
        LOG.append(x)
        MEMO[x] = MEMO.get(x, 0) + 1
        SEEN.add(x)
        kept[:] = [x]
        return MODEL.go(x)
    return step
step = outer()
""",
        "hidden",
    )
    before = Code(scope.step)
    for x in range(3):
        scope.step(x, None)
    assert before.same() and Code(scope.step).text == before.text
    assert set(before.written) == {"N", "total", "LOG", "MEMO", "SEEN", "kept", "MODEL.count", "MODEL.rows"}
    scope.MODEL.rate = 3
    assert before.news(Code(scope.step)) == ["MODEL.rate (2, and now 3)"]


def test_a_table_that_is_only_read_beside_a_write_is_no_hidden_state():
    scope = program("RULES = [0, 1]\ndef step(s, rng):\n    s[0] = RULES[s[1]]\n    return s\n", "rules")
    code = Code(scope.step)
    assert code.written == ()
    scope.RULES[0] = 5
    assert code.news(Code(scope.step)) == ["RULES"]


# ---- kinds of callables


class Walker:
    gain = 2

    def __init__(self):
        self.rate = 0.5

    def __call__(self, x, rng):
        return x + self.rate * rng.random() * self.gain

    def move(self, x, rng):
        return self(x, rng)


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


def test_every_kind_of_callable_is_read_through():
    walker = Walker()
    inner = program("def step(x, rng): return x + 1\n", "kinds").step
    for step, change in (
        (walker, lambda: setattr(walker, "rate", walker.rate + 1)),
        (walker.move, lambda: setattr(walker, "rate", walker.rate + 1)),
        (functools.partial(Walker.move, walker), lambda: setattr(walker, "rate", walker.rate + 1)),
        (functools.partial(inner), lambda: with_code(inner, lambda x, rng: x + 2)),
        (decorated(inner), lambda: with_code(inner, lambda x, rng: x + 3)),
        (functools.lru_cache(inner), lambda: with_code(inner, lambda x, rng: x + 4)),
        (lambda x, rng: inner(x, rng), lambda: with_code(inner, lambda x, rng: x + 5)),
    ):
        before = Code(step)
        assert before.same() and before.news(Code(step)) == []
        change()
        assert not before.same() and len(before.news(Code(step))) == 1, step


def test_a_step_that_calls_itself_and_one_without_a_source_are_read():
    def step(x, rng, depth=2):
        return x if depth == 0 else step(x + 1, rng, depth - 1)

    assert Code(step).same() and Code(step).text == Code(step).text
    assert Code(eval("lambda x, rng: x + 1")).text != Code(eval("lambda x, rng: x + 2")).text
    assert Code(abs).text and Code(np.add).text  # nothing is known, nothing is said


def test_odd_objects_are_not_asked(here):
    class Odd:
        def __getattr__(self, name):
            raise AssertionError(name)

        def __eq__(self, other):
            raise AssertionError

        __hash__ = None

    odd = Odd()
    here.RATE = odd
    assert read(here).same()
    assert "Town.grow" in read(here).text


def test_the_classes_of_a_state_are_found_wherever_they_are():
    Point, Slotted = namedtuple("Point", "x"), type("Slotted", (), {"__slots__": ("part", "empty")})
    slotted = Slotted()
    slotted.part = Walker()
    state = {"a": [Point(slotted)], "b": np.zeros(2), "c": {1, 2}}
    assert set(classes_in(state)) == {Point, Slotted, Walker}


# ---- compiled steps


@pytest.fixture
def library(tmp_path):
    """Copy a library of the standard library, whose functions are at no use."""
    import _ctypes

    path = tmp_path / "steps.so"
    path.write_bytes(pathlib.Path(_ctypes.__file__).read_bytes())
    return path


def native(path, version=None):
    function = ctypes.CDLL(str(path)).PyInit__ctypes
    function.argtypes, function.restype = [ctypes.c_void_p] * 3, ctypes.c_int
    return rewind.native_step(function, version=version)


def test_a_library_that_was_built_again_is_a_change(library):
    step = native(library)
    before = Code(step)
    assert step.library == str(library) and before.same_at_length()
    text = describe(step, code=before)
    new = library.with_suffix(".new")
    new.write_bytes(library.read_bytes() + b"\0")
    os.replace(new, library)
    assert not before.same_at_length()
    assert before.news(Code(step)) == ["library steps.so"] == changed(text, describe(step, code=Code(step)))


def test_a_copy_of_a_library_with_the_same_bytes_is_none(library):
    step = native(library)
    before = Code(step)
    new = library.with_suffix(".new")
    new.write_bytes(library.read_bytes())
    os.replace(new, library)
    assert not before.same_at_length() and before.news(Code(step)) == []


def test_the_version_of_a_native_step_stands_for_its_code(library):
    one, two = (describe(step, code=Code(step)) for step in (native(library, "1"), native(library, "2")))
    assert changed(one, two) == ["version="] and changed(one, one) is None
    assert rewind.native_step(native(library), version="3").version == "3"
    with pytest.raises(rewind.ArgumentTypeError, match="version"):
        rewind.native_step(native(library), version=3)
