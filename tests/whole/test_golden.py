"""Golden files: what each format holds stays readable for ever, and is still what a recording of today holds."""

from __future__ import annotations

import json
import pathlib
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest
from golden.make_replays import compressed_probe
from helpers.replays import KINDS, KINDS_2, Mood, Town

import rewind
from rewind.state.digest import digest
from rewind.storage import replay_file

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"

#: What `compressed_probe` gave where the files were made.
PROBE = "4530089cf514ddca"

CONTENT = {
    "walk": "a8b7187634a72d5d0d43b2e2e769bc238ee0e5c96fd23dbfa63a3fddb669a9ea",
    "drift": "fff72d6c96eb3e4abfc02fcdfd2a2f53bab31d873f76bf898a76695c76008364",
    "town": "612cb7aa9579890a2ff5b5a2482c7739367530f15010093130a5a31898705d94",
    "grow": "28498f82796b18ad689c4ea1f20260927b89043f23759a0df66f80e6617943d8",
    "collect": "7f4f26bb9a6791694adbf8ecce654599b42fd0f99d46fa8e958ef8b57e473085",
    "same_branch": "9190b7680494d9a51543f5e8dde0021b73712771e7924764e08a4343294308bd",
    "numpy_branch": "f557007938c9d76da9ea192854734df65f15cee26e7c07b1b25ca6851b9fb7ac",
    "lead_branch": "7b0abb7bce349e3ebbdc231f053ff1fa625d89cde63f0dd618ef29617af10eba",
    "fresh_branch": "9626a7254fba8b78c8d8754196ee3b4b13fc910dc8670601b7e8ca432e945b30",
    "thinned": "d71b6e1ebb209abbacd316ce38d06071cb8c8c8149a4de4a797a7e2289ba6936",
    "stopped": "1e865c6ba449e171f4cfef5c8e31587870f145e454637956f833ffe3149b9c79",
    "empty": "f4a979d3bfb912016dfa1cd1871c7faa9f4a541c6a73fb92e1adcbf7d7dc6315",
    "drift_2": "7081898c77e16af33fea8854571e8cd8c52b8491c9507ed50c0aed906ecd671c",
    "town_2": "425f8c40f5062ffcb5cd6e88fa1ea188001dca0cfe574cbb42ad8c56b02ac871",
}

#: What only files of format 2 hold.
CONTENT_2 = {
    "trade": "b363f9bdce5b7497def23e1ef7ba1b8342924eada3ea84af24774bb45f03164a",
    "infect": "8322c531b4dca4d20ebe12e8bd1a5955e2233d68c13a213a85ea046ab335ebd3",
    "tumble": "22068bfb5eb775c601a24c0cb5360893979d93f9d4fea2a76eb9ab92983f71b7",
}
CONTENT |= CONTENT_2

#: Files of format 1 whose states have columns of other names since 0.6.0, or columns instead of pickles.
BEFORE_0_6 = {"town", "town_2", "lead_branch", "collect"}

#: Files of 0.1.0 with a metric of several components: since 0.2.0 its mean and covariance have other last bits.
BEFORE_0_2 = {"drift": "drift_2", "town": "town_2"}

LAST = {
    "walk": -21,
    "grow": [
        1,
        2,
        120156652763127130496,
        302254899794982384670,
        426737490339705828400,
        352134575566970615593,
        620469539352626736921,
        65007191662546373315,
        269771332458818819298,
        908705104215416768853,
        574939373507116047424,
        954751144159177149424,
    ],
    "collect": {0, 5, 9, 10, 11, 21, 29, 34, 39, 47, 48, 50, 61, 66, 67, 70, 77, 79, 80, 82, 83, 89, 92, 93, 97, 99},
    "same_branch": 15.75,
    "fresh_branch": 67,
    "thinned": 19,
    "stopped": 44,
    "empty": {"a": [], "b": None, "c": np.zeros((0, 3))},
    "town": Town(
        [19.125, 16.875, 17.75],
        Mood("calm", 26),
        np.array([[43, 0, 41], [0, 35, 0]], "i2"),
        {"Zürich 🏔": "calm", "z": 117 - 119j, "raw": b"\0"},
    ),
    "lead_branch": Town(
        [5.75, 5.25, 10.625],
        Mood("calm", 13),
        np.array([[17, 0, 21], [0, 11, 0]], "i2"),
        {"Zürich 🏔": "calm", "z": 53 - 49j, "raw": b"\0"},
    ),
}

kinds = pytest.mark.parametrize("kind", CONTENT)
# An edited or reformatted tests/replays.py has another source hash; the states tell whether it is another function.
pytestmark = pytest.mark.filterwarnings("ignore::rewind.StepSourceWarning")


ALL = KINDS | KINDS_2


def path_of(kind: str) -> pathlib.Path:
    return (GOLDEN / "format-2" if kind in CONTENT_2 else GOLDEN) / f"{kind}.replay"


def load(kind: str, **options: Any) -> rewind.Run[Any]:
    return rewind.load(path_of(kind), ALL[kind][1], **{"allow_pickle": kind not in CONTENT_2, **options})


