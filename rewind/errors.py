"""Every exception and warning of rewind, as one tree; this module imports nothing of the package.

::

    RewindError
    ├── ArgumentError (ValueError)            an argument with a value that is not allowed
    ├── ArgumentTypeError (TypeError)         an argument of a type that is not allowed
    ├── StepRangeError (IndexError)           a step outside the run
    ├── SizeLimitError (ValueError)           an answer that would fill the memory
    ├── StateError (TypeError)                a state that no checkpoint can hold
    │   └── LossyStateError                       what a checkpoint gives back does not go on as the state itself does
    ├── StateClassError (ImportError)         a state's class that has not been imported here
    ├── MetricError (TypeError)               a metric that does not give numbers of one shape
    ├── UnknownMetricError (KeyError)         a metric this run did not observe
    ├── ConditionError (ValueError)           a condition that cannot be read, raised, or is not what it should be
    ├── MissingStepError (RuntimeError)       a call that needs the step function
    ├── MissingCodecError (RuntimeError)      a call that needs the codec the run was recorded with
    ├── StepError (RuntimeError)              step_fn raised; ``.run`` holds the finished part
    │   └── StepReturnError (TypeError)       step_fn returned None
    ├── NativeStepError (RuntimeError)        what a native step that failed returned: the cause of a StepError
    ├── TransferError (TypeError)             what cannot be sent to a worker, or back
    ├── WorkersLostError (RuntimeError)       workers died; ``.partial`` holds the finished part
    ├── RecorderFinishedError (RuntimeError)  a recorder whose run is finished goes no further
    ├── ShardError (ValueError)               parts of a sharded pass that cannot be read, or do not belong together
    ├── StandInError (ImportError)            `rewind.wandb` cannot stand in for a package that is imported already
    ├── UnknownSweepMethodError (ValueError)  a sweep by another method than grid or random
    ├── TrackerError                          a tracked run
    │   ├── MomentError (ValueError)              text that is no moment ``run_id?_step=200`` of a run
    │   ├── RunNotFoundError (LookupError)        no such run, or no such revision of it
    │   ├── SweepNotFoundError (LookupError)      no such sweep
    │   ├── RunExistsError (ValueError)           an id that is taken
    │   ├── RunBusyError (BlockingIOError)        another process, or another place in this one, writes to the run
    │   ├── RunFinishedError (RuntimeError)       a call after ``finish``
    │   ├── NoRunError (RuntimeError)             there is no run: ``init`` was not called
    │   ├── ConfigError (ValueError)              a config value that would change
    │   ├── LogValueError (TypeError)             a value that cannot be kept; the rest of its row is
    │   ├── DroppedError (ValueError)             a row below the current step, with ``on_dropped="raise"``
    │   ├── TrackedArtifactError (LookupError)    no such artifact
    │   ├── HistoryMismatchError (ValueError)     a row that the simulation does not give
    │   └── StoreError (OSError)                  the folder of the tracker cannot be read or written
    │       ├── RevisionClosedError               another process closed the revision that this one logs to
    │       ├── StoreVersionError                 written by a later rewind
    │       └── StoreDamagedError                 not a database, or a damaged one
    ├── NondeterminismError (RuntimeError)    a replay that does not reproduce the recording
    │   ├── NondeterministicStepError         found while recording, by the trial or ``self_check=True``
    │   └── NondeterministicReplayError       found by ``verify``
    │       └── ObservedMismatchError             a replay that does not give what was observed
    └── ArtifactError                         a file
        ├── ArtifactFormatError (ValueError)      not a `.replay` file, or damaged
        ├── ArtifactVersionError (ValueError)     a `.replay` file of a later format
        ├── ArtifactIntegrityError (ValueError)   contents that differ from their digest
        ├── UnsafeArtifactError (ValueError)      a pickle that was not allowed
        ├── UnfinishedRecordingError (FileExistsError)    a recording that was cut off, and would be lost
        └── ArtifactIOError (OSError)             the operating system said no
            ├── ArtifactNotFoundError (FileNotFoundError)
            ├── ArtifactIsADirectoryError (IsADirectoryError)
            ├── ArtifactPermissionError (PermissionError)
            └── ArtifactBusyError (BlockingIOError)       another process records to it

    RecordingInterrupted (KeyboardInterrupt)      Ctrl-C; ``.run`` holds the finished part

    RewindWarning (UserWarning)
    ├── PickledStatesWarning                  states that stopped fitting the columns of state 0
    ├── MutatingMetricWarning                 a metric that changes the state it is given, and so gets copies
    ├── SharedMemoryWarning                   arrays of a state that are views of one memory
    ├── UnfinishedRecordingWarning            a recording beside the file that has not become it
    ├── OwnGeneratorWarning                   a state with a random generator of its own
    ├── NoFreshNoiseWarning                   forks that drew nothing from their rng, and so are one future
    ├── NoLockWarning                         a file system that cannot keep a second recorder away
    ├── IgnoredWarning                        arguments that have no effect here
    ├── DroppedWarning                        a row below the current step of a tracked run, which is left out
    ├── PastEndWarning                        a moment after the last row of a tracked run
    ├── LeftOutWarning                        what of an imported run cannot be kept
    ├── StepSourceWarning                     the step function is not the one recorded
    ├── UncheckedReplayWarning                a state of a replay that was not compared with the recording yet
    └── UnchangedStateWarning                 a state that no step of the trial changed

Exceptions take facts and build their own text here, so both kernels and every caller say the same words.
"""

from __future__ import annotations

import errno as _errno
import os as _os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any


def show(value: object, limit: int = 60) -> str:
    """Return ``repr(value)``, shortened in the middle to about `limit` characters, and never raising."""
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write out the longest
        return f"an integer of {value.bit_length():,} bits"
    try:
        text = repr(value)
    except Exception as error:  # a broken __repr__ must not hide the message it was meant for
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 15]} ... {text[-10:]}"


def said(error: BaseException) -> str:
    """Return the text of an exception, whatever its ``__str__`` does."""
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__}, whose text is unavailable>"


def _advised(what: str, way: str) -> str:
    return f"{what}. {way}" if way else what


def _portable(value: object) -> object:
    try:
        pickle.dumps(value)
    except Exception:  # what an error is about may be the very thing that cannot be pickled
        return show(value)
    return value


def _restore(cls: type[Any], args: tuple[object, ...], facts: dict[str, Any]) -> Any:
    error: Any = cls.__new__(cls, *args)
    error.args = args
    for name, value in facts.items():
        setattr(error, name, value)
    return error


