"""Recordings that are killed, lose power or meet a disk that fails, and what has to be left of them.

For test_kill.py, test_power_cut.py and test_io_faults.py, and for the scripts kill.py, power_cut.py and io_faults.py in
stress/, which ask the same for longer.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import random
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from helpers.plain import bytes_of, loop

import rewind
from rewind.runs import progress
from rewind.state.digest import digest
from rewind.storage import journal, replay_file
from rewind.storage.journal import SUFFIX

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TARGET = "run.replay"
JOURNAL = TARGET + SUFFIX
TEMPORARY = ".rewind.tmp-"
SECTOR = 512

Say = Callable[[int], None]

# ---- what is recorded


@dataclass
class Town:
    people: list[float] = field(default_factory=lambda: [0.0, 1.0])
    name: str = "Zürich"
    grid: Any = field(default_factory=lambda: np.zeros((2, 3), "i2"))


def live(town: Town, rng: random.Random) -> Town:
    i = rng.randrange(2)
    town.people[i] += rng.gauss(0, 1)  # every second normal is held back by the generator
    town.grid[i] += 1
    town.name = town.name[1:] + "üx"[i]
    return town


def walk(x: int, rng: random.Random) -> int:
    return x + (1 if rng.random() < 0.5 else -1)


def relax(x: Any, rng: np.random.Generator) -> Any:
    x *= 0.5
    x += rng.standard_normal(len(x))
    return x


def grow(numbers: list[int], rng: random.Random) -> list[int]:
    """A list that outgrows its layout, and is pickled from there on."""
    return [*numbers[-5:], rng.randrange(1 << 70)] if rng.random() < 0.2 else numbers


@dataclass(frozen=True)
class Case:
    """A recording: by `record`, or where it `grows` by a `Recorder`; `extends` is the length of a finished file."""

    name: str
    step: Callable[..., Any]
    init: Any
    n_steps: int
    block_size: int
    backend: str = "python"
    observe: dict[str, Any] | None = None
    durability: str = "block"
    grows: bool = False
    extends: int = 0
    spill_bytes: int = journal.SPILL_BYTES

    seed = 7

    @property
    def options(self) -> dict[str, Any]:
        return {"block_size": self.block_size, "backend": self.backend, "observe": self.observe}

    @property
    def reading(self) -> dict[str, Any]:
        return {"observe": self.observe, "allow_pickle": True}

    def scaled(self, times: int) -> Case:
        """Return the same with more blocks."""
        return replace(self, n_steps=self.n_steps * times, extends=self.extends * times)


TOWN_METRICS = {"people": "people", "sum": lambda town: sum(town.people)}

CASES = [
    Case("dataclass", live, Town(), 118, 10, observe=TOWN_METRICS),
    Case("int walk", walk, 0, 300, 20, durability="1s"),
    Case("arrays", relax, np.zeros(8), 90, 9, "numpy", {"x": None}, durability="none"),
    Case("pickles", grow, [1, 2], 120, 11),
    Case("recorder", live, Town(), 101, 3, observe=TOWN_METRICS, grows=True),
    Case("recorder of a walk", walk, 0, 120, 4, grows=True),
    Case("large states", relax, np.zeros(8), 90, 9, "numpy", {"x": None}, spill_bytes=64),
    Case("few large states", relax, np.zeros(8), 30, 9, "numpy", spill_bytes=64),
    Case("recorder of large states", relax, np.zeros(8), 90, 5, "numpy", grows=True, spill_bytes=64),
    Case("tiny", walk, 0, 20, 6, observe={"x": None}),
    Case("tiny recorder", walk, 0, 15, 4, grows=True),
    Case("extended", walk, 0, 120, 8, observe={"x": None}, extends=60),
]


def case_of(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


# ---- who records it


@contextlib.contextmanager
def every_block() -> Iterator[None]:
    """Let progress be told at the end of each block, not ten times a second."""
    before, progress.INTERVAL = progress.INTERVAL, 0.0
    try:
        yield
    finally:
        progress.INTERVAL = before


def _told(case: Case, say: Say) -> Callable[[rewind.Progress], None]:
    def at_end(now: rewind.Progress) -> None:
        # `record` tells of its last block before the file is written: what says that this is there is its return.
        if case.grows or now.done < now.total:
            say(now.done)

    return at_end


@contextlib.contextmanager
def _spilling(case: Case) -> Iterator[None]:
    """Let states of so few bytes stay in the journal."""
    before, journal.SPILL_BYTES = journal.SPILL_BYTES, case.spill_bytes
    try:
        yield
    finally:
        journal.SPILL_BYTES = before


def begin(case: Case, path: str, say: Say = lambda done: None) -> None:
    """Record it, from the beginning to the end."""
    with _spilling(case):
        _begin(case, path, say)


def _begin(case: Case, path: str, say: Say) -> None:
    more = {"path": path, "durability": case.durability, "progress": _told(case, say)}
    if case.extends:
        go_on(case, path, say)
    elif case.grows:
        with rewind.Recorder(case.step, case.init, case.seed, **case.options, **more) as recorder:
            _to_the_end(case, recorder)
    else:
        rewind.record(case.step, case.init, case.n_steps, case.seed, **case.options, **more)


def go_on(case: Case, path: str, say: Say = lambda done: None) -> None:
    """Go on with what is there of it, to the end."""
    with _spilling(case):
        _go_on(case, path, say)


def _go_on(case: Case, path: str, say: Say) -> None:
    more = {"durability": case.durability, "progress": _told(case, say), **case.reading}
    if case.grows:
        with rewind.Recorder.resume(path, case.step, **more) as recorder:
            _to_the_end(case, recorder)
    else:
        rewind.resume(path, case.step, case.n_steps if case.extends else None, **more)


def _to_the_end(case: Case, recorder: rewind.Recorder[Any]) -> None:
    """Go step by step and in strides."""
    last = case.n_steps - 1
    while recorder.t < last:
        if recorder.t % 3:
            recorder.advance(min(case.block_size * 2 + 1, last - recorder.t))
        else:
            next(iter(recorder))
    recorder.advance(0)


def either(case: Case, path: str, say: Say = lambda done: None) -> None:
    """Do what the documentation shows for a job that is started again."""
    try:
        go_on(case, path, say)
    except FileNotFoundError:
        begin(case, path, say)


# ---- what it has to be


def _saved(run: rewind.Run[Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        run.save(Path(folder, TARGET))
        return Path(folder, TARGET).read_bytes()


class Reference:
    """A case without interruptions: its states from a plain loop, its file from `Run.save`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.states = bytes_of(loop(case.step, _copied(case), case.n_steps, case.seed, case.block_size, case.backend))
        self.file = _saved(self._run(case.n_steps))
        self.old = _saved(self._recorded(case.extends)) if case.extends else b""
        self._shorter: dict[int, bytes] = {}

    def _recorded(self, n_steps: int) -> rewind.Run[Any]:
        return rewind.record(self.case.step, self.case.init, n_steps, self.case.seed, **self.case.options)

    def _run(self, n_steps: int) -> rewind.Run[Any]:
        case = self.case
        if case.extends:
            return self._recorded(case.extends).extend(n_steps)
        if case.grows:
            recorder = rewind.Recorder(case.step, case.init, case.seed, **case.options)
            return recorder.advance(n_steps - 1).finish()
        return self._recorded(n_steps)

    def shorter(self, n_steps: int) -> bytes:
        """Return what the file of its first states would be."""
        if n_steps not in self._shorter:
            # What is to be extended is thinned when it goes on.
            run = self._recorded(n_steps) if self.case.extends else self._run(n_steps)
            self._shorter[n_steps] = replay_file.to_bytes(run._recording)
        return self._shorter[n_steps]


