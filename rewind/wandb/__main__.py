"""``python -m rewind.wandb SCRIPT ...``: run a program that imports wandb; ``-m MODULE ...`` as Python has it."""

from __future__ import annotations

import os
import runpy
import sys

from .stand_in import install

USAGE = "usage: python -m rewind.wandb SCRIPT [ARGUMENT ...]\n       python -m rewind.wandb -m MODULE [ARGUMENT ...]\n"


def main(arguments: list[str]) -> None:
    """Run a script, or a module, as ``__main__``, with `rewind.wandb` in the place of wandb."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments[:1] == ["-m"] and len(arguments) == 1:
        (sys.stdout if arguments[:1] in (["-h"], ["--help"]) else sys.stderr).write(USAGE)
        sys.exit(0 if arguments[:1] in (["-h"], ["--help"]) else 2)
    install()
    os.environ["REWIND_AS_WANDB"] = "1"  # for the processes that it starts
    if arguments[0] == "-m":
        sys.argv[:] = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
