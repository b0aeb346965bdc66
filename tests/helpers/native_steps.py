"""Native steps that tests share: what builds and loads them, and the same steps in Python."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.shared import made_once

from rewind.state.codec import StateCodec
from rewind.steps import native as engine

SOURCES = pathlib.Path(__file__).parent / "native"


# ---- what is built, once for all processes of a test run


def compiler():
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler (cc, gcc, clang) on the path")
    return found


def includes():
    return [f"-I{engine.get_include()}", f"-I{np.get_include()}"]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Path of the shared library of native/steps.c."""
    compiler()
    return made_once(tmp_path_factory, "native", build_library) / "steps.so"


def build_library(folder):
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    command = [compiler(), *flags, *includes(), str(SOURCES / "steps.c"), "-o", str(folder / "steps.so")]
    subprocess.run(command, check=True)


POINTERS = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
BLOCK = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p]


@pytest.fixture(scope="session")
def library(built):
    """The functions of native/steps.c, with their types."""
    loaded = ctypes.CDLL(str(built))
    for name in [case.name for case in CASES] + ["bounded", "counting", "slow", "add_mixed"]:
        getattr(loaded, name).argtypes = BLOCK if name.endswith("_block") else POINTERS
    loaded.bounded_block.argtypes = BLOCK
    return loaded


SETUP = """
import pathlib, sys
import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
numpy_random = pathlib.Path(numpy.random.__file__).parent / "lib"
step = Extension(
    "cysteps", ["cysteps.pyx"], include_dirs=[numpy.get_include()], library_dirs=[str(numpy_random)],
    libraries=["npyrandom"], extra_compile_args=[] if sys.platform == "win32" else ["-ffp-contract=off"],
)
setup(name="cysteps", ext_modules=cythonize([step], quiet=True))
"""


@pytest.fixture(scope="session")
def cysteps(tmp_path_factory):
    """The module of native/cysteps.pyx, which cimports rewind as a user's does."""
    pytest.importorskip("Cython")
    compiler()
    folder = made_once(tmp_path_factory, "cython", build_cysteps)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("cysteps")
    finally:
        with contextlib.suppress(ValueError):  # a test that began it with a path of its own has put back another
            sys.path.remove(str(folder))


def build_cysteps(folder):
    shutil.copy(SOURCES / "cysteps.pyx", folder)
    (folder / "setup.py").write_text(SETUP)
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(engine.__file__).parents[2])}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- the same steps in Python


def drift(x, rng, pull=0.5, width=1.0):
    return x * pull + width * (rng.random() - 0.5)


def walk(x, rng):
    return x + (1 if int(rng.integers(0, 1 << 32, dtype=np.uint32)) & 1 else -1)


def ring(x, rng):
    first = x[0]
    for i in range(5):
        x[i] = 0.5 * (x[i] + (x[i + 1] if i < 4 else first)) + rng.random()
    return x


def cells(x, rng):
    k = int(rng.random() * 6)
    x.T.reshape(-1)[k] += k + 1 if x.flags.f_contiguous else 0
    if not x.flags.f_contiguous:
        x.reshape(-1)[k] += k + 1
    return x


AGENT = np.dtype([("kind", "i1"), ("x", "f8"), ("flag", "?"), ("hits", "i4")], align=True)


def agents(a, rng):
    for i in range(2):
        u = rng.random()
        a[i]["x"] += u
        a[i]["kind"] = (int(a[i]["kind"]) + 129) % 256 - 128
        a[i]["flag"] = u >= 0.5
        a[i]["hits"] += u < 0.5
    return a


def single(x, rng):
    half = np.float32(0.5)
    if isinstance(x, np.ndarray):
        x[...] = x[()] * half + np.float32(rng.random())
        return x
    return x * half + np.float32(rng.random())


def spiral(z, rng):
    z[...] = complex(-z[()].imag + rng.random(), z[()].real)
    return z


def case(name, step, state, **params):
    return SimpleNamespace(name=name, step=lambda x, rng: step(x, rng, **params), state=state, params=params)


CASES = [
    case("drift", drift, 0.5),
    case("drift", drift, -0.0, pull=0.999, width=2.0),
    case("drift", drift, np.float64(0.25)),
    case("drift", drift, float("nan")),
    case("drift_block", drift, 1e300),
    case("walk", walk, 0),
    case("walk", walk, -(1 << 40)),
    case("walk", walk, np.int64(7)),
    case("ring", ring, np.arange(5.0)),
    case("cells", cells, np.zeros(6, np.int64)),
    case("cells", cells, np.arange(6, dtype=np.int64).reshape(3, 2)),
    case("cells", cells, np.asfortranarray(np.arange(6, dtype=np.int64).reshape(3, 2))),
    case("agents", agents, np.zeros(2, AGENT)),
    case("nothing", lambda x, rng: x, np.zeros((3, 0))),
    case("single", single, np.float32(0.5)),
    case("single", single, np.array(0.5, np.float32)),
    case("spiral", spiral, np.array(1 + 2j)),
]
every_case = pytest.mark.parametrize("example", CASES, ids=lambda c: f"{c.name}-{type(c.state).__name__}")


def raw(state):
    """Return the values of a state as bytes, without padding."""
    codec = StateCodec.of(state)
    row = codec.encode(state)
    return b"".join(np.asarray(part).tobytes() for part in (row if isinstance(row, list) else [row]))


def own(state):
    return state.copy(order="K") if isinstance(state, np.ndarray) else state


# ---- a function as an address


#: A capsule only borrows its name.
names: list[bytes | None] = []


def capsule(address, name=engine.STEP, context=None):
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
        ("PyCapsule_New", ctypes.pythonapi)
    )
    names.append(name.encode() if name is not None else None)
    made = new(address, names[-1], None)
    if context is not None:
        set_context = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p)
        set_context(("PyCapsule_SetContext", ctypes.pythonapi))(made, context)
    return made


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value
