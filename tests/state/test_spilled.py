"""Large states that are recorded to a file stay there: the same run, the same bytes, and memory for a few of them."""

from __future__ import annotations

import gc
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers.plain import bytes_of

import rewind
from rewind.state.spilled import SpilledColumn, SpilledRow
from rewind.storage import journal

N, SEED = 60, 5


def stir(state: Any, rng: np.random.Generator) -> Any:
    """In place, with columns of several types."""
    field, counts = state["field"], state["counts"]
    field += rng.standard_normal(field.shape)
    counts[0] += 1
    state["flag"] = bool(field[0, 0] > 0)
    return state


def start() -> Any:
    return {"field": np.zeros((4, 3)), "counts": np.zeros(2, np.int32), "z": 1j, "flag": False}


def grow(x: Any, rng: np.random.Generator) -> Any:
    """A large state that once stops fitting its column."""
    return np.append(x, rng.random()) if len(x) < 8 else x + rng.random()


def recorded(**more: Any) -> Any:
    options: dict[str, Any] = {"backend": "numpy", "block_size": 4, "observe": {"sum": total}, **more}
    return rewind.record(stir, start(), N, SEED, **options)


def total(state: Any) -> float:
    return float(state["field"].sum())


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(journal, "SPILL_BYTES", 1)


def columns(run: Any) -> Any:
    return run._recording.checkpoints.columns


@pytest.fixture
def spilled(tmp_path):
    run = recorded(path=tmp_path / "run.replay")
    assert all(isinstance(column, SpilledColumn) for column in columns(run))
    assert [path.name for path in tmp_path.iterdir()] == ["run.replay"]
    return run


@pytest.mark.parametrize("key", [None, b"secret"])
def test_the_file_is_the_one_of_a_run_in_memory(tmp_path, spilled, key):
    plain = recorded()
    plain.save(tmp_path / "plain.replay", key=key)
    spilled.save(tmp_path / "again.replay", key=key)
    assert (tmp_path / "again.replay").read_bytes() == (tmp_path / "plain.replay").read_bytes()
    plain.save(tmp_path / "plain.replay")
    assert (tmp_path / "run.replay").read_bytes() == (tmp_path / "plain.replay").read_bytes()
    spilled.save(tmp_path / "old.replay", compat="1.8")
    plain.save(tmp_path / "plain.replay", compat="1.8")
    assert (tmp_path / "old.replay").read_bytes() == (tmp_path / "plain.replay").read_bytes()


def test_a_file_of_many_chunks_has_the_same_bytes(tmp_path):
    def step(x, rng):
        return x + rng.random()

    options: dict[str, Any] = {"backend": "numpy", "block_size": 1}
    rewind.record(step, np.zeros(50_000), 40, 1, path=tmp_path / "spilled.replay", **options)  # 16 MB: 16 chunks
    rewind.record(step, np.zeros(50_000), 40, 1, **options).save(tmp_path / "plain.replay")
    assert (tmp_path / "spilled.replay").read_bytes() == (tmp_path / "plain.replay").read_bytes()


def test_every_question_has_the_answer_of_a_run_in_memory(spilled, tmp_path):
    plain = recorded()
    for t in (0, 1, 4, 30, 31, N - 1):
        assert bytes_of([spilled.get(t)]) == bytes_of([plain.get(t)])
    assert bytes_of(list(spilled[3:50:7])) == bytes_of(list(plain[3:50:7]))
    assert spilled.content_hash() == plain.content_hash()
    assert spilled.stats(total, executor=ThreadPoolExecutor) == plain.stats(total)
    assert spilled.stats(total, workers=2) == plain.stats(total)
    assert spilled.verify(full=True) and spilled.verify()
    assert spilled.diff(plain) is None and plain.diff(spilled) is None
    assert spilled.first(lambda state: state["counts"][0] == 17) == 17
    assert spilled.bisect(lambda state: state["counts"][0] >= 41) == 41
    assert spilled.branch(9).content_hash() == plain.branch(9).content_hash()
    assert spilled.branch(9, noise="same").content_hash() == plain.branch(9, noise="same").content_hash()
    assert spilled.extend(600).content_hash() == plain.extend(600).content_hash()
    again = pickle.loads(pickle.dumps(spilled))
    assert again.content_hash() == plain.content_hash() and bytes_of([again[33]]) == bytes_of([plain[33]])


