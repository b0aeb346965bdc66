"""A pass in shards: whatever their number, together they give what one pass gives, to the last bit."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind
from rewind.errors import ShardError
from rewind.runs import shard_file as parts
from rewind.runs import shards
from rewind.runs.shard_file import float_text, floats, floats_text


def walk(x, rng):
    return x + rng.random() - 0.5


def count(t, rng):
    return t + 1


def other_walk(x, rng):
    return x + rng.random() - 0.25


def pair(x):
    return [x, x * x]


def grid(x):
    return np.outer([x, 1.0, -x], [1.0, x])


def bits(value: Any) -> Any:
    """What a value is, byte for byte."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    return struct.pack("<d", value) if isinstance(value, float) else value


def bits_of(stats: rewind.Stats) -> dict[str, Any]:
    return {name: bits(value) for name, value in stats.items()}


def through_files(done: list[shards.Part], folder) -> shards.Merged:
    for i, part in enumerate(done):
        shards.save(part, folder / f"part{i}.json")
    return shards.merge([shards.load(folder / f"part{i}.json") for i in reversed(range(len(done)))])


@pytest.fixture(scope="module")
def run():
    return rewind.record(walk, 0.0, 300, 5, block_size=16, observe={"x": None})


@pytest.fixture
def done(run):
    return [shards.stats(run, i, 3, {"x": None, "pair": pair}, 10, 250) for i in (1, 2, 3)]


# ---- statistics


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("metric", [None, pair, grid], ids=["scalar", "vector", "matrix"])
@pytest.mark.parametrize("window", [(0, None), (7, 290), (100, 101)])
def test_shards_merged_give_the_bytes_of_one_pass(run, tmp_path, n, metric, window):
    merged = through_files([shards.stats(run, i, n, metric, *window) for i in range(1, n + 1)], tmp_path)
    (found,) = merged.stats.values()
    assert bits_of(found) == bits_of(run.stats(metric, *window))


@pytest.mark.parametrize("n", [1, 4, 7])
def test_histograms_and_lags_come_together_too(run, tmp_path, n):
    options = {"histogram": [-2, -1, 0, 0.5, math.inf], "max_lag": 40}  # more lags than a block has steps
    merged = through_files([shards.stats(run, i, n, {"x": None}, **options) for i in range(1, n + 1)], tmp_path)
    assert bits_of(merged.stats["x"]) == bits_of(run.stats(None, **options))


VALUES = st.one_of(
    st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1.7976931348623157e308])
)


