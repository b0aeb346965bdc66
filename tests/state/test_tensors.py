"""Tensors of torch and arrays of jax as leaves, on stand-ins that have what is used of the two libraries.

`python tests/stress/tensors.py` tries the same on the libraries themselves, where they are installed.
"""

from __future__ import annotations

import sys
import types
from typing import Any, NamedTuple

import numpy as np
import pytest

import rewind
from rewind.errors import StateClassError, StateError
from rewind.state.digest import digest
from rewind.state.layout import Layout

pytestmark = pytest.mark.once


class Storage:
    def __init__(self, array: Any) -> None:
        self.array = array

    def data_ptr(self) -> int:
        base = self.array if self.array.base is None else self.array.base
        return int(base.__array_interface__["data"][0])


class Tensor:
    """What is used of torch.Tensor."""

    layout = "torch.strided"

    def __init__(self, array: Any, requires_grad: bool = False, device: str = "cpu", dtype: str = "") -> None:
        object.__setattr__(self, "_held", (array, dtype))
        self.__class__._flags[id(self)] = (requires_grad, types.SimpleNamespace(type=device))

    _flags: dict[int, Any] = {}
    __slots__ = ("__dict__", "_held")

    requires_grad = property(lambda self: self._flags[id(self)][0])
    device = property(lambda self: self._flags[id(self)][1])
    shape = property(lambda self: self._held[0].shape)
    dtype = property(lambda self: self._held[1] or f"torch.{self._held[0].dtype}")

    def stride(self) -> Any:
        return tuple(n // self._held[0].itemsize for n in self._held[0].strides)

    def is_conj(self) -> bool:
        return False

    is_neg = is_conj

    def numpy(self) -> Any:
        if self._held[1]:
            raise TypeError(f"Got unsupported ScalarType {self._held[1]}")
        return self._held[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()

    def untyped_storage(self) -> Storage:
        return Storage(self._held[0])

    def detach(self) -> Tensor:
        return Tensor(self._held[0])

    resolve_conj = resolve_neg = cpu = detach

    def contiguous(self) -> Tensor:
        return Tensor(np.ascontiguousarray(self._held[0]).reshape(self._held[0].shape))

    def reshape(self, n: int) -> Tensor:
        return Tensor(self._held[0].reshape(n))

    def view(self, dtype: Any) -> Tensor:
        return Tensor(self._held[0].view(dtype))

    def numel(self) -> int:
        return int(self._held[0].size)

    def __reduce__(self) -> Any:
        return Tensor, (np.array(self._held[0]), self.requires_grad, self.device.type, self._held[1])


class Device(NamedTuple):
    platform: str


class ArrayImpl:
    """What is used of jax.Array."""

    def __init__(self, array: Any, weak_type: bool = False, platform: str = "cpu") -> None:
        self._array, self.weak_type, self._platform = array, weak_type, platform

    dtype = property(lambda self: self._array.dtype)

    def devices(self) -> Any:
        return {Device(self._platform)}

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._array


def asarray(value: Any) -> ArrayImpl:
    if isinstance(value, float):
        return ArrayImpl(np.array(value, np.float32), weak_type=True)
    return ArrayImpl(value.astype(np.float32) if value.dtype == np.float64 else value)


@pytest.fixture(autouse=True)
def libraries(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "torch", types.SimpleNamespace(Tensor=Tensor, from_numpy=Tensor, uint8=np.uint8, strided="strided")
    )
    jax = types.SimpleNamespace(Array=ArrayImpl, numpy=types.SimpleNamespace(asarray=asarray))
    monkeypatch.setitem(sys.modules, "jax", jax)


LEAVES: dict[str, Any] = {
    "a matrix": lambda: Tensor(np.arange(6.0).reshape(2, 3)),
    "its transpose": lambda: Tensor(np.arange(6.0).reshape(2, 3).T),
    "one number": lambda: Tensor(np.array(3)),
    "truth values": lambda: Tensor(np.array([True, False])),
    "complex numbers": lambda: Tensor(np.array([1j], np.complex64)),
    "nothing": lambda: Tensor(np.zeros(0, np.float32)),
    "an array of jax": lambda: ArrayImpl(np.arange(3, dtype=np.float32)),
    "a number of jax": lambda: ArrayImpl(np.array(3, np.int32)),
    "a number of a weak type": lambda: ArrayImpl(np.array(0.5, np.float32), weak_type=True),
}


@pytest.mark.parametrize("name", LEAVES)
def test_a_tensor_is_a_leaf_and_comes_back_as_what_it_was(name):
    value = LEAVES[name]()
    layout = Layout.of({"x": value})
    assert layout is not None and layout.version == 2 and [c.name.split("/")[0] for c in layout.columns][0] == "x"
    again = Layout.from_json(layout.to_json())
    again.require_classes()
    back = again.decode(layout.encode({"x": value}))["x"]
    assert type(back) is type(value) and back.dtype == value.dtype
    assert np.asarray(back).tobytes() == np.asarray(value).tobytes()
    assert np.asarray(back).strides == np.asarray(value).strides
    assert getattr(back, "weak_type", None) == getattr(value, "weak_type", None)
    assert [a.tobytes() for a in again.encode({"x": back})] == [a.tobytes() for a in layout.encode({"x": value})]


PICKLED: dict[str, Any] = {
    "gradients": lambda: Tensor(np.zeros(2), requires_grad=True),
    "another device": lambda: Tensor(np.zeros(2), device="cuda"),
    "bfloat16": lambda: Tensor(np.zeros(2), dtype="torch.bfloat16"),
    "a tensor that is one number spread out": lambda: Tensor(np.broadcast_to(np.zeros(1), (4,))),
    "another device of jax": lambda: ArrayImpl(np.zeros(2, np.float32), platform="gpu"),
    "an array of a weak type": lambda: ArrayImpl(np.zeros(2, np.float32), weak_type=True),
}


@pytest.mark.parametrize("name", PICKLED)
def test_what_numpy_does_not_hold_is_pickled(name):
    assert Layout.of(PICKLED[name]()) is None and Layout.of([PICKLED[name]()]) is None


def test_two_tensors_of_one_storage_are_pickled_which_keeps_that():
    array = np.zeros(4)
    assert Layout.of([Tensor(array), Tensor(array[:2])]) is None
    assert Layout.of([Tensor(array), Tensor(np.zeros(4))]) is not None


def test_a_digest_of_a_tensor_is_one_of_its_numbers():
    assert digest(LEAVES["a matrix"]()) == digest(LEAVES["a matrix"]())
    names = ("a matrix", "its transpose", "one number", "truth values", "nothing")
    different = [digest(LEAVES[name]()) for name in names]
    assert len({*different, digest(PICKLED["gradients"]()), digest(Tensor(np.zeros(2)))}) == 7


def test_a_run_of_tensors_is_columns_and_replays(tmp_path):
    def step(state: dict[str, Any], rng: Any) -> dict[str, Any]:
        state["w"].numpy()[...] += rng.random()
        return {"w": state["w"], "k": asarray(np.asarray(state["k"]) + np.float32(rng.random()))}

    init = {"w": Tensor(np.zeros(3)), "k": ArrayImpl(np.zeros(2, np.float32))}
    run = rewind.record(step, init, 50, 1, observe={"w": "w", "k": lambda state: np.asarray(state["k"]).sum()})
    path = tmp_path / "run.replay"
    run.save(path)
    loaded = rewind.load(path, step)
    assert loaded.metadata()["n_pickled"] == 0 and loaded.verify(full=True)
    assert loaded.get(37)["w"].numpy().tobytes() == run.get(37)["w"].numpy().tobytes()
    assert run.observed["w"].count == 50


def test_a_file_asks_for_the_library_where_it_is_not_imported(monkeypatch):
    layout = Layout.of(Tensor(np.zeros(2)))
    assert layout is not None
    row = layout.encode(Tensor(np.zeros(2)))
    monkeypatch.delitem(sys.modules, "torch")
    for ask in (layout.require_classes, lambda: layout.decode(row)):
        with pytest.raises(StateClassError, match="from torch import Tensor"):
            ask()


def test_numbers_that_jax_would_shorten_here_are_refused():
    layout = Layout.of(ArrayImpl(np.zeros(2)))
    assert layout is not None
    with pytest.raises(StateError, match="jax_enable_x64"):
        layout.decode(layout.encode(ArrayImpl(np.zeros(2))))


@pytest.mark.parametrize(
    "tree",
    [
        {"tensor": "torch"},
        {"tensor": "numpy", "dtype": "<f8", "shape": []},
        {"tensor": ["torch"], "dtype": "<f8", "shape": []},
        {"tensor": "torch", "dtype": "<f8"},
        {"tensor": "torch", "dtype": "<f8", "shape": [], "weak": True},
        {"tensor": "jax", "dtype": "<f4", "shape": [2], "weak": True},
        {"tensor": "jax", "dtype": "<f4", "shape": [], "weak": 5},
        {"tensor": "torch", "dtype": "O", "shape": []},
    ],
)
def test_json_that_is_no_tensor_is_a_value_error(tree):
    with pytest.raises(ValueError):
        Layout.from_json(tree)
