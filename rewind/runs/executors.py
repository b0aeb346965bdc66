"""Who does the work of a long pass: what ``executor=`` and ``workers=`` mean."""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from ..engine.parallel import Lost, ShutDown, Unusable, Work, Workers
from ..errors import ArgumentError, ArgumentTypeError, TransferError, WorkersLostError
from ..state.frozen import frozen
from ..steps.importing import be_script, script
from ..steps.step import Step
from .arguments import integer
from .progress import ProgressOption, reporter

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: What ``executor=`` takes.
ExecutorOption: TypeAlias = "Executor | Callable[[], Executor] | None"

_EXPECTED = "a concurrent.futures.Executor, or a callable that makes one"


def _executor_of(value: Any) -> Any:
    """Return the executor that a value is, or gives, as a Dask client does; None where it is none."""
    if isinstance(value, type):
        return None
    if callable(getattr(value, "get_executor", None)):
        return value.get_executor(pure=False)  # a second replay is to be one, and not what is known of the first
    return value if callable(getattr(value, "submit", None)) else None


class _Pools:
    """The executors a factory made: the last one works, and all are shut down in the end."""

    def __init__(self, make: Callable[[], Any], given: Any, stack: ExitStack) -> None:
        self.make, self.given, self.stack = make, given, stack

    def __call__(self) -> Any:
        made = self.make()
        executor = _executor_of(made)
        if executor is None:
            raise ArgumentTypeError("executor", self.given, _EXPECTED)
        for one in (made,) if executor is made else (made, executor):
            if hasattr(one, "__exit__"):  # an adapter may have nothing to shut down
                self.stack.enter_context(one)
        self.stack.callback(break_if_stuck, executor)  # before it is shut down: that waits for it
        return executor


def _require_option(executor: Any, workers: int | None) -> None:
    """Refuse what is neither an executor, nor a callable without arguments, nor a number of workers."""
    if workers is not None:
        _require_children(integer("workers", workers, 1))
        if executor is not None:
            raise ArgumentError("workers", workers, "no number of workers where executor= is given")
    if executor is None or (hasattr(executor, "submit") and not isinstance(executor, type)):
        return
    if not callable(executor):
        raise ArgumentTypeError("executor", executor, _EXPECTED)
    try:
        inspect.signature(executor).bind()
    except TypeError:
        advice = "It is called without arguments"
        raise ArgumentTypeError("executor", executor, _EXPECTED, advice) from None
    except ValueError:  # some builtins have no signature; the call will tell
        pass


def _require_children(workers: int) -> None:
    """Refuse processes within a worker of a pool, which may have none of its own."""
    process = sys.modules.get("multiprocessing.process")
    if workers > 1 and process is not None and process.current_process().daemon:
        advice = "A worker of multiprocessing.Pool may start no processes: use concurrent.futures.ProcessPoolExecutor "
        advice += "for the outer pool, or threads here: executor=concurrent.futures.ThreadPoolExecutor(n)"
        raise ArgumentError("workers", workers, "1 inside a worker of a pool", advice)


@contextmanager
def workers_of(executor: Any, workers: int | None, step: Step) -> Iterator[Workers | None]:
    """Give the workers that an executor, a factory of one, or a number of workers makes; None where it is this thread.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If `executor` is none of these, or both are given.
    """
    _require_option(executor, workers)
    if executor is None and workers in (None, 1):
        yield None
        return
    # Sockets and all that: not where there are no workers.
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    if workers is not None:
        n = int(workers)
        if n > 1 and step.runs_itself:  # without the GIL
            executor = lambda: ThreadPoolExecutor(n)  # noqa: E731
        elif n > 1:
            main = script()
            executor = lambda: ProcessPoolExecutor(n, initializer=begin_worker, initargs=(main,))  # noqa: E731
    given = _executor_of(executor)
    if given is not None:
        shares = isinstance(given, ThreadPoolExecutor)
        yield Workers(given, time.perf_counter, shares_memory=shares, look_after=break_if_stuck)
    else:
        with ExitStack() as stack:
            pools = _Pools(executor, executor, stack)
            first = pools()
            shares = isinstance(first, ThreadPoolExecutor)
            yield Workers(first, time.perf_counter, pools, shares, break_if_stuck)


def begin_worker(main: str | None) -> None:
    """Set up a worker process: it ends with the one that started it, and has what stands in for ``__main__`` there."""
    end_with_parent()
    be_script(main)


