"""Make the golden ``.replay`` files beside this one: ``python tests/golden/make_replays.py``.

Origin: the runs of ``tests/helpers/replays.py``, recorded with rewind-engine 0.1.0 (format 1, compiled kernel),
Python 3.11.7, numpy 2.4.6, h5py 3.16.0 (HDF5 and zlib as in its wheel) on Linux x86_64, 2026-11-23; those whose names
end in ``_2`` with 0.2.0, which adds up covariances in another order and so has other last bits there. They are the
proof that a file of format 1 stays readable, so a file that is here is never made again: this script overwrites none.
A new kind of content gets a new file; a new format gets a new folder. Those in ``format-2`` hold what only files of
version 2 hold, recorded with rewind-engine 0.6.0 and the same versions of everything else.
"""

import hashlib
import pathlib
import sys

import h5py
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]


def compressed_probe():
    """Return the hash of a fixed array as this h5py's zlib packs it: other builds give other, equally valid bytes."""
    with h5py.File("probe", "w", driver="core", backing_store=False) as file:
        array = np.arange(4096, dtype="<i8") ** 2 % 1009
        dataset = file.create_dataset("x", data=array, chunks=(4096,), compression=9, shuffle=True)
        return hashlib.blake2b(dataset.id.read_direct_chunk((0,))[1], digest_size=8).hexdigest()


def main():
    from helpers.replays import KINDS, KINDS_2

    print("probe", compressed_probe())
    for folder, kinds in ((HERE, KINDS), (HERE / "format-2", KINDS_2)):
        for kind, (make, _) in kinds.items():
            path = folder / f"{kind}.replay"
            if path.exists():
                print(f"{path.name} is there already")
                continue
            run = make()
            run.save(path)
            print(f'    "{kind}": "{run.content_hash()}",')


if __name__ == "__main__":
    main()
