"""Imports point one way: cli -> (tracker, viewer) -> run -> storage -> engine -> kernel -> errors."""

from __future__ import annotations

import ast
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "rewind"

#: Layers from the bottom up. A module may import its own layer and those below.
LAYERS = [
    ["errors"],
    ["blockseed"],
    ["_draws", "_draws_py", "_sums", "_sums_py"],
    ["_core", "_core_py"],
    ["_native", "_native_py"],
    ["kernel"],
    ["engine"],
    ["storage"],
    ["checks", "progress", "source", "stepkinds", "jit", "jit_parts", "workforce", "arrays", "views"],
    ["signals", "keeping"],
    ["handle", "cursors", "sweeping", "planning"],
    ["branches", "measuring", "searching", "comparing", "branching", "forking", "run"],
    ["recorder", "loader", "resuming", "stepwise", "stepcode", "partsums", "parts", "shards"],
    ["tracker", "viewer"],
    [
        "cli",
        "verbs",
        "verbs_check",
        "verbs_diff",
        "verbs_history",
        "verbs_log",
        "verbs_passes",
        "verbs_questions",
        "verbs_run",
        "verbs_shared",
        "verbs_show",
        "verbs_tracker",
        "rendering",
    ],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
#: The names of the public surface are gathered here, from every layer the run level may see.
SURFACE = "rewind"


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
COMPILED = {f"rewind.{path.stem}" for path in PACKAGE.glob("_*.pyx")}
KNOWN = {*FILES, *COMPILED}


def imports_of(module: str) -> set[str]:
    """Every module that `module` names in an import, at its top or inside a function; relative names made absolute."""
    path = FILES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in KNOWN else base)
    return found


GRAPH = {module: imports_of(module) for module in FILES}
INSIDE = {module: {name for name in found if name in KNOWN} for module, found in GRAPH.items()}


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else SURFACE


def test_every_module_has_a_place():
    assert len(FILES) > 25
    homeless = {module for module in FILES if layer(module) not in {*RANK, SURFACE}}
    assert not homeless, f"give {homeless} a place in LAYERS"


@pytest.mark.parametrize("module", FILES)
def test_no_import_points_up(module):
    if layer(module) == SURFACE:
        assert all(RANK[layer(name)] < RANK["cli"] for name in INSIDE[module])
        return
    for name in INSIDE[module]:
        assert layer(name) != SURFACE, f"{module} imports the public surface; import what it needs instead"
        assert RANK[layer(name)] <= RANK[layer(module)], f"{module} imports {name}, which is above it"


def test_nobody_imports_what_is_not_there():
    for module, found in GRAPH.items():
        missing = {name for name in found if name.split(".")[0] == "rewind" and name not in KNOWN}
        assert not missing, (module, missing)


def test_imports_go_in_no_circle():
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module in done:
            return
        for name in sorted(INSIDE.get(module, ())):
            if name != module:
                visit(name, (*way, module))
        done.add(module)

    for module in FILES:
        visit(module, ())
    assert done >= set(FILES)


def test_errors_imports_nothing_of_the_package():
    assert not INSIDE["rewind.errors"]


def who_imports(*names: str) -> set[str]:
    return {
        m for m, found in GRAPH.items() if any(f == name or f.startswith(name + ".") for f in found for name in names)
    }


def test_only_the_kernel_names_either_twin():
    twins = {f"{name}_py" for name in COMPILED}
    assert who_imports(*COMPILED, *twins) - twins == {"rewind.kernel"}


def test_only_the_writer_and_what_it_splits_off_import_h5py():
    assert who_imports("h5py") == {"rewind.storage.writer", "rewind.storage.rewritten"}
    assert "rewind.storage.rewritten" in INSIDE["rewind.storage.writer"]


def test_only_the_command_line_parses_arguments():
    asking = {layer(module) for module in who_imports("argparse")}
    assert asking <= {name for name in RANK if name == "cli" or name.startswith("verbs")}


def test_the_engine_touches_no_file_clock_or_environment():
    forbidden = ("os", "io", "time", "datetime", "tempfile", "shutil", "subprocess", "socket", "sqlite3", "logging")
    for module in FILES:
        if layer(module) == "engine":
            found = GRAPH[module] & set(forbidden)
            assert found <= ({"io"} if module == "rewind.engine.digests" or "anatomy" in module else set()), (
                module,
                found,
            )


def test_only_the_command_line_prints():
    for module, path in FILES.items():
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
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
