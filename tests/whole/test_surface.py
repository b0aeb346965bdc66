"""The public names: sorted, exported, documented, with doctests that run and one tree of exceptions that is drawn."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
import json
import os
import pathlib
import pickle
import pydoc
import re
import subprocess
import sys
import warnings

import pytest
from golden.make_surface import surface

import rewind
from rewind import errors

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = pathlib.Path(rewind.__file__).parent
MODULES = sorted(
    ".".join(["rewind", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__main__"
)
EXCEPTIONS = {
    name: thing
    for name, thing in vars(errors).items()
    if inspect.isclass(thing) and issubclass(thing, BaseException) and thing.__module__ == errors.__name__
}


# ---- names


def test_the_public_names_are_sorted_and_dir_shows_them_and_nothing_else():
    assert dir(rewind) == rewind.__all__ == sorted(rewind.__all__)
    assert all(getattr(rewind, name) is not None for name in rewind.__all__)
    assert rewind.run is None, "there is a run of this name only while one is open"


def test_type_checkers_see_the_names_that_are_loaded_on_first_use():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.asname: f"{node.module}:{alias.name}"
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None and node.module is not None
    }
    homes = {name: f"{module}:{name}" for name, module in rewind._HOMES.items()}
    homes["__version__"] = homes["__version__"].replace("__version__", "VERSION")
    assert seen == homes


def test_no_public_name_hides_a_module():
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not modules & set(rewind.__all__)


def test_help_is_one_screen_that_says_what_there_is():
    shown = pydoc.plain(pydoc.render_doc(rewind)).splitlines()
    assert len(shown) <= 50 and max(map(len, shown)) <= 120
    text = "\n".join(shown)
    assert all(name in text for name in ("record", "Recorder", "load", "resume", "init", "native_step", "errors"))


def test_importing_the_package_loads_none_of_it():
    program = "import sys; before = set(sys.modules); import rewind; print(*sorted(set(sys.modules) - before))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rewind"]


def test_every_exported_name_is_there_and_a_star_gives_them_all():
    namespace: dict[str, object] = {}
    exec("from rewind import *", namespace)
    assert set(rewind.__all__) <= set(namespace)


def test_every_exception_is_public():
    assert set(EXCEPTIONS) <= set(rewind.__all__)
    assert all(getattr(rewind, name) is thing for name, thing in EXCEPTIONS.items())


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_exports_is_there(module):
    loaded = importlib.import_module(module)
    assert all(hasattr(loaded, name) for name in getattr(loaded, "__all__", ()))


# ---- as in 0.5

#: Where the surface may be another than that of 0.5, and why. A part of it is named by its path in the golden file.
DIFFERENCES = {
    "command/verbs/record": "the verb has the name that it has in Python; `run` is another name of it",
    "command/verbs/verify/--observe": "what was observed is compared: --observe gives the functions",
    "names/Branches/new": "a branch is any run: the annotation named a class that is no longer there",
    "names/Progress/": "it says how long a block takes, where that is long",
    "names/PickledStatesWarning/new": "it comes before it is known how many will be pickled",
    "names/MutatingMetricWarning": "a metric that changes the state it is given gets copies, and is no error",
    "names/NoFreshNoiseWarning": "forks that are one future are said to be",
    "names/OwnGeneratorWarning": "a state that brings its own random numbers is said to",
    "names/ObservedMismatchError": "what the metrics give of replayed states is compared with what was observed",
    "names/IgnoredWarning": "new: arguments of programs written for W&B that have no effect here",
    "names/Revision/members/group": "new: a label",
    "names/Revision/members/job_type": "new: a label",
    "names/TrackedRun/members/group": "new: a label, which can be set",
    "names/TrackedRun/members/job_type": "new: a label, which can be set",
    "names/TrackedRun/members/define_metric": "hidden= and goal=",
    "names/TrackedRun/members/log_code": "new: source code is an artifact",
    "names/TrackedRun/members/url": "new: where a run is to be seen",
    "names/Revision/members/media": "new: the files that rows speak of, such as images",
    "names/TrackedRun/members/media": "new: the same, of a run that is written",
    "names/TrackedRun/members/log_artifact": "it takes what was gathered, too: an Artifact of rewind.wandb",
    "names/TrackedRun/members/use_artifact": "type= says which type it must have",
    "names/StandInError": "new: rewind.wandb in the place of a package that is imported already",
    "names/SweepNotFoundError": "new: sweeps of rewind.wandb",
    "names/UnknownSweepMethodError": "new: sweeps of rewind.wandb",
    "names/Revision/members/sweep_id": "new: the sweep of which it is a trial",
    "names/Revision/members/used_artifacts": "new: as `artifacts`, of those that were used",
    "names/TrackedRun/members/sweep_id": "new: the sweep of which it is a trial",
    "names/TrackedRun/members/used_artifacts": "new: as `artifacts`, of those that were used",
    "names/LeftOutWarning": "new: what of an imported run cannot be kept",
    "names/Tracker/members/import_history": "new: runs that other programs logged",
    "command/verbs/import": "`--id`, `--name`, `--project` and `--step`, for runs that other programs logged",
    "command/verbs/history/--safe-csv": "new: text that a spreadsheet would run gets an apostrophe before it",
    "names/PastEndWarning": "new: a moment past the end keeps all, and says what the last step is",
    "command/verbs/diff/--dir": "new: diff compares tracked runs, too",
    "names/Tracker/members/diff": "new: how two tracked runs differ",
    "names/Tracker/members/import_file": "id= is what the run is called here",
    "command/verbs/import/--as": "new: what the run is called here",
    "command/verbs/show/--copy": "new: the digest of a revision alone",
    "names/RevisionClosedError": "new: a writer that lost its lock is told, and adds nothing to what is closed",
    "names/RunBusyError/new": "where there are no locks it says which file to delete",
    "command/verbs/doctor": "new: what record would meet, asked first",
    "names/Diagnosis": "new: the report of diagnose",
    "names/Finding": "new: what is in that report",
    "names/diagnose": "new: what record would meet, asked first",
    "names/Run/new": "only the library makes one: `marks` are `snapshots`",
    "names/NativeStep/": "what identifies its code: its version, its library, the function that numba compiled",
    "names/UncheckedReplayWarning/": "new: a state of a block that would take long to compare",
    "names/load": "check= says whether the first replay is compared, classes= which classes take its states",
    "names/native_step": "version= names the version of code that no file tells of",
    "command/verbs/run/--backend/default": "python still, where none is given: --resume tells whether one is",
    "names/record": "resume=True: the same call begins, goes on, or is done; allow_pickle= for that; trial, lossy",
    "names/plain_loop": "new: the oracle of a recording, for their tests and ours",
    "names/LossyStateError": "new: what the trial refuses",
    "names/UnchangedStateWarning": "new: what the trial warns of",
    "names/Recorder/new": "`trial` and `lossy`",
    "names/Run/members/branch": "`trial` and `lossy`, of another step function",
    "names/TrackedRun/members/record": "`trial` and `lossy`",
    "names/Revision/members/history": "`samples` and `times`",
    "names/Revision/members/scan_history": "`times`",
    "names/TrackedRun/members/history": "`samples` and `times`",
    "names/TrackedRun/members/scan_history": "`times`",
    "names/Revision/members/machine": "new: where and how it was logged",
    "names/TrackedRun/members/machine": "new: where and how it was logged",
    "names/Revision/members/duration": "new: for how long",
    "names/TrackedRun/members/duration": "new: for how long",
    "names/init": "every keyword of W&B's init; `save_code`",
    "command/verbs/run": "`--no-trial` and `--lossy`",
}
#: Annotations may spell a type in another way.
SPELLINGS = {"Handle[": "Run[", "branch.Noise": "Noise"}


def leaves(tree, path=()):
    """Yield every leaf of a JSON tree, with its path."""
    for key, item in tree.items():
        if isinstance(item, dict) and item:
            yield from leaves(item, (*path, key))
        else:
            yield (*path, key), item


def spelled(value):
    for old, new in SPELLINGS.items():
        value = value.replace(old, new) if isinstance(value, str) else value
    return value


def is_expected(path):
    return any("/".join(path).startswith(expected) for expected in DIFFERENCES)


def has_more_facts(path, before, now):
    """Whether an error takes what it took, and more: what was edited into its text is a fact of its own now."""
    what, name, *rest = path
    is_error = what == "names" and rest == ["new"] and name in EXCEPTIONS
    return is_error and now.startswith(before.rpartition(")")[0] + ", ")


def test_the_surface_is_that_of_0_5_but_for_what_is_listed():
    golden = json.loads((ROOT / "tests" / "golden" / "surface-0.5.json").read_text())
    before, now = ({path: spelled(leaf) for path, leaf in leaves(tree)} for tree in (golden, surface()))
    assert len(before) > 600
    others = {
        "/".join(path): (before.get(path, "nothing"), now.get(path, "nothing"))
        for path in sorted({*before, *now})
        if before.get(path) != now.get(path) and not is_expected(path)
        if not has_more_facts(path, str(before.get(path)), str(now.get(path)))
    }
    assert others == {}


def test_the_shell_has_record_under_the_name_that_it_had_too():
    verbs = surface()["command"]["verbs"]
    assert verbs["record"] == verbs["run"]


# ---- docstrings


def members_of(cls):
    """What a class defines, itself or in a part of it that is ours and not public by itself."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("rewind") and base.__name__ not in EXCEPTIONS]
    return {name: member for base in reversed(ours or [cls]) for name, member in vars(base).items()} | vars(cls)


