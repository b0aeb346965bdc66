"""What each verb does, as its help says it, and its options: a function a verb, which adds them to its parser."""

from __future__ import annotations

import argparse

from .late import late
from .text import FORMS, JSON_RULES

_STEPS = "T: an integer, negative to count from the end, a share like 50%%, start or end"
_METRIC = "a function of the state, or the name of an attribute or key of it"
_RUN = "a tracked run, ID: its current revision, or ID@REV for another, or the digest of a revision"
_BEGINNING = "The first characters of an id, or 8 of a digest, are enough, if no other begins so"
_REVISIONS = """ With ID: all revisions of that run, what they come from, and what was forked from them; with
ID@REV: that revision and what it comes from. The parent of a revision is written as the moment it left, which
rewind.init(resume_from=...) and rewind.init(fork_from=...) take, as they take any other moment ID@REV?_step=N of an
archived revision. With --graph, as by git log --graph, a revision stands above the one that it left: * is the current
one of a run, o an archived one, x one of a removed run that others come from."""

_DIFF = """ Of two replay files: what they say, and the first step whose states differ. Of two tracked runs: their
configs, the first step whose rows differ with both rows, and their summaries side by side."""

_CHECKED = """ Of a file: seal, structure, schema and content hash. Of a tracker's folder: every revision, its digest,
its artifacts and its simulation."""


# ---- recorded runs


def record(new: argparse.ArgumentParser) -> None:
    """Record a run to a file; after Ctrl-C, SIGTERM or SIGUSR1, --resume goes on where it stopped."""
    _add_answer(new)
    new.add_argument("step", metavar="STEP", help=f"the step function: {FORMS}")
    new.add_argument(
        "--init",
        metavar="CODE|JSON",
        help="state 0: what CODE names (a function or a class is called), or a JSON value",
    )
    new.add_argument(
        "-n", "--n-steps", dest="n_steps", type=int, metavar="N", help="number of states, state 0 included"
    )
    _add_seed(new, "S", "master seed. Default: 128 random bits, kept in FILE")
    _add_output(new, "FILE", "the replay file to write", required=True)
    new.add_argument(
        "--resume",
        action="store_true",
        help="go on with a recording to FILE that was cut off, or begin where there is none: submit the same command "
        "each time. A longer -n extends a finished FILE",
    )
    _add_force(new, "replace FILE if it exists, when the new run is finished")
    new.add_argument(
        "--backend",
        choices=("python", "numpy"),
        help="the rng that STEP gets: a random.Random, or a numpy Generator. Default: python",
    )
    new.add_argument("--block-size", type=int, metavar="K", help="steps of a block. Default: the square root of N")
    new.add_argument(
        "--checkpoint-budget", metavar="BYTES", help="most bytes of checkpoints, such as 64MB, instead of --block-size"
    )
    _add_params(new, "a parameter of STEP; may be repeated")
    _add_observe(new, "statistics to keep while recording; NAME= is the state itself")
    _add_codec(new, "the pair (encode, decode), for states that cannot be stored")
    new.add_argument(
        "--self-check", action="store_true", help="run every block twice, and refuse at the first difference"
    )
    new.add_argument("--no-trial", action="store_true", help="do not try the first steps before recording")
    new.add_argument(
        "--lossy",
        choices=("refuse", "accept"),
        default="refuse",
        help="what to do where storing a state loses something of it; what is accepted is noted in the file",
    )
    new.add_argument(
        "--durability",
        choices=("block", "1s", "none"),
        default="block",
        help="how often what is written is made safe against a power cut: at each block, each second, or at the end",
    )
    _add_allow_pickle(new, "with --resume: unpickle the checkpoints of FILE")


