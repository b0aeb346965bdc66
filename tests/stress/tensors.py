"""Tensors of torch and arrays of jax as states, on the libraries themselves: ``python tests/stress/tensors.py``.

Says which of the two are installed, and tries those: each kind of value there and back, and a run of them recorded,
saved, loaded without ``allow_pickle``, verified and branched.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
import tempfile
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1])]

import rewind  # noqa: E402
from rewind.state.digest import digest  # noqa: E402
from rewind.state.layout import Layout  # noqa: E402


def torch_values(torch: Any) -> tuple[list[Any], list[Any]]:
    """Return values that are columns, and values that are pickled."""
    matrix = torch.arange(6.0).reshape(2, 3)
    columns = [matrix, matrix.t(), torch.tensor(2), torch.zeros(2, dtype=torch.bool), torch.zeros(0)]
    columns += [torch.zeros(2, dtype=kind) for kind in (torch.complex64, torch.float16, torch.int8, torch.float64)]
    return columns, [torch.zeros(3, dtype=torch.bfloat16), torch.zeros(3, requires_grad=True), torch.ones(1).expand(4)]


def jax_values(jax: Any) -> tuple[list[Any], list[Any]]:
    """Return values that are columns, and values that are pickled."""
    jnp = jax.numpy
    columns = [jnp.arange(3.0), jnp.asarray(1.0), jnp.zeros((), int), jax.random.PRNGKey(0), jnp.zeros(2) > 0]
    return columns, [jnp.zeros(3, jnp.bfloat16), jax.random.key(0)]


def step(state: dict[str, Any], rng: Any) -> dict[str, Any]:
    """In place and pure."""
    for name, value in state.items():
        state[name] = value + rng.random() if name == "jax" else value.add_(rng.random())
    return state


def main() -> None:
    """Try what is installed."""
    init: dict[str, Any] = {}
    for name, values in (("torch", torch_values), ("jax", jax_values)):
        try:
            library = importlib.import_module(name)
        except ImportError as error:
            print(f"{name}: not tried ({error})")
            continue
        columns, others = values(library)
        for value in columns:
            layout = Layout.of(value)
            assert layout is not None, value
            back = layout.decode(layout.encode(value))
            assert type(back) is type(value) and back.dtype == value.dtype and digest(back) == digest(value), value
            assert getattr(back, "weak_type", None) == getattr(value, "weak_type", None), value
        assert all(Layout.of(value) is None for value in others)
        init[name] = columns[0]
        print(f"{name} {library.__version__}: {len(columns)} kinds of values are columns")
    if init:
        run = rewind.record(step, init, 100, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "run.replay")
            run.save(path)
            loaded = rewind.load(path)
        assert [digest(loaded.get(t)) for t in range(0, 100, 10)] == [digest(run.get(t)) for t in range(0, 100, 10)]
        branch = run.branch(33, noise="same")
        assert run.verify(full=True) and branch.verify(full=True) and digest(branch.get(-1)) == digest(run.get(-1))
        print("a run of them is right")


if __name__ == "__main__":
    main()