def documented():
    """Every public callable, class, method and property that a user can reach by a public name."""
    for name in rewind.__all__:
        thing = getattr(rewind, name)
        if inspect.isclass(thing):
            yield name, thing
            theirs = thing.__mro__[1] if thing in (rewind.FastGenerator, rewind.FastRandom) else object
            for inner, member in members_of(thing).items():
                if hasattr(theirs, inner):  # numpy's or Python's own method, and its own words
                    continue
                if not inner.startswith("_") and (
                    callable(member) or isinstance(member, (property, classmethod, staticmethod))
                ):
                    yield f"{name}.{inner}", member.fget if isinstance(member, property) else member
        elif callable(thing):
            yield name, thing


DOCUMENTED = dict(documented())
SECTIONS = ["Parameters", "Returns", "Yields", "Raises", "Warns", "Notes", "References", "Attributes", "Examples"]


def test_there_is_something_to_document():
    named = {"record", "resume", "load", "Run", "Run.get", "Run.branch", "Run.n_steps", "Stats", "StepError"}
    assert named | {"Recorder", "Recorder.advance", "Recorder.resume", "Recorder.state"} <= set(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_first_line_says_what_one_gets(name):
    text = inspect.getdoc(DOCUMENTED[name])
    assert text, f"{name} has no docstring"
    first, *rest = text.split("\n")
    assert first.endswith(".") and len(first) <= 120, first
    assert not rest or rest[0] == "", "a first line is followed by an empty one"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_sections_are_those_of_numpydoc(name):
    text = inspect.getdoc(DOCUMENTED[name]) or ""
    for title, line in re.findall(r"^(.+)\n(-{3,})$", text, re.MULTILINE):
        assert title in SECTIONS, f"{name} has a section {title!r}"
        assert len(line) == len(title)


FUNCTIONS = {name: thing for name, thing in DOCUMENTED.items() if inspect.isfunction(thing)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_described_where_any_is(name):
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    listed = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}$|\Z)", text, re.MULTILINE | re.DOTALL)
    parameters = [p for p in inspect.signature(FUNCTIONS[name]).parameters if p != "self"]
    if listed is None:
        assert len(parameters) <= 2, f"{name} takes {parameters} and describes none"
        return
    described = {word for line in re.findall(r"^(\w.*?)(?: :|$)", listed[1], re.MULTILINE) for word in line.split(", ")}
    assert described == set(parameters)


