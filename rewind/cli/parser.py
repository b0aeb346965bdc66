"""The parser of the command line. It imports no numpy, and a verb's options are added when that verb is asked for."""

from __future__ import annotations

import argparse
import os
import sys

from . import options
from .exit_codes import CANNOT_RUN
from .streams import write_error, write_result
from .text import printable
from .version import version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

_EPILOG = """exit codes: 0 same, found, ok; 1 different, not reproduced, damaged, no such step, field or run;
2 cannot run (usage, missing or bad file, missing step code); 3 refused (pickles, without --allow-pickle).

The verbs ls, log, show, history, rm, export and import are about tracked runs, which are in a folder: --dir.

Step code is imported when --step names it. Without --step, the recorded step function is imported, after saying so, if
it is in the working directory and its source is the recorded source."""


#: Each verb: the function that answers it, and the one that adds its options and says what it does.
VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "record": (".record:record", options.record),
    "doctor": (".doctor:doctor", options.doctor),
    "info": (".files:info", options.info),
    "get": (".files:get", options.get),
    "verify": (".passes:verify", options.verify),
    "stats": (".passes:stats", options.stats),
    "merge": (".passes:merge", options.merge),
    "find": (".search:find", options.find),
    "bisect": (".search:bisect", options.bisect),
    "series": (".search:series", options.series),
    "likelihood": (".search:likelihood", options.likelihood),
    "branch": (".files:branch", options.branch),
    "fsck": (".fsck:fsck", options.fsck),
    "diff": (".diff:diff", options.diff),
    "ls": (".tracker:ls", options.ls),
    "log": (".show:log", options.log),
    "show": (".show:show", options.show),
    "history": (".history:history", options.history),
    "rm": (".tracker:rm", options.rm),
    "export": (".tracker:export", options.export),
    "import": (".tracker:import_", options.import_),
}

#: Other names of verbs.
ALIASES = {"record": ["run"]}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line: it gives the verb, the function that answers it, and its options."""
    top = _Parser(
        prog="rewind",
        description="Time-travel for long, seeded simulations: any step again, and a branch from any step, from one "
        "small file.",
        epilog=_EPILOG,
        formatter_class=_TopHelp,
    )
    top.add_argument(
        "--version", action=_Version, nargs=0, help="show the versions of rewind, its kernel, numpy and h5py"
    )
    verbs = top.add_subparsers(metavar="VERB", required=True, parser_class=_Verb)
    for name, (function, fill) in VERBS.items():
        text = (fill.__doc__ or "").rstrip(".")
        shown = f"{text[:1].lower()}{text[1:]}"
        new = verbs.add_parser(name, help=shown, description=f"{text}.", aliases=ALIASES.get(name, []))
        new.about = name, function, fill
    return top


class _Help(argparse.HelpFormatter):
    """As wide as the terminal, which argparse asks `shutil` for, and that imports all it can compress with."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


class _TopHelp(_Help, argparse.RawDescriptionHelpFormatter):
    """With the lines of the epilog as they are."""


def _columns() -> int:
    """Return what `shutil.get_terminal_size` does."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
        except (AttributeError, ValueError, OSError):  # stdout is closed, or no terminal
            return 80
    return columns if columns > 0 else 80


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **options})

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is sys.stdout:
            code = write_result(message, flush=True)
            if code:
                sys.exit(code)
        elif message:
            write_error(message)

    def error(self, message: str) -> NoReturn:
        self.exit(CANNOT_RUN, printable(f"rewind: error: {message} (see {self.prog} --help)") + "\n")


class _Verb(_Parser):
    """The parser of one verb, which is set up when that verb is asked for: to set up all takes longer than numpy."""

    about: tuple[str, str, Callable[[argparse.ArgumentParser], None]]

    def __init__(self, **options: Any) -> None:
        self._options: dict[str, Any] | None = options

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        if self._options is not None:
            super().__init__(**self._options)
            self._options = None
            name, function, fill = self.about
            self.set_defaults(function=function, verb=name)
            fill(self)
        return super().parse_known_args(args, namespace)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.exit(write_result(f"{version_text()}\n", flush=True))