class RewindError(Exception):
    """Base class of every exception rewind raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:  # the text is already built: do not build it again from itself
        facts = {name: _portable(value) if name != "run" else None for name, value in self.__dict__.items()}
        return _restore, (type(self), self.args, facts)


class ArgumentError(RewindError, ValueError):
    """An argument with a value that is not allowed."""

    def __init__(self, name: str, value: object, expected: str, advice: str = "") -> None:
        self.name, self.value = name, value
        super().__init__(f"{name} is {show(value)}; expected {expected}{'. ' + advice if advice else ''}")


class ArgumentTypeError(RewindError, TypeError):
    """An argument of a type that is not allowed."""

    def __init__(self, name: str, value: object, expected: str, advice: str = "") -> None:
        self.name, self.value = name, value
        super().__init__(
            f"{name} is {show(value)} ({type(value).__name__}); expected {expected}{'. ' + advice if advice else ''}"
        )


class StepRangeError(RewindError, IndexError):
    """A step outside the run, or a fork that is not among its branches."""

    def __init__(self, t: int, n_steps: int, what: str = "step") -> None:
        self.t, self.n_steps = t, n_steps
        whole = "this run, which holds" if what == "step" else "these branches, which hold"
        super().__init__(f"{what} {show(t)} is outside {whole} {what}s 0 to {n_steps - 1}")


class SizeLimitError(RewindError, ValueError):
    """An answer that would fill the memory."""

    def __init__(self, n_bytes: int, limit: int) -> None:
        self.n_bytes, self.limit = n_bytes, limit
        super().__init__(
            f"this run as one array takes {n_bytes:,} bytes, more than the limit of {limit:,}. Ask for what you "
            "need: run.series(f) for one number a step, run[a:b:s] for a window, iter(run) for one state at a time"
        )


class StateError(RewindError, TypeError):
    """A state that no checkpoint can hold; `path` says where in the state."""

    def __init__(self, path: str, problem: str, advice: str = "") -> None:
        self.path = path
        where = f"the state has {problem}" if not path else f"state{path}: {problem}"
        cure = advice or (
            "pass codec=(encode, decode) to record, where encode makes a tree of arrays and plain values of the state"
        )
        super().__init__(f"{where}. The cure: {cure}")


class LossyStateError(StateError):
    """A state of which storing loses something that the step goes on with; ``.run`` holds what was recorded.

    Parameters
    ----------
    path : str
        What leads to what is lost, ``.velocity``; empty where that is not known.
    step : int
        The step at which the live state and what was restored differ.
    live, restored : object
        What is at `path` in both, at step `stored_at`; with ``cause=""`` what is there at `step`.
    cause : str
        What loses it: ``"codec"``, ``"ndarray"``, a method of pickle such as ``"__reduce__"``, ``"identity"``,
        ``"order"``, ``"shared"``, ``"views"``, ``"params"``, ``"global"``, ``"generator"``, or empty.
    name : str
        The class, the global, the generator, the other array or the parameter.
    stored_at : int
        The step of which the state was stored.
    others : sequence of str
        Paths of what else is lost.
    shows : (int, str, object, object), optional
        Where it shows first: step, path, the live value and the restored one.
    """

    run: Any = None

    def __init__(
        self,
        path: str,
        step: int,
        live: object,
        restored: object,
        cause: str = "",
        name: str = "",
        stored_at: int = 0,
        others: Sequence[str] = (),
        shows: tuple[int, str, Any, Any] | None = None,
    ) -> None:
        self.path, self.step, self.live, self.restored, self.cause = path, step, live, restored, cause
        self.name, self.stored_at, self.others = name, stored_at, tuple(others)
        what = self._what(path or "part of it")
        if shows is not None:
            at, where, one, other = shows
            what += (
                f". It shows at step {at}: {where or 'the state'} is {show(one)} in your loop and {show(other)} from "
            )
            what += "the checkpoint"
        reason, cure = _LOSSES.get(cause, _LOSSES["pickle"] if name else _LOSSES[""])
        facts = {"name": name, "path": path or "the state", "cause": cause}
        what += f". {reason.format(**facts)}" if reason else ""
        accept = "lossy='accept' records all the same, where what is lost does not matter to you"
        RewindError.__init__(self, f"{what}. The cure: {cure.format(**facts)}. {accept}")

    def _what(self, where: str) -> str:
        at = f"of step {self.stored_at}"
        if self.cause == "generator":
            return f"{where} is {self.name}, and a checkpoint holds a copy of it, which draws other numbers"
        if self.cause == "global":
            return f"the initial state is {self.name} itself, and a checkpoint gives back another object"
        if self.cause == "identity":
            return f"{where} is {self.name or 'an object()'} itself, and a checkpoint {at} gives back another object"
        if self.cause == "order":
            return f"{where} is a set that has its elements in another order once it is stored and restored ({at})"
        if self.cause == "shared":
            return f"{where} is one object at two places of the state {at}, and two objects once it is restored"
        if self.cause == "views":
            return f"{where} and {self.name} of the state {at} share memory, and a checkpoint keeps them apart"
        if self.cause == "params":
            return f"the step changes params[{self.name!r}]"
        if not self.cause and not self.name and not self.path:
            return f"what a checkpoint {at} gives back does not go on as the state itself does"
        also = f" (and {', '.join(self.others)})" if self.others else ""
        values = f"it is {show(self.live)}, and {show(self.restored)} when restored"
        return f"storing the state {at} loses {where}{also}: {values}"


#: What loses something of a state, and what to do about it.
_LOSSES = {
    "codec": (
        "The codec leaves it out, or makes something else of it",
        "let encode put it into the tree, and decode make it from that",
    ),
    "ndarray": (
        "numpy's pickle of {name}, a subclass of ndarray, holds the elements and no attributes",
        "give {name} a __reduce__ and a __setstate__ that keep them, or keep them beside the array in a dict",
    ),
    "__getstate__": (
        "{name}.__getstate__ leaves it out",
        "let __getstate__ keep it, or __setstate__ make it again as it was, or pass codec=(encode, decode)",
    ),
    "pickle": (
        "{name} says with {cause} what its pickle holds, such as arguments of its constructor, and not this",
        "let {cause} give it as well (a third item, self.__dict__, keeps all attributes), or pass a codec",
    ),
    "identity": (
        "The step seems to ask for that very object (is), or to change it where it lies",
        "compare by value, with ==, an enum or None; or give its class a __reduce__ that returns the name under which "
        "its module holds it; what the step changes has to be reached through the state alone",
    ),
    "order": (
        "The step seems to depend on that order, which also differs from process to process",
        "let the step go through sorted(...), or keep a list or the keys of a dict",
    ),
    "shared": (
        "A change of one is no change of the other any more",
        "keep it once, or let what stores it keep both together",
    ),
    "views": (
        "A change of one is no change of the other any more",
        "keep one array in the state, and take the view in the step",
    ),
    "params": (
        "Lists among the parameters are new in every block, so that a replay finds them as they were given",
        "keep in the state what the step changes",
    ),
    "global": (
        "The step seems to change that global, and not the state it is given",
        "let the step read and change the state that it is given, and return it",
    ),
    "generator": (
        "No replay can give the numbers of a global generator again",
        "draw from the rng that the step is given, or give the object a generator of its own that is seeded from it",
    ),
    "": (
        "",
        "see that all the step reads is in the state and survives copy.deepcopy, or pass codec=(encode, decode)",
    ),
}


class StateClassError(RewindError, ImportError):
    """A state's class that has not been imported here, or is another; nothing is imported because a file says so.

    `problem` is what is the matter with the one that is here.
    """

    def __init__(self, module: str, qualname: str, problem: str | None = None) -> None:
        self.module, self.qualname, self.problem = module, qualname, problem
        root = qualname.split(".")[0]
        if problem is not None:
            super().__init__(f"the states of this run are {module}:{qualname}, and that class {problem}")
            return
        if module == "__main__":
            cure = f"it was defined in the recording script; define or import {root} in your own script first"
        else:
            cure = f"run `from {module} import {root}` first"
        super().__init__(f"the states of this run are {module}:{qualname}, and that class is not imported here: {cure}")


class MetricError(RewindError, TypeError):
    """A metric that does not give numbers of one shape."""

    def __init__(
        self, name: str, step: int | None, problem: str, expected: str = "a number or an array of numbers of one shape"
    ) -> None:
        self.name, self.step = name, step
        at = "" if step is None else f" at step {step}"
        super().__init__(f"metric {name!r}{at} {problem}; expected {expected}")


class UnknownMetricError(RewindError, KeyError):
    """A metric this run did not observe."""

    def __init__(self, name: object, known: list[str]) -> None:
        self.name, self.known = name, known
        have = ", ".join(map(repr, known)) if known else "none; pass observe={name: function} to record"
        self.text = f"this run observed no metric {name!r}; it observed {have}"
        super().__init__(self.text)

    def __str__(self) -> str:  # KeyError would show the repr
        return self.text


class ConditionError(RewindError, ValueError):
    """A condition that cannot be read, that raised, or that is not what it should be.

    Parameters
    ----------
    problem : str
        What is wrong with it; advice comes after a semicolon.
    text : str, optional
        The condition, where it cannot be read.
    at : int, optional
        The character of `text`, counted from 0; ``len(text)`` is its end.
    way : str, optional
        What to do instead: the end of the text.

    Attributes
    ----------
    what, pointer : str
        What is wrong and where, on one line; and the lines below it that show where, or "".
    """

    def __init__(self, problem: str, text: str | None = None, at: int | None = None, way: str = "") -> None:
        self.problem, self.text, self.at, self.way = problem, text, at, way
        self.what, self.pointer = (problem, "") if text is None or at is None else self._pointed(problem, text, at)
        super().__init__(f"{self.what}\n{self.pointer}" if self.pointer else problem)

    def __str__(self) -> str:
        return _advised(str(self.args[0]), self.way)

    @staticmethod
    def _pointed(problem: str, text: str, at: int, width: int = 72) -> tuple[str, str]:
        what, semicolon, advice = problem.partition("; ")
        where = f"at character {at + 1}" if at < len(text) else "at the end"
        start = max(0, min(at - width // 2, len(text) - width))
        line = "".join(c if c.isprintable() else " " for c in text[start : start + width])
        before, after = "..." if start else "", "..." if start + width < len(text) else ""
        pointer = " " * (len(before) + at - start) + "^"
        said = f"cannot read the condition: {what}, {where}{semicolon}{advice}"
        return said, f"    {before}{line}{after}\n    {pointer}"

    @classmethod
    def raised(cls, error: BaseException, t: int | None) -> ConditionError:
        """Return the error for a predicate that raised `error` at step `t`."""
        at = "" if t is None else f" at step {t}"
        return cls(f"the condition raised {type(error).__name__}{at}: {said(error)}")

    @classmethod
    def meddled(cls, t: int) -> ConditionError:
        """Return the error for a predicate that changed the state at step `t`."""
        return cls(f"the condition changed the state it was given at step {t}; it may only look")


class MissingStepError(RewindError, RuntimeError):
    """A call that needs the step function of a run loaded without one; of a tracked run, `ref` is its name."""

    def __init__(
        self, what: str, step_id: str | None, ref: str | None = None, metrics: Sequence[str] | None = None
    ) -> None:
        self.what, self.step_id, self.ref, self.metrics = what, step_id, ref, metrics
        if metrics is not None:
            given = ", ".join(f"{name!r}: function" for name in metrics)
            text = f"the functions that {ref} logged as {', '.join(metrics)} are in no file: run.attach(step_fn, "
            text += f"observe={{{given}}}) gives them"
        elif ref is not None:
            hint = f"; it was recorded with {step_id}" if step_id else ""
            text = f"{what} of {ref} needs a replay, and no file holds functions: run.attach(step_fn) gives them{hint}"
        else:
            hint = f" (it was recorded with {step_id})" if step_id else ""
            text = f"{what} needs a replay, and this run was loaded without its step function: "
            text += f"rewind.load(path, step_fn=...){hint}"
        super().__init__(text)

    @classmethod
    def of_run(cls, ref: str, what: str, step_id: str | None) -> MissingStepError:
        """Return the error for the simulation of a tracked run."""
        return cls(what, step_id, ref)

    @classmethod
    def of_metrics(cls, ref: str, names: Sequence[str]) -> MissingStepError:
        """Return the error for metrics of a tracked run whose functions are not known."""
        return cls("a check", None, ref, names)


class MissingCodecError(RewindError, RuntimeError):
    """A call that needs the codec the run was recorded with."""

    def __init__(self) -> None:
        super().__init__(
            "this run was recorded with codec=(encode, decode), and its states are unavailable without it: "
            "rewind.load(path, codec=(encode, decode))"
        )


class StepError(RewindError, RuntimeError):
    """``step_fn`` raised; the finished part of the recording is in ``.run``.

    ``what`` says what happened and ``way`` where to go on from; the text is both.
    """

    def __init__(self, t: int, error: BaseException | None, run: Any = None) -> None:
        self.t, self.run, self.way = t, run, ""
        raised = None if error is None else f"step_fn raised {type(error).__name__} at step {t}: {said(error)}"
        self.what = _advised(raised or self._what(t), _other_backend(error))
        if run is not None and len(run) > t:
            self.way = f"The finished part is in .run: .run.get({t}) is the state it was given"
        elif run is not None:
            self.way = f"Steps 0 to {len(run) - 1} are in .run; the replay does not reach step {t} again"
        super().__init__(self.what)

    def _say_restored(self, step: int, how: str) -> None:
        """Say that the object was restored, by `how`: a pickle or the codec."""
        self.what += f". The object it was given was restored at step {step}, from what {how} keeps of it"
        self.what += ": is all there that the step reads?"

    def _what(self, t: int) -> str:
        return f"step_fn failed at step {t}"

    def __str__(self) -> str:
        return _advised(self.what, self.way)


def _other_backend(error: BaseException | None) -> str:
    """Return what to do where a step asked its rng for what only that of the other backend has."""
    text = "" if error is None else said(error)
    known = "rng is a random.Random here, and numpy's methods are those of a numpy.random.Generator: pass "
    if isinstance(error, AttributeError) and ("'FastRandom' object" in text or "'Random' object" in text):
        return f'{known}backend="numpy"'
    if isinstance(error, TypeError) and ("andom.random() takes no arg" in text or "Random.choice()" in text):
        return f'{known}backend="numpy"'
    if isinstance(error, AttributeError) and ("'FastGenerator' object" in text or ".Generator' object" in text):
        return 'rng is a numpy.random.Generator here; backend="python" gives a random.Random'
    return ""


class StepReturnError(StepError, TypeError):
    """``step_fn`` returned None where the state was something."""

    def __init__(self, t: int, run: Any = None) -> None:
        super().__init__(t, None, run)

    def _what(self, t: int) -> str:
        return f"step_fn returned None at step {t} (did it forget to return the state?)"


class NativeStepError(RewindError, RuntimeError):
    """A native step that failed, with what it returned in ``.code``."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"the native step returned {code}, and 0 is what says that it went well")


