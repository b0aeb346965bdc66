"""The words of the command line: its verbs and their options."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Callable
from typing import NoReturn

from ..errors import ArgumentError
from ..kernel import kernel_name
from ..runs.arguments import key_of
from ..steps.source import VERSION
from . import diff, files, fsck, history, passes, record, search, show, tracker
from .common import Answer
from .render import JSON_RULES, printable
from .user_code import FORMS, Importer

OK, DIFFERENT, CANNOT_RUN, REFUSED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(CANNOT_RUN, printable(f"rewind: error: {message} (see {self.prog} --help)") + "\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parts = [f"{kernel_name} kernel"]
        for name in ("numpy", "h5py"):  # asked of the installation: h5py takes as long to import as numpy
            try:
                parts.append(f"{name} {importlib.metadata.version(name)}")
            except importlib.metadata.PackageNotFoundError:
                parts.append(f"no {name}")
        sys.stdout.write(f"rewind {VERSION} ({', '.join(parts)})\n")
        parser.exit(OK)


_STEPS = "T: an integer, negative to count from the end, a share like 50%%, start or end"
_EPILOG = """exit codes: 0 same, found, ok; 1 different, not reproduced, damaged, no such step, field or run;
2 cannot run (usage, missing or bad file, missing step code); 3 refused (pickles, without --allow-pickle).

The verbs ls, log, show, history, rm, export and import are about tracked runs, which are in a folder: --dir.