def end_with_parent() -> None:
    """See to it that this process, a worker, ends when the one that started it is gone, even by a SIGKILL."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def break_if_stuck(executor: Any) -> None:
    """Let a pool of processes see that it is broken, where one of them died in the middle of an answer.

    A process that dies elsewhere is noticed by the pool. One that is killed while it writes an answer into the pipe
    leaves half of it there, and the pool waits for the other half as long as anybody could still write it: this process
    could, and so could the other workers.
    """
    from concurrent.futures import ProcessPoolExecutor

    if not isinstance(executor, ProcessPoolExecutor):
        return
    workers = list((getattr(executor, "_processes", None) or {}).values())
    if all(worker.exitcode is None for worker in workers):
        return
    with suppress(AttributeError, OSError):
        for worker in workers:
            worker.kill()
        executor._result_queue._writer.close()  # type: ignore[attr-defined]


#: How the progress of a job over stretches is counted: in steps, and told with their block; and what they are called.
STEPS: dict[str, Any] = {
    "size": lambda stretch: stretch.stop - stretch.start,
    "block": lambda stretch: stretch.block,
    "place": lambda stretch: f"block {stretch.block}, steps {stretch.start} to {stretch.stop - 1}",
}


@frozen
class Execution:
    """Who does a long pass, and who is told of it: the options ``executor=``, ``workers=`` and ``progress=``."""

    executor: ExecutorOption = None
    workers: int | None = None
    progress: ProgressOption = None

    def job(self, op: str, work: Work, items: Sequence[Any], step: Step, **counted: Any) -> Job:
        """Return a pass done in this way; `counted` is how its items are counted and named, as for `Job`."""
        return Job(op, work, items, step, self, **counted)

    def travels(self, step: Step) -> bool:
        """Return whether what is done may be sent to another process."""
        return self.executor is not None or (self.workers not in (None, 1) and not step.runs_itself)


class Job:
    """A long pass under way: its answers in order, told to `progress` and done by whoever is to do it.

    Parameters
    ----------
    op : str
        What it is called: ``"stats"``.
    work : Work
    items : sequence
    step : Step
    execution : Execution
    size : callable, optional
        How much of the whole an item is, in the unit of the progress. Default: 1 each.
    block : callable, optional
        The block to report after an item. Default: its place among the items.
    place : callable, optional
        What an item is called in a note to an error of a worker. Default: its block, or its place among the items.
    """

    def __init__(
        self,
        op: str,
        work: Work,
        items: Sequence[Any],
        step: Step,
        execution: Execution,
        *,
        size: Callable[[Any], int] = lambda item: 1,
        block: Callable[[Any], int] | None = None,
        place: Callable[[Any], str] | None = None,
    ) -> None:
        self.op, self.work, self.items, self.step = op, work, items, step
        self.execution, self.size, self.block, self.place = execution, size, block, place
        self.report = reporter(execution.progress, op, sum(map(size, items))) if execution.progress else None
        reporter(execution.progress, op, 1)  # refuses what is no option
        _require_option(execution.executor, execution.workers)
        self.n_done = 0

    def __iter__(self) -> Iterator[Any]:
        """Yield the answers.

        Raises
        ------
        WorkersLostError
            If the workers are lost; without its finished part, which only the caller knows.
        """
        with workers_of(self.execution.executor, self.execution.workers, self.step) as workers:
            answers = self.work.here(self.items) if workers is None else workers.answers(self.work, self.items)
            told = answers if workers is None else self._placed(answers)
            done = 0
            try:
                for item, answer in zip(self.items, told, strict=False):
                    self.n_done += 1
                    yield answer
                    if self.report is not None:
                        done += self.size(item)
                        self.report(done, self.n_done - 1 if self.block is None else self.block(item))
            except Lost as lost:
                replaced = workers is not None and workers.renew is not None
                facts = {"replaced": replaced, "answered": lost.answered}
                raise WorkersLostError(self.op, lost.done, lost.total, lost.error, **facts) from lost.error
            except Unusable as refused:
                expected = "an executor that gives each call a future of its own"
                raise ArgumentError("executor", self._named(), expected, f"This one does not: {refused}") from None
            except ShutDown as refused:
                expected = "an executor that takes work"
                advice = f"This one does not: {refused.__cause__}"
                raise ArgumentError("executor", self.execution.executor, expected, advice) from refused.__cause__
            finally:
                close = getattr(answers, "close", None)
                if close is not None:
                    close()

    def _named(self) -> Any:
        return self.execution.workers if self.execution.executor is None else self.execution.executor

    def _placed(self, answers: Iterator[Any]) -> Iterator[Any]:
        """Yield the answers of workers; what one of them raised gets a note of where in the run that was."""
        try:
            yield from answers
        except (Lost, ShutDown, TransferError, Unusable):  # about workers, and not about a place
            raise
        except BaseException as error:
            if hasattr(error, "add_note") and not isinstance(error, GeneratorExit):  # Python 3.11
                error.add_note(f"{self.op}: {self._place()}")
            raise

    def _place(self) -> str:
        i = self.n_done
        if self.place is not None:
            return self.place(self.items[i])
        return f"item {i} of {len(self.items)}" if self.block is None else f"block {self.block(self.items[i])}"