class TransferError(RewindError, TypeError):
    """What cannot be sent to a worker, or back.

    Parameters
    ----------
    error : Exception
        What pickle said.
    installed : bool
        Whether cloudpickle has tried, too.
    arrived : bool
        Whether it was sent, and could not be read where it arrived.
    answer : bool
        Whether it is an answer on its way back.
    """

    def __init__(
        self, error: BaseException, *, installed: bool = False, arrived: bool = False, answer: bool = False
    ) -> None:
        self.reason = f"{type(error).__name__}: {said(error)}"
        if answer:
            text = f"a worker cannot send its answer back ({self.reason}). Let the function give plain values or arrays"
        else:
            by_value = "" if installed else ", install cloudpickle (pip install 'rewind-engine[parallel]')"
            threads = "or use threads: executor=concurrent.futures.ThreadPoolExecutor(n)"
            what = "the step function, or what goes with it,"
            if arrived:
                cure = f"Let the workers import the module it is in (PYTHONPATH){by_value}"
                text = f"{what} arrived at a worker that cannot read it ({self.reason}). {cure}, {threads}"
            else:
                cure = f"Define it at the top level of a module{by_value}"
                text = f"{what} cannot be sent to a worker ({self.reason}). {cure}, {threads}"
        super().__init__(text)


