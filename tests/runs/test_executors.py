"""Every engine gives the same bytes: pools of processes and threads, loky, Dask, MPI; and says what went wrong."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_all_start_methods, get_context
from typing import Any

import numpy as np
import pytest
from helpers.engines import steps
from helpers.engines.steps import Deadly, Fuse, HalfSaid, answers, count, number, raw
from helpers.native_steps import ring as python_ring

import rewind
from rewind.engine import parallel

pytestmark = [
    pytest.mark.once,
    # Python 3.12 and later say so wherever a process with threads forks, as this one does.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

METHODS = [method for method in ("fork", "spawn", "forkserver") if method in get_all_start_methods()]
FORK = METHODS[0]
HERE = pathlib.Path(__file__).parents[1] / "helpers" / "engines"


@functools.cache
def expected() -> dict[str, tuple[rewind.Run, dict[str, Any]]]:
    """Runs by name, each with its answers in this thread."""
    return {name: (run, answers(run)) for name, run in steps.runs().items()}


# ---- the engines


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    # It looks at itself a hundred times a second, otherwise.
    quiet = {
        "distributed.worker.profile.enabled": False,
        "distributed.worker.memory.monitor-interval": "10s",
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "10s",
    }
    with (
        importlib.import_module("dask").config.set(quiet),
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def loky_executor():
    with pytest.importorskip("loky").get_reusable_executor(2) as executor:
        yield executor


def processes(method, n=2):
    return ProcessPoolExecutor(n, mp_context=get_context(method))


@pytest.fixture(scope="module", params=[*METHODS, "thread", "loky", "dask", "dask client"])
def engine(request):
    """An executor of each kind."""
    if request.param.startswith("dask"):
        client = request.getfixturevalue("client")
        yield client if "client" in request.param else client.get_executor()
        return
    made = {"thread": lambda: ThreadPoolExecutor(3), "loky": loky_executor}
    with made.get(request.param, lambda: processes(request.param))() as executor:
        yield executor


@pytest.fixture
def one_block_a_piece(monkeypatch):
    """As many pieces as there are, so that they come back in any order."""
    monkeypatch.setattr(parallel, "TASK_SECONDS", 0.0)


@pytest.mark.parametrize("name", ["int", "float", "dataclass", "array", "pickled"])
def test_every_engine_gives_the_bytes_of_the_plain_pass(engine, name, one_block_a_piece):
    run, plain = expected()[name]
    assert answers(run, executor=engine) == plain


@pytest.mark.parametrize("name", ["float", "pickled"])
def test_so_it_does_with_pieces_of_a_quarter_of_a_second(engine, name):
    run, plain = expected()[name]
    assert answers(run, executor=engine) == plain


def test_what_no_module_holds_travels_by_value(engine, one_block_a_piece):
    offset = 2.5

    def step(x, rng):
        return 0.9 * x + rng.random() - offset

    run = rewind.record(step, 0.0, 300, 1, block_size=20)
    functions = {"f": lambda x: x * offset, "cond": lambda x: x < -offset, "vector": lambda x: np.array([x, offset])}
    assert answers(run, **functions, executor=engine) == answers(run, **functions)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_number_of_workers_does_not_show(n, one_block_a_piece):
    for run, plain in expected().values():
        with ThreadPoolExecutor(n) as executor:
            assert answers(run, executor=executor) == plain
    run, plain = expected()["int"]
    assert answers(run, executor=processes(FORK, n)) == plain
    assert raw(run.stats(number, histogram=[-5.0, 0.0, 0.5, 5.0], max_lag=3, workers=n)) == plain["stats"]
    assert run.verify(workers=n)


def test_a_factory_is_called_and_its_pool_is_shut_down(one_block_a_piece):
    run, plain = expected()["float"]
    made: list[Any] = []

    def factory():
        made.append(processes(FORK))
        return made[-1]

    assert raw(run.stats(number, histogram=[-5.0, 0.0, 0.5, 5.0], max_lag=3, executor=factory)) == plain["stats"]
    assert len(made) == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        made[0].submit(print)


def test_a_factory_may_give_a_client_and_an_adapter_needs_only_submit(client, one_block_a_piece):
    class Again:  # with nothing to shut down, as in docs/parallel.md
        def __init__(self) -> None:
            self.pool = client.get_executor()

        def submit(self, function, *args):
            return self.pool.submit(function, *args)

    run, plain = expected()["int"]
    for executor in (Again(), Again, lambda: Again()):
        assert run.first(steps.high, executor=executor) == plain["first"]

    class Lent:  # a client that stays open
        def get_executor(self, **options):
            return client.get_executor(**options)

    assert run.first(steps.high, executor=lambda: Lent()) == plain["first"]
    assert client.submit(abs, -3).result() == 3


# ---- compiled steps, on threads


def test_numba_steps_run_on_threads_and_travel_to_processes(one_block_a_piece):
    numba = pytest.importorskip("numba")

    @numba.njit
    def step(x, rng, decay):
        return decay * x + rng.random() - 0.5

    @numba.njit
    def square(x):
        return x * x

    run = rewind.record(step, 0.0, 3000, 1, block_size=100, backend="numpy", params={"decay": 0.9})
    asked = {
        "stats": lambda **how: raw(run.stats({"x": None, "x2": square, "float": float}, **how)),
        "verify": lambda **how: run.verify(full=True, **how),
        "first": lambda **how: run.first(lambda x: x > 1.2, **how),
        "branches": lambda **how: raw(run.branches(50, 6, n_steps=300, metric=square, **how)),
    }
    with ThreadPoolExecutor(3) as threads, processes("spawn", 1) as one_process:
        for name, ask in asked.items():
            assert ask(executor=threads) == ask(workers=3) == ask(), name
        assert asked["stats"](executor=one_process) == asked["stats"]()


def test_native_steps_run_on_threads_and_an_address_does_not_travel(library, one_block_a_piece):
    step = rewind.native_step(library.ring)
    run = rewind.record(step, np.zeros(5), 3000, 1, block_size=100, backend="numpy")
    python = rewind.record(python_ring, np.zeros(5), 3000, 1, block_size=100, backend="numpy")
    plain = answers(python, cond=steps.never)
    with ThreadPoolExecutor(3) as executor:
        assert answers(run, cond=steps.never, executor=executor) == plain == answers(run, cond=steps.never, workers=2)
    with (
        processes(FORK, 1) as executor,
        pytest.raises(rewind.TransferError, match="address in this process"),
    ):
        run.stats(executor=executor)


# ---- workers that die

BLOCKS = 20  # of 50 steps


def counting_run():
    return rewind.record(count, np.zeros(2), 50 * BLOCKS, 1, block_size=50)


KILLERS = {
    FORK: lambda: processes(FORK),
    "spawn": lambda: processes("spawn"),
    "loky": lambda: pytest.importorskip("loky").get_reusable_executor(2),
}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
class TestDeaths:
    @pytest.mark.parametrize("name", KILLERS)
    def test_a_factory_replaces_the_dead_and_only_what_is_lost_is_done_again(
        self, name, tmp_path, one_block_a_piece, monkeypatch
    ):
        run, deadly = counting_run(), Deadly(tmp_path, 12 * 50 + 7)
        back: list[set[int]] = []  # blocks that were back when an executor was made
        efforts: list[Any] = []
        monkeypatch.setattr(parallel, "_Dispatch", lambda *args: efforts.append(Watched(*args)) or efforts[-1])

        def factory():
            back.append({block for effort in efforts for block in effort.taken})
            return KILLERS[name]()

        found = run.stats(deadly, executor=factory)
        assert (tmp_path / "killed").exists() and len(back) == 2
        marks = deadly.marks()
        assert set(marks) == set(range(BLOCKS)) and marks[12] == 2
        assert all(marks[block] == 1 for block in back[1])
        monkeypatch.undo()
        assert raw(found) == raw(run.stats(deadly))

    def test_every_question_survives_a_death(self, tmp_path, one_block_a_piece):
        run = counting_run()
        for name, ask in {
            "series": lambda f, **how: run.series(f, **how),
            "first": lambda f, **how: run.first(Beyond(f), **how),
            "branches": lambda f, **how: run.branches(0, 6, metric=f, n_steps=900, **how),
        }.items():
            folder = tmp_path / name
            folder.mkdir()
            deadly = Deadly(folder, 12 * 50 + 7)
            found = ask(deadly, workers=2)
            assert (folder / "killed").exists() and raw(found) == raw(ask(deadly))

    @pytest.mark.parametrize("method", METHODS)
    def test_a_worker_that_dies_in_the_middle_of_an_answer_is_noticed(self, method, tmp_path, one_block_a_piece):
        run, deadly = counting_run(), HalfSaid(tmp_path, 12 * 50 + 7)
        found = run.stats(deadly, executor=lambda: processes(method))  # the pool by itself would wait for ever
        assert (tmp_path / "killed").exists() and raw(found) == raw(run.stats(deadly))

    @pytest.mark.parametrize("name", KILLERS)
    def test_an_instance_ends_with_what_was_finished(self, name, tmp_path, one_block_a_piece):
        run, deadly = counting_run(), Deadly(tmp_path, 12 * 50 + 7)
        with KILLERS[name]() as executor, pytest.raises(rewind.WorkersLostError, match="callable that makes") as caught:
            run.stats({"deadly": deadly}, executor=executor)
        lost = caught.value
        assert 1 <= lost.done <= 12 and lost.total == BLOCKS
        assert raw(lost.partial) == raw(run.stats({"deadly": deadly}, 0, 50 * lost.done))

    def test_the_finished_part_of_a_series_and_of_branches(self, tmp_path, one_block_a_piece):
        run, deadly = counting_run(), Deadly(tmp_path, 12 * 50 + 7)
        with processes(FORK) as executor, pytest.raises(rewind.WorkersLostError) as caught:
            run.series(deadly, executor=executor)
        assert raw(caught.value.partial) == raw(run.series(deadly, 0, 50 * caught.value.done))
        (tmp_path / "killed").unlink()
        with processes(FORK) as executor, pytest.raises(rewind.WorkersLostError) as caught:
            run.branches(0, 30, metric=deadly, n_steps=800, executor=executor)
        plain = run.branches(0, 30, metric=deadly, n_steps=800)
        assert raw(caught.value.partial.values) == raw(plain.values[: caught.value.done])

    def test_a_step_that_always_kills_is_given_up(self, tmp_path, one_block_a_piece):
        run, deadly, made = counting_run(), Deadly(tmp_path, 5 * 50 + 7, always=True), []

        def factory():
            made.append(processes(FORK))
            return made[-1]

        with pytest.raises(rewind.WorkersLostError) as caught:
            run.stats(deadly, executor=factory)
        assert caught.value.done <= 5 and len(made) <= 3 * (1 + parallel.RENEWALS)
        assert raw(caught.value.partial) == raw(run.stats(deadly, 0, 50 * caught.value.done))

    def test_dask_replaces_its_dead_by_itself(self, client, tmp_path, one_block_a_piece):
        run, deadly = counting_run(), Deadly(tmp_path, 12 * 50 + 7)
        found = run.stats(deadly, executor=client)
        assert (tmp_path / "killed").exists() and raw(found) == raw(run.stats(deadly))


class Watched(parallel._Dispatch):
    """Knows the blocks that came back, of pieces of one block."""

    def __init__(self, *args):
        super().__init__(*args)
        self.taken = set()

    def _take(self, future):
        lo = self.under_way[future].lo
        error = super()._take(future)
        if error is None:
            self.taken.add(lo)
        return error


class Beyond:
    def __init__(self, f: Any) -> None:
        self.f = f

    def __call__(self, state: Any) -> bool:
        return bool(self.f(state) > 2.0) or state[0] == 950


# ---- errors


@pytest.mark.parametrize("at", [30, 640, 999])
def test_a_step_that_raises_in_a_worker_arrives_as_itself(engine, at, tmp_path, one_block_a_piece):
    fuse = Fuse(tmp_path / "lit", at)
    run = rewind.record(fuse, np.zeros(2), 1001, 1, block_size=50)
    fuse.path.touch()
    caught = []
    for how in ({}, {"executor": engine}):
        with pytest.raises(rewind.StepError) as info:
            run.series(number, **how)
        caught.append(info.value)
    ours, theirs = caught
    assert (type(ours), ours.t, str(ours)) == (type(theirs), theirs.t, str(theirs))
    assert (
        theirs.t == at and type(theirs.__cause__) is ZeroDivisionError and str(theirs.__cause__) == f"no way past {at}"
    )
    if sys.version_info >= (3, 11):
        block = at // 50
        assert f"series: block {block}, steps {50 * block} to {min(50 * block + 49, 1000)}" in theirs.__notes__
        if at > 50 and not isinstance(engine, ThreadPoolExecutor):  # whose exception has its traceback
            assert any("raised by a worker" in note and "steps.py" in note for note in theirs.__notes__)


def test_a_metric_and_a_predicate_that_raise_arrive_as_they_are(engine, tmp_path, one_block_a_piece):
    run, fuse = rewind.record(count, np.zeros(2), 1000, 1, block_size=50), Fuse(tmp_path / "lit", 640)
    fuse.path.touch()
    for ask, kind in [
        (lambda **how: run.stats({"fuse": fuse}, **how), rewind.MetricError),
        (lambda **how: run.series(fuse, **how), rewind.MetricError),
        (lambda **how: run.first(fuse, 500, **how), rewind.ConditionError),
        (lambda **how: run.branches(0, 3, metric=fuse, **how), rewind.MetricError),
    ]:
        if kind is rewind.ConditionError:  # which holds nowhere before it raises
            ask = lambda **how: run.first(Never(fuse), **how)  # noqa: E731
        texts = []
        for how in ({}, {"executor": engine}):
            with pytest.raises(kind) as info:
                ask(**how)
            texts.append((type(info.value), str(info.value), type(info.value.__cause__)))
        assert texts[0] == texts[1]


class Never:
    def __init__(self, f: Any) -> None:
        self.f = f

    def __call__(self, state: Any) -> bool:
        return bool(self.f(state) > 2.0)


class Locked:
    """A step that keeps what cannot be pickled by anybody."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __call__(self, x, rng):
        return x + rng.random()