Step code is imported when --step names it. Without --step, the recorded step function is imported, after saying so, if
it is in the working directory and its source is the recorded source."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = _Parser(
        prog="rewind",
        description="Time-travel for long, seeded simulations: any step again, any step forked, from one small file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--version", action=_Version, nargs=0, help="show the versions of rewind, its kernel, numpy and h5py"
    )
    subparsers = top.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)

    def verb(
        function: Callable[[argparse.Namespace, Importer], Answer],
        replays: bool,
        reads: bool = True,
        file: str = "a .replay file",
        more: str = "",
    ) -> argparse.ArgumentParser:
        text, name = (function.__doc__ or "").rstrip("."), function.__name__.rstrip("_")
        new = subparsers.add_parser(name, help=text[0].lower() + text[1:], description=f"{text}. {more}".rstrip())
        new.set_defaults(function=function, verb=name)
        if reads:
            new.add_argument("file", metavar="FILE", help=file)
        new.add_argument("--json", action="store_true", help=f'one JSON object with "schema": 1. {JSON_RULES}')
        new.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
        if reads:
            new.add_argument(
                "--reader",
                choices=("strict", "h5py"),
                default="strict",
                help="h5py reads what an HDF5 tool rewrote; only for files you trust",
            )
            new.add_argument(
                "--key-file",
                dest="key",
                type=_key_in,
                metavar="PATH",
                help="refuse what was not signed with the key in this file: its bytes, without a newline at their end",
            )
        if replays:
            new.add_argument("--step", metavar="CODE", help=f"the step function: {FORMS}")
            new.add_argument("--codec", metavar="CODE", help="the pair (encode, decode) it was recorded with")
            new.add_argument(
                "--allow-pickle",
                action="store_true",
                help="unpickle checkpoints, which runs what the file brings along; only for files you trust",
            )
        return new

    _add_run(verb(record.run, False, reads=False))
    verb(files.info, False)
    new = verb(files.get, True)
    new.add_argument("steps", metavar="T", nargs="+", help=_STEPS)
    new.add_argument("--field", metavar="PATH", help="a part of the state, for example agents[3].x")
    new = verb(passes.verify, True)
    new.add_argument("--full", action="store_true", help="every block, instead of 33")
    _add_passes(new, shards=True)
    new = verb(passes.stats, True)
    new.add_argument(
        "--metric",
        metavar="CODE|NAME",
        action="append",
        default=[],
        help="a function of the state, or the name of an attribute or key of it; several are one pass. Default: what "
        "was observed while recording, without a replay; if that is nothing, or more than that is asked for (a window, "
        "a histogram, lags), the state itself",
    )
    _add_window(new)
    new.add_argument(
        "--histogram",
        metavar="E0,E1,...",
        help="count values between these edges, too; with = where the first is negative: --histogram=-1,0,1",
    )
    new.add_argument("--max-lag", type=int, metavar="K", help="the autocovariance up to a lag of K steps, too")
    _add_passes(new, shards=True)
    new = verb(passes.merge, False, reads=False)
    new.add_argument("parts", metavar="PART", nargs="+", help="what verify or stats --shard I/N --out PART wrote")
    new = verb(search.find, True)
    _add_condition(new, "condition", "COND")
    new.add_argument(
        "--last", action="store_true", help="the last such step, instead of the first; several newest first"
    )
    new.add_argument("--all", action="store_true", help="every such step, one on a line")
    new.add_argument("-n", type=int, metavar="K", help="the first K of them; with --last the last K")
    _add_window(new)
    new.add_argument("--before", metavar="T", help="with --last: look below step T only")
    _add_passes(new)
    new = verb(search.bisect, True)
    _add_condition(new, "condition", "COND")
    _add_window(new)
    new = verb(search.series, True)
    new.add_argument(
        "--metric",
        metavar="CODE|NAME",
        action="append",
        default=[],
        help="a function of the state, or the name of an attribute or key of it; several are columns of one table. "
        "Default: the state itself",
    )
    _add_window(new)
    new.add_argument("--every", type=int, default=1, metavar="K", help="every K-th step of the window")
    new.add_argument(
        "--to",
        choices=("csv", "npz", "json"),
        help="csv has a column for each number, name[0], name[1], ...; npz and json one array for each name. Default: "
        "as OUT is called, else csv",
    )
    new.add_argument("-o", "--output", metavar="OUT", help="the file to write, instead of stdout")
    new.add_argument("--force", action="store_true", help="replace OUT if it exists")
    _add_passes(new)
    new = verb(search.likelihood, True)
    _add_condition(new, "event", "EVENT")
    new.add_argument(
        "--at",
        metavar="T[,T...]|START:STOP:STEP",
        required=True,
        help="the steps to fork at; with = where the first is negative: --at=-10,-5",
    )
    new.add_argument("-n", type=int, default=100, metavar="N", help="forks from each step. Default: 100")
    new.add_argument(
        "--n-steps", type=int, metavar="K", help="states of each fork; default: up to the last step of FILE"
    )
    new.add_argument("--seed", type=_integer, metavar="S", help="what the seeds of the forks are made of")
    new.add_argument("--confidence", type=float, default=0.95, metavar="C", help="of the interval. Default: 0.95")
    _add_passes(new)
    new = verb(files.branch, True)
    new.add_argument("step_t", metavar="T", help=_STEPS)
    new.add_argument("-o", "--output", metavar="OUT", required=True, help="file of the branch")
    new.add_argument("--force", action="store_true", help="replace OUT if it exists")
    new.add_argument(
        "--mutate", metavar="CODE", help="the intervention: a function that changes the state or returns a new one"
    )
    new.add_argument(
        "--seed", type=_integer, metavar="N", help="seed of the branch; default: the same for every branch from T"
    )
    new.add_argument("--n-steps", type=int, metavar="N", help="number of states; default: up to the last step of FILE")
    new.add_argument(
        "--noise", choices=("fresh", "same"), default="fresh", help="same: the noise FILE drew at each step"
    )
    new.add_argument("--param", metavar="NAME=JSON", action="append", default=[], help="a new value of a parameter")
    new = verb(
        fsck.fsck,
        False,
        file="a .replay file, or the folder of a tracker, such as .rewind, or the folder that this is in",
        more="Of a tracker's folder: every revision, its digest, its artifacts and its simulation.",
    )
    new.add_argument(
        "--replay",
        action="store_true",
        help="of a tracker's folder: replay the simulations, and find the first row that they do not give",
    )
    new.add_argument(
        "--step",
        metavar="CODE",
        action="append",
        default=[],
        help=f"with --replay: a step function; may be repeated: {FORMS}",
    )
    new.add_argument(
        "--observe",
        metavar="NAME=CODE|ATTRIBUTE",
        action="append",
        default=[],
        help="with --replay: the function of a metric that was logged",
    )
    new.add_argument("--codec", metavar="CODE", help="with --replay: the pair (encode, decode) it was recorded with")
    new.add_argument(
        "--allow-pickle", action="store_true", help="with --replay: unpickle checkpoints; only what you trust"
    )
    new = verb(diff.diff, True)
    new.add_argument("other", metavar="OTHER", help="another .replay file")
    new.add_argument("--other-step", metavar="CODE", help="the step function of OTHER, where it is not that of --step")
    new.add_argument("--metadata", action="store_true", help="only what the files say; no states, no code")
    _add_tracker(verb)
    return top


