"""How states are kept: as rows where the layout fits, as a pickle for the one checkpoint where it does not."""

from __future__ import annotations

import copy
import dataclasses
import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.states import STATES, Agent, Inherited, Pair, Slots, picky, trees, with_extra, with_secret
from hypothesis import given
from hypothesis import strategies as st

import rewind
from rewind.errors import ArtifactFormatError, StateError
from rewind.state.checkpoints import stack
from rewind.state.codec import StateCodec
from rewind.state.copies import from_pickle, private_copy, to_pickle
from rewind.state.digest import digest
from rewind.storage import replay_file


def stay(state: Any, rng: Any) -> Any:
    return state


def states_of(make: Any, n: int = 12, **options: Any) -> Any:
    """A run whose state at step t is ``make(t)``."""

    def step(state: Any, rng: Any) -> Any:
        clock["t"] += 1
        return make(clock["t"])

    clock = {"t": 0}
    return rewind.record(step, make(0), n, 1, block_size=3, trial=False, **options)  # the clock is hidden state


# ---- private copies


@given(trees)
def test_a_private_copy_is_equal_and_shares_nothing_that_can_change(state):
    new = private_copy(state)
    assert digest(new) == digest(state)
    ours, theirs = mutable_parts(state), mutable_parts(new)
    assert len(ours) == len(theirs) and not {id(x) for x in ours} & {id(x) for x in theirs}