class WorkersLostError(RewindError, RuntimeError):
    """Workers that died, or an executor that was shut down, in the middle of a job.

    Attributes
    ----------
    done, total : int
        Blocks with an answer, in their order, and blocks in all; for `Run.branches` and `Run.likelihood` forks.
    partial : object
        What the job gives for those: statistics, an array, a list; None where there is no answer yet.
    """

    def __init__(
        self,
        op: str,
        done: int,
        total: int,
        error: BaseException,
        partial: Any = None,
        *,
        replaced: bool = False,
        answered: bool = True,
    ) -> None:
        self.op, self.done, self.total, self.partial = op, done, total, partial
        reason = f"{type(error).__name__}: {said(error)}"
        text = f"{op}: the workers were lost after {done} of {total} blocks or forks ({reason})"
        if replaced and not answered:
            cure = (
                "None of them ever answered. Where processes are spawned, a script has to have all it does under "
                'if __name__ == "__main__":, since each worker imports it; or the step kills its process at once'
            )
        elif replaced:
            cure = "They were replaced, and lost again at the same place: does the step kill its process there?"
        else:
            cure = (
                "Pass a callable that makes the executor, for example executor=lambda: ProcessPoolExecutor(4), or "
                "workers=4: then lost workers are replaced, and only what is lost is done again"
            )
        super().__init__(f"{text}. What was finished is in .partial. {cure}")


class ShardError(RewindError, ValueError):
    """Parts of a sharded pass that cannot be read, or do not belong together; `path` is the file, if it is one."""

    def __init__(self, problem: str, path: object = None) -> None:
        self.problem, self.path = problem, path
        super().__init__(problem if path is None else f"{path}: {problem}")


class RecorderFinishedError(RewindError, RuntimeError):
    """A `Recorder` that is finished goes no further."""

    def __init__(self, path: object = None) -> None:
        self.path = path
        way = ".run.extend(n_steps) goes on" if path is None else f"rewind.Recorder.resume({path!r}, step_fn) goes on"
        super().__init__(f"this recorder is finished. {way}")