class Table:
    """A metric that gives any values at all, by step."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __call__(self, t: int) -> Any:
        return self.values[t]


@given(st.data(), st.integers(1, 25), st.integers(1, 6), st.integers(1, 9), st.booleans())
@settings(max_examples=60)
def test_any_values_in_any_number_of_shards_give_the_same_bytes(tmp_path_factory, data, n_steps, block, n, extra):
    scalars = data.draw(st.lists(VALUES, min_size=n_steps, max_size=n_steps))
    vectors = data.draw(st.lists(st.tuples(VALUES, VALUES), min_size=n_steps, max_size=n_steps))
    run = rewind.record(count, 0, n_steps, 1, block_size=block)
    metrics: dict[str, Any] = {"scalar": Table(scalars)}
    options: dict[str, Any] = {"histogram": [-1, 0, 1], "max_lag": min(3, n_steps - 1)} if extra else {}
    if not extra:
        metrics["vector"] = Table(vectors)
    done = [shards.stats(run, i, n, metrics, **options) for i in range(1, n + 1)]
    merged = through_files(done, tmp_path_factory.mktemp("parts"))
    whole = run.stats(metrics, **options)
    assert {name: bits_of(found) for name, found in merged.stats.items()} == {
        name: bits_of(found) for name, found in whole.items()
    }


def test_there_may_be_more_shards_than_blocks(tmp_path):
    run = rewind.record(walk, 0.0, 10, 5, block_size=4)
    done = [shards.stats(run, i, 9) for i in range(1, 10)]
    assert sorted(part.n_items for part in done) == [0] * 6 + [1] * 3
    assert [part.steps for part in done if part.steps] == [(0, 4), (4, 8), (8, 10)]
    assert bits_of(through_files(done, tmp_path).stats["f"]) == bits_of(run.stats())


def test_workers_of_a_shard_do_not_show(run, tmp_path):
    shards.save(shards.stats(run, 2, 3, pair), tmp_path / "a")
    shards.save(shards.stats(run, 2, 3, pair, workers=2), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_part_of_a_scalar_does_not_grow_with_the_run(tmp_path):
    sizes = []
    for n_steps in (1_000, 20_000):
        run = rewind.record(walk, 0.0, n_steps, 5, block_size=10)
        shards.save(shards.stats(run, 1, 2), tmp_path / "part")
        sizes.append((tmp_path / "part").stat().st_size)
    assert max(sizes) < 2000


def test_a_pass_that_is_not_reproduced_leaves_no_statistics(run, tmp_path):
    run.save(tmp_path / "run.replay")
    with pytest.warns(rewind.StepSourceWarning):
        other = rewind.load(tmp_path / "run.replay", other_walk)
    with pytest.raises(rewind.NondeterministicReplayError):
        shards.stats(other, 1, 3)


@pytest.mark.parametrize(
    "x", [0.0, -0.0, 1.5, -math.inf, 5e-324, math.nan, struct.unpack("<Q", struct.pack("<d", 1e300))[0] * 1.0]
)
def test_a_double_comes_back_from_its_text(x):
    assert floats(float_text(x), 1).tobytes() == np.array([x]).tobytes()


def test_a_nan_keeps_its_sign_and_payload():
    odd = np.array([0xFFF8000000000000, 0x7FF8000000000123, 0x7FF8000000000000], np.uint64).view(np.float64)
    assert floats_text(odd) == "nan:fff8000000000000 nan:7ff8000000000123 nan"
    assert floats(floats_text(odd), 3).tobytes() == odd.tobytes()


# ---- verify


@pytest.mark.parametrize("n", [1, 2, 5, 40])
@pytest.mark.parametrize("full", [False, True])
def test_shards_of_verify_pass_where_verify_does(run, tmp_path, n, full):
    merged = through_files([shards.verify(run, i, n, full) for i in range(1, n + 1)], tmp_path)
    assert (merged.failure, merged.stats, merged.parameters["full"]) == (None, None, full)
    assert merged.run == {"content_hash": run.content_hash(), "n_steps": 300, "n_checkpoints": 19}


def test_the_shards_look_at_every_block_once(run):
    sizes = [shards.verify(run, i, 4, True).n_items for i in range(1, 5)]
    assert sum(sizes) == 19 and max(sizes) - min(sizes) <= 1


def test_the_failure_of_the_earliest_shard_is_that_of_verify(run, tmp_path):
    run.save(tmp_path / "run.replay")
    with pytest.warns(rewind.StepSourceWarning):
        other = rewind.load(tmp_path / "run.replay", other_walk)
    with pytest.raises(rewind.NondeterministicReplayError) as error:
        other.verify()
    done = [shards.verify(other, i, 3) for i in (1, 2, 3)]
    assert all(part.failure for part in done)
    merged = through_files(done, tmp_path)
    assert merged.failure == {
        "block": error.value.block,
        "step": error.value.step,
        "path": error.value.path,
        "problem": str(error.value),
    }


CALLS = [0]


def hidden(x, rng):
    CALLS[0] += 1
    return x + (CALLS[0] % 7 == 0)


def test_a_step_with_hidden_state_fails_in_a_shard(tmp_path):
    run = rewind.record(hidden, 0, 400, 1, trial=False)
    merged = through_files([shards.verify(run, i, 3) for i in (1, 2, 3)], tmp_path)
    assert "step_fn depends on something that is not its state, rng or params" in merged.failure["problem"]


def test_one_failing_shard_fails_the_whole(run, tmp_path):
    done = [shards.verify(run, i, 3) for i in (1, 2, 3)]
    bad = {"problem": "block 3 does not reproduce step 50", "block": 3, "step": 50, "path": ""}
    done[1] = shards.Part(**{**vars(done[1]), "failure": bad})
    assert through_files(done, tmp_path).failure == bad


# ---- what does not fit together


def test_a_missing_shard_is_named(done):
    with pytest.raises(ShardError) as error:
        shards.merge(done[:2])
    assert str(error.value) == "shard 3 of 3 is missing; pass the parts of all 3"
    with pytest.raises(ShardError) as error:
        shards.merge(done[2:])
    assert str(error.value) == "shards 1, 2 of 3 are missing; pass the parts of all 3"
    with pytest.raises(ShardError, match="there is no part to merge"):
        shards.merge([])


def test_a_shard_that_is_there_twice_is_named_with_both_files(done, tmp_path):
    shards.save(done[0], tmp_path / "a")
    shards.save(done[0], tmp_path / "b")
    a, b = shards.load(tmp_path / "a"), shards.load(tmp_path / "b")
    with pytest.raises(ShardError) as error:
        shards.merge([a, *done[1:], b])
    assert str(error.value) == f"shard 1 of 3 is there twice: {tmp_path / 'a'} and {tmp_path / 'b'}"


def test_parts_of_different_passes_do_not_go_together(run, done):
    longer = run.extend(301)
    metrics = {"x": None, "pair": pair}
    strangers = {
        "the verb is 'stats' in the one and 'verify' in the other": shards.verify(run, 2, 3),
        f"the run is '{run.content_hash()[:12]}' in the one and '{longer.content_hash()[:12]}'": shards.stats(
            longer, 2, 3, metrics, 10, 250
        ),
        "the number of shards is 3 in the one and 4 in the other": shards.stats(run, 2, 4, metrics, 10, 250),
        "the start is 10 in the one and 11 in the other": shards.stats(run, 2, 3, metrics, 11, 250),
        "the stop is 250 in the one and 249 in the other": shards.stats(run, 2, 3, metrics, 10, 249),
        "the metrics is [": shards.stats(run, 2, 3, {"x": None}, 10, 250),
        "the max_lag is None in the one and 2": shards.stats(run, 2, 3, {"x": None}, 10, 250, max_lag=2),
        "the edges is None in the one and '0x0": shards.stats(run, 2, 3, {"x": None}, 10, 250, histogram=[0, 1]),
    }
    for words, stranger in strangers.items():
        with pytest.raises(ShardError) as error:
            if "max_lag" in words or "edges" in words:
                shards.merge([shards.stats(run, 1, 3, {"x": None}, 10, 250), stranger])
            else:
                shards.merge([done[0], stranger, done[2]])
        assert words in str(error.value) and str(error.value).startswith(
            "the part of shard 1 and the part of shard 2 are not parts of one pass: "
        )


@pytest.mark.parametrize(
    ("i", "n", "words"),
    [
        (0, 3, "i is 0; expected an integer >= 1"),
        (4, 3, "i is 4; expected one of the shards 1 to 3"),
        (1, 0, "n is 0; expected an integer >= 1"),
        (1, 1_000_001, "n is 1000001; expected at most 1,000,000 shards"),
    ],
)
def test_what_is_no_shard_is_refused(run, i, n, words):
    for part in (shards.verify, shards.stats):
        with pytest.raises(rewind.ArgumentError, match=words):
            part(run, i, n)


# ---- files


def content_of(part, folder):
    shards.save(part, folder / "whole.json")
    return json.loads((folder / "whole.json").read_text())


def sealed(content):
    """The file of a content, with the digest of it."""
    content = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return json.dumps({**content, "digest": digest}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a part of a sharded pass, or damaged: it is not JSON"),
        (b"\x89HDF\r\n", "not a part of a sharded pass, or damaged: it is not JSON"),
        (b"[]", "not a part of a sharded pass: it is no JSON object"),
        (b"{}", 'not a part of a sharded pass: it has no "format": "rewind.shard"'),
        (b'{"a": 1, "a": 2}', "it holds a key twice"),
        (b'{"a": NaN}', "it holds NaN, which is not JSON"),
        (b"[" * 200_000, "it is not JSON"),
        (b"[" * 5_000_000, "damaged: more than 4,194,304 values"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it is not JSON"),
        (b'{"format": "rewind.shard", "version": true}', "damaged: it has no version"),
        (b'{"format": "rewind.shard", "version": 1}', "damaged: its digest is that of other contents"),
        (
            b'{"format": "rewind.shard", "version": 2}',
            "has part format version 2; this rewind reads versions up to 1. Install a later rewind-engine to read it",
        ),
        (sealed({"format": "rewind.shard", "version": 1}), "is no object with format, version, verb"),
    ],
)
def test_what_is_no_part_is_said(tmp_path, data, words):
    (tmp_path / "part").write_bytes(data)
    with pytest.raises(ShardError) as error:
        shards.load(tmp_path / "part")
    assert str(error.value).startswith(f"{tmp_path / 'part'}: ") and words in str(error.value)
    assert error.value.path == str(tmp_path / "part")


def test_a_part_that_is_too_long_or_not_there_is_refused(done, tmp_path):
    shards.save(done[0], tmp_path / "part")
    with pytest.raises(rewind.ArtifactFormatError, match="more than the limit of 100"):
        shards.load(tmp_path / "part", max_bytes=100)
    with pytest.raises(rewind.ArtifactNotFoundError):
        shards.load(tmp_path / "gone")


def test_a_flipped_bit_is_found(done, tmp_path):
    shards.save(done[0], tmp_path / "part")
    data = (tmp_path / "part").read_bytes().rstrip()
    for at in range(0, len(data), 13):
        (tmp_path / "bad").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ShardError):
            shards.load(tmp_path / "bad")


def leaves(value, way=()):
    yield way
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*way, key))


ODD = [None, True, -1, 0, 1, 3, 1 << 70, 1.5, [], [1], {}]
ODD += ["", "nan", "0x1", "0x1p+0 0x1p+0", "-0x" + "f" * 1100, "\ud800"]


def test_no_odd_value_with_a_right_digest_is_more_than_an_error(run, done, tmp_path):
    tried = 0
    failure = {"problem": "p", "block": 1, "step": 2, "path": ""}
    originals = [done[1], shards.verify(run, 2, 3), shards.stats(run, 2, 3, {"x": None}, max_lag=2, histogram=[0, 1])]
    originals.append(shards.Part(**{**vars(originals[1]), "failure": failure}))
    for original in originals:
        content = content_of(original, tmp_path)
        for way in leaves(content):
            for odd in ODD:
                changed = copy.deepcopy(content)
                at = changed
                for key in way[:-1]:
                    at = at[key]
                if not way or at is changed and way[-1] == "digest":
                    continue
                at[way[-1]] = odd
                (tmp_path / "odd").write_bytes(sealed(changed))
                tried += 1
                try:
                    part = shards.load(tmp_path / "odd")
                except ShardError:
                    continue
                alone = shards.Part(**{**vars(part), "shard": (1, 1)})
                try:
                    shards.merge([alone])
                except ShardError:
                    pass
    assert tried > 1000


def test_a_part_that_is_no_share_of_the_window_is_refused(run, tmp_path):
    done = [shards.stats(run, i, 2) for i in (1, 2)]
    content = content_of(done[1], tmp_path)
    content["answer"]["steps"][0] -= 1
    content["answer"]["sums"]["f"][0]["moments"]["count"] += 1
    (tmp_path / "odd").write_bytes(sealed(content))
    with pytest.raises(ShardError, match="begins at step 143, where step 144 is due"):
        shards.merge([done[0], shards.load(tmp_path / "odd")])
    content = content_of(done[1], tmp_path)
    content["answer"]["sums"]["f"][0]["moments"]["count"] += 1
    (tmp_path / "odd").write_bytes(sealed(content))
    with pytest.raises(ShardError, match="'f' has not as many values as there are steps"):
        shards.load(tmp_path / "odd")


def test_sums_that_no_numbers_have_are_refused(run, tmp_path):
    content = content_of(shards.stats(run, 1, 1), tmp_path)
    content["answer"]["sums"]["f"][0]["moments"]["squares"] = "0x0"
    (tmp_path / "odd").write_bytes(sealed(content))
    with pytest.raises(ShardError, match="damaged: sums that no numbers have"):
        shards.load(tmp_path / "odd")


def test_only_a_part_looks_like_one(done, tmp_path):
    shards.save(done[0], tmp_path / "part")
    (tmp_path / "text").write_text("{}")
    assert shards.is_part(tmp_path / "part")
    assert not shards.is_part(tmp_path / "text") and not shards.is_part(tmp_path / "gone")


def test_a_part_is_replaced_whole_or_not_at_all(done, tmp_path, monkeypatch):
    shards.save(done[0], tmp_path / "part")
    before = (tmp_path / "part").read_bytes()

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rewind.storage.files.os.replace", fails)
    with pytest.raises(rewind.ArtifactIOError, match="No space left"):
        shards.save(done[1], tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_part_of_this_version_is_what_it_always_was(tmp_path):
    """Made by rewind 0.2; a part written by one release is merged by the next."""
    run = rewind.record(count, 0, 6, 1, block_size=2)
    part = shards.stats(run, 2, 3, {"t": None, "v": lambda t: [t, -t]}, max_lag=None, source="run.replay")
    content = content_of(part, tmp_path)
    del content["digest"], content["run"]["content_hash"]
    assert content == GOLDEN
    assert parts.FORMAT == "rewind.shard" and parts.VERSION == 1


GOLDEN = {
    "format": "rewind.shard",
    "version": 1,
    "verb": "stats",
    "source": "run.replay",
    "run": {"n_steps": 6, "n_checkpoints": 3},
    "shard": [2, 3],
    "parameters": {
        "start": 0,
        "stop": 6,
        "n_items": 3,
        "edges": None,
        "max_lag": None,
        "metrics": [
            {"name": "t", "shape": [], "shift": "0x0.0p+0"},
            {"name": "v", "shape": [2], "shift": "0x0.0p+0 0x0.0p+0"},
        ],
    },
    "answer": {
        "steps": [2, 4],
        "sums": {
            "t": [
                {
                    "moments": {
                        "count": 2,
                        "total": hex(5 << 1074),
                        "squares": hex(13 << 2148),
                        "nan_count": 0,
                        "first_nan": -1,
                        "pos_inf": 0,
                        "neg_inf": 0,
                        "min": "0x1.0000000000000p+1",
                        "argmin": 2,
                        "max": "0x1.8000000000000p+1",
                        "argmax": 3,
                        "last": "0x1.8000000000000p+1",
                    },
                    "lagged": None,
                    "histogram": None,
                }
            ],
            "v": [
                {
                    "moments": {
                        "count": 2,
                        "mean": "0x1.4000000000000p+1 -0x1.4000000000000p+1",
                        "comoment": " ".join(
                            ["0x1.0000000000000p-1", "-0x1.0000000000000p-1"]
                            + ["-0x1.0000000000000p-1", "0x1.0000000000000p-1"]
                        ),
                        "min": "0x1.0000000000000p+1 -0x1.8000000000000p+1",
                        "argmin": "2 3",
                        "max": "0x1.8000000000000p+1 -0x1.0000000000000p+1",
                        "argmax": "3 2",
                        "last": "0x1.8000000000000p+1 -0x1.8000000000000p+1",
                        "nan_count": "0 0",
                        "first_nan": "-1 -1",
                    },
                    "lagged": None,
                    "histogram": None,
                }
            ],
        },
    },
}