def mutable_parts(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [value, *(part for item in value.values() for part in mutable_parts(item))]
    if isinstance(value, (list, tuple)):
        return [
            *([value] if isinstance(value, list) else []),
            *(part for item in value for part in mutable_parts(item)),
        ]
    if dataclasses.is_dataclass(value):
        return [value, *(p for f in dataclasses.fields(value) for p in mutable_parts(getattr(value, f.name)))]
    return []


def test_a_private_copy_keeps_what_was_one_object_one_object():
    array = np.zeros(2)
    new = private_copy({"a": array, "b": [array], "c": Agent(array)})
    assert new["a"] is new["b"][0] is new["c"].x and new["a"] is not array
    loop: list[Any] = []
    loop.append(loop)
    new = private_copy(loop)
    assert new[0] is new and new is not loop


def test_a_private_copy_keeps_the_order_in_memory():
    for array in (
        np.zeros((2, 3), order="F"),
        np.zeros((2, 3)),
        np.zeros((4, 6))[::2, ::2],
        np.zeros((2, 3, 4)).transpose(2, 0, 1),
    ):
        new = private_copy(array)
        assert new.strides == array.copy(order="K").strides and new.flags.owndata


class Node:
    def __init__(self) -> None:
        self.x, self.array = 1, np.zeros(2)


OBJECTS = {
    "an object": Node(),
    "a set": {1, 2},
    "an attribute that is no field": with_extra(),
    "a hidden slot": with_secret(),
    "objects in an array": np.array([[1], None], dtype=object),
    "deep": None,
    "a class that refuses to be made": picky(2),
    "keys of any kind": {(1, 2): [3], 4: 5},
}
OBJECTS["deep"] = []
for _ in range(300):
    OBJECTS["deep"] = [OBJECTS["deep"]]


@pytest.mark.parametrize("state", OBJECTS.values(), ids=OBJECTS.keys())
def test_anything_that_pickles_has_a_private_copy(state):
    new = private_copy(state)
    assert new is not state and type(new) is type(state)
    assert digest(new) == digest(state)


def test_what_cannot_be_copied_is_named():
    for state, path in (
        ({"a": [threading.Lock()]}, "['a'][0]"),
        (Agent(lambda: 1), ".x"),
        ([1, (x for x in ())], "[1]"),
    ):
        with pytest.raises(StateError) as caught:
            private_copy(state)
        assert path in str(caught.value) and "codec=(encode, decode)" in str(caught.value)


def test_a_pickle_that_cannot_be_read_here_says_so():
    with pytest.raises(StateError, match="cannot be unpickled here .ModuleNotFoundError"):
        from_pickle(b"cnot_a_module\nThing\n.")
    assert from_pickle(to_pickle({1: 2})) == {1: 2}


# ---- rows


@pytest.mark.once
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_a_kept_state_is_restored_as_often_as_asked(state):
    codec = StateCodec.of(state)
    assert codec.layout is not None
    rows = [codec.encode(state) for _ in range(3)]
    assert not any(isinstance(row, bytes) for row in rows)
    kept = stack(codec, rows)
    assert kept.n == 3 and not kept.pickles
    for i in range(3):
        one, other = kept.restore(i), kept.restore(i)
        assert digest(one) == digest(other) == digest(state) == kept.digest(i)
        assert codec.same(kept.row(i), rows[i])
        assert not {id(x) for x in mutable_parts(one)} & {id(x) for x in mutable_parts(other)}


@pytest.mark.once
@given(st.lists(trees, min_size=1, max_size=4))
def test_states_of_any_kind_are_kept_side_by_side(states):
    codec = StateCodec.of(states[0])
    kept = stack(codec, [codec.encode(state) for state in states])
    assert [kept.digest(i) for i in range(len(states))] == [digest(state) for state in states]
    assert not codec.same(kept.row(0), codec.encode(("something", "else")))


def test_same_means_bytes():
    codec = StateCodec.of(0.0)
    assert not codec.same(0.0, -0.0)
    assert codec.same(float("nan"), float("nan"))
    assert not codec.same(1.0, codec.encode(1))
    assert not codec.same(1.0, codec.encode(True))
    assert codec.same(codec.encode(1), to_pickle(1)) and not codec.same(codec.encode(1), codec.encode(2))
    codec = StateCodec.of([1.0, 2])
    assert not codec.same(codec.encode([0.0, 1]), codec.encode([-0.0, 1]))
    assert codec.same(codec.encode([0.0, 1]), to_pickle([0.0, 1]))


def test_text_columns_are_as_wide_as_their_longest_text_and_no_wider():
    codec = StateCodec.of("")
    for texts, width in ((["", ""], 1), (["a", "bcd"], 3), (["é\0\0", "a"], 4), (["\0" * 9], 9)):
        kept = stack(codec, [codec.encode(text) for text in texts])
        assert kept.columns[0].dtype.itemsize == width
        again = stack(codec, [kept.row(i) for i in range(kept.n)])
        assert again.columns[0].dtype == kept.columns[0].dtype
        assert [again.restore(i) for i in range(again.n)] == texts
    codec = StateCodec.of(["", ""])
    kept = stack(codec, [codec.encode(["a", "b\0\0"]), codec.encode(["wide", "wider"]), codec.encode(["c", ""])])
    thinned = stack(codec, [kept.row(0), kept.row(2)])
    assert thinned.columns[0].dtype.itemsize == 3
    assert thinned.restore(0) == ["a", "b\0\0"]


# ---- one checkpoint that does not fit

MISFITS = {
    "an int beyond 64 bits": lambda t: t if t != 6 else 1 << 70,
    "an array that changes its shape": lambda t: np.full(3 + (t == 6), t),
    "a new key": lambda t: {"t": t, **({"new": 1} if t == 6 else {})},
    "a list that grows": lambda t: list(range(5 + (t == 6))),
    "long text": lambda t: "x" * (70_000 if t == 6 else t),
    "text that is no UTF-8": lambda t: "\ud800" if t == 6 else "x",
    "one object at two places": lambda t: [shared := [t], shared if t == 6 else [t]],
    "another class": lambda t: (Inherited if t == 6 else Agent)(t),
    "an attribute that is no field": lambda t: with_extra() if t == 6 else Agent(1, []),
    "something else in a field": lambda t: Slots([1] if t == 6 else 1),
}


@pytest.mark.parametrize("make", MISFITS.values(), ids=MISFITS.keys())
def test_a_checkpoint_outside_the_layout_is_the_only_one_pickled(make, tmp_path):
    run = states_of(make)
    facts = run.metadata()
    assert facts["n_pickled"] == 1 and facts["n_checkpoints"] == 4 and facts["layout"] != "pickle"
    path = tmp_path / "run.replay"
    run.save(path)
    with pytest.raises(rewind.UnsafeArtifactError, match="1 of 4 checkpoints as pickles"):
        rewind.load(path)
    loaded = rewind.load(path, allow_pickle=True)
    for t in (0, 3, 6, 9):
        assert digest(loaded.get(t)) == digest(make(t))
    assert loaded.content_hash() == run.content_hash()


VARIED = {
    "an array that changes its type": lambda t: np.full(3, t, "f8" if t == 6 else "i8"),
    "an array that changes its order": lambda t: np.full((2, 3), t, order="F" if t == 6 else "C"),
    "an int that becomes a float": lambda t: float(t) if t else 0,
    "a float that becomes numpy's": lambda t: np.float64(t) if t > 4 else float(t),
    "none for once": lambda t: [None if t == 6 else t],
    "text or a number": lambda t: {"x": t, "y": "abc"[: t % 4] if t % 2 else t / 7},
    "a flag": lambda t: Agent(t > 4, [t if t % 2 else bool(t)] * 3),
}


@pytest.mark.parametrize("make", VARIED.values(), ids=VARIED.keys())
def test_a_leaf_that_changes_its_type_stays_a_column_and_each_row_keeps_its_own(make, tmp_path):
    run, path = states_of(make), tmp_path / "run.replay"
    run.save(path)
    loaded = rewind.load(path)
    assert loaded.content_hash() == run.content_hash() and loaded.metadata()["n_pickled"] == 0
    for t in (0, 3, 6, 9):
        assert digest(loaded.get(t)) == digest(make(t))
    whole = states_of(make, path=tmp_path / "journaled.replay")
    assert whole.content_hash() == run.content_hash()


def test_columns_are_those_of_state_0_until_something_varies(tmp_path):
    run, path = states_of(lambda t: 0 if t < 12 else 0.5, 30), tmp_path / "run.replay"
    first = states_of(lambda t: 0 if t < 12 else 0.5, 12)
    first.save(path)
    assert h5names(path) == ["state"] and rewind.load(path).metadata()["layout"] == "int"
    run.save(path)
    assert h5names(path) == ["state/float", "state/int", "state/kind"]


def h5names(path: Any) -> list[str]:
    container = replay_file.read_container(path.read_bytes())
    return sorted(name[len("checkpoints/") :] for name in container.arrays if name.startswith("checkpoints/"))


WHOLE = {
    "a set of sets": {frozenset({1})},
    "an object": Node(),
    "an array of objects": np.array([1, "x"], dtype=object),
    "long doubles": np.ones(2, np.longdouble) / 3,
    "one object at two places": [[0]] * 2,
    "keys that are objects": {len: 2},
    "titles": np.zeros(2, np.dtype([(("t", "a"), "f8")])),
    "records": np.zeros(2, np.dtype((np.record, [("a", "f8")]))),
    "a record scalar": np.zeros(2, np.dtype((np.record, [("a", "f8")])))[0],
    "32 axes": np.zeros((1,) * 32),
    "fields in fields": np.zeros(2, "f8"),
    "a hidden slot": with_secret(),
    "an attribute that is no field": with_extra(),
    "keys that JSON cannot hold": {"\ud800": 1},
    "a big int": 1 << 64,
}
for _ in range(12):
    WHOLE["fields in fields"] = WHOLE["fields in fields"].view([("a", WHOLE["fields in fields"].dtype)])


@pytest.mark.parametrize("state", WHOLE.values(), ids=WHOLE.keys())
def test_a_state_without_a_layout_is_pickled_whole_and_comes_back(state, tmp_path):
    run = rewind.record(stay, state, 7, 1)
    assert run.metadata()["layout"] == "pickle" and run.metadata()["n_pickled"] == run.n_checkpoints == 3
    path = tmp_path / "run.replay"
    run.save(path)
    loaded = rewind.load(path, stay, allow_pickle=True)
    for t in range(7):
        assert digest(loaded.get(t)) == digest(run.get(t)) == digest(state)
        assert type(loaded.get(t)) is type(state)
    assert loaded.verify(full=True)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_a_state_of_every_layout_survives_a_save(state, tmp_path):
    run = rewind.record(stay, state, 5, 1)
    path = tmp_path / "run.replay"
    run.save(path)
    loaded = rewind.load(path, stay)
    assert loaded.content_hash() == run.content_hash()
    for t in range(5):
        assert digest(loaded.get(t)) == digest(run.get(t)) == digest(state)
    assert loaded.verify(full=True)


def test_restored_scalars_may_bear_another_name_of_the_same_dtype_and_fit_again(tmp_path):
    run = rewind.record(stay, {"n": np.longlong(3), "a": np.zeros(2, np.longlong)}, 5, 1)
    assert run.metadata()["n_pickled"] == 0
    path = tmp_path / "run.replay"
    run.save(path)
    assert (
        digest(rewind.load(path, stay).get(4))
        == digest(run.get(4))
        == digest({"n": np.int64(3), "a": np.zeros(2, "i8")})
    )


def test_dtype_metadata_is_lost_while_recording_and_not_at_a_save():
    marked = np.zeros(2, np.dtype("f8", metadata={"unit": "m"}))
    run = rewind.record(lambda x, rng: x, marked, 5, 1)
    assert not run.get(0).dtype.metadata and not run.get(4).dtype.metadata


# ---- codecs


class Counter:
    def __init__(self, n: int) -> None:
        self.n, self.lock = n, threading.Lock()


def encode(counter: Counter) -> Any:
    return {"n": counter.n}


def decode(tree: Any) -> Counter:
    return Counter(tree["n"])


def count(counter: Counter, rng: Any) -> Counter:
    counter.n += 1
    return counter


def test_a_codec_makes_columns_of_what_cannot_be_pickled(tmp_path):
    with pytest.raises(StateError, match=r"state\.lock: .*codec=\(encode, decode\)"):
        rewind.record(count, Counter(0), 10, 1)
    run = rewind.record(count, Counter(0), 10, 1, codec=(encode, decode))
    assert [run.get(t).n for t in (9, 0, 5, 4)] == [9, 0, 5, 4]
    path = tmp_path / "run.replay"
    run.save(path)
    blind = rewind.load(path)
    assert blind.metadata()["layout"] == {"dict": [["n", "int"]]}
    with pytest.raises(rewind.MissingCodecError):
        blind.get(0)
    loaded = rewind.load(path, count, codec=(encode, decode))
    assert loaded.get(7).n == 7 and loaded.verify(full=True)


def test_a_codec_for_a_run_without_one_is_refused(tmp_path):
    path = tmp_path / "run.replay"
    rewind.record(stay, 1, 5, 1).save(path)
    with pytest.raises(rewind.ArgumentError, match="recorded without one"):
        rewind.load(path, codec=(encode, decode))


# ---- text in a file that is no text


def test_text_that_is_not_utf8_is_an_artifact_error():
    codec = StateCodec.of(["é"])
    row = codec.encode(["é"])
    assert isinstance(row, list)
    bad = [np.array([b"\xff\xfe"]).reshape(row[0].shape), row[1]]
    with pytest.raises(ArtifactFormatError, match="not UTF-8"):
        codec.decode(bad)
    codec = StateCodec.of(np.array(["é"]))
    with pytest.raises(ArtifactFormatError, match="not UTF-8"):
        codec.decode([np.array([b"\xff\xfe"])])


@dataclass
class World:
    agents: list[Agent] = field(default_factory=list)
    grid: Any = None
    pair: Pair = Pair(0, 0)


class Cell(NamedTuple):
    alive: bool
    age: int


def live(world: World, rng: Any) -> World:
    """In place, all over a tree."""
    for agent in world.agents:
        agent.x += rng.random()
        agent.tags[0] = f"{agent.x:.3f}"
    world.grid[rng.randrange(3)] += 1
    world.pair = Pair(world.pair.left + 1, Cell(rng.random() < 0.5, world.pair.left))
    return world


def test_a_tree_changed_in_place_everywhere_comes_back_at_every_step(tmp_path):
    first = World([Agent(0.0, [""]), Agent(1.0, [""])], np.zeros((3, 2), "f4"), Pair(0, Cell(True, 0)))
    kept = copy.deepcopy(first)
    run = rewind.record(live, first, 40, 5)
    assert digest(first) == digest(kept)
    assert run.metadata()["n_pickled"] == 0
    states = [digest(state) for state in run]
    assert len(set(states)) == 40
    path = tmp_path / "run.replay"
    run.save(path)
    loaded = rewind.load(path, live)
    for t in (39, 0, 17, 16, 18, 38, 7):
        assert digest(loaded.get(t)) == digest(run.get(t)) == states[t]
    assert loaded.verify(full=True)