def test_what_cannot_travel_is_an_error_that_names_the_cure(tmp_path):
    with open(tmp_path / "log", "w") as log:
        for thing in (threading.Lock(), log):
            run = rewind.record(Locked(thing), 0.0, 400, 1)
            for ask in (run.stats, run.verify):
                with pytest.raises(rewind.TransferError, match="cannot be sent to a worker.*ThreadPoolExecutor"):
                    ask(executor=processes(FORK, 1))
            assert run.stats(executor=lambda: ThreadPoolExecutor(2)) == run.stats()


def test_without_cloudpickle_a_lambda_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    run = expected()["int"][0]
    with pytest.raises(rewind.TransferError, match=r"pip install 'rewind-engine\[parallel\]'"):
        run.stats(lambda x: x, workers=2)
    assert run.stats(number, workers=2) == run.stats(number)


def test_a_module_that_a_worker_cannot_import_is_named(monkeypatch, tmp_path):
    (tmp_path / "only_here.py").write_text("def step(x, rng):\n    return x + rng.random()\n")
    with processes("spawn", 1) as executor:
        executor.submit(abs, -1).result()  # it has started, with the path of now
        monkeypatch.syspath_prepend(tmp_path)
        import only_here

        run = rewind.record(only_here.step, 0.0, 400, 1)
        with pytest.raises(rewind.TransferError, match="a worker that cannot read it.*'only_here'"):
            run.stats(executor=executor)
        assert executor.submit(abs, -1).result() == 1


