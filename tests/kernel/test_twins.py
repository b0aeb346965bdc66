"""The compiled kernel and its twin: the same names, signatures and words; which of them runs."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rewind

pytestmark = pytest.mark.once  # each test names the twin that it is about

PACKAGE = Path(rewind.__file__).parent
KERNEL = PACKAGE / "kernel"
#: Each twin in Python, and its compiled module.
TWINS = {"core": "rewind._core", **{name: f"rewind.kernel._{name}" for name in ("draws", "native", "sums")}}

modules = pytest.mark.parametrize("module", TWINS)


def beside(module, suffix):
    """Return the source or stub of a compiled module."""
    return PACKAGE.parent.joinpath(*TWINS[module].split(".")).with_suffix(suffix)


def test_every_compiled_module_has_a_twin_and_a_stub():
    for suffix in (".pyx", ".pyi"):
        assert {beside(module, suffix) for module in TWINS} == set(PACKAGE.rglob(f"_*{suffix}"))
    assert all((KERNEL / f"{module}.py").is_file() for module in TWINS) and len(TWINS) == 4


def public(module):
    """Yield (name, object) of all that `module` offers, methods included; an inherited method is no offer of a twin."""
    for name in module.__all__:
        thing = getattr(module, name)
        yield name, thing
        if inspect.isclass(thing) and not name.startswith("Fast"):
            for method, function in vars(thing).items():
                if not method.startswith("_") and callable(function):
                    yield f"{name}.{method}", function


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.compiled
@modules
def test_twins_have_the_same_surface(module):
    compiled = importlib.import_module(TWINS[module])
    python = importlib.import_module(f"rewind.kernel.{module}")
    assert compiled.__all__ == python.__all__
    ours, theirs = dict(public(compiled)), dict(public(python))
    assert list(ours) == list(theirs)
    for name in ours:
        assert callable(ours[name]) == callable(theirs[name]), name
        assert inspect.getdoc(ours[name]) == inspect.getdoc(theirs[name]), name
        if not inspect.isclass(ours[name]) and callable(ours[name]):
            assert parameters(ours[name]) == parameters(theirs[name]), name


@modules
def test_no_docstring_stands_in_both_twins(module):
    docstrings = [
        ast.get_docstring(node, clean=False)
        for node in ast.walk(ast.parse((KERNEL / f"{module}.py").read_text(encoding="utf-8")))
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    ]
    source = beside(module, ".pyx").read_text(encoding="utf-8")
    assert not [text for text in docstrings if text and text in source]
    assert source.count(f'As in ``{module}.py``."""') >= 3


def outline(path):
    """Return (name, parameter names) of the functions a source file offers, and its __all__, by reading it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (
            not node.name.startswith("_") or node.name in ("__init__", "__len__")
        ):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            found.append((node.name, [arg.arg for arg in arguments]))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found.append(("__all__", ast.literal_eval(node.value)))
    return found


@modules
def test_the_stub_describes_the_kernel(module):
    stub, source = outline(beside(module, ".pyi")), outline(KERNEL / f"{module}.py")
    inner = {"drive", "watch", "close"}  # functions inside functions
    attributes = ("rng", ["self"])
    assert sorted(e for e in map(repr, source) if not any(f"'{name}'" in e for name in inner)) == sorted(
        repr(entry) for entry in stub if entry != attributes
    )


@pytest.mark.parametrize(
    "compiled", [pytest.param(True, marks=pytest.mark.compiled), False], ids=["compiled", "python"]
)
def test_the_kernel_offers_what_the_twins_do(compiled):
    modules = TWINS.values() if compiled else [f"rewind.kernel.{module}" for module in TWINS]
    offered = [name for module in modules for name in importlib.import_module(module).__all__]
    assert sorted(rewind.kernel.__all__) == sorted([*offered, "kernel_name"])


def ask(wanted, code="from rewind import kernel; print(kernel.kernel_name, kernel.rounds_twice.__module__)", **more):
    env = {name: value for name, value in os.environ.items() if name != "REWIND_KERNEL"} | more
    if wanted is not None:
        env["REWIND_KERNEL"] = wanted
    env["PYTHONPATH"] = str(PACKAGE.parent)
    return subprocess.run([sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True)


@pytest.mark.compiled
@pytest.mark.parametrize("wanted", [None, "", "compiled"])
def test_the_compiled_kernel_is_taken_where_there_is_one(wanted):
    assert ask(wanted).stdout.split() == ["compiled", "rewind._core"]


def test_the_python_kernel_can_be_asked_for():
    code = (
        "from rewind import kernel as k; print(*(f.__module__ for f in (k.fold, k.Place, k.NativeLoop, k.FastRandom)))"
    )
    assert ask("python", code).stdout.split() == [
        "rewind.kernel.sums",
        "rewind.kernel.core",
        "rewind.kernel.native",
        "rewind.kernel.draws",
    ]


#: A package that imports nothing by itself, so that any module of it can be the first.
EMPTY = (
    "import sys, types; package = sys.modules['rewind'] = types.ModuleType('rewind'); "
    f"package.__path__ = [{str(PACKAGE)!r}]; "
)


@pytest.mark.compiled
@pytest.mark.parametrize("first", [*TWINS.values(), *(f"rewind.kernel.{name}" for name in TWINS), "rewind.kernel"])
def test_any_module_of_the_kernel_can_be_the_first_that_is_imported(first):
    names = "print(kernel.kernel_name, *(hasattr(kernel, name) for name in kernel.__all__))"
    answer = ask("compiled", f"{EMPTY} import {first}; from rewind import kernel; {names}")
    assert (set(answer.stdout.split()), answer.stderr) == ({"compiled", "True"}, "")


@pytest.mark.parametrize(
    "wanted", [pytest.param("compiled", marks=pytest.mark.compiled), "python"], ids=["compiled", "python"]
)
def test_what_can_be_pickled_comes_back_in_a_process_that_has_imported_nothing(wanted):
    make = (
        "import pickle; from rewind import kernel as k; print(*(pickle.dumps(x).hex() for x in (k.MISSING, "
        "k.FastRandom(1), k.BlockRng(1, 'numpy').start(0), k.fold, k.advance, k.accelerated, k.Place, k.NativeLoop)))"
    )
    pickles = ask(wanted, make).stdout.split()
    assert len(pickles) == 8
    for text in pickles:
        code = f"import pickle; print(pickle.loads(bytes.fromhex('{text}')) is not None)"
        answer = ask(wanted, EMPTY + code)
        assert (answer.stdout, answer.stderr) == ("True\n", "")


WITHOUT = "import sys; sys.modules['{}'] = None; "  # an import of it now fails
NAMES = "from rewind import kernel as k; print(k.kernel_name, *sorted(n for n in sys.modules if 'rewind.kernel.' in n))"


@modules
def test_without_one_compiled_module_the_python_kernel_is_taken_whole(module):
    answer = ask(None, WITHOUT.format(TWINS[module]) + NAMES).stdout.split()
    assert answer[0] == "python" and {f"rewind.kernel.{name}" for name in TWINS} <= set(answer)


@modules
def test_asking_for_the_compiled_kernel_never_falls_back(module):
    answer = ask("compiled", WITHOUT.format(TWINS[module]) + NAMES)
    assert answer.returncode == 1
    assert "ImportError: REWIND_KERNEL=compiled, and the compiled kernel does not load" in answer.stderr


def test_a_kernel_nobody_knows_is_refused():
    answer = ask("fast")
    assert answer.returncode == 1
    assert "REWIND_KERNEL is 'fast'; expected 'compiled', 'python' or nothing" in answer.stderr
