"""The user's own code for the command line: what an option names, or the step function a recording was made with.

A name in a file is a hint and never enough: recorded code is imported only from the working directory, only if the
source of the function there is the recorded source, and only after saying so.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import inspect
import os
import sys
import textwrap
import tokenize
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from ..errors import said
from ..steps import importing
from ..steps.importing import GUARD, Ended, ended_in
from ..steps.raised import is_own
from ..steps.source import describe
from .text import FORMS


class CodeError(Exception):
    """Code that is unavailable; `details` is the traceback of the user's own module where that is to blame."""

    def __init__(self, text: str, details: str = "") -> None:
        self.details = details
        super().__init__(text)


class Importer:
    """Imports the user's code; on leaving the ``with`` block, ``sys.path`` and ``__main__`` are what they were.

    Parameters
    ----------
    say : callable
        Given one line for people before or after each import.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._files: dict[str, ModuleType] = {}
        self._path = list(sys.path)
        self._put_back = contextlib.ExitStack()

    def __enter__(self) -> Importer:
        return self

    def __exit__(self, *error: object) -> None:
        sys.path[:] = self._path
        self._put_back.close()
        for module in self._files.values():
            sys.modules.pop(module.__name__, None)

    def named(self, text: str, option: str, as_main: bool = False) -> Any:
        """Return what ``MODULE:NAME`` or ``FILE.py:NAME`` names.

        Parameters
        ----------
        text : str
            NAME may be a path ``a.b``. The working directory comes first in the search for MODULE.
        option : str
            What it is for, in messages: ``--step``.
        as_main : bool
            Whether this module stands in for the script a run was recorded from, see `stand_in_for_main`.

        Raises
        ------
        CodeError
            If there is no such code, or it fails while it is imported.
        """
        where, _, name = text.rpartition(":")
        if not where or not all(piece.isidentifier() for piece in name.split(".")):
            raise CodeError(f"{option} is {text!r}; expected {FORMS}")
        if where.endswith(".py"):
            if not os.path.isfile(where):
                raise CodeError(f"{option} {text}: there is no file {where}")
            self._announce(f"importing {option} {text}", where)
            module = self._from_file(where)
        else:
            module = self._from_path(where, option)
            self._announce(f"imported {option} {text}", getattr(module, "__file__", None))
        if as_main:
            self.stand_in_for_main(module)
        return _attribute(module, name, where)

    def recorded(self, hints: Mapping[str, str]) -> Any:
        """Return the step function that `hints` are about, if the same source is in the working directory.

        Raises
        ------
        CodeError
            Saying why nothing was imported.
        """
        step_id, source, script = hints.get("id", ""), hints.get("source", ""), hints.get("file", "")
        module_name, _, name = step_id.partition(":")
        if not source or not name.isidentifier() or not all(piece.isidentifier() for piece in module_name.split(".")):
            raise CodeError("only a function at the top level of a module or script can be found again by its name")
        path = _file_here(module_name, script)
        found = _sources(path, name)
        if len(found) != 1:
            raise CodeError(
                f"{_shown(path)} defines {name} {len(found)} times" if found else f"{_shown(path)} has no {name}"
            )
        if found[0] != source:
            raise CodeError(f"the source of {name} in {_shown(path)} is not the source that was recorded")
        self._announce(f"importing step {step_id}", path, "(source hash matches)")
        if module_name == "__main__":
            module = self._from_file(path)
            self.stand_in_for_main(module)
        else:
            module = self._from_path(module_name, "--step")
            if os.path.realpath(getattr(module, "__file__", None) or "") != os.path.realpath(path):
                raise CodeError(f"module {module_name} was imported from another place than {_shown(path)}")
        function = _attribute(module, name, _shown(path))
        if describe(function).get("source") != source:
            raise CodeError(f"{name} of {_shown(path)} is not the function of that name which its source defines")
        return function

    def stand_in_for_main(self, module: ModuleType) -> None:
        """Let the classes of `module` be found as ``__main__:NAME``, as in the script that recorded a run.

        See `importing.stand_in_for_main`; on leaving the ``with`` block all is as it was.
        """
        self._put_back.callback(importing.stand_in_for_main(module))

    def _announce(self, what: str, path: str | None, more: str = "") -> None:
        self.say(f"{what} from {_shown(path) if path else 'Python itself'} {more}".rstrip())

    def _from_path(self, name: str, option: str) -> ModuleType:
        if sys.path[:1] != [os.getcwd()]:
            sys.path.insert(0, os.getcwd())
        with _user_errors(f"module {name}"), importing.importing(self._told):
            try:
                return importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                    raise  # an import inside the user's module
                raise CodeError(f"{option}: no module named {name} in {os.getcwd()} or on Python's path") from None
        raise AssertionError

    def _from_file(self, path: str) -> ModuleType:
        """Run a file as a module that is not ``__main__``, so what it guards with that name does not run."""
        real = os.path.realpath(path)
        if real in self._files:
            return self._files[real]
        here = sys.modules.get(os.path.splitext(os.path.basename(path))[0])
        if here is not None and os.path.realpath(getattr(here, "__file__", None) or "") == real:
            return here
        with _user_errors(_shown(path)):
            module = self._files[real] = importing.module_of_file(path, self._told)
        return module

    def _told(self, ended: Ended) -> None:
        """Say where the import of a module ended, and see to it that nobody takes it for a whole one later."""
        self._files[os.path.realpath(ended.path)] = sys.modules[ended.module]
        self.say(f"{_shown(ended.path)} {ended}: what it defines before that is used")


@contextlib.contextmanager
def _user_errors(what: str) -> Iterator[None]:
    """Turn what the user's module raises while it is imported into a `CodeError` with their part of the traceback."""
    try:
        # What a module prints while it is imported is no answer of ours.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except BaseException as error:
        if isinstance(error, CodeError) or not is_own(error):
            raise
        frames = error.__traceback__
        ours = (__file__, contextlib.__file__, importlib.__file__, importing.__file__)
        while frames and (
            frames.tb_frame.f_code.co_filename in ours or "importlib." in frames.tb_frame.f_code.co_filename
        ):
            frames = frames.tb_next
        details = "".join(traceback.format_exception(type(error), error, frames))
        problem = f"{type(error).__name__}: {said(error)}".removesuffix(": ")
        raise CodeError(f"importing {what} failed: {problem}", details) from error


