"""Shared by every test: which kernels are here, the `core` fixture, and how Hypothesis runs."""

import gc
import importlib
import importlib.util
import inspect
import linecache
import os
import re
import signal

import pytest
from hypothesis import settings

pytest_plugins = ["helpers.native_steps"]  # the fixtures that build steps

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100, print_blob=True)
settings.register_profile("long", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# What a run keeps must not depend on the state of the checkout that tests run in; tests/tracker/test_machine.py asks.
os.environ.setdefault("REWIND_NO_CODE", "1")


def why_not_compiled():
    """Return why tests of the compiled kernel do not run, None if they do.

    REWIND_KERNEL=compiled runs them always, so that a kernel that is missing fails instead of going unnoticed.
    """
    wanted = os.environ.get("REWIND_KERNEL", "")
    if wanted == "python":
        return "REWIND_KERNEL=python"
    if wanted != "compiled" and importlib.util.find_spec("rewind._core") is None:
        return "it is not built"
    return None


def remember_where_classes_are():
    """Have `inspect` look a class up once for each text of a file: it parses all of the file to find it."""
    find, known = inspect.findsource, {}

    def findsource(thing):
        file = inspect.getsourcefile(thing) if inspect.isclass(thing) else None
        if file is None:
            return find(thing)
        linecache.checkcache(file)  # forgets a file that was changed
        text, found = known.get((file, thing.__qualname__), (None, None))
        if text is None or text is not linecache.cache.get(file):
            found = find(thing)
            known[file, thing.__qualname__] = linecache.cache.get(file), found
        return found

    inspect.findsource = findsource


def pytest_configure(config):
    remember_where_classes_are()
    # A shell's background jobs ignore Ctrl-C, and so would all that is started here: tests that send one would wait.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Every second process reads the folders backwards: from the middle on, the bytecode is there.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if int(worker.removeprefix("gw")) % 2 and config.args in (["tests"], [str(config.rootpath / "tests")]):
        folders = {path.parent for path in (config.rootpath / "tests").glob("*/test_*.py")}
        config.args[:] = map(str, sorted(folders, reverse=True))


def pytest_collection_finish():
    # What is there before the first test stays. Nothing that collects garbage within a test has to look through it.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # a twelfth of the time went into looking for cycles


def pytest_report_header():
    why = why_not_compiled()
    return f"rewind kernels: {'compiled, python' if why is None else f'python; compiled is deselected: {why}'}"


#: Files of tests that are marked `fast`: for each package, what breaks first and takes no more than seconds.
FAST = {
    "kernel": ["test_kernel", "test_seeding"],
    "state": ["test_codec", "test_layout"],
    "metrics": ["test_histogram", "test_observe"],
    "steps": ["test_native_runs"],
    "engine": ["test_replay"],
    "storage": ["test_replay_file"],
    "runs": ["test_arguments", "test_extend", "test_record", "test_run", "test_warnings"],
    "tracker": ["test_config", "test_moments", "test_store"],
    "cli": ["test_cli_record"],
    "whole": ["test_golden", "test_layers", "test_surface"],
}


def is_fast(path):
    return path.stem in FAST.get(path.parent.name, ())


#: What a test file says that is marked `once` as a whole.
ALL_ONCE = re.compile(r"^pytestmark = (\[\s*)?pytest\.mark\.once\b", re.MULTILINE)


def pytest_ignore_collect(collection_path, config):
    # Where nothing else is asked for, nothing else is read.
    wanted = config.option.markexpr
    if wanted not in ("fast", "not once") or not collection_path.match("test_*.py"):
        return None
    if wanted == "fast":
        return None if is_fast(collection_path) else True
    return True if ALL_ONCE.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    # In one order in every process, in whichever order it read them. The long ones are in `whole`: begin with them.
    items.sort(key=lambda item: (item.path.parent.name != "whole", item.path))
    for item in items:
        if is_fast(item.path) and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.fast)
    if why_not_compiled() is None:
        return
    gone = [item for item in items if item.get_closest_marker("compiled")]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if not item.get_closest_marker("compiled")]


@pytest.fixture
def without_trial(monkeypatch):
    """No trial: where calls of the step are counted, or what it does is not to be done beforehand."""
    monkeypatch.setattr("rewind.runs.plan.trial_of", lambda state, options: None)


@pytest.fixture(
    scope="session",
    params=[pytest.param("rewind._core", marks=pytest.mark.compiled), "rewind.kernel.core"],
    ids=["compiled", "python"],
)
def core(request):
    """The kernel under test: a test that asks for it runs on both twins."""
    return importlib.import_module(request.param)


def twins(name):
    """Return a fixture that runs a test on a compiled module of the kernel and on its Python twin."""

    @pytest.fixture(
        scope="session",
        name=name,
        params=[pytest.param(f"rewind.kernel._{name}", marks=pytest.mark.compiled), f"rewind.kernel.{name}"],
        ids=["compiled", "python"],
    )
    def module(request):
        return importlib.import_module(request.param)

    return module


draws, sums, native = twins("draws"), twins("sums"), twins("native")