def test_what_is_handed_out_is_private(spilled):
    state = spilled.get(8)
    state["field"][:] = np.nan
    assert bytes_of([spilled.get(8)]) == bytes_of([recorded().get(8)])


def test_an_unfinished_recording_is_read_from_where_it_is_and_goes_on_to_the_same_bytes(tmp_path):
    path = tmp_path / "run.replay"

    def stop(state, rng):
        if state["counts"][0] == 33:
            raise RuntimeError
        return stir(state, rng)

    with pytest.raises(rewind.StepError) as caught:
        rewind.record(stop, start(), N, SEED, backend="numpy", block_size=4, observe={"sum": total}, path=path,
                      step_id="test_spilled:stir")  # fmt: skip
    assert isinstance(columns(caught.value.run)[0], SpilledColumn)
    with pytest.warns(rewind.StepSourceWarning):
        found = rewind.load(path, stir)
    assert isinstance(columns(found)[0], SpilledColumn) and len(found) == 34
    assert found.verify(full=True)
    with pytest.warns(rewind.StepSourceWarning):
        run = rewind.resume(path, stir, observe={"sum": total})
    assert isinstance(columns(run)[0], SpilledColumn)
    recorded().save(tmp_path / "plain.replay")
    assert path.read_bytes() == (tmp_path / "plain.replay").read_bytes()
    assert bytes_of([found.get(20)]) == bytes_of([run.get(20)])  # of a journal that has no name any more


def test_a_recorder_thins_them(tmp_path):
    with rewind.Recorder(stir, start(), SEED, backend="numpy", block_size=2, path=tmp_path / "run.replay") as recorder:
        recorder.advance(500)
    assert isinstance(columns(recorder.run)[0], SpilledColumn) and recorder.run.n_checkpoints <= 2 * 501**0.5
    plain = rewind.Recorder(stir, start(), SEED, backend="numpy", block_size=2).advance(500)
    assert recorder.run.content_hash() == plain.run.content_hash()


def test_text_and_states_that_stop_fitting_stay_in_memory(tmp_path):
    def text(state, rng):
        return state + rng.choice("ab")

    run = rewind.record(text, "", 30, 1, path=tmp_path / "text.replay")
    assert not any(isinstance(column, SpilledColumn) for column in columns(run))
    with pytest.warns(rewind.PickledStatesWarning):
        grown = rewind.record(grow, np.zeros(4), 30, 1, backend="numpy", path=tmp_path / "grown.replay")
    assert not any(isinstance(column, SpilledColumn) for column in columns(grown))
    with pytest.warns(rewind.PickledStatesWarning):
        plain = rewind.record(grow, np.zeros(4), 30, 1, backend="numpy")
    assert grown.content_hash() == plain.content_hash()


def test_a_journal_that_was_cut_short_under_a_run_is_an_error_and_no_wrong_state(tmp_path):
    recorder = rewind.Recorder(stir, start(), SEED, backend="numpy", block_size=2, path=tmp_path / "run.replay")
    run = recorder.advance(100).run
    with open(journal.journal_of(str(tmp_path / "run.replay")), "r+b") as file:
        file.truncate(3000)
    with pytest.raises(rewind.ArtifactIOError, match="shorter than it was"):
        run.get(99)
    recorder._output.log.close()


def test_a_column_has_what_an_array_has(spilled):
    column, plain = columns(spilled)[0], np.asarray(columns(recorded())[0])
    whole = np.asarray(column)
    assert isinstance(column._rows[3], SpilledRow)
    assert (whole.dtype, whole.shape, whole.tobytes()) == (plain.dtype, plain.shape, plain.tobytes())
    assert (column.size, column.nbytes, column.ndim, column.itemsize) == (
        plain.size, plain.nbytes, plain.ndim, plain.itemsize)  # fmt: skip
    assert len(column) == len(plain)
    assert column[np.array([3, 1, 1])].tobytes() == plain[[3, 1, 1]].tobytes()
    assert np.asarray(column[2:9:3]).tobytes() == plain[2:9:3].tobytes()


def test_memory_holds_a_few_states_whatever_the_number(tmp_path):
    size = 1 << 20  # bytes of a state

    def step(x, rng):
        x[:10] += rng.standard_normal(10)
        return x

    gc.disable()  # nothing may wait for a collection of cycles
    tracemalloc.start()
    try:
        rewind.record(step, np.zeros(size // 8), 40, 1, backend="numpy", block_size=1, path=tmp_path / "run.replay")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert peak < 14 * size
