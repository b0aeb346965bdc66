"""Print what a user can name: ``python tests/golden/make_surface.py > surface.json``.

Origin of surface-0.5.json: this script, run in a folder of rewind-engine 0.5.0 with CPython 3.11. It never changes.
``tests/whole/test_surface.py`` holds the surface to it, but for the differences that are listed there.

The names are those of ``rewind.__all__``: a function with its signature; a class with its bases, and with the signature
or the kind of each public member; any other value with its type. The command line is each verb with its options.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import re
from typing import Any

import rewind
from rewind.cli import main

#: Their surface is that of the class below them, and how they get it depends on the kernel.
FAST = ("FastGenerator", "FastRandom")


def signature(function: Any) -> str:
    """Return a signature as text; the defaults that are objects of a class of ours, by the name of the class."""
    try:
        text = str(inspect.signature(function))
    except (TypeError, ValueError):  # a method in C that says none
        return "(...)"
    return re.sub(r"<([\w.]+?)(?: object)? at 0x[0-9a-f]+>", r"<\1>", text)


def member(thing: Any, cls: type, name: str) -> str:
    """Return what a member of a class is."""
    kind = inspect.getattr_static(cls, name)
    if isinstance(kind, classmethod | staticmethod):
        return f"{type(kind).__name__} {signature(thing)}"
    if callable(thing) and not isinstance(kind, property):
        return signature(thing)
    return "property" if not isinstance(kind, int | float | str | tuple | dict) else type(kind).__name__


def members(cls: type) -> dict[str, str]:
    """Return what the public members of a class are, without those that it has from elsewhere."""
    theirs = {name for base in cls.__mro__ if base.__module__.split(".")[0] != "rewind" for name in vars(base)}
    names = {name for base in cls.__mro__ for name in vars(base)} - theirs
    return {name: member(getattr(cls, name), cls, name) for name in sorted(names) if not name.startswith("_")}


def name_of(base: type) -> str:
    """Return the name of a class; where it is of this library, its module does not count."""
    ours = base.__module__.split(".")[0] == "rewind"
    return base.__name__ if ours or base.__module__ == "builtins" else f"{base.__module__}.{base.__qualname__}"


def public_bases(cls: type) -> list[str]:
    """Return the names of the nearest bases that a user can name."""
    found: list[str] = []
    for base in cls.__bases__:
        hidden = base.__module__.split(".")[0] == "rewind" and base.__name__ not in rewind.__all__
        found += public_bases(base) if hidden else [name_of(base)]
    return list(dict.fromkeys(found))


def new(cls: type) -> str:
    """Return how an object is made, where that is written in this library."""
    ours = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "rewind"]
    return signature(cls) if any({"__init__", "__new__"} & vars(base).keys() for base in ours) else "inherited"


def names() -> dict[str, Any]:
    """Return what each public name is."""
    found: dict[str, Any] = {}
    for name in rewind.__all__:
        thing = getattr(rewind, name)
        if inspect.isclass(thing):
            found[name] = {"bases": public_bases(thing)}
            if name not in FAST:
                found[name] |= {"new": new(thing), "members": members(thing)}
        else:
            found[name] = signature(thing) if callable(thing) else type(thing).__name__
    return found


def default(value: Any) -> Any:
    """Return a default as JSON has it."""
    return value if isinstance(value, str | int | float | type(None)) else repr(value)


def options(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the arguments of a parser, by what they are called."""
    found: dict[str, Any] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():  # one may be set up when it is first asked
                with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
                    inner.parse_known_args(["--help"])
            found["verbs"] = {verb: options(inner) for verb, inner in action.choices.items()}
            continue
        facts = {
            "metavar": default(action.metavar),
            "choices": None if action.choices is None else [default(choice) for choice in action.choices],
            "default": default(action.default),
            "nargs": action.nargs,
            "required": action.required,
        }
        found[" ".join(action.option_strings) or action.dest] = {
            key: value for key, value in facts.items() if value not in (None, False)
        }
    return found


def parser_of_the_command() -> argparse.ArgumentParser:
    """Return the parser that parses the command line, wherever in the library it is made."""
    seen: list[argparse.ArgumentParser] = []

    def parse_args(self: argparse.ArgumentParser, *_: Any) -> None:
        seen.append(self)
        raise SystemExit

    ours, argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_args, parse_args  # type: ignore
    try:
        with contextlib.suppress(SystemExit):
            getattr(main, "main", main)([])
    finally:
        argparse.ArgumentParser.parse_args = ours  # type: ignore[method-assign]
    return seen[0]


def surface() -> dict[str, Any]:
    """Return all of it, as JSON has it."""
    found = {"names": names(), "command": options(parser_of_the_command())}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


if __name__ == "__main__":
    print(json.dumps(surface(), indent=1, sort_keys=True))
