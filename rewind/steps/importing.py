"""Import code for the functions in it: the import of a module ends at its first call that would run or write anything.

A script without a ``__main__`` guard records, and saves, whenever it is imported. Whoever only looks at a file needs
the functions that the script defines before it does that.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import FrameType, FunctionType, ModuleType
from typing import Any

from ..errors import RewindError

#: The cure where something is missing from a module whose import ended.
GUARD = 'put what the script does under `if __name__ == "__main__":`'

#: What the name of a module ends with that stands in for a script: `multiprocessing` has its workers import no such
#: module, and would have them run the script again. See `stand_in_for_main`.
_STANDS_IN = ".__main__"


class ImportEnded(BaseException):
    """Ends the import of a module; no Exception, so that an ``except Exception`` of the module's does not keep it."""

    def __init__(self, call: str) -> None:
        self.call = call
        super().__init__(call)


class OnlyImported(RewindError):
    """The same in a child that was forked by a module while it was imported: a pool sends it to the module."""

    def __init__(self, call: str) -> None:
        self.call = call
        super().__init__(f"rewind.{call} is called by a module that is only imported, for the functions in it; {GUARD}")

    def __reduce__(self) -> tuple[Any, ...]:
        return OnlyImported, (self.call,)


@dataclass(frozen=True)
class Ended:
    """Where the import of a module ended: the call, and the line of the module that made it."""

    module: str
    path: str
    call: str
    line: int

    def __str__(self) -> str:
        return f"calls rewind.{self.call} at line {self.line}, where its import ended"


class _Local(threading.local):
    """The modules that this thread is importing, the innermost last, and the process in which it began."""

    def __init__(self) -> None:
        self.modules: list[ModuleType] = []
        self.ended: dict[str, Ended] = {}
        self.pid = 0


_here = _Local()


def ends_import(call: str) -> None:
    """End the import of the module that this thread imports for its functions, if there is one.

    Called by whatever runs a simulation or writes, before it does anything; `call` is its public name.

    Raises
    ------
    ImportEnded
        Only then.
    """
    if not _here.modules:
        return
    if _here.pid != os.getpid():
        raise OnlyImported(call)
    module = _here.modules[-1]
    path = getattr(module, "__file__", None) or module.__name__
    frame = _line_of(module, sys._getframe(1))
    _here.ended.setdefault(module.__name__, Ended(module.__name__, path, call, frame))
    raise ImportEnded(call)


def _line_of(module: ModuleType, frame: FrameType | None) -> int:
    """Return the line that is being run at the top level of a module."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals is vars(module):
            return frame.f_lineno
        frame = frame.f_back
    return 0


@contextmanager
def importing(told: Callable[[Ended], None] | None = None) -> Iterator[None]:
    """Within this context, modules that this thread imports are imported only for the functions in them.

    Parameters
    ----------
    told : callable, optional
        Given each module whose import ended.

    Notes
    -----
    A module whose import ended stays among the imported ones, with all that was defined before. One that another module
    imports ends by itself: the other goes on.
    """
    finder = _Finder(threading.get_ident(), told)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with suppress(ValueError):  # a module of the user's may have done with the list what it likes
            sys.meta_path.remove(finder)


class _Finder:
    """Finds what the finders after it find, for modules of one thread, and sees to it that their import can end."""

    def __init__(self, thread: int, told: Callable[[Ended], None] | None) -> None:
        self._thread, self._told = thread, told

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a module, as all finders have it."""
        if threading.get_ident() != self._thread:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                if isinstance(spec.loader, (SourceFileLoader, SourcelessFileLoader)):
                    vars(spec.loader)["exec_module"] = functools.partial(_execute, spec.loader, told=self._told)
                return spec
        return None


def _execute(loader: Any, module: ModuleType, *, told: Callable[[Ended], None] | None) -> None:
    """Run a module, up to where its import ends."""
    if not _here.modules:
        _here.pid = os.getpid()
    _here.modules.append(module)
    try:
        type(loader).exec_module(loader, module)
    except OnlyImported as error:
        path = getattr(module, "__file__", None) or module.__name__
        line = _line_in(module, error)
        _here.ended.setdefault(module.__name__, Ended(module.__name__, path, error.call, line))
    except (Exception, SystemExit, ImportEnded):
        if module.__name__ not in _here.ended:  # else it is what came of a call that did not return
            raise
    finally:
        _here.modules.pop()
        ended = _here.ended.pop(module.__name__, None)
    if ended is not None:
        module.__rewind_ended__ = ended  # type: ignore[attr-defined]
        if told is not None:
            told(ended)


def _line_in(module: ModuleType, error: BaseException) -> int:
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_globals is vars(module):
            return at.tb_lineno
        at = at.tb_next
    return 0


def ended_in(module: ModuleType) -> Ended | None:
    """Return where the import of a module ended, None where it came to its end."""
    return vars(module).get("__rewind_ended__")


# ---- scripts


def module_of_file(path: str, told: Callable[[Ended], None] | None = None) -> ModuleType:
    """Run a file for the functions in it, as a module that is not ``__main__``, and put it among the imported ones.

    What the file guards with that name does not run.
    """
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"_rewind_step_{name}"  # a script called random.py must not become everybody's random
    loader = SourceFileLoader(name, os.path.abspath(path))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.modules[name] = module
    try:
        with importing(told):
            _execute(loader, module, told=told)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def stand_in_for_main(module: ModuleType) -> Callable[[], None]:
    """Let the classes and functions of `module` be found as ``__main__:NAME``, as in the script that recorded a run.

    As `multiprocessing` does for spawned processes; and they say of themselves that they are of ``__main__``, so
    that a branch is recorded under the names its parent was.

    Returns
    -------
    put_back : callable
        Lets them say of themselves what they did before, and ``__main__`` be what it was.
    """
    old: list[tuple[Any, str, Any]] = [(thing, "__module__", thing.__module__) for thing in _defined(module)]
    old.append((module, "__spec__", module.__spec__))
    main = sys.modules.get("__main__")
    sys.modules["__main__"] = module
    for thing, name, _ in old[:-1]:
        with suppress(AttributeError, TypeError):
            setattr(thing, name, "__main__")
    module.__spec__ = ModuleSpec(f"{module.__name__}{_STANDS_IN}", None, origin=module.__file__)

    def put_back() -> None:
        for thing, name, value in old:
            with suppress(AttributeError, TypeError):
                setattr(thing, name, value)
        if main is not None:
            sys.modules["__main__"] = main

    return put_back


def script() -> str | None:
    """Return the file of the module that stands in for ``__main__``; None where none does."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    stands_in = spec is not None and spec.name.endswith(_STANDS_IN) and getattr(main, "__name__", "") != "__main__"
    return main.__file__ if stands_in and main is not None else None


def be_script(path: str | None) -> None:
    """Let a file stand in for ``__main__`` in this process, a worker of one where it does."""
    if path is not None and path != script():
        with suppress(Exception):  # what is missing then is said where it is looked for
            stand_in_for_main(module_of_file(path))


def _defined(module: ModuleType) -> list[Any]:
    """Return the classes and functions that a module defines, with those in its classes."""
    found, todo = [], list(vars(module).values())
    while todo:
        thing = todo.pop()
        if isinstance(thing, (type, FunctionType)) and thing.__module__ == module.__name__:
            found.append(thing)
            if isinstance(thing, type):
                todo += vars(thing).values()
    return found
