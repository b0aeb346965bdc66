"""Imports point one way, down the list of rooms, and in no circle."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "rewind"

#: The packages from the bottom up: docs/laws.md and CONTRIBUTING.md say what each is. One may import itself and those
#: before it.
ROOMS = ["errors", "kernel", "state", "metrics", "steps", "engine", "storage", "runs", "tracker", "wandb", "cli"]
ROOMS += ["__main__"]
RANK = {name: rank for rank, name in enumerate(ROOMS)}
#: The names of the public surface are gathered here.
SURFACE = "rewind"


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
COMPILED = {module_name(path) for path in PACKAGE.rglob("_*.pyx")}
KNOWN = frozenset({*FILES, *COMPILED})


@functools.cache
def nodes_of(module: str) -> list[ast.AST]:
    """All there is in the source of `module`."""
    return list(ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))))


@functools.cache
def imports_of(module: str) -> frozenset[str]:
    """Every module that `module` names in an import, at its top or inside a function; relative names made absolute."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in KNOWN else base)
    return frozenset(found)


def inside(module: str) -> frozenset[str]:
    """Those of them that are of the package."""
    return imports_of(module) & KNOWN


def layer(module: str) -> str:
    if module == "rewind._core":  # the kernel's centre: it is where people who cimport look
        return "kernel"
    return module.split(".")[1] if "." in module else SURFACE


def test_every_module_has_a_place():
    assert len(FILES) > 25
    homeless = {module for module in FILES if layer(module) not in {*RANK, SURFACE}}
    assert not homeless, f"give {homeless} a place in ROOMS"


@pytest.mark.parametrize("module", FILES)
def test_no_import_points_up(module):
    if layer(module) == SURFACE:
        assert all(RANK[layer(name)] < RANK["cli"] for name in inside(module))
        return
    for name in inside(module):
        assert layer(name) != SURFACE, f"{module} imports the public surface; import what it needs instead"
        assert RANK[layer(name)] <= RANK[layer(module)], f"{module} imports {name}, which is above it"


def test_nobody_imports_what_is_not_there():
    for module in FILES:
        missing = {name for name in imports_of(module) if name.split(".")[0] == "rewind" and name not in KNOWN}
        assert not missing, (module, missing)


def test_imports_go_in_no_circle():
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module in done:
            return
        for name in sorted(inside(module) if module in FILES else ()):
            if name != module:
                visit(name, (*way, module))
        done.add(module)

    for module in FILES:
        visit(module, ())
    assert done >= set(FILES)


def test_errors_imports_nothing_of_the_package():
    assert not inside("rewind.errors")


def who_imports(*names: str) -> set[str]:
    return {m for m in FILES if any(f == name or f.startswith(name + ".") for f in imports_of(m) for name in names)}


def test_only_the_kernel_names_either_twin():
    twins = {f"rewind.kernel.{module.rpartition('.')[2].lstrip('_')}" for module in COMPILED}
    assert twins <= set(FILES) and len(twins) == 4
    assert who_imports(*COMPILED, *twins) - twins == {"rewind.kernel"}


def test_only_the_writer_and_what_it_splits_off_import_h5py():
    assert who_imports("h5py") == {"rewind.storage.hdf5.writer", "rewind.storage.hdf5.h5py_reader"}
    assert "rewind.storage.hdf5.h5py_reader" in inside("rewind.storage.hdf5.writer")


def test_only_the_command_line_parses_arguments():
    assert {layer(module) for module in who_imports("argparse")} == {"cli"}


def test_nothing_up_to_the_engine_touches_a_file_a_clock_or_the_environment():
    forbidden = {"io", "time", "datetime", "tempfile", "shutil", "subprocess", "socket", "sqlite3", "logging"}
    for module in FILES:
        if layer(module) in ("state", "metrics", "engine"):
            found = imports_of(module) & {*forbidden, "os"}
            assert found <= ({"io"} if module in ("rewind.state.digest", "rewind.state.reduction") else set()), module


#: What of the package is imported where it is used, and why.
LATE = {"rewind.storage.hdf5.writer": "h5py takes as long as numpy", "rewind.steps.jit.step": "so does numba"}


def inner_imports(module: str) -> set[str]:
    """The modules of the package that `module` imports inside a function."""
    path, found = FILES[module], set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in nodes_of(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom):
                    base = "." * inner.level + (inner.module or "")
                    base = importlib.util.resolve_name(base, package) if inner.level else base
                    names = [f"{base}.{alias.name}" for alias in inner.names]
                    found |= {name if name in KNOWN else base for name in names}
    return found & KNOWN


@pytest.mark.parametrize("module", FILES)
def test_an_import_inside_a_function_is_of_something_heavy(module):
    assert inner_imports(module) <= set(LATE)


#: Whoever imports by name where it is used, and why.
BY_NAME = {
    "rewind": "a public name is loaded when it is first used",
    "rewind.kernel": "a kernel is loaded when one of its names is first used",
    "rewind.kernel.core": "a fork waits for modules that another thread imports",
    "rewind.cli.late": "numpy takes longer than rewind --help does in all: a verb is loaded when it runs",
    "rewind.cli.user_code": "the user's code",
    "rewind.steps.native": "the user's code",
    "rewind.wandb": "as in rewind itself",
    "rewind.wandb.util": "what a program asks for by name",
    "rewind.wandb.surface": "the same, for modules that have no file",
    "rewind.wandb.stand_in": "the modules of rewind.wandb, when they are imported by another name",
    "rewind.wandb.integration.library": "the frameworks that a program has",
    "rewind.steps.jit.intrinsics": "numba",
}


def test_only_these_import_by_name():
    by_name = {m for m, path in FILES.items() if "import_module(" in path.read_text(encoding="utf-8")}
    assert by_name <= set(BY_NAME)


def test_only_the_command_line_prints():
    for module in FILES:
        calls = [node for node in nodes_of(module) if isinstance(node, ast.Call)]
        printing = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
        assert not printing or layer(module) == "cli", module


def fresh(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}"]
    return subprocess.run(command, capture_output=True, text=True)


ALONE = """
import importlib, os, sys, traceback, types
import numpy  # once for all; everything else is new in each child
for name in {modules}:
    child = os.fork()
    if child == 0:
        package = types.ModuleType("rewind")  # without its __init__, which would import the others first
        package.__path__ = [{package!r}]
        sys.modules["rewind"] = package
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, file=sys.stderr)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""


@pytest.mark.slow
def test_every_module_can_be_imported_alone():
    modules = [module for module in FILES if module != SURFACE and not module.endswith("__main__")]
    script = ALONE.format(modules=modules, package=str(PACKAGE))
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # Python warns of a fork beside other threads
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert fresh("import rewind").returncode == 0


def test_importing_rewind_loads_no_heavy_library():
    heavy = [
        "h5py",
        "pandas",
        "matplotlib",
        "numba",
        "scipy",
        "dask",
        "tqdm",
        "cloudpickle",
        "anywidget",
        "argparse",
        "sqlite3",
    ]
    done = fresh(
        f"import numpy; before = set(sys.modules); import rewind; print(*({{*{heavy}}} & (set(sys.modules) - before)))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_reading_a_file_loads_no_libhdf5(tmp_path):
    import rewind

    rewind.record(lambda x, rng: x + 1, 0, 50, 1).save(tmp_path / "run.replay")
    done = fresh(f"import rewind; rewind.load({str(tmp_path / 'run.replay')!r}).get(0); print('h5py' in sys.modules)")
    assert done.stdout == "False\n", done.stderr
