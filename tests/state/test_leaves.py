"""Sets and generators of random numbers as leaves: what comes back of them, and that no file lies with one."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewind
from rewind.errors import ArtifactFormatError
from rewind.state.codec import StateCodec, WideRow
from rewind.state.digest import digest
from rewind.state.layout import Layout

pytestmark = pytest.mark.once


def round_trip(state: Any) -> tuple[Layout, Any]:
    layout = Layout.of(state)
    assert layout is not None and layout.version == 2
    row = layout.encode(state)
    again = Layout.from_json(json.loads(json.dumps(layout.to_json())))
    back = again.decode(row)
    assert digest(back) == digest(layout.decode(row)) == digest(state)
    return layout, back


# ---- sets

members = (
    st.integers(-(1 << 63), (1 << 63) - 1)
    | st.text(max_size=3)
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False)
)
members = members | st.tuples(members, members) | st.sampled_from([np.int64(5), np.float32(0.5), b"x"])


@given(st.sets(members, max_size=8), st.sampled_from([set, frozenset]))
def test_a_set_comes_back_with_the_types_of_its_members(values, kind):
    state = kind(values)
    layout, back = round_trip(state)
    assert type(back) is kind and back == state
    assert sorted(map(repr, back)) == sorted(map(repr, state))
    assert [column.name for column in layout.columns] == ["state/value", "state/length"]


def test_sets_of_any_size_share_their_columns():
    states = [set(range(n)) for n in (0, 3, 500)]
    layout = Layout.of(states[0])
    assert layout is not None
    assert [layout.decode(layout.encode(state)) for state in states] == states


def test_numbers_come_back_in_the_order_of_the_set_as_far_as_a_pickle_keeps_it():
    rng = random.Random(1)
    for _ in range(200):
        state = set(rng.sample(range(1000), rng.randrange(30)))
        back = list(round_trip(state)[1])
        assert back == list(state) or back == list(pickle.loads(pickle.dumps(state)))
    for state in (set(range(100)), set(range(50, 0, -3)), {(5, 1), (0, 2)}, {-1, 2.5, True}):
        assert list(round_trip(state)[1]) == list(state)


def test_text_is_sorted_since_its_order_in_a_set_is_another_in_every_process():
    for state in ({"b", "a", "c", "ä"}, {"c", "ä", "b", "a"}):
        layout, _ = round_trip(state)
        assert layout.encode(state)[0].tobytes().decode() == '["a","b","c","ä"]'


def test_a_set_of_text_has_one_content_hash_whatever_the_hash_seed():
    code = "import rewind; print(rewind.record(lambda s, rng: s | {str(rng.random())}, {'x'}, 20, 1).content_hash())"
    one, other = (
        subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    )
    assert one == other


@pytest.mark.parametrize("state", [{float("nan")}, {frozenset()}, {len}, {1 << 64}, {"\ud800"}, set(range(20_000))])
def test_a_set_of_anything_else_is_no_leaf(state):
    assert Layout.of(state) is None and Layout.of({"a": [state]}) is None


def test_one_set_at_two_places_is_no_layout():
    one = {1}
    assert Layout.of([one, one]) is None
    assert Layout.of([frozenset(one), frozenset(one)]) is not None


# ---- generators

BITS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]
GENERATORS: dict[str, Any] = {
    "random": lambda: random.Random(3),
    "a held back normal": lambda: held(random.Random(3), lambda g: g.gauss(0, 1)),
    "RandomState": lambda: np.random.RandomState(3),
    "a held back legacy normal": lambda: held(np.random.RandomState(3), lambda g: g.standard_normal()),
    "half a word held back": lambda: held(np.random.default_rng(3), lambda g: g.integers(8, dtype=np.uint32)),
    "some of a buffer used": lambda: held(np.random.Generator(np.random.Philox(3)), lambda g: g.random(5)),
    "spawned": lambda: held(np.random.default_rng([1, 2]), lambda g: g.spawn(3)).spawn(1)[0],
    "seeded by the system": lambda: np.random.default_rng(),
    "jumped": lambda: np.random.Generator(np.random.PCG64(5).jumped()),
} | {kind.__name__: lambda kind=kind: np.random.Generator(kind(7)) for kind in BITS}


def held(generator: Any, draw: Any) -> Any:
    draw(generator)
    return generator


def draws(generator: Any) -> list[Any]:
    if isinstance(generator, np.random.Generator):
        some = [generator.random(), generator.integers(99, dtype=np.uint32), generator.normal()]
        return [*some, generator.spawn(1)[0].random()]
    if isinstance(generator, np.random.RandomState):
        return [generator.standard_normal() for _ in range(3)]
    return [generator.gauss(0, 1) for _ in range(3)]


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_goes_on_where_it_stood(name):
    generator = GENERATORS[name]()
    layout, back = round_trip(generator)
    assert type(back) is type(generator)
    assert draws(back) == draws(generator)
    assert sum(column.nbytes for column in layout.encode(generator)) < 3000


@pytest.mark.filterwarnings("ignore::rewind.OwnGeneratorWarning")
def test_a_forest_of_generators_is_a_few_columns(tmp_path):
    def step(trees: list[Any], rng: Any) -> list[Any]:
        for tree in trees:
            tree["height"] += tree["rng"].random()
        return trees

    path, forest = tmp_path / "run.replay", [{"height": 0.0, "rng": np.random.default_rng(i)} for i in range(100)]
    run = rewind.record(step, forest, 50, 1, block_size=2)
    run.save(path)
    loaded = rewind.load(path, step)
    assert loaded.metadata()["n_pickled"] == 0 and path.stat().st_size < 150_000
    assert loaded.verify(full=True) and digest(loaded.get(49)) == digest(run.get(49))


def test_generators_that_share_a_stream_are_no_layout():
    bits = np.random.PCG64(1)
    assert Layout.of([np.random.Generator(bits), np.random.Generator(bits)]) is None
    sequence = np.random.SeedSequence(1)
    assert Layout.of([np.random.Generator(np.random.PCG64(sequence)) for _ in range(2)]) is None


class Own(random.Random):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: Own(3),
        lambda: np.random.RandomState(np.random.PCG64(3)),
        lambda: held(random.Random(3), lambda g: setattr(g, "name", "x")),
        lambda: np.random.PCG64(3),
    ],
)
def test_other_generators_are_pickled(make):
    assert Layout.of(make()) is None


# ---- rows of a file


def changed(state: Any, name: str, value: Any) -> Any:
    """Decode a row of `state` of which one column says something else."""
    codec = StateCodec.of(state)
    assert codec.layout is not None
    row = codec.layout.encode(state)
    at = [column.name for column in codec.layout.columns].index(name)
    row[at] = np.array(value, row[at].dtype if row[at].dtype.kind != "S" else None)
    if name.endswith("/value"):
        row[at + 1] = np.array(len(value))
    return codec.decode(row)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[1,1]",
        b"[1,true]",
        b"[[1]]",
        b"[NaN]",
        b"[1",
        b"[" * 60_000,
        b"\xff",
        b"[1.5]",
        b'[{"float":"x"}]',
        b"[9e99]",
    ]
    + [b"[" + b"9" * 60_000 + b"]", b'[{"numpy":["O",1]}]', b'[{"tuple":[{"tuple":[[]]}]}]'],
)
def test_a_text_that_lists_no_set_is_an_artifact_error(text):
    with pytest.raises(ArtifactFormatError):
        changed({1}, "state/value", text)


@pytest.mark.parametrize(
    ("state", "name", "value"),
    [
        (np.random.RandomState(1), "state/pos", 625),
        (np.random.RandomState(1), "state/pos", -1),
        (np.random.RandomState(1), "state/has_gauss", 2),
        (np.random.Generator(np.random.MT19937(1)), "state/pos", 1 << 40),
        (np.random.Generator(np.random.Philox(1)), "state/buffer_pos", 5),
        (np.random.Generator(np.random.Philox(1)), "state/buffer_pos", -7),
        (np.random.default_rng(1), "state/has_uint32", 9),
        (random.Random(1), "state/words", [700] * 625),
    ],
)
def test_a_generator_that_stands_nowhere_is_an_artifact_error(state, name, value):
    with pytest.raises(ArtifactFormatError, match="stands nowhere"):
        changed(state, name, value)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"5", b'["",[],[],4,0]', b'["",["0x1"],[],1000000000,0]', b'["",["x"],[],4,0]', b'["",[1],[],4,0]']
    + [b'["",["0x1"],[],4,-1]', b'["dict",["0x1"],[],4,0]', b'["",["-0x1"],[],4,0]', b'[["list"],["0x1"],[],4,0]'],
)
def test_a_seed_that_nobody_gave_is_an_artifact_error(text):
    with pytest.raises(ArtifactFormatError):
        changed(np.random.default_rng(1), "state/seed/value", text)


def test_a_kind_that_is_not_there_is_refused_when_a_file_is_read():
    codec = StateCodec.of(0)
    row = codec.encode(0.5)
    assert isinstance(row, WideRow) and row.layout.problem(row.columns) is None
    row.columns[0] = np.array(2, "u1")
    assert row.layout.problem(row.columns) == "state/kind says a kind that is not there"