def test_no_file_and_no_kind_is_forgotten():
    assert {path.stem for path in GOLDEN.glob("*.replay")} == set(CONTENT) - set(CONTENT_2) == set(KINDS)
    assert {path.stem for path in GOLDEN.glob("*/*.replay")} == set(CONTENT_2) == set(KINDS_2)


@kinds
def test_a_golden_file_loads_and_verifies_and_has_its_content_hash(kind):
    run = load(kind)
    assert run.content_hash() == CONTENT[kind]
    assert run.verify(full=True)
    if kind in LAST:
        assert digest(run.get(-1)) == digest(LAST[kind])


@kinds
def test_a_golden_file_answers_without_a_step_function(kind):
    run = rewind.load(path_of(kind), allow_pickle=True)
    facts = run.metadata()
    version = "0.6.0" if kind in CONTENT_2 else "0.2.0" if kind.endswith("_2") else "0.1.0"
    assert facts["content_hash"] == CONTENT[kind] and facts["versions"]["rewind"] == version
    assert facts["step"]["id"] == f"replays:{ALL[kind][1].__name__}"
    for name in run.observed:
        assert run.observed[name].count == len(run) == run.overview(name)["count"].sum()


@kinds
def test_a_golden_file_is_read_by_h5py_too(kind):
    assert load(kind, reader="h5py").content_hash() == CONTENT[kind]
    with h5py.File(path_of(kind)) as file:
        assert json.loads(file.attrs["meta"])["format_version"] == 1 + (kind in CONTENT_2)


still = pytest.mark.parametrize("kind", [kind for kind in CONTENT if kind not in BEFORE_0_2.keys() | BEFORE_0_6])


@pytest.mark.parametrize("kind", BEFORE_0_2)
def test_a_file_from_before_covariances_changed_still_answers_and_goes_on(kind):
    old, new = load(kind), ALL[kind][0]()
    assert [digest(state) for state in old] == [digest(state) for state in new]
    for name, table in old._recording.metrics.items():
        other = new._recording.metrics[name]
        for a, b in ((table.closed, other.closed), (table.tail, other.tail)):
            assert (a is None and b is None) or a.agrees(b)
    metrics = dict(new._trajectory.metrics)
    longer = load(kind, observe=metrics).extend(len(old) + 50)
    assert longer.verify(full=True) and longer.n_steps == len(old) + 50
    whole = new.extend(len(old) + 50)
    assert [digest(state) for state in longer] == [digest(state) for state in whole]
    for name in whole.observed:
        assert longer._recording.metrics[name].closed.agrees(whole._recording.metrics[name].closed)


@pytest.mark.parametrize("kind", sorted(BEFORE_0_6 - BEFORE_0_2.keys()))
def test_a_file_whose_states_have_other_columns_today_holds_the_same_states(kind):
    golden, run = load(kind), KINDS[kind][0]()
    assert [digest(state) for state in run] == [digest(state) for state in golden]
    assert run.diff(golden) is None and run.content_hash() != CONTENT[kind]
    for name in run.observed:
        assert run.observed[name] == golden.observed[name]


@still
def test_recording_today_holds_the_same(kind):
    run = ALL[kind][0]()
    assert run.content_hash() == CONTENT[kind]
    golden = load(kind)
    assert [digest(state) for state in run] == [digest(state) for state in golden]
    for name in run.observed:
        assert run.observed[name] == golden.observed[name]
        assert run.overview(name).tobytes() == golden.overview(name).tobytes()


@kinds
def test_saving_today_gives_the_same_file(kind, tmp_path):
    """Byte for byte, where zlib compresses as it did where the files were made; else the same arrays and metadata.

    Deflate says how to unpack and not how to pack: zlib-ng, or a later zlib, may choose other bytes for one value.
    """
    golden = path_of(kind).read_bytes()
    again = tmp_path / "again.replay"
    load(kind).save(again)  # what was loaded
    check_same_file(again.read_bytes(), golden)
    if kind in BEFORE_0_2 or kind in BEFORE_0_6:
        return
    recorded = ALL[kind][0]()._recording  # what is recorded today, but for the versions and the source of the step
    known = load(kind)._recording
    replay_file.save(replace(recorded, versions=known.versions, step=known.step), again)
    check_same_file(again.read_bytes(), golden)


def check_same_file(data: bytes, golden: bytes) -> None:
    if compressed_probe() == PROBE:
        assert data == golden
    ours, theirs = replay_file.read_container(data), replay_file.read_container(golden)
    assert ours.meta == theirs.meta and ours.arrays.keys() == theirs.arrays.keys()
    for name in ours.arrays:
        assert (
            ours.arrays[name].dtype == theirs.arrays[name].dtype
            and ours.arrays[name].shape == theirs.arrays[name].shape
        )
        assert ours.arrays[name].tobytes() == theirs.arrays[name].tobytes(), name


def test_golden_branches_know_where_they_left():
    branch = load("same_branch")
    assert (branch.start, branch.branch_point, branch.parent_hash) == (33, 33, branch.lineage[0].content_hash)
    chain = load("numpy_branch")
    assert chain.start == 17 and [ancestor.branch_point for ancestor in chain.lineage] == [6, 11]