def _copied(case: Case) -> Any:
    return loop(case.step, case.init, 1, 0, 1)[0]


@functools.cache
def _reference(name: str, n_steps: int) -> Reference:
    case = case_of(name)
    return Reference(case.scaled(n_steps // case.n_steps))


def reference(case: Case) -> Reference:
    """Return what `case` has to be."""
    return _reference(case.name, case.n_steps)


class Wrong(AssertionError):
    """What must not be left; `kind` is one of `KINDS`."""

    def __init__(self, kind: str, text: object) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {text}")


KINDS = ("lost", "unreadable", "wrong", "stuck", "escaped", "leftovers")


@dataclass(frozen=True)
class Seen:
    """What there was: finished states, whether it was the file, whether a journal is left of a file that is finished,
    and temporary files.
    """

    n_steps: int
    complete: bool
    spent: bool
    n_temporary: int


def examine(case: Case, folder: str, claimed: int, rng: random.Random, returned: bool = False) -> Seen:
    """See that all is there that has to be.

    Parameters
    ----------
    case : Case
    folder : str
    claimed : int
        The number of states that were said to be on the disk.
    rng
        Chooses the states to look at.
    returned : bool
        Whether the call said that the file is there.
    """
    path, truth = os.path.join(folder, TARGET), reference(case)
    names = set(os.listdir(folder))
    temporary = {name for name in names if name.startswith(TEMPORARY)}
    if names - temporary - {TARGET, JOURNAL}:
        raise Wrong("leftovers", names)
    here = Path(path).read_bytes() if TARGET in names else None
    if here is not None and here != truth.file and here != truth.old:
        raise Wrong("wrong", f"a file of {len(here)} bytes that is neither the old nor the new one")
    if (returned or case.extends) and here is None or (returned and here != truth.file):
        raise Wrong("lost", "the file is not there")
    done = here == truth.file
    if case.extends:
        _load(case, path, complete=True)
        if not done and JOURNAL in names:
            path = os.path.join(folder, JOURNAL)
    try:
        run = _load(case, path, complete=done or (bool(case.extends) and path.endswith(TARGET)))
    except FileNotFoundError as error:
        if claimed:
            raise Wrong("lost", f"all of {claimed} states: {error}") from error
        return Seen(0, False, False, len(temporary))
    if run.n_steps < claimed or (run.n_steps > case.n_steps):
        raise Wrong("lost", f"{claimed} states were finished, {run.n_steps} are there")
    ends = {0, run.n_steps - 1, *(rng.randrange(run.n_steps) for _ in range(3))}
    for t in ends:
        if digest(run[t]) != truth.states[t]:
            raise Wrong("wrong", f"state {t} of {run.n_steps}")
    if not done:
        recording = replace(run._recording, complete=True, stopped=None)
        if replay_file.to_bytes(recording) != truth.shorter(run.n_steps):
            raise Wrong("wrong", f"the recording of {run.n_steps} states")
    return Seen(run.n_steps, done, done and JOURNAL in names, len(temporary))


def _load(case: Case, path: str, complete: bool) -> rewind.Run[Any]:
    try:
        with warnings.catch_warnings(), _spilling(case):
            warnings.simplefilter("ignore", rewind.UnfinishedRecordingWarning)
            run: rewind.Run[Any] = rewind.load(path, case.step, **case.reading)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise Wrong("unreadable", f"{type(error).__name__}: {error}") from error
    if run.complete != complete:
        raise Wrong("wrong", f"complete is {run.complete} where it has to be {complete}")
    return run


def require_finished(case: Case, folder: str) -> None:
    """Go on to the end, and see that the file is the one without an interruption, and alone."""
    path, truth = os.path.join(folder, TARGET), reference(case)
    try:
        either(case, path)
    except Exception as error:
        raise Wrong("stuck", f"{type(error).__name__}: {error}") from error
    if Path(path).read_bytes() != truth.file:
        raise Wrong("wrong", "the file that was finished later")
    names = {name for name in os.listdir(folder) if not name.startswith(TEMPORARY)}
    if JOURNAL in names and _is_spent(path):
        names.remove(JOURNAL)  # of a recorder that came as far as to write the file
    if names != {TARGET}:
        raise Wrong("leftovers", names)


def _is_spent(path: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error", rewind.UnfinishedRecordingWarning)
        rewind.load(path, allow_pickle=True)
    return rewind.load(path + SUFFIX, allow_pickle=True).n_steps > 0


def lay_out(case: Case, folder: str) -> None:
    """Write what there is before the recording begins."""
    if case.extends:
        Path(folder, TARGET).write_bytes(reference(case).old)


# ---- file operations, seen one by one

_CALLS = ["open", "dup", "close", "read", "write", "lseek", "ftruncate", "fsync", "fdatasync", "fchmod"]
_CALLS += ["replace", "unlink"]
ASKING = ["stat", "lstat", "fstat", "access"]
_NEVER = ["rename", "pwrite", "writev", "truncate", "link", "symlink", "rmdir", "mkdir", "posix_fallocate", "sendfile"]
REAL: dict[str, Any] = {name: getattr(os, name) for name in _CALLS + ASKING + _NEVER if hasattr(os, name)}
if fcntl is not None:
    REAL["flock"] = fcntl.flock

_FDOPEN = os.fdopen


class _Raw(io.RawIOBase):
    """An open file as `os.fdopen` makes it, by the functions of `os`, which are seen."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def readable(self) -> bool:
        return True

    writable = seekable = readable

    def readinto(self, buffer: Any) -> int:
        piece = os.read(self._fd, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, data: Any) -> int:
        return os.write(self._fd, data)

    def seek(self, at: int, whence: int = 0) -> int:
        return os.lseek(self._fd, at, whence)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self._fd, size)
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._fd)


#: ``seen(call, path, args, do)`` returns what `do` does, or something else.
Seeing = Callable[[str, str, tuple[Any, ...], Callable[[], Any]], Any]


class Watched:
    """While this is entered, file operations in a folder, or on it, go through `seen`."""

    def __init__(self, folder: str, seen: Seeing) -> None:
        self.folder, self.seen = os.path.realpath(folder), seen
        self.paths: dict[int, str] = {}

    def __enter__(self) -> Watched:
        for name, real in REAL.items():
            setattr(fcntl if name == "flock" else os, name, self._wrapped(name, real))
        os.fdopen = self._fdopen  # type: ignore[assignment]
        return self

    def __exit__(self, *error: object) -> None:
        for name, real in REAL.items():
            setattr(fcntl if name == "flock" else os, name, real)
        os.fdopen = _FDOPEN

    def _fdopen(self, fd: int, mode: str) -> Any:
        if fd not in self.paths:
            return _FDOPEN(fd, mode)
        assert mode == "r+b"
        return io.BufferedRandom(_Raw(fd))

    def _wrapped(self, name: str, real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            path = self._path(args[0])
            if path is None:
                return real(*args, **options)
            if name in _NEVER:
                raise AssertionError(f"{name} is not modelled")
            result = self.seen(name, path, args, lambda: real(*args, **options))
            if name in ("open", "dup"):
                self.paths[result] = path
            elif name == "close":
                self.paths.pop(args[0], None)
            return result

        return call

    def _path(self, what: Any) -> str | None:
        if isinstance(what, int):
            return self.paths.get(what)
        path = os.path.abspath(os.fsdecode(what))
        return path if path == self.folder or os.path.dirname(path) == self.folder else None


# ---- killed


@dataclass
class Killed:
    """A child that was killed, or came to its end: what it said, and what it raised."""

    said: list[int]
    ended: bool
    trouble: str = ""


def forked(work: Callable[[Say], None], wait: Callable[[int], None] = lambda child: None) -> Killed:
    """Do `work` in a fork of this process, which `wait` may kill, and return what it said."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        # Threads of numpy's: what is forked here does not touch them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            os.close(ours)
            work(lambda done: _tell(theirs, b"%d\n" % done))
            _tell(theirs, b"end\n")
        except BaseException:
            _tell(theirs, b"!" + traceback.format_exc().encode().replace(b"\n", b"\r") + b"\n")
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        wait(child)
    finally:
        with open(ours, "rb") as pipe:
            lines = pipe.read().split(b"\n")[:-1]
        os.waitpid(child, 0)
    said = [int(line) for line in lines if line.isdigit()]
    trouble = "".join(line.decode().replace("\r", "\n") for line in lines if line.startswith(b"!"))
    return Killed(said, b"end" in lines, trouble)


_tell = os.write


def kill_at(number: int) -> Seeing:
    """Kill this process at its file operation of that number: a write is done by half."""
    count = 0

    def seen(call: str, path: str, args: tuple[Any, ...], do: Callable[[], Any]) -> Any:
        nonlocal count
        if call not in ASKING:
            count += 1
        if count == number:
            if call == "write":
                REAL["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return do()

    return seen


def watched(case: Case, folder: str, work: Callable[[Case, str, Say], None], seen: Seeing) -> Callable[[Say], None]:
    """Return what does `work`, with its file operations seen."""

    def worker(say: Say) -> None:
        with every_block(), Watched(folder, seen):
            work(case, os.path.join(folder, TARGET), say)

    return worker


def n_operations(case: Case, folder: Path, work: Callable[[Case, str, Say], None]) -> int:
    """Return how many file operations a writer has, and leave the folder empty."""
    count = Fault(1 << 60, SHORT, spared=ASKING)
    lay_out(case, str(folder))
    watched(case, str(folder), work, count.seen)(lambda done: None)
    spread(str(folder), {})
    return count.count


def killed_at(case: Case, folder: str, number: int, work: Callable[[Case, str, Say], None]) -> Killed:
    """Do `work` in a child that is killed at its file operation of that number, if it gets so far."""

    killed = forked(watched(case, folder, work, kill_at(number)))
    if killed.trouble:
        raise Wrong("stuck", killed.trouble)
    return killed


# ---- a disk that loses its power


@dataclass(frozen=True)
class Op:
    """One thing that was done: ``create``, ``write``, ``truncate``, ``sync``, ``rename``, ``unlink`` or a ``claim``."""

    what: str
    name: str = ""
    at: int = 0
    data: bytes = b""
    to: str = ""


class DiskLog:
    """What is done to the files in a folder, in order."""

    def __init__(self, folder: str) -> None:
        self.ops: list[Op] = []
        self.start = {name: Path(folder, name).read_bytes() for name in os.listdir(folder)}
        self._folder = os.path.realpath(folder)
        self._appends: dict[int, bool] = {}

    def say(self, done: int) -> None:
        self.ops.append(Op("claim", at=done))

    def seen(self, call: str, path: str, args: tuple[Any, ...], do: Callable[[], Any]) -> Any:
        name = "" if path == self._folder else os.path.basename(path)
        new = call == "open" and not os.path.lexists(path)
        at = 0
        if call == "write":
            ends = os.SEEK_END if self._appends[args[0]] else os.SEEK_CUR
            at = REAL["lseek"](args[0], 0, ends)
        result = do()
        if call == "dup":
            self._appends[result] = self._appends[args[0]]
        elif call == "open":
            assert not args[1] & os.O_TRUNC
            self._appends[result] = bool(args[1] & os.O_APPEND)
            if new:
                self.ops.append(Op("create", name))
        elif call == "write":
            self.ops.append(Op("write", name, at, bytes(args[1])[:result]))
        elif call == "ftruncate":
            self.ops.append(Op("truncate", name, args[1]))
        elif call in ("fsync", "fdatasync"):
            self.ops.append(Op("sync", name))
        elif call == "replace":
            self.ops.append(Op("rename", name, to=os.path.basename(args[1])))
        elif call == "unlink":
            self.ops.append(Op("unlink", name))
        return result


def logged(case: Case, folder: str, work: Callable[[Case, str, Say], None]) -> DiskLog:
    """Do `work` and return what it did to the files in `folder`; its last claim is that it is finished."""
    log = DiskLog(folder)
    with every_block(), Watched(folder, log.seen):
        try:
            work(case, os.path.join(folder, TARGET), log.say)
        except Exception as error:
            raise Wrong("stuck", f"{type(error).__name__}: {error}") from error
    log.ops.append(Op("claim", at=-1))
    return log


class _File:
    """A file of the disk: what surely is on it, and what was done to it since."""

    def __init__(self, data: bytes = b"") -> None:
        self.n_synced = self.length = len(data)
        self.ops: list[tuple[int, Op, bool]] = []
        self.data = bytearray(data)

    def done(self, i: int, op: Op) -> None:
        self.length = op.at if op.what == "truncate" else max(self.length, op.at + len(op.data))
        self.ops.append((i, op, False))

    def synced(self) -> None:
        self.n_synced = self.length
        self.ops = [(i, op, True) for i, op, _ in self.ops]


def rebuilt(log: DiskLog, upto: int, rng: random.Random, model: str) -> dict[str, bytes]:
    """Return the files as they may be when the power goes after the first `upto` operations.

    What was synced is there, names after a sync of the folder. The rest is there as far as the model says:
    ``"prefix"``, up to some operation, which is torn; ``"reorder"``, any of the 512-byte sectors, truncations and
    changes of names. A rename is whole or not at all, and may be there when the data of the file is not.
    """
    live = {name: _File(data) for name, data in log.start.items()}
    disk, changes = dict(live), list[tuple[int, Op, _File]]()
    for i, op in enumerate(log.ops[:upto]):
        if op.what in ("write", "truncate"):
            live[op.name].done(i, op)
        elif op.what == "create":
            live[op.name] = _File()
            changes.append((i, op, live[op.name]))
        elif op.what == "rename":
            live[op.to] = live.pop(op.name)
            changes.append((i, op, live[op.to]))
        elif op.what == "unlink":
            changes.append((i, op, live.pop(op.name)))
        elif op.what == "sync" and op.name:
            live[op.name].synced()
        elif op.what == "sync":
            for _, change, file in changes:
                _rename(disk, change, file)
            changes = []
    cut, share, together = rng.randrange(upto + 1), rng.choice((0.0, 0.3, 0.5, 0.7, 0.9, 1.0)), rng.random() < 0.5
    for i, change, file in changes:
        if i < cut if model == "prefix" or together else rng.random() < share:
            _rename(disk, change, file)
    return {name: _content(file, rng, cut if model == "prefix" else None, share) for name, file in disk.items()}


def _rename(disk: dict[str, _File], change: Op, file: _File) -> None:
    disk.pop(change.name, None)
    if change.what != "unlink":
        disk[change.to or change.name] = file


def _content(file: _File, rng: random.Random, cut: int | None, share: float) -> bytes:
    data, sure = bytearray(file.data), file.n_synced
    for i, op, synced in file.ops:
        if op.what == "truncate":
            if synced or (rng.random() < share if cut is None else i < cut):
                data[:] = data[: op.at].ljust(op.at, b"\0")
        elif synced or (cut is not None and i < cut):
            _put(data, op.at, op.data)
        elif cut is None:
            for at in range(op.at // SECTOR * SECTOR, op.at + len(op.data), SECTOR):
                begin, end = max(at, op.at), min(at + SECTOR, op.at + len(op.data))
                if rng.random() < share:
                    _put(data, begin, op.data[begin - op.at : end - op.at])
                elif sure and begin >= sure and rng.random() < 0.2:
                    _put(data, begin, rng.randbytes(end - begin))  # what was there before the file grew
        elif i == cut:
            _put(data, op.at, op.data[: rng.randrange(len(op.data) + 1) // SECTOR * SECTOR])
    if cut is None and rng.random() < 0.3:  # the length is there before the data
        data[:] = data.ljust(file.length, b"\0")
    return bytes(data)


def _put(data: bytearray, at: int, piece: bytes) -> None:
    data[:] = data.ljust(at, b"\0")
    data[at : at + len(piece)] = piece


def claims(log: DiskLog, upto: int) -> tuple[int, bool]:
    """Return how many states were said to be on the disk within the first operations, and whether the file was."""
    said = [op.at for op in log.ops[:upto] if op.what == "claim"]
    return max([0, *said]), -1 in said


def spread(folder: str, files: dict[str, bytes]) -> None:
    """Make these files, and no others, those of a folder."""
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    for name, data in files.items():
        Path(folder, name).write_bytes(data)


def cut_power(
    case: Case, log: DiskLog, upto: int, rng: random.Random, model: str, folder: str
) -> tuple[dict[str, bytes], Seen]:
    """Lay out the disk as it may be, and see that all is there that has to be; return both."""
    files = rebuilt(log, upto, rng, model)
    spread(folder, files)
    claimed, returned = claims(log, upto)
    seen = examine(case, folder, claimed if case.durability == "block" else 0, rng, returned)
    return files, seen


# ---- a disk that fails

#: What a call does instead of what it was asked to, beside the numbers of errors: less of it, which is no error; all of
#: it, and then there is a Ctrl-C.
SHORT, INTERRUPT = 0, -1


@dataclass
class Fault:
    """The system says no, at call `number` or, where it is `sticky`, from there on; `spared` ones never."""

    number: int
    error: int
    sticky: bool = False
    spared: Sequence[str] = ()
    count: int = 0
    struck: list[str] = field(default_factory=list)

    def seen(self, call: str, path: str, args: tuple[Any, ...], do: Callable[[], Any]) -> Any:
        if call in self.spared:
            return do()
        self.count += 1
        if self.count < self.number or (self.struck and not self.sticky):
            return do()
        if self.error == SHORT:
            if call not in ("write", "read"):
                return do()
            self.struck.append(call)
            some = args[1][: -(-len(args[1]) // 2)] if call == "write" else -(-args[1] // 2)
            return REAL[call](args[0], some)
        self.struck.append(call)
        if self.error == INTERRUPT:
            do()
            raise KeyboardInterrupt
        if call == "write":  # a disk takes what it has room for
            REAL["write"](args[0], args[1][: len(args[1]) // 3])
        if call == "close":  # what fails to be closed is closed nevertheless
            do()
        raise OSError(self.error, os.strerror(self.error))


Job = Callable[[Case, str, Say], None]


def stubborn(case: Case, path: str, say: Say = lambda done: None, tries: int = 4) -> None:
    """Record with a `Recorder` that is told to go on whatever it raises, and only then with another."""
    recorder: rewind.Recorder[Any] | None = None
    for left in range(tries, -1, -1):
        try:
            if recorder is None:
                recorder = _recorder(case, path, say)
            while recorder.t < case.n_steps - 1:
                recorder.advance(min(case.block_size + 2, case.n_steps - 1 - recorder.t))
            recorder.finish()
            return
        except (rewind.ArtifactIOError, KeyboardInterrupt) as error:
            if recorder is not None and (left == 1 or "failed before" in str(error)):
                recorder.close()
                recorder = None
            if not left:
                raise


def _recorder(case: Case, path: str, say: Say) -> rewind.Recorder[Any]:
    more = {"path": path, "durability": case.durability, "progress": _told(case, say)}
    if os.path.exists(path + SUFFIX):
        with contextlib.suppress(rewind.ArtifactNotFoundError):
            more |= case.reading
            del more["path"]
            return rewind.Recorder.resume(path, case.step, **more)
        more = {"path": path, "durability": case.durability, "progress": _told(case, say)}
    return rewind.Recorder(case.step, case.init, case.seed, **case.options, **more)


def save_over(case: Case, path: str, say: Say = lambda done: None) -> None:
    """Save it over the old file."""
    _finished(case.name).save(path)


@functools.cache
def _finished(name: str) -> rewind.Run[Any]:
    case = case_of(name)
    return reference(case)._run(case.n_steps)


#: Of each: what is done, to which case, and the files there are before, each made of the case's snapshots.
JOBS: dict[str, tuple[Job, str, Callable[[Case], dict[str, bytes]]]] = {
    "record": (begin, "dataclass", lambda case: {}),
    "record, 1s": (begin, "int walk", lambda case: {}),
    "resume": (go_on, "dataclass", lambda case: _torn(case)),
    "extend": (begin, "extended", lambda case: {TARGET: reference(case).old}),
    "Recorder": (begin, "recorder", lambda case: {}),
    "Recorder that goes on": (stubborn, "recorder of a walk", lambda case: {}),
    "record, large states": (begin, "few large states", lambda case: {}),
    "tiny record": (begin, "tiny", lambda case: {}),
    "tiny resume": (go_on, "tiny", lambda case: _torn(case)),
    "tiny Recorder": (stubborn, "tiny recorder", lambda case: {}),
    "save": (save_over, "extended", lambda case: {TARGET: reference(case).old}),
}


def _torn(case: Case) -> dict[str, bytes]:
    """Return what there is after two thirds of it, and half a frame."""
    shots = snapshots(case)
    return {JOURNAL: shots[2 * len(shots) // 3][JOURNAL] + b"RWJ:B\0\0\0 half a frame"}


def n_calls(name: str, folder: str, spared: Sequence[str] = ()) -> int:
    """Return how many calls of the operating system a job makes that can fail."""
    fault = Fault(1 << 60, SHORT, spared=spared)
    _faulted(name, fault, folder)
    return fault.count


def _faulted(name: str, fault: Fault, folder: str) -> tuple[str, int]:
    job, case, before = JOBS[name][0], case_of(JOBS[name][1]), _before(name)
    spread(folder, before)
    said = [0]
    with every_block(), Watched(folder, fault.seen):
        try:
            job(case, os.path.join(folder, TARGET), said.append)
            return "finished", max(said)
        except rewind.ArtifactIOError as error:
            return f"raised {error}", max(said)
        except KeyboardInterrupt:
            return "interrupted", max(said)
        except Exception as error:
            raise Wrong("escaped", f"{type(error).__name__}: {error}") from error


@functools.cache
def _before(name: str) -> dict[str, bytes]:
    return JOBS[name][2](case_of(JOBS[name][1]))


def fail(name: str, fault: Fault, folder: str, rng: random.Random) -> str:
    """Do a job on a disk that fails, see that all is there that has to be, and return what came of it."""
    case = case_of(JOBS[name][1])
    outcome, claimed = _faulted(name, fault, folder)
    if case.grows and JOBS[name][0] is begin:
        gc.collect()  # its recorder is locked as long as it is there
    if not fault.struck:
        return "no such call"
    seen = examine(case, folder, claimed, rng, returned=outcome == "finished")
    if seen.n_temporary and "unlink" not in fault.struck and not (fault.error == INTERRUPT and "open" in fault.struck):
        raise Wrong("leftovers", f"a temporary file, and it {outcome}")
    if name == "save":
        if outcome.startswith("raised") and seen.complete != ("new, complete file" in outcome):
            raise Wrong("wrong", f"the new file is {'' if seen.complete else 'not '}there, and it {outcome}")
        save_over(case, os.path.join(folder, TARGET))
        if Path(folder, TARGET).read_bytes() != reference(case).file:
            raise Wrong("wrong", "the file saved later")
    else:
        require_finished(case, folder)
    return outcome.split()[0]


def snapshots(case: Case) -> Sequence[dict[str, bytes]]:
    """Return the files as they are after each block."""
    shots: list[dict[str, bytes]] = []
    with tempfile.TemporaryDirectory() as folder, every_block():
        lay_out(case, folder)

        def shoot(done: int) -> None:
            shots.append({name: Path(folder, name).read_bytes() for name in os.listdir(folder)})

        begin(case, os.path.join(folder, TARGET), shoot)
    return shots


# ---- one file after the other


def save_in_turn(case: Case, path: str, say: Say) -> None:
    """Save three files in turn, over and over, and say the number of each that is there."""
    runs = [_finished(name) for name in TURNS]
    for i in range(8 * len(runs)):
        runs[i % len(runs)].save(path)
        say(i)


TURNS = ("extended", "dataclass", "pickles")


def require_saved(case: Case, folder: str, said: list[int]) -> int:
    """See that the last file that was said to be there is, or the next one; return how many temporary files are left.

    They stay until somebody removes them: see that the next save does not stumble over them.
    """
    files = [reference(case_of(name)).file for name in TURNS]
    last = max(said, default=-1)
    allowed = [files[(last + 1) % len(files)], files[last % len(files)] if said else reference(case).old]
    here = Path(folder, TARGET).read_bytes()
    if here not in allowed:
        raise Wrong("wrong", "a file that is neither the old nor the new one" if here not in files else "an older file")
    rewind.load(Path(folder, TARGET), allow_pickle=True)
    names = set(os.listdir(folder)) - {TARGET}
    if any(not name.startswith(TEMPORARY) for name in names):
        raise Wrong("leftovers", names)
    save_over(case, os.path.join(folder, TARGET))
    if Path(folder, TARGET).read_bytes() != reference(case).file:
        raise Wrong("wrong", "the file saved later")
    return len(names)


# ---- for the scripts and the tests


def moments(log: DiskLog, points: int, rng: random.Random) -> list[int]:
    """Return so many moments of a log, those around what was synced or said first."""
    marked = {i + k for i, op in enumerate(log.ops) if op.what in ("sync", "claim") for k in (0, 1)}
    chosen = sorted(rng.sample(sorted(marked), min(points, len(marked))))
    return chosen + [rng.randrange(len(log.ops) + 1) for _ in range(points - len(chosen))]


def cut_over(case: Case, log: DiskLog, upto: int, files: dict[str, bytes], folder: str) -> bool:
    """See that the old file or the new one is there when the power goes in a save; return whether it is the new one."""
    spread(folder, files)
    truth, here = reference(case), files.get(TARGET)
    if here not in (truth.file, truth.old):
        raise Wrong("lost", "neither the old file nor the new one")
    if claims(log, upto)[1] and here != truth.file:
        raise Wrong("lost", "the new file, which was said to be there")
    _load(case, os.path.join(folder, TARGET), complete=True)
    save_over(case, os.path.join(folder, TARGET))
    if Path(folder, TARGET).read_bytes() != truth.file:
        raise Wrong("wrong", "the file saved later")
    return here == truth.file