class RecordingInterrupted(KeyboardInterrupt):
    """Ctrl-C, or another signal that was asked for, while recording; the finished blocks are in ``.run``.

    A KeyboardInterrupt and no RewindError, so that ``except Exception`` does not go on as if nothing had happened.
    ``what`` says what happened and ``way`` how to go on; the text is both.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, {**self.__dict__, "run": None})

    def __init__(
        self, t: int, n_steps: int | None, run: Any = None, path: str | None = None, signal: str | None = None
    ) -> None:
        self.t, self.n_steps, self.run, self.path, self.signal = t, n_steps, run, path, signal
        by = "interrupted" if signal in (None, "SIGINT") else f"interrupted by {signal}"
        of = "" if n_steps is None else f" of {n_steps}"
        self.what = f"{by} with steps 0 to {t}{of} recorded"
        if path is None:
            self.way = "They are in .run: save it with .run.save(path)"
            self.way += "" if n_steps is None else f", or go on with .run.extend({n_steps})"
        elif n_steps is None:
            self.way = f"They are on disk: go on with rewind.Recorder.resume({path!r}, step_fn)"
        else:
            self.way = f"They are on disk: go on with rewind.resume({path!r}, step_fn)"
        super().__init__(self.what)

    def __str__(self) -> str:
        return _advised(self.what, self.way)


class StandInError(RewindError, ImportError):
    """`rewind.wandb` cannot stand in for W&B's own package, which is imported already."""

    def __init__(self, path: str | None) -> None:
        self.where = path
        super().__init__(
            f"W&B's own package is imported already{f', from {path}' if path else ''}, and what has taken names from "
            "it would go on with them. Call rewind.wandb.install() before anything imports wandb, or run the program "
            "with python -m rewind.wandb"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return StandInError, (self.where,)


class UnknownSweepMethodError(RewindError, ValueError):
    """A sweep by another method than those that are there."""

    def __init__(self, method: object) -> None:
        self.method = method
        why = ". bayes needs a model of the metric, which is not here" if method == "bayes" else ""
        way = "Let an optimizer of your own choose the values, and log each trial as a run with group="
        super().__init__(f"the method of a sweep is {show(method)}; expected 'grid' or 'random'{why}. {way}")


class TrackerError(RewindError):
    """Something about tracked runs."""


class MomentError(TrackerError, ValueError):
    """Text that is no moment of a run, or a moment that the run does not have."""

    def __init__(self, text: object, problem: str = "", *, past_end: str = "") -> None:
        self.text = text
        way = "expected '<run_id>?_step=<step>', for example 'k3f9?_step=200', or 'k3f9@1?_step=200' for revision 1"
        what = f"cannot read {show(text, 80)} as a moment: {problem + '; ' if problem else ''}{way}"
        super().__init__(f"{show(text, 80)} is past the end: {past_end}" if past_end else what)

    @classmethod
    def beyond(cls, text: object, step: int, last: int, growing: bool = False) -> MomentError:
        """Return the error for a step after the last row that is higher than any step can be."""
        there = f"its last step is {last}" if last >= 0 else "it has no rows; _step=-1 is where it begins"
        if growing:
            there += "; it is being written, and what it logged in the last half second may be missing still"
        return cls(text, past_end=f"there is no step {step}, {there}")


class RunNotFoundError(TrackerError, LookupError):
    """There is no such run in the folder, or no such revision of it; `nearest` are the ids most like it."""

    def __init__(
        self,
        run_id: str,
        nearest: Sequence[str],
        folder: object,
        revisions: Sequence[int] = (),
        removed: bool = False,
        purged: bool = False,
    ) -> None:
        self.run_id, self.nearest, self.folder, self.revisions = run_id, tuple(nearest), folder, tuple(revisions)
        if revisions:
            many = ", ".join(map(str, revisions[-8:]))
            text = f"run {run_id!r} has no such revision; it has {many}"
        elif removed:
            text = f"run {run_id!r} was removed from {folder}; rewind rm --restore {run_id} brings it back"
            if purged:
                text = f"run {run_id!r} was purged from {folder}; what its forks see of it is in them"
        else:
            near = f"the nearest are {', '.join(map(repr, nearest))}" if nearest else "there are no runs"
            text = f"there is no run {run_id!r} in {folder}; {near}"
        super().__init__(text)


class SweepNotFoundError(TrackerError, LookupError):
    """There is no such sweep."""

    def __init__(self, sweep_id: str, folder: str, there: Sequence[str] = ()) -> None:
        self.sweep_id, self.folder = sweep_id, folder
        some = f"the last ones are {', '.join(there[-3:])}" if there else "there are none"
        super().__init__(f"there is no sweep {show(sweep_id)} in {folder}; {some}")


class RunExistsError(TrackerError, ValueError):
    """An id that is taken."""

    def __init__(
        self, run_id: str, folder: object, removed: bool = False, purged: bool = False, importing: str | None = None
    ) -> None:
        self.run_id, self.folder = run_id, folder
        last = f"'{run_id}?_step=N'"
        way = f"resume='allow' goes on at its end, resume_from={last} at a step, fork_from={last} makes a new run of it"
        if removed:
            way = f"it was removed and is still kept; rewind rm --restore {run_id} brings it back, --purge ends it"
        if purged:
            way = "it was purged, and what its forks see of it is kept; take another id"
        if importing is not None:
            way = "another one, with nothing in common; rewind import --as NEWID gives the one in the file another id"
            if importing != run_id:
                way = f"{importing!r} comes from another one of that id; import it into a folder of its own, with --dir"
        super().__init__(f"there is a run {run_id!r} in {folder} already; {way}")


class RunBusyError(TrackerError, BlockingIOError):
    """Another process writes to the run; its number and its host are in ``.pid`` and ``.host``, where known."""

    def __init__(self, run_id: str, pid: int | None = None, host: str | None = None, marker: object = None) -> None:
        self.run_id, self.pid, self.host = run_id, pid, host
        who = "another process" if pid is None else f"process {pid} on {host}"
        way = "When that has ended it can be gone on with; fork_from= makes another run of it now"
        text = f"run {run_id!r} has a writer: {who} is logging to it. {way}"
        if marker is not None:  # no locks, and a process that cannot be asked after
            text += f". The file system has no locks, so if that process has ended, delete {marker}"
        elif pid == _os.getpid():
            text = f"run {run_id!r} has a writer: this process ({pid}), which has it open; call finish() on it first"
        TrackerError.__init__(self, text)

    def __str__(self) -> str:  # OSError would show only what it was made with
        return str(self.args[0])


class RunFinishedError(TrackerError, RuntimeError):
    """A call after ``finish``."""

    def __init__(self, run_id: str, call: str, last: int, folder: str | None = None) -> None:
        self.run_id = run_id
        where = "" if folder is None else f", dir={folder!r}"
        way = f"rewind.init(id={run_id!r}, resume='must'{where}) goes on at step {last + 1}"
        super().__init__(f"run {run_id!r} is finished, so {call} has nothing to write to; {way}")


class NoRunError(TrackerError, RuntimeError):
    """There is no run: `init` was not called in this process."""

    def __init__(self, call: str) -> None:
        super().__init__(f"there is no run for rewind.{call}: call rewind.init() first")


class ConfigError(TrackerError, ValueError):
    """A config value that would change within a run, or be deleted."""

    def __init__(self, key: str, old: object, new: object, *, deleted: bool = False) -> None:
        self.key, self.old, self.new = key, old, new
        if deleted:
            text = f"config[{key!r}] is {show(old)} and cannot be deleted: a run keeps the config it was begun with"
        else:
            text = (
                f"config[{key!r}] is {show(old)} and would become {show(new)}; a run keeps the config it was begun "
                "with. config.update({...}, allow_val_change=True) changes it all the same"
            )
        super().__init__(text)

    @classmethod
    def gone(cls, key: str, old: object) -> ConfigError:
        """Return the error for a value that would be deleted."""
        return cls(key, old, None, deleted=True)


class LogValueError(TrackerError, TypeError):
    """Values that cannot be kept in a row: `keys`; all else of the call is logged."""

    def __init__(self, problems: Mapping[str, object]) -> None:
        self.keys = tuple(problems)
        what = [f"{key!r}, which is {show(value)} ({type(value).__name__})" for key, value in problems.items()]
        super().__init__(
            f"cannot log {'; '.join(what)}. A row holds numbers, text, bytes, None, dates, paths, tensors and arrays "
            "of plain types, and lists and dicts of them; the rest of this call was logged"
        )


class DroppedError(TrackerError, ValueError):
    """A call that logs to a step below the current one; nothing of it was kept."""

    def __init__(self, step: int, current: int) -> None:
        self.step, self.current = step, current
        super().__init__(_dropped(step, current))


def _dropped(step: int, current: int) -> str:
    return (
        f"step {step} is below the current step {current}, and rows are written in order: this call was dropped. "
        "Leave step= out, or rewind the run with resume_from='<run_id>?_step=N' to write the steps after N again"
    )


class TrackedArtifactError(TrackerError, LookupError):
    """There is no such artifact, or its name is not allowed."""


class HistoryMismatchError(TrackerError, ValueError):
    """A row of a history that the simulation kept with it does not give."""

    def __init__(self, ref: str, step: int, key: str, logged: object, simulated: object) -> None:
        self.ref, self.step, self.key, self.logged, self.simulated = ref, step, key, logged, simulated
        super().__init__(
            f"step {step} of {ref} is the first row that its simulation does not give: {key} is {show(logged)} in the "
            f"history, and {show(simulated)} by replay"
        )


class StoreError(TrackerError, OSError):
    """The folder of the tracker cannot be read or written; rows that were logged wait in memory for the next try."""

    busy = False  # whether it was another process that had it, for too long

    def __init__(self, doing: str, path: object, problem: str) -> None:
        self.path = path
        TrackerError.__init__(self, f"cannot {doing} {path}: {problem}")
        self.errno = self.strerror = None

    def __str__(self) -> str:  # OSError would show only what it was made with
        return str(self.args[0])


class RevisionClosedError(StoreError):
    """A revision that another process closed or purged while this one logged to it; `state` is what it is now.

    It happens where the lock of the run was deleted, or where the file system has none. Nothing is added to a closed
    revision: what this process logged since its last flush is in its memory only.
    """

    def __init__(self, ref: str, state: str | None) -> None:
        self.ref, self.state = ref, state
        run_id = ref.partition("@")[0]
        how = "was purged" if state in (None, "purged") else f"was closed, as {state},"
        way = f"rewind.init(id={run_id!r}, resume='allow') goes on where the run ends now"
        problem = f"it {how} by another process, which found no lock of this one, and a closed revision never changes"
        super().__init__("log to", ref, f"{problem}. What was logged since the last flush is not kept; {way}")


class StoreVersionError(StoreError):
    """A folder that a later rewind wrote."""

    def __init__(self, path: object, found: int, known: int) -> None:
        problem = f"it has version {found}, and this rewind knows versions up to {known}. Install a later rewind-engine"
        super().__init__("use", path, problem)


class StoreDamagedError(StoreError):
    """Not the database of a tracker, or a damaged one."""


class NondeterminismError(RewindError, RuntimeError):
    """A replay that does not reproduce the recording.

    Parameters
    ----------
    block, step : int
        The block, and the first step of it known to differ.
    path, expected, got
        Path of the first differing field of the state, what the recording has, what the replay gave.
    exact : bool
        Whether `step` is the first differing step, or only the next stored state after it.
    recorded, present : dict
        ``python``, ``numpy``, ``platform`` and ``source`` (hash of the step's source) then and now.
    global_rng : sequence of str
        Global generators the step drew from.
    meddler : (str, int), optional
        Name of an observed metric that mutates the state, and the step.
    changes, hidden : sequence of str
        What of the step's code changed since the recording; and what it writes that is no part of its state.
    """

    def __init__(
        self,
        block: int,
        step: int,
        path: str,
        expected: object,
        got: object,
        *,
        exact: bool = False,
        recorded: dict[str, str] | None = None,
        present: dict[str, str] | None = None,
        global_rng: tuple[str, ...] = (),
        meddler: tuple[str, int] | None = None,
        changes: tuple[str, ...] = (),
        hidden: tuple[str, ...] = (),
    ) -> None:
        self.block, self.step, self.path = block, step, path
        self.expected, self.got, self.global_rng = expected, got, global_rng
        self.changes, self.hidden = changes, hidden
        self.recorded, self.present, self.meddler = recorded or {}, present or {}, meddler
        if global_rng and exact and expected is None and got is None:  # what was drawn shows in no state yet
            text = f"step_fn draws from {' and '.join(global_rng)}, and no replay can give these numbers again; draw "
            super().__init__(text + "from the rng it is given")
            return
        field = path or "the state"
        text = f"block {block} does not reproduce step {step}: {field} is {show(got)}, "
        if exact:
            text += f"and {show(expected)} when the block is run again; this is the first step that differs"
        else:
            text += f"the recording has {show(expected)}; no state between this one and the block's first is stored"
        if self.recorded or self.present:
            text += f" (recorded with {_versions(self.recorded)}; here {_versions(self.present)})"
        other = {name for name in ("source", "python", "numpy", "platform") if self._differs(name)}
        if changes:
            other.add("source")
            text += f". The source of step_fn is not the source that was recorded: {_listed(changes)} changed"
        elif "source" in other:
            text += ". The source of step_fn is not the source that was recorded"
        if hidden:
            text += f". step_fn writes {_listed(hidden)}, which is no part of its state: hidden state"
        if global_rng:
            text += (
                f". step_fn drew from {' and '.join(global_rng)}; draw from the rng it is given{_seeding(global_rng)}"
            )
        elif meddler is not None:
            text += f". metric {meddler[0]!r} changed the state it was given at step {meddler[1]}; it may only look"
        elif exact or not other:
            text += ". step_fn depends on something that is not its state, rng or params"
        if _last_bits(expected, got):
            text += (
                ". The two differ in their last bits only: as sums in another order do, or another version of numpy or "
                "of a C library, another processor, another number of threads"
            )
        if not exact and not changes:
            text += _salted(self.recorded.get("hash_seed"), self.present.get("hash_seed"))
        super().__init__(text)

    def _differs(self, name: str) -> bool:
        return self.recorded.get(name, "") != self.present.get(name, "") != ""


def _seeding(generators: tuple[str, ...]) -> str:
    """Return what to do inside a library that cannot draw from rng, as a clause."""
    ways = {
        "random's": "random.seed(n)",
        "numpy.random's": "numpy.random.seed(n)",
        "numba's": "a compiled function that calls numpy.random.seed(n), or random.seed(n)",
        "torch's": "torch.manual_seed(n)",
    }
    said = [way for name, way in ways.items() if any(generator.startswith(name) for generator in generators)]
    seeds = ", and ".join(said) or "its own seeding"
    return (
        f". Inside a library that cannot, seed it in each step: {seeds}, with n = rng.randrange(2**32), or "
        'int(rng.integers(2**32)) with backend="numpy"'
    )


def _salted(recorded: str | None, present: str | None) -> str:
    """Return what to say where text has other hashes here, and so sets of text another order."""
    if recorded is None or present is None or (recorded == present != "random"):
        return ""
    words = [f"PYTHONHASHSEED={seed}" if seed != "random" else "a random hash seed" for seed in (recorded, present)]
    way = f"run with PYTHONHASHSEED={recorded}" if recorded != "random" else "record with PYTHONHASHSEED=0"
    return (
        f". It was recorded with {words[0]}, and here is {words[1]}: a step that goes through a set of text does so in "
        f"another order in each process. Sort it, or {way}"
    )


def _versions(facts: dict[str, str]) -> str:
    named = [f"{name} {facts[name]}" for name in ("python", "numpy") if facts.get(name)]
    text = " ".join(named) or "unknown versions"
    if facts.get("platform"):
        text += f" on {facts['platform']}"
    if facts.get("source"):
        text += f", step source {facts['source'][:12]}"
    return text


class NondeterministicStepError(NondeterminismError):
    """Found while recording, by the trial of the first steps or by ``self_check=True``.

    ``.run`` holds what was recorded until then, and is not to be trusted.
    """

    run: Any = None


class NondeterministicReplayError(NondeterminismError):
    """Found by ``verify``."""


class ObservedMismatchError(NondeterministicReplayError):
    """A replay that gives the stored states and not the numbers that were observed on the way.

    Parameters
    ----------
    block, step, stop : int
        The block; the step at which an extreme was reached, or else the first of the block; the end of the block.
    metric, column : str
        Name of the metric, and which number of the block it is: ``"min"``, ``"mean"``, ...
    component : tuple of int
        Which component, of a metric with several.
    expected, got : float or int
        The number that was observed, and the number that a replay gives.
    recorded, present : dict
        As in `NondeterminismError`.
    """

    def __init__(
        self,
        block: int,
        step: int,
        stop: int,
        metric: str,
        column: str,
        component: tuple[int, ...],
        expected: object,
        got: object,
        *,
        recorded: dict[str, str] | None = None,
        present: dict[str, str] | None = None,
    ) -> None:
        self.block, self.step, self.stop = block, step, stop
        self.metric, self.column, self.component = metric, column, component
        self.path, self.expected, self.got, self.exact = f"{metric}{_component(component)}", expected, got, False
        self.recorded, self.present, self.global_rng, self.meddler = recorded or {}, present or {}, (), None
        where = f"at step {step}" if column in ("min", "max") else f"steps {step} to {stop - 1}"
        text = f"block {block} does not give what was observed: {column} of metric {self.path!r} is {show(got)} "
        text += f"by replay, and {show(expected)} was observed ({where})"
        if _versions(self.recorded) != _versions(self.present):
            text += f" (recorded with {_versions(self.recorded)}; here {_versions(self.present)})"
        if _last_bits(expected, got):
            text += ". They differ in the last bits: another processor, numpy or C library may round otherwise"
        else:
            text += (
                ". Replays of the block agree, with the stored states too. So either a hidden event happened once, "
                "while it was recorded: something that is not in the state, rng or params, such as a flag or a cache "
                "of the module, changed states of this block, and its end does not show it. Or the metric is not the "
                "function that was observed, or looks at something besides the state"
            )
        RewindError.__init__(self, text)


def _component(component: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, component))}]" if component else ""