def test_every_module_says_what_it_is():
    for module in MODULES:
        text = importlib.import_module(module).__doc__
        assert text and text.strip().split("\n")[0].rstrip().endswith((".", ":", ")")), module


# ---- doctests


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_run(module):
    loaded = importlib.import_module(module)
    tests = doctest.DocTestFinder(exclude_empty=True).find(loaded, module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for test in tests:
            if test.examples:
                runner.run(test)
    assert runner.failures == 0


def test_the_examples_are_not_lost():
    finder = doctest.DocTestFinder(exclude_empty=True)
    with_examples = [m for m in MODULES if any(t.examples for t in finder.find(importlib.import_module(m), m))]
    assert {"rewind.runs.record", "rewind.runs.recorder", "rewind.state.digest"} <= set(with_examples)


# ---- exceptions


def drawn():
    """name -> (parent in the tree, builtin named in parentheses), as the docstring of errors.py draws it."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([\s│├└─]*)(Rewind\w+|\w+(?:Error|Warning|Interrupted))\b(?: \((\w+)\))?", line)
        if match is None or not line.startswith("    "):
            continue
        depth = len(match[1])
        while above and above[-1][0] >= depth:
            above.pop()
        tree[match[2]] = (above[-1][1] if above else None, match[3])
        above.append((depth, match[2]))
    return tree


DRAWN = drawn()


def test_the_tree_that_is_drawn_is_the_tree_there_is():
    assert set(DRAWN) == set(EXCEPTIONS)


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_an_exception_stands_below_its_parent_and_names_its_builtin(name):
    cls = EXCEPTIONS[name]
    parent, builtin = DRAWN[name]
    ours = [base.__name__ for base in cls.__bases__ if base.__module__ == errors.__name__]
    assert ours == ([parent] if parent else [])
    builtins_of = [base.__name__ for base in cls.__bases__ if base.__module__ == "builtins" and base is not Exception]
    if builtin is None:
        assert builtins_of == []
    else:
        assert issubclass(cls, getattr(builtins, builtin))
        assert builtins_of in ([builtin], [])


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_every_exception_is_one_of_rewind(name):
    families = (errors.RewindError, errors.RewindWarning, errors.RecordingInterrupted)
    assert issubclass(EXCEPTIONS[name], families)
    assert issubclass(EXCEPTIONS[name], Exception) == (name != "RecordingInterrupted")  # Ctrl-C is not to be swallowed
    assert inspect.getdoc(EXCEPTIONS[name])


SAMPLES = [
    errors.ArgumentError("n_steps", 0, "an integer >= 1"),
    errors.ArgumentTypeError("seed", 1.5, "an integer"),
    errors.StepRangeError(1000, 10),
    errors.SizeLimitError(10**12, 10**9),
    errors.StateError(".x", "a lambda"),
    errors.LossyStateError(".x", 33, 1.5, 0.0, "__reduce__", "Env", 32, (".v",), (33, ".x", 1.5, 0.1)),
    errors.LossyStateError("", 1, None, None),
    errors.StateClassError("shapes", "Shape.Inner"),
    errors.MetricError("x", 5, "gave 'text'"),
    errors.UnknownMetricError("y", ["x"]),
    errors.ConditionError("expected a number", "x > > 3", 4),
    errors.MissingStepError("step 5", "m:f"),
    errors.MissingCodecError(),
    errors.StepError(5, ValueError("five")),
    errors.StepReturnError(5),
    errors.NativeStepError(3),
    errors.TransferError(TypeError("cannot pickle 'lock'")),
    errors.WorkersLostError("stats", 3, 40, EOFError("gone")),
    errors.ShardError("shard 3 of 7 is missing", "part.json"),
    errors.RecordingInterrupted(5, 10, None),
    errors.RecordingInterrupted(5, None, None, "a.replay", "SIGTERM"),
    errors.RecorderFinishedError("a.replay"),
    errors.TrackerError("no simulation"),
    errors.MomentError("k3f9?_step=x", "'x' is no step"),
    errors.MomentError.beyond("k3f9?_step=900", 900, 299),
    errors.RunNotFoundError("k3f8", ["k3f9"], "/runs"),
    errors.RunNotFoundError("k3f9@7", [], "/runs", [1, 2]),
    errors.RunExistsError("k3f9", "/runs"),
    errors.RunBusyError("k3f9", 17, "here"),
    errors.RunFinishedError("k3f9", "log", 299),
    errors.NoRunError("log()"),
    errors.StandInError("/site-packages/wandb/__init__.py"),
    errors.SweepNotFoundError("abc", "/work/.rewind", ["def"]),
    errors.UnknownSweepMethodError("bayes"),
    errors.ConfigError("lr", 0.1, 0.2),
    errors.LogValueError({"f": max}),
    errors.DroppedError(3, 5),
    errors.TrackedArtifactError("there is no artifact 'model'"),
    errors.HistoryMismatchError("k3f9@1", 5, "x", 1.0, 2.0),
    errors.StoreError("log to", "/runs/tracker.sqlite", "no space is left"),
    errors.RevisionClosedError("k3f9@1", "crashed"),
    errors.StoreVersionError("/runs/tracker.sqlite", 2, 1),
    errors.StoreDamagedError("read", "/runs/tracker.sqlite", "it is no SQLite database"),
    errors.NondeterministicStepError(1, 5, ".x", 0.1, 0.2),
    errors.ObservedMismatchError(
        1, 5, 8, "x", "min", (2,), -50.0, 0.5, recorded={"numpy": "1"}, present={"numpy": "2"}
    ),
    errors.NondeterministicReplayError(1, 5, ".x", 0.1, 0.2, recorded={"numpy": "1"}, present={"numpy": "2"}),
    errors.ArtifactFormatError("the file is empty", "a.replay"),
    errors.ArtifactVersionError(2, 1, "a.replay"),
    errors.ArtifactIntegrityError("its contents", "a.replay"),
    errors.UnsafeArtifactError(1, 2, "a.replay"),
    errors.ArtifactIOError.of("read", "a.replay", FileNotFoundError(2, "No such file")),
    errors.ArtifactIOError.of("read", "a.replay", IsADirectoryError(21, "Is a directory")),
    errors.ArtifactIOError.of("write", "a.replay", PermissionError(13, "Permission denied")),
    errors.ArtifactIOError.of("write", "a.replay", OSError(28, "No space left on device")),
    errors.ArtifactBusyError("a.replay.journal", 123, "here"),
    errors.UnfinishedRecordingError("a.replay.journal", "a.replay", 71),
]


@pytest.mark.once
@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_exception_survives_a_pickle_with_its_text_and_facts(error):
    """A pool of processes sends them so."""
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error) and str(back) == str(error) and back.args == error.args
    facts = {name: repr(value) for name, value in vars(error).items() if name != "run"}
    assert facts == {name: repr(value) for name, value in vars(back).items() if name != "run"}
    if isinstance(error, OSError):
        assert (back.errno, back.strerror, back.filename) == (error.errno, error.strerror, error.filename)


def test_every_exception_has_a_sample():
    abstract = {"RewindError", "RewindWarning", "NondeterminismError", "ArtifactError"}
    warnings = {name for name, cls in EXCEPTIONS.items() if issubclass(cls, Warning)}  # tests/runs/test_warnings.py
    assert {type(error).__name__ for error in SAMPLES} | abstract | warnings == set(EXCEPTIONS)


def test_a_value_whose_repr_fails_does_not_hide_the_message():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    assert "whose repr raises RuntimeError" in str(errors.ArgumentError("x", Broken(), "a number"))
    assert len(errors.show("x" * 10_000)) < 100 and "\n" not in errors.show("a\nb" * 5)