_RUN = "a run, ID: its current revision, or ID@REV for another. The beginning of an id will do, if no other begins so"
_MARKS = """With ID: all revisions of that run, what they come from, and what was forked from them; with
ID@REV: that revision and what it comes from. The parent of a revision is written as the moment it left, which
rewind.init(resume_from=...) and rewind.init(fork_from=...) take; so they do any other moment ID@REV?_step=N of an
archived revision. With --graph, as by git log --graph, a revision stands above the one that it left: * is the current
one of a run, o an archived one, x one of a removed run that others come from."""


def _add_tracker(verb: Callable[..., argparse.ArgumentParser]) -> None:
    new = verb(tracker.ls, False, reads=False)
    _add_dir(new)
    new.add_argument("--project", metavar="P", help="only those of a project")
    new.add_argument("--removed", action="store_true", help="those that were removed, instead")
    new = verb(show.log, False, reads=False, more=_MARKS)
    new.add_argument("run", metavar="ID", nargs="?", help=f"{_RUN}. Default: all runs")
    _add_dir(new)
    new.add_argument("--graph", action="store_true", help="draw the tree")
    new.add_argument("--oneline", action="store_true", help="a line for each revision")
    new = verb(show.show, False, reads=False)
    new.add_argument("run", metavar="ID", help=_RUN)
    _add_dir(new)
    new.add_argument(
        "--lines", action="store_true", help="the lines of text that were logged, each with its step, instead"
    )
    new = verb(history.history, False, reads=False)
    new.add_argument("run", metavar="ID", help=_RUN)
    _add_dir(new)
    new.add_argument(
        "--csv",
        action="store_true",
        help="a column for each key, _step first; a missing value is empty, NaN is nan, and arrays, None and lists are "
        "JSON. This is the default",
    )
    new.add_argument("--jsonl", action="store_true", help="a line for each row, a JSON object; arrays are written out")
    new.add_argument("--keys", metavar="A,B", action="append", default=[], help="only these, and rows with one of them")
    new.add_argument("--min-step", type=int, default=0, metavar="N", help="only rows from step N on")
    new.add_argument("--max-step", type=int, metavar="N", help="only rows below step N")
    new.add_argument("-o", "--output", metavar="FILE", help="the file to write, instead of stdout")
    new.add_argument("--force", action="store_true", help="replace FILE if it exists")
    new = verb(tracker.rm, False, reads=False)
    new.add_argument("run", metavar="ID", help="a run; the beginning of its id will do, if no other begins so")
    _add_dir(new)
    new.add_argument("--purge", action="store_true", help="delete what no other run needs of it, for good")
    new.add_argument("--restore", action="store_true", help="bring back a run that was archived")
    new.add_argument("-y", "--yes", action="store_true", help="do not ask")
    new = verb(tracker.export, False, reads=False)
    new.add_argument("run", metavar="ID", help="a run; the beginning of its id will do, if no other begins so")
    _add_dir(new)
    new.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write")
    new.add_argument("--force", action="store_true", help="replace FILE if it exists")
    new = verb(tracker.import_, False, reads=False)
    new.add_argument("file", metavar="FILE", help="what rewind export wrote")
    _add_dir(new)