def _last_bits(a: object, b: object) -> bool:
    """Return whether two floats differ by some units in the last place."""
    if type(a) is not type(b) or not type(a).__name__.startswith("float"):
        return False
    x, y = float(a), float(b)  # type: ignore[arg-type]
    units = 1e-13 if type(a).__name__ in ("float", "float64") else 1e-6
    return x != y and abs(x - y) <= units * max(abs(x), abs(y)) < float("inf")


class ArtifactError(RewindError):
    """A file that cannot be read or written as asked."""


class ArtifactFormatError(ArtifactError, ValueError):
    """Not a `.replay` file, or a damaged one."""

    def __init__(self, problem: str, path: object = None) -> None:
        self.problem, self.path = problem, path
        super().__init__(f"{path if path is not None else 'this file'}: {problem}")


class ArtifactVersionError(ArtifactError, ValueError):
    """A `.replay` file of a later format."""

    def __init__(self, found: int, known: int, path: object = None) -> None:
        self.found, self.known, self.path = found, known, path
        super().__init__(
            f"{path if path is not None else 'this file'} has format version {found}; this rewind reads versions up "
            f"to {known}. Install a later rewind-engine to read it"
        )


class ArtifactIntegrityError(ArtifactError, ValueError):
    """Contents that differ from their digest, or that the given key did not sign; `what` names them.

    `altered` is whether that shows that the file was damaged or altered: a missing or foreign signature need not.
    """

    def __init__(self, what: str, path: object = None, *, altered: bool = True) -> None:
        self.what, self.path, self.altered = what, path, altered
        problem = f"{path if path is not None else 'this file'}: {what}"
        super().__init__(f"{problem}. The file was damaged or altered after it was saved" if altered else problem)