def test_engines_are_usable_after_an_error_and_a_stop(engine, one_block_a_piece):
    run, plain = expected()["int"]

    def stop(event):
        raise RuntimeError("enough")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="enough"):
            run.stats(number, executor=engine, progress=stop)
    seen: list[Any] = []
    assert run.first(steps.high, executor=engine, progress=seen.append) == plain["first"]
    assert run.verify(executor=engine, progress=seen.append)
    assert seen[-1].done == seen[-1].total


# ---- scripts


def environment():
    folders = [str(HERE.parents[1]), str(pathlib.Path(rewind.__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONWARNINGS": "ignore"}


def script(name, *arguments, command=()):
    full = [*command, str(HERE / name), *arguments]
    done = subprocess.run(full, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.split("\n")[-2] == "the same", done.stdout + done.stderr


def test_what_a_script_defines_travels():
    loky = ["loky"] if importlib.util.find_spec("loky") else []
    script("script.py", *METHODS, "thread", *loky, command=[sys.executable])


def test_what_a_script_defines_travels_to_dask(client):
    script("script.py", client.scheduler.address, command=[sys.executable])


def test_so_it_does_without_cloudpickle_where_workers_have_the_script():
    script("script.py", "without", *METHODS[:2], command=[sys.executable])


def mpiexec():
    return pathlib.Path(sys.executable).parent / "mpiexec"


@pytest.mark.skipif(sys.platform != "linux" or not mpiexec().exists(), reason="needs pip install mpich, on Linux")
def test_mpi_gives_the_bytes_of_the_plain_pass():
    pytest.importorskip("mpi4py")
    command = [str(mpiexec()), "-n", "3", sys.executable, "-m", "mpi4py.futures"]
    script("mpi.py", command=command)


UNGUARDED = """
import multiprocessing, rewind
multiprocessing.set_start_method("spawn", force=True)

def step(x, rng):
    return x + rng.random()

run = rewind.record(step, 0.0, 1000, 1)
run.stats(workers=2)
"""


def test_a_script_without_its_guard_is_told_so(tmp_path):
    (tmp_path / "unguarded.py").write_text(UNGUARDED)
    command = [sys.executable, "unguarded.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "WorkersLostError" in done.stderr.splitlines()[-1] and "__main__" in done.stderr.splitlines()[-1]
    assert "kill its process there" not in done.stderr


ORPHANS = """
import os, sys, time, rewind

def step(x, rng):
    return x + rng.random()

def slow(x):
    if os.getpid() != HOME:
        os.write(1, f"{os.getpid()}\\n".encode())
        time.sleep(600)
    return x

HOME = os.getpid()
run = rewind.record(step, 0.0, 1000, 1)
run.stats(slow, workers=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL") or not os.path.exists("/proc"), reason="needs SIGKILL and /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    (tmp_path / "orphans.py").write_text(ORPHANS)
    command = [sys.executable, "orphans.py"]
    parent = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = {parent.stdout.readline(), parent.stdout.readline()}
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    rest = parent.stdout.read()  # comes to its end when nobody can write any more
    parent.stdout.close()
    assert rest == ""
