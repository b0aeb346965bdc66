"""What else a user can do to have the states of a loop later: keep them all, in memory or in a file.

The loop is the scalar numpy step. Everyone else keeps 8 bytes a step in one way or another; here are the statistics as
well, and the file is saved. Time is CPU time of all threads of the process (zarr has some of its own).
"""

import importlib.util
import pathlib
import shutil
import tempfile
import time

import h5py
import numpy as np

import rewind

from .get_next import shuffled
from .measure import Claim, Figure, against, amount, duration, middle_call
from .steps import bare, relax

_BARE = "the bare loop, numpy Generator"
BUFFER = 4096

ROWS = {
    "rewind": "rewind: record with statistics, save",
    "list": "all states in a list",
    "dense": "all states in a numpy array",
    "npz": "  the array by numpy.savez_compressed",
    "joblib": "  the array by joblib.dump",
    "hdf5": "all states in HDF5, 4096 at a time",
    "hdf5_gzip": "  the same with gzip",
    "zarr": "all states in zarr, 4096 at a time",
}
CLAIMS = (
    *(Claim(key, what, None, _BARE) for key, what in ROWS.items()),
    Claim("against_dense", "rewind: record with statistics, time of", None, "the same loop filling a numpy array"),
    Claim("bytes", "rewind: bytes of the file", None, "the numpy array"),
    Claim("observed_bytes", "  with the table of statistics, one row per block", None, "the numpy array"),
)


def _size(path):
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size


def _filled(n):
    """Run the loop, keep every state in an array."""
    states, x, rng = np.empty(n), 0.0, np.random.default_rng(1)
    for t in range(n):
        states[t] = x
        x = relax(x, rng)
    return states


def _buffered(n, write):
    """Run the loop, hand on `BUFFER` states at a time."""
    buffer, x, rng = np.empty(BUFFER), 0.0, np.random.default_rng(1)
    for start in range(0, n, BUFFER):
        stop = min(start + BUFFER, n)
        for i in range(stop - start):
            buffer[i] = x
            x = relax(x, rng)
        write(start, stop, buffer[: stop - start])


def _ways(n, folder):
    """Return what is compared: functions that run the loop and keep its states."""

    def listed():
        states, x, rng = [], 0.0, np.random.default_rng(1)
        for _ in range(n):
            states.append(x)
            x = relax(x, rng)
        return states

    def hdf5(name, **how):
        def run():
            with h5py.File(folder / name, "w") as file:
                states = file.create_dataset("states", (n,), "f8", chunks=(min(BUFFER, n),), **how)
                _buffered(n, lambda start, stop, values: states.write_direct(values, dest_sel=np.s_[start:stop]))

        return run

    def in_zarr():
        import zarr

        shutil.rmtree(folder / "zarr", ignore_errors=True)
        states = zarr.create_array(folder / "zarr", shape=(n,), chunks=(min(BUFFER, n),), dtype="f8")
        _buffered(n, lambda start, stop, values: states.__setitem__(slice(start, stop), values))

    def in_joblib():
        import joblib

        joblib.dump(_filled(n), folder / "joblib")

    def recorded():
        return rewind.record(relax, 0.0, n, 1, backend="numpy", observe={"x": None})

    ways = {
        "bare": bare(relax, lambda: 0.0, lambda: np.random.default_rng(1), n),
        "record": recorded,
        "plain": lambda: rewind.record(relax, 0.0, n, 1, backend="numpy").save(folder / "plain"),
        "rewind": lambda: recorded().save(folder / "rewind"),
        "list": listed,
        "dense": lambda: _filled(n),
        "npz": lambda: np.savez_compressed(folder / "npz.npz", _filled(n)),
        "hdf5": hdf5("hdf5"),
        "hdf5_gzip": hdf5("hdf5_gzip", compression="gzip"),
    }
    if importlib.util.find_spec("joblib") is not None:
        ways["joblib"] = in_joblib
    if importlib.util.find_spec("zarr") is not None:
        ways["zarr"] = in_zarr
    return ways


def _reads(n, folder, sizes):
    """Return the median seconds to get one state out of the blue, by key."""
    steps = shuffled(n, 300)
    dense, listed = _filled(n), list(range(n))
    spent = {"dense": middle_call(dense.__getitem__, steps), "list": middle_call(listed.__getitem__, steps)}
    for key in ("hdf5", "hdf5_gzip"):
        with h5py.File(folder / key) as file:
            spent[key] = middle_call(file["states"].__getitem__, steps)
    if "zarr" in sizes:
        import zarr

        spent["zarr"] = middle_call(zarr.open_array(folder / "zarr", mode="r").__getitem__, steps)
    run = rewind.load(folder / "rewind", relax)
    spent["rewind"] = middle_call(run.get, steps)
    return spent


def measure(options):
    """Return the figures by key."""
    n = options.steps
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        ways = _ways(n, folder)
        rounds = max(options.rounds // 2, 1)
        ratios = against(ways, rounds, time.process_time)
        names = {"npz": "npz.npz"}
        files = {key: folder / names.get(key, key) for key in ways}
        sizes = {key: _size(path) for key, path in files.items() if path.exists()}
        sizes |= {"dense": 8 * n, "list": 32 * n}
        reads = _reads(n, folder, sizes)
    figures = {}
    for key in ROWS:
        if key not in ratios:
            figures[key] = Figure(None, f"{key} is not installed")
            continue
        get = f"; get(t) {duration(reads[key])}" if key in reads else ""
        figures[key] = Figure(ratios[key].ratio, f"{duration(ratios[key].seconds)}, {amount(sizes[key])}{get}")
    both = ratios["record"].seconds, ratios["dense"].seconds
    figures["against_dense"] = Figure(both[0] / both[1], f"{duration(both[0])}, dense {duration(both[1])}")
    for key, name in (("bytes", "plain"), ("observed_bytes", "rewind")):
        note = f"1/{8 * n / sizes[name]:.0f}: {sizes[name]:,} of {8 * n:,}"
        figures[key] = Figure(sizes[name] / (8 * n), note)
    return figures