class UnsafeArtifactError(ArtifactError, ValueError):
    """A pickle that was not allowed; ``what`` says where, ``way`` what allows it, and the text is both."""

    def __init__(self, n_pickled: int, n_checkpoints: int, path: object = None) -> None:
        self.n_pickled, self.n_checkpoints, self.path = n_pickled, n_checkpoints, path
        self.what = (
            f"{path if path is not None else 'this file'} holds {n_pickled} of {n_checkpoints} checkpoints as pickles, "
            "and unpickling runs code the file brings along"
        )
        self.way = "Pass allow_pickle=True (--allow-pickle) only for a file you or someone you trust made"
        super().__init__(self.what)

    def __str__(self) -> str:
        return _advised(self.what, self.way)


class ArtifactIOError(ArtifactError, OSError):
    """The operating system said no; nothing that was there before has changed."""

    def __init__(self, doing: str, path: object, error: OSError) -> None:
        ArtifactError.__init__(self, f"cannot {doing} {path}: {error.strerror or error}")
        self.errno, self.strerror, self.filename = error.errno, error.strerror, str(path)

    def __str__(self) -> str:  # OSError would show only the errno
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:  # OSError keeps these three outside its __dict__
        restore, (cls, args, facts) = super().__reduce__()
        names = ("errno", "strerror", "filename")
        return restore, (cls, args, {**facts, **{name: getattr(self, name) for name in names}})

    @staticmethod
    def of(doing: str, path: object, error: OSError) -> ArtifactIOError:
        """Return the class of this family that is also the builtin class of `error`."""
        family: dict[int | None, type[ArtifactIOError]] = {
            _errno.ENOENT: ArtifactNotFoundError,
            _errno.EISDIR: ArtifactIsADirectoryError,
            _errno.EACCES: ArtifactPermissionError,
            _errno.EPERM: ArtifactPermissionError,
            _errno.EROFS: ArtifactPermissionError,
        }
        return family.get(error.errno, ArtifactIOError)(doing, path, error)


class ArtifactNotFoundError(ArtifactIOError, FileNotFoundError):
    """There is no such file."""


class ArtifactIsADirectoryError(ArtifactIOError, IsADirectoryError):
    """The path is a folder."""


class ArtifactPermissionError(ArtifactIOError, PermissionError):
    """The file or folder may not be read or written."""


class ArtifactBusyError(ArtifactIOError, BlockingIOError):
    """Another process records to the file; its number and its host are in ``.pid`` and ``.host``, where known."""

    def __init__(self, path: object, pid: int | None = None, host: str | None = None) -> None:
        who = "another process" if pid is None else f"process {pid} on {host}"
        if pid == _os.getpid():
            who += " (this one: close() the Recorder that does)"
        super().__init__("record to", path, OSError(_errno.EAGAIN, f"{who} is recording to it"))
        self.pid, self.host = pid, host


class UnfinishedRecordingError(ArtifactError, FileExistsError):
    """There is a recording that was cut off; to begin again would lose it."""

    def __init__(self, path: object, target: object, n_steps: int) -> None:
        self.path, self.target, self.n_steps = path, target, n_steps
        ArtifactError.__init__(
            self,
            f"{path} holds an unfinished recording, steps 0 to {n_steps - 1}. Go on with "
            f"rewind.resume({str(target)!r}, step_fn), or delete it to begin again",
        )

    def __str__(self) -> str:  # OSError would show only what it was made with
        return str(self.args[0])


class RewindWarning(UserWarning):
    """Something to know that is not an error."""


class PickledStatesWarning(RewindWarning):
    """States that stopped fitting the columns of state 0, and so are kept as pickles.

    Parameters
    ----------
    path, first, now : str
        Where, what is there at step 0 (empty where that did not fit either), and what is there at `step`.
    step : int
    n_pickled, n_checkpoints : int, optional
        How many were pickled; None while they are still being recorded.
    """

    def __init__(
        self,
        path: str,
        first: str,
        now: str,
        step: int,
        n_pickled: int | None = None,
        n_checkpoints: int | None = None,
    ) -> None:
        many = "checkpoints like it" if n_pickled is None else f"{n_pickled} of {n_checkpoints} checkpoints"
        what = f"{first} at step 0 and {now}" if first else now
        cure = "Start from a state of the types and shapes the steps return to keep them as columns"
        if not first:
            cure = "Keep what is so long as an array: numpy.frombuffer(value, 'u1')"
        super().__init__(
            f"{path or 'the state'} is {what} at step {step}: {many} are kept as pickles, which load refuses without "
            f"allow_pickle=True. {cure}"
        )