def _add_dir(new: argparse.ArgumentParser) -> None:
    new.add_argument("--dir", metavar="DIR", help="the tracker's folder. Default: REWIND_DIR, else ./.rewind")


def _add_run(new: argparse.ArgumentParser) -> None:
    new.add_argument("step", metavar="STEP", help=f"the step function: {FORMS}")
    new.add_argument(
        "--init",
        metavar="CODE|JSON",
        help="state 0: what CODE names (a function or a class is called), or a JSON value",
    )
    new.add_argument(
        "-n", "--n-steps", dest="n_steps", type=int, metavar="N", help="number of states, state 0 included"
    )
    new.add_argument("--seed", type=_integer, metavar="S", help="master seed. Default: 128 random bits, kept in FILE")
    new.add_argument("-o", "--output", metavar="FILE", required=True, help="the .replay file to write")
    new.add_argument(
        "--resume",
        action="store_true",
        help="go on with a recording to FILE that was cut off; begin where there is none, so that a job can be queued "
        "again as it is. A longer -n extends a finished FILE",
    )
    new.add_argument("--force", action="store_true", help="replace FILE if it exists, when the new run is finished")
    new.add_argument("--backend", choices=("python", "numpy"), default="python", help="the rng of STEP")
    new.add_argument("--block-size", type=int, metavar="K", help="steps of a block. Default: the square root of N")
    new.add_argument(
        "--checkpoint-budget", metavar="BYTES", help="most bytes of checkpoints, such as 64MB, instead of --block-size"
    )
    new.add_argument("--param", metavar="NAME=JSON", action="append", default=[], help="a parameter of STEP")
    new.add_argument(
        "--observe",
        metavar="NAME=CODE|ATTRIBUTE",
        action="append",
        default=[],
        help="statistics to keep on the way; NAME= is the state itself",
    )
    new.add_argument("--codec", metavar="CODE", help="the pair (encode, decode), for states that cannot be stored")
    new.add_argument(
        "--self-check", action="store_true", help="run every block twice, and refuse at the first difference"
    )
    new.add_argument(
        "--durability",
        choices=("block", "1s", "none"),
        default="block",
        help="when what is written is made sure of against a power cut: at each block, each second, at the end",
    )
    new.add_argument("--allow-pickle", action="store_true", help="with --resume: unpickle the checkpoints of FILE")


def _add_window(new: argparse.ArgumentParser) -> None:
    new.add_argument("--start", metavar="T", help="first step of a window")
    new.add_argument("--stop", metavar="T", help="step behind the window")


def _add_passes(new: argparse.ArgumentParser, shards: bool = False) -> None:
    new.add_argument("--workers", type=int, metavar="N", help="replay in N processes, or threads for a native step")
    if shards:
        new.add_argument(
            "--shard", metavar="I/N", help="only the I-th of N parts, for a job that others know nothing of; see merge"
        )
        new.add_argument("--out", metavar="PART", help="with --shard: the file of the part, for merge")


def _add_condition(new: argparse.ArgumentParser, name: str, metavar: str) -> None:
    new.add_argument(
        name,
        metavar=metavar,
        help="text over observed metrics, such as 'x > 1e6', 'isnan(loss)' or 'any(v < 0) and day >= 30' (behind -- "
        "where it begins with a minus), or a predicate of the state: " + FORMS,
    )
    new.add_argument(
        "--observe",
        metavar="NAME=CODE|ATTRIBUTE",
        action="append",
        default=[],
        help="the function of an observed metric, which the file does not hold; NAME= is the state itself. Needed only "
        "where the recorded table does not tell",
    )


def _integer(text: str) -> int:
    try:
        return int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        said = "an integer; with more than 4,300 digits in hexadecimal, 0x..."
        raise argparse.ArgumentTypeError(f"expected {said}") from None


def _key_in(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:  # read once: it may be a pipe, from a program that keeps secrets
            return key_of(file.read(4096).removesuffix(b"\n"))
    except (OSError, ArgumentError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
