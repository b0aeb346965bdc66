"""Files that take much memory: what `save` wrote is read, however well it compresses, as far as there is memory."""

import io
import tracemalloc

import numpy as np
import pytest

import rewind
from rewind.storage import files, memory
from rewind.storage.hdf5 import room

pytestmark = pytest.mark.once

MIB = 1 << 20


class Grid:
    def __init__(self):
        self.cells = bytes(3 * MIB)
        self.n = 0


def heat(field, rng):
    field[0] += rng.random()
    return field


def spread(lattice, rng):
    lattice["cells"][rng.randrange(9), rng.randrange(4)] ^= 1
    return lattice


def count(grid, rng):
    grid.n += rng.randrange(9)
    return grid


SPARSE = {
    "an array that is nearly constant": (heat, lambda: np.full(3 * MIB // 8, 0.5), False),
    "a lattice of mostly zeros": (spread, lambda: {"cells": np.zeros((3 * MIB // 4, 4), np.int8), "t": 0}, False),
    "pickles": (count, Grid, True),
}


@pytest.mark.parametrize("kind", SPARSE)
def test_what_save_wrote_is_read_without_an_option(kind, tmp_path, monkeypatch):
    step, make, pickled = SPARSE[kind]
    monkeypatch.setattr(room, "ALWAYS", 8 * MIB)  # an eighth, so that an eighth of the bytes is more
    path = tmp_path / "sparse.replay"
    run = rewind.record(step, make(), 3, seed=1, block_size=1)
    run.save(path)
    decoded = 3 * 3 * MIB
    assert decoded > room.ALWAYS and decoded > 100 * path.stat().st_size  # what it may not have been before
    loaded = rewind.load(path, step, allow_pickle=pickled)
    assert loaded.content_hash() == run.content_hash()


def test_more_than_is_available_is_refused_before_it_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "sparse.replay"
    rewind.record(heat, np.full(MIB // 4, 0.5), 3, seed=1, block_size=1).save(path)
    monkeypatch.setattr(room, "ALWAYS", MIB)
    monkeypatch.setattr(room, "available_memory", lambda: 5 * MIB)
    tracemalloc.start()
    try:
        with pytest.raises(rewind.ArtifactFormatError, match="5,242,880 bytes of memory are available here; max_bytes"):
            rewind.load(path)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert len(rewind.load(path, max_bytes=6 * MIB)) == 3


def test_a_file_of_more_than_4_gib_is_read_where_there_is_memory_for_it(tmp_path, monkeypatch):
    path = tmp_path / "walk.replay"
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, seed=1).save(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(files, "available_memory", lambda: 3000)
    with pytest.raises(rewind.ArtifactFormatError, match="more than the limit of 1,500"):
        rewind.load(path)
    monkeypatch.setattr(files, "available_memory", lambda: 1 << 30)
    assert len(rewind.load(path)) == 100
    monkeypatch.setattr(files, "_is_full", lambda status: False)  # holes, which cost nothing to make
    with pytest.raises(rewind.ArtifactFormatError, match="more than the limit of 1,000"):
        rewind.load(path)


MEMINFO = "MemTotal: 9000000 kB\nMemAvailable: 800000 kB\nSwapFree: 200000 kB\n"
SYSTEMS = {
    "no groups": ({"/proc/meminfo": MEMINFO}, 1_000_000 << 10),
    "version 2": (
        {
            "/proc/meminfo": MEMINFO,
            "/proc/self/cgroup": "0::/jobs/7\n",
            "/sys/fs/cgroup/jobs/7/memory.max": "max\n",
            "/sys/fs/cgroup/jobs/7/memory.current": "5\n",
            "/sys/fs/cgroup/jobs/7/memory.stat": "inactive_file 5\n",
            "/sys/fs/cgroup/jobs/memory.max": "900000000\n",
            "/sys/fs/cgroup/jobs/memory.current": "300000000\n",
            "/sys/fs/cgroup/jobs/memory.stat": "anon 7\ninactive_file 200000000\n",
        },
        800_000_000,
    ),
    "version 1": (
        {
            "/proc/meminfo": MEMINFO,
            "/proc/self/cgroup": "3:cpu:/\n2:hugetlb,memory:/a\n",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "400000000\n",
            "/sys/fs/cgroup/memory/a/memory.usage_in_bytes": "100000000\n",
            "/sys/fs/cgroup/memory/a/memory.stat": "total_inactive_file 0\n",
        },
        300_000_000,
    ),
    "nearly nothing": ({"/proc/meminfo": "MemAvailable: 10 kB\n"}, None),
}


@pytest.mark.skipif(memory.sys.platform != "linux", reason="elsewhere it is half of what the machine has")
@pytest.mark.parametrize("system", SYSTEMS)
def test_available_is_what_the_machine_its_groups_and_the_process_may_take(system, monkeypatch):
    texts, expected = SYSTEMS[system]

    def there(path):
        if path not in texts:
            raise FileNotFoundError(path)
        return io.StringIO(texts[path])

    monkeypatch.setattr(memory, "open", there, raising=False)
    assert memory.available_memory() == (memory.ALWAYS if expected is None else expected - expected // 8)


def test_some_memory_is_available_here():
    assert memory.available_memory() >= memory.ALWAYS