def doctor(new: argparse.ArgumentParser) -> None:
    """Tell what record would meet: storage, cost, what it would refuse, and the cures."""
    _add_answer(new)
    new.add_argument("step", metavar="STEP", help=f"the step function: {FORMS}")
    new.add_argument(
        "--init",
        metavar="CODE|JSON",
        required=True,
        help="state 0: what CODE names (a function or a class is called), or a JSON value",
    )
    new.add_argument(
        "-n", "--n-steps", dest="n_steps", type=int, metavar="N", help="the length that sizes and times are given for"
    )
    new.add_argument("--seed", type=int, metavar="S", default=0, help="master seed of the steps that are tried")
    new.add_argument(
        "--backend",
        choices=("python", "numpy"),
        default="python",
        help="the rng that STEP gets: a random.Random, or a numpy Generator",
    )
    _add_params(new, "a parameter of STEP; may be repeated")
    _add_codec(new, "the pair (encode, decode), for states that cannot be stored")


def info(new: argparse.ArgumentParser) -> None:
    """Show what a file says of its run; runs no step code, unpickles nothing."""
    _add_file(new)


def get(new: argparse.ArgumentParser) -> None:
    """Show the states at some steps."""
    _add_file(new)
    _add_code(new)
    new.add_argument("steps", metavar="T", nargs="+", help=_STEPS)
    new.add_argument("--field", metavar="PATH", help="a field of the state, for example agents[3].x")


def verify(new: argparse.ArgumentParser) -> None:
    """Replay the run and compare it with the file, bit for bit."""
    _add_file(new)
    _add_code(new)
    new.add_argument("--full", action="store_true", help="every block, instead of 33")
    _add_observe(new, "the function of an observed metric, to compare what it gives now; NAME= is the state itself")
    _add_workers(new)
    _add_shard(new)


def stats(new: argparse.ArgumentParser) -> None:
    """Show exact statistics over all steps or a window."""
    _add_file(new)
    _add_code(new)
    _add_metrics(
        new,
        "several are one pass. Default: what was observed while recording, without a replay; if that is nothing, or "
        "more than that is asked for (a window, a histogram, lags), the state itself",
    )
    _add_window(new)
    new.add_argument(
        "--histogram",
        metavar="E0,E1,...",
        help="count values between these edges, too; with = where the first is negative: --histogram=-1,0,1",
    )
    new.add_argument("--max-lag", type=int, metavar="K", help="the autocovariance up to a lag of K steps, too")
    _add_workers(new)
    _add_shard(new)


def merge(new: argparse.ArgumentParser) -> None:
    """Put together what the shards of verify or stats wrote: the answer for the whole run."""
    _add_answer(new)
    new.add_argument("parts", metavar="PART", nargs="+", help="what verify or stats --shard I/N --out PART wrote")


def find(new: argparse.ArgumentParser) -> None:
    """Find the steps at which a condition holds."""
    _add_file(new)
    _add_code(new)
    _add_condition(new, "condition", "COND")
    new.add_argument(
        "--last", action="store_true", help="the last such step, instead of the first; several newest first"
    )
    new.add_argument("--all", action="store_true", help="every such step, one on a line")
    new.add_argument("-n", type=int, metavar="K", help="the first K of them; with --last the last K")
    _add_window(new)
    new.add_argument("--before", metavar="T", help="with --last: look below step T only")
    _add_workers(new)


def bisect(new: argparse.ArgumentParser) -> None:
    """Find the first step at which a condition holds, if it holds at every later step."""
    _add_file(new)
    _add_code(new)
    _add_condition(new, "condition", "COND")
    _add_window(new)


def series(new: argparse.ArgumentParser) -> None:
    """Write the values of metrics at every step of a window, as a table."""
    _add_file(new)
    _add_code(new)
    _add_metrics(new, "several are columns of one table. Default: the state itself")
    _add_window(new)
    new.add_argument("--every", type=int, default=1, metavar="K", help="every K-th step of the window")
    new.add_argument(
        "--to",
        choices=("csv", "npz", "json"),
        help="csv has a column for each number, name[0], name[1], ...; npz and json one array for each name. Default: "
        "by the ending of OUT, else csv",
    )
    _add_output(new, "OUT", "the file to write, instead of stdout")
    _add_force(new, "replace OUT if it exists")
    _add_workers(new)