def _attribute(module: ModuleType, name: str, where: str) -> Any:
    value: Any = module
    for piece in name.split("."):
        if not hasattr(value, piece):
            own = (module.__name__, "__main__")
            functions = [(key, thing) for key, thing in vars(module).items() if isinstance(thing, FunctionType)]
            known = [key for key, thing in functions if thing.__module__ in own]
            has = f"; its functions are {', '.join(known[:8])}" if known else ""
            ended = ended_in(module)
            if ended is not None:
                has = f" yet where it {ended}: {GUARD}, so that all of it can be imported"
            raise CodeError(f"{where} has no {name}{has}")
        value = getattr(value, piece)
    return value


def _file_here(module: str, script: str) -> str:
    """Return the path in the working directory of a recorded module, or of the script for ``__main__``."""
    if module == "__main__":
        if not script.endswith(".py") or script != os.path.basename(script):
            raise CodeError("it was recorded from a program that is no script")
        candidates = [script]
    else:
        pieces = module.split(".")
        candidates = [os.path.join(*pieces) + ".py", os.path.join(*pieces, "__init__.py")]
    here = os.path.realpath(os.getcwd())
    for path in candidates:
        if os.path.isfile(path) and os.path.commonpath([here, os.path.realpath(path)]) == here:
            return path
    raise CodeError(f"there is no {candidates[0]} in the working directory")


def _sources(path: str, name: str) -> list[str]:
    """Return the hash of the source, as `source.describe` takes it, of each function `name` that a file defines."""
    try:
        with tokenize.open(path) as file:
            lines = file.readlines()
        tree = ast.parse("".join(lines))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise CodeError(f"{_shown(path)} cannot be read ({error})") from None
    hashes = []
    for node in _functions(tree, name):
        # Where inspect begins: at the first decorator. It also knows which comments still belong to the function.
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        block = textwrap.dedent("".join(inspect.getblock(lines[first - 1 :])))
        hashes.append(hashlib.blake2b(block.rstrip().encode(), digest_size=16).hexdigest())
    return hashes


def _functions(tree: ast.AST, name: str) -> Iterator[ast.FunctionDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            if node.name == name:
                yield node
        elif not isinstance(node, (ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _functions(node, name)


def _shown(path: str) -> str:
    """Return a path as people write it: ./NAME in the working directory."""
    full, here = os.path.abspath(path), os.getcwd()
    return os.path.join(os.curdir, os.path.relpath(full, here)) if full.startswith(here + os.sep) else full