class MutatingMetricWarning(RewindWarning):
    """A metric or condition that changes the state it is given, and so is given copies."""

    def __init__(self, name: str, step: int | None) -> None:
        self.name, self.step = name, step
        what = "the condition" if name == "the condition" else f"metric {name!r}"
        at = "" if step is None else f" at step {step}"
        super().__init__(
            f"{what} changed the state it was given{at} (a cache that is filled on first use does); it is given copies "
            "from here on, which takes the time of a copy at each step, and nothing of it reaches the run"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.step)


class SharedMemoryWarning(RewindWarning):
    """Arrays of a state that are views of one memory."""

    def __init__(self, a: str, b: str) -> None:
        super().__init__(
            f"{a} and {b} of the state share memory; a checkpoint keeps them apart, so from each block's first step on "
            "a change of one is no longer a change of the other. Keep one array in the state and take the view in the "
            "step"
        )


class OwnGeneratorWarning(RewindWarning):
    """A state with a random generator of its own, and a step that draws from that and nothing from `rng`."""

    def __init__(self, path: str, kind: str) -> None:
        self.path, self.kind = path, kind
        super().__init__(
            f"state{path} is {kind} of the state's own, and the first block drew from it and nothing from rng. The run "
            "replays exactly, but its branches draw what this run draws, whatever their seed: fresh noise is none. "
            "Draw from the rng that the step is given, or seed the model's generator from it in each step"
        )


class NoFreshNoiseWarning(RewindWarning):
    """Forks with fresh noise that drew nothing from their rng, of a model that makes random numbers by itself.

    Parameters
    ----------
    n, n_forks : int
        How many drew nothing, of how many.
    steps : sequence of int
        The steps they left at.
    drawn : str
        What the model draws from instead.
    """

    def __init__(self, n: int, n_forks: int, steps: Sequence[int], drawn: str) -> None:
        self.n, self.n_forks, self.steps, self.drawn = n, n_forks, list(steps), drawn
        at = f"step {steps[0]}" if len(set(steps)) == 1 else f"steps {min(steps)} to {max(steps)}"
        who = f"the branch at {at}" if n_forks == 1 else f"{n} of {n_forks} forks at {at}"
        super().__init__(
            f"{who} drew nothing from rng: with any seed the future is the same one ({drawn}). Draw from the rng that "
            "the step is given, or seed the model's generator from it in each step; or give that another seed in each "
            "branch, run.branch(t, mutate=seed_it_anew)"
        )


class UnfinishedRecordingWarning(RewindWarning):
    """Beside the file that was loaded there is a recording that has not become it yet."""

    def __init__(self, path: object, journal: object, n_steps: int) -> None:
        super().__init__(
            f"beside {path} there is {journal}, an unfinished recording of steps 0 to {n_steps - 1}; what was loaded "
            f"is the file from before. Load {journal} to see that one"
        )


class NoLockWarning(RewindWarning):
    """The file system has no locks, so nothing keeps a second recorder away."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"the file system of {path} has no locks, so nothing keeps a second process from recording to it, too; "
            "see to it that none does, or record to a local disk and copy the file"
        )


class DroppedWarning(RewindWarning):
    """A call that logs to a step below the current one of a tracked run, and is left out."""

    def __init__(self, step: int, current: int) -> None:
        super().__init__(_dropped(step, current))


class PastEndWarning(RewindWarning):
    """A moment after the last row of a run: all rows are kept, and logging goes on after the step that was asked for.

    As a rule the process was killed before its last rows were written: `TrackedRun.flush` belongs beside a checkpoint.
    """

    def __init__(self, moment: object, step: int, last: int, growing: bool = False) -> None:
        there = f"its last step is {last}" if last >= 0 else "it has no rows"
        kept = f"All of it is kept and logging goes on at step {step + 1}" if last >= 0 else f"It begins at {step + 1}"
        more = "; what it logs from now on is not in the fork" if growing else ""
        super().__init__(
            f"{show(str(moment), 80)} is past the end of the run: {there}. {kept}{more}. run.flush() beside a "
            "checkpoint writes the rows up to it"
        )


class LeftOutWarning(RewindWarning):
    """What of a run that another program logged cannot be kept, and is left out."""

    def __init__(self, run_id: str, left_out: Sequence[str]) -> None:
        self.run_id, self.left_out = run_id, tuple(left_out)
        more = f"; and {len(left_out) - 8:,} more" if len(left_out) > 8 else ""
        super().__init__(f"run {run_id!r} was imported without {'; '.join(left_out[:8])}{more}")


class IgnoredWarning(RewindWarning):
    """Arguments that are about a server, or about something that is not there, and have no effect."""

    def __init__(self, call: str, names: Sequence[str]) -> None:
        self.call, self.names = call, tuple(names)
        super().__init__(
            f"{call}() ignores {', '.join(names)}: docs/from-wandb.md says what has no effect here, and why"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return IgnoredWarning, (self.call, self.names)


class StepSourceWarning(RewindWarning):
    """The step function, or what it calls and reads, is not what was recorded."""


def changed_code(step: str, path: object, recorded: str | None, changes: Sequence[str]) -> str:
    """Return what to say of a step function that is not the one in a file; `changes` names parts of it."""
    named = f": {_listed(changes)} changed" if changes else ""
    return (
        f"the source of {step} is not the source {path} was recorded with ({recorded or 'no name'}){named}; "
        "run.verify(full=True) tells whether it gives the same states"
    )


def changed_here(step: str, changes: Sequence[str]) -> str:
    """Return what to say of a step function that is not what it was when its run was recorded or loaded."""
    return (
        f"the code of {step} is not what it was when this run was recorded or loaded: {_listed(changes)} changed; the "
        "next replay is compared with the recording before a state of it is given"
    )


class UncheckedReplayWarning(RewindWarning):
    """A state that was replayed by code that was not compared with the recording yet, since that takes long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"this state is not yet checked: to run its block to the end, and compare with the recording, takes more "
            f"than {seconds:g} seconds. That is done when a pass comes by the next checkpoint, or by run.verify()"
        )


def _listed(words: Sequence[str], most: int = 8) -> str:
    shown = [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]
    return ", ".join(shown[:-1]) + " and " + shown[-1] if len(shown) > 1 else shown[0]


class UnchangedStateWarning(RewindWarning):
    """A state that no step of the trial changed; `culprits` are names of what the step changes besides."""

    def __init__(self, n_steps: int, culprits: Sequence[str] = ()) -> None:
        self.culprits = tuple(culprits)
        text = f"none of the first {n_steps} steps changed the state"
        if culprits:
            text += f", while they changed {' and '.join(culprits)}, which no checkpoint holds: work on the state that "
            text += "step_fn is given, and return it"
        else:
            text += ": does step_fn work on something global, or return the old state? If it is meant to stay as it "
            text += "is, trial=False says so"
        super().__init__(text)