def likelihood(new: argparse.ArgumentParser) -> None:
    """Show how likely an event was, seen from some steps: its share among many branches."""
    _add_file(new)
    _add_code(new)
    _add_condition(new, "event", "EVENT")
    new.add_argument(
        "--at",
        metavar="T[,T...]|START:STOP:STEP",
        required=True,
        help="the steps to branch from; with = where the first is negative: --at=-10,-5",
    )
    new.add_argument("-n", type=int, default=100, metavar="N", help="branches from each step. Default: 100")
    new.add_argument(
        "--n-steps", type=int, metavar="K", help="states of each branch; default: up to the last step of FILE"
    )
    _add_seed(new, "S", "what the seeds of the branches are made of")
    new.add_argument("--confidence", type=float, default=0.95, metavar="C", help="of the interval. Default: 0.95")
    _add_workers(new)


def branch(new: argparse.ArgumentParser) -> None:
    """Record another future from a step, and save it."""
    _add_file(new)
    _add_code(new)
    new.add_argument("step_t", metavar="T", help=_STEPS)
    _add_output(new, "OUT", "the replay file of the branch", required=True)
    _add_force(new, "replace OUT if it exists")
    new.add_argument(
        "--mutate", metavar="CODE", help="the intervention: a function that changes the state or returns a new one"
    )
    _add_seed(new, "N", "seed of the branch; default: the same for every branch from T")
    new.add_argument("--n-steps", type=int, metavar="N", help="number of states; default: up to the last step of FILE")
    new.add_argument(
        "--noise",
        choices=("fresh", "same"),
        default="fresh",
        help="same: the noise that FILE drew at each step, so that only what you changed makes a difference",
    )
    _add_params(new, "a new value of a parameter; may be repeated")


def fsck(new: argparse.ArgumentParser) -> None:
    """Check that a file or a tracker's folder is not damaged; only --replay runs step code or unpickles."""
    new.description = f"{new.description}{_CHECKED}"
    _add_file(new, "a replay file, or the folder of a tracker, such as .rewind, or the folder that this is in")
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
    _add_observe(new, "with --replay: the function of a metric that was logged")
    _add_codec(new, "with --replay: the pair (encode, decode) it was recorded with")
    _add_allow_pickle(new, "with --replay: unpickle checkpoints; only what you trust")


def diff(new: argparse.ArgumentParser) -> None:
    """Show where two runs differ: the first such step, and what their files, or a tracker, say of them."""
    new.description = f"{new.description}{_DIFF}"
    _add_file(new, "a replay file, or a tracked run: ID, ID@REV or the digest of a revision")
    _add_code(new)
    new.add_argument("other", metavar="OTHER", help="another replay file, or another tracked run")
    _add_dir(new)
    new.add_argument("--other-step", metavar="CODE", help="the step function of OTHER, where it is not that of --step")
    new.add_argument("--metadata", action="store_true", help="only what the files say; no states, no code")


# ---- tracked runs


def ls(new: argparse.ArgumentParser) -> None:
    """List the tracked runs in a folder, in the order they were begun."""
    _add_answer(new)
    _add_dir(new)
    new.add_argument("--project", metavar="P", help="only those of a project")
    new.add_argument("--removed", action="store_true", help="those that were removed, instead")


def log(new: argparse.ArgumentParser) -> None:
    """Show the history of tracked runs: revisions, rewinds and forks, the newest first."""
    new.description = f"{new.description}{_REVISIONS}"
    _add_answer(new)
    new.add_argument("run", metavar="ID", nargs="?", help=f"{_RUN}. {_BEGINNING}. Default: all runs")
    _add_dir(new)
    new.add_argument("--graph", action="store_true", help="draw the tree")
    new.add_argument("--oneline", action="store_true", help="a line for each revision")


