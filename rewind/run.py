"""`Run`: a recording with its step function, which answers questions about every step of it."""

from __future__ import annotations

from typing import TypeVar

from .comparing import Comparing
from .forking import Forking
from .measuring import Measuring

S = TypeVar("S")


class Run(Measuring[S], Comparing[S], Forking[S]):
    """A recorded run: a sequence of its states, none of which need be stored.

    Made by `record`, `load`, `Run.branch` and `Run.extend`. ``run[t]`` is `get`, ``run[a:b:s]`` a lazy `View`,
    ``len(run)`` the number of states, ``for state in run`` one pass. May be used from several threads; two runs in two
    threads, or a pool of threads, call a Python step at the same time, which then must not keep scratch memory.
    """