def show(new: argparse.ArgumentParser) -> None:
    """Show all that is kept of a revision of a tracked run, except its rows."""
    _add_revision(new)
    new.add_argument(
        "--lines", action="store_true", help="the lines of text that were logged, each with its step, instead"
    )
    new.add_argument("--copy", action="store_true", help="only its digest, which names it in any folder and for ever")


def history(new: argparse.ArgumentParser) -> None:
    """Write the rows of a revision of a tracked run, those of its parents included, as CSV or JSON."""
    _add_revision(new)
    new.add_argument(
        "--csv",
        action="store_true",
        help="a column for each key, _step first; a missing value is empty, NaN is nan, and arrays, None and lists are "
        "JSON. This is the default",
    )
    new.add_argument(
        "--safe-csv",
        action="store_true",
        help="CSV for a spreadsheet: text that it would run as a formula (= + - @ at its beginning) gets a ' before it",
    )
    new.add_argument("--jsonl", action="store_true", help="a line for each row, a JSON object; arrays are written out")
    new.add_argument("--keys", metavar="A,B", action="append", default=[], help="only these, and rows with one of them")
    new.add_argument("--min-step", type=int, default=0, metavar="N", help="only rows from step N on")
    new.add_argument("--max-step", type=int, metavar="N", help="only rows below step N")
    _add_output(new, "FILE", "the file to write, instead of stdout")
    _add_force(new, "replace FILE if it exists")


def rm(new: argparse.ArgumentParser) -> None:
    """Archive a tracked run, which stays on disk; --restore brings it back, --purge deletes it."""
    _add_whole_run(new)
    new.add_argument("--purge", action="store_true", help="delete what no other run needs of it, for good")
    new.add_argument("--restore", action="store_true", help="bring back a run that was archived")
    new.add_argument("-y", "--yes", action="store_true", help="do not ask")


def export(new: argparse.ArgumentParser) -> None:
    """Write a tracked run, with all that it comes from, to one file, for `rewind import` elsewhere."""
    _add_whole_run(new)
    _add_output(new, "FILE", "the file to write", required=True)
    _add_force(new, "replace FILE if it exists")


def import_(new: argparse.ArgumentParser) -> None:
    """Add a tracked run that was exported, with all that it comes from; or runs that another program logged."""
    _add_answer(new)
    new.add_argument(
        "file",
        metavar="FILE",
        help="what rewind export wrote; a CSV file; an event file of TensorBoard, or a folder with such files; a "
        "folder that W&B's client wrote offline",
    )
    _add_dir(new)
    new.add_argument(
        "--as", dest="new_id", metavar="NEWID", help="the id that the run gets here. Default: the one that it has"
    )
    new.add_argument("--id", metavar="ID", help="of another program's run. Default: its own, or made of its content")
    new.add_argument("--name", metavar="NAME", help="of another program's run. Default: its own, or that of the file")
    new.add_argument("--project", metavar="NAME", help="of other programs' runs. Default: their own")
    new.add_argument(
        "--step",
        metavar="COLUMN",
        help="the column of a CSV file that has the steps. Default: step, or the like, or else the number of the row",
    )


# ---- what several of them have


def _add_answer(new: argparse.ArgumentParser) -> None:
    new.add_argument("--json", action="store_true", help=f'one JSON object with "schema": 1. {JSON_RULES}')
    new.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")


def _add_file(new: argparse.ArgumentParser, text: str = "a replay file") -> None:
    new.add_argument("file", metavar="FILE", help=text)
    _add_answer(new)
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
        help="refuse FILE if it was not signed with the key in PATH: all bytes of PATH, without a newline at the end",
    )


def _add_code(new: argparse.ArgumentParser) -> None:
    new.add_argument("--step", metavar="CODE", help=f"the step function: {FORMS}")
    _add_codec(new, "the pair (encode, decode) it was recorded with")
    _add_allow_pickle(new, "unpickle checkpoints, which runs code that the file names; only for files you trust")


def _add_codec(new: argparse.ArgumentParser, text: str) -> None:
    new.add_argument("--codec", metavar="CODE", help=text)


def _add_allow_pickle(new: argparse.ArgumentParser, text: str) -> None:
    new.add_argument("--allow-pickle", action="store_true", help=text)


def _add_observe(new: argparse.ArgumentParser, text: str) -> None:
    new.add_argument("--observe", metavar="NAME=CODE|ATTRIBUTE", action="append", default=[], help=text)


def _add_params(new: argparse.ArgumentParser, text: str) -> None:
    new.add_argument("--param", metavar="NAME=JSON", action="append", default=[], help=text)


def _add_metrics(new: argparse.ArgumentParser, text: str) -> None:
    new.add_argument("--metric", metavar="CODE|NAME", action="append", default=[], help=f"{_METRIC}; {text}")


def _add_seed(new: argparse.ArgumentParser, metavar: str, text: str) -> None:
    new.add_argument("--seed", type=_integer, metavar=metavar, help=text)


def _add_output(new: argparse.ArgumentParser, metavar: str, text: str, required: bool = False) -> None:
    new.add_argument("-o", "--output", metavar=metavar, required=required, help=text)


def _add_force(new: argparse.ArgumentParser, text: str) -> None:
    new.add_argument("--force", action="store_true", help=text)


def _add_window(new: argparse.ArgumentParser) -> None:
    new.add_argument("--start", metavar="T", help="first step of the window. Default: 0")
    new.add_argument("--stop", metavar="T", help="where the window ends: the step after its last. Default: the end")


def _add_workers(new: argparse.ArgumentParser) -> None:
    new.add_argument("--workers", type=int, metavar="N", help="replay in N processes, or threads for a native step")


def _add_shard(new: argparse.ArgumentParser) -> None:
    new.add_argument(
        "--shard",
        metavar="I/N",
        help="only the I-th of N shards of the work, for a job that needs none of the others; see merge",
    )
    new.add_argument("--out", metavar="PART", help="with --shard: the file to write, for merge")


def _add_condition(new: argparse.ArgumentParser, name: str, metavar: str) -> None:
    new.add_argument(
        name,
        metavar=metavar,
        help="text over observed metrics, such as 'x > 1e6', 'isnan(loss)' or 'any(v < 0) and day >= 30' (with -- "
        "before it where it begins with a minus), or a predicate of the state: " + FORMS,
    )
    _add_observe(
        new,
        "the function of an observed metric, since files hold no functions; NAME= is the state itself. Needed only "
        "where the recorded statistics do not tell",
    )


def _add_dir(new: argparse.ArgumentParser) -> None:
    new.add_argument("--dir", metavar="DIR", help="the tracker's folder. Default: REWIND_DIR, else ./.rewind")


def _add_revision(new: argparse.ArgumentParser) -> None:
    _add_answer(new)
    new.add_argument("run", metavar="ID", help=f"{_RUN}. {_BEGINNING}")
    _add_dir(new)


def _add_whole_run(new: argparse.ArgumentParser) -> None:
    _add_answer(new)
    new.add_argument("run", metavar="ID", help=f"a tracked run. {_BEGINNING}")
    _add_dir(new)


def _integer(text: str) -> int:
    try:
        return int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        said = "an integer; with more than 4,300 digits in hexadecimal, 0x..."
        raise argparse.ArgumentTypeError(f"expected {said}") from None


def _key_in(path: str) -> bytes | None:
    key_of = late("..runs.arguments:key_of")
    try:
        with open(path, "rb") as file:  # read once: it may be a pipe, from a program that keeps secrets
            key: bytes | None = key_of(file.read(4096).removesuffix(b"\n"))
            return key
    except (OSError, ValueError) as error:  # as ArgumentError is
        raise argparse.ArgumentTypeError(str(error)) from None
