"""Origin of streams.json: what the blocks of some seeds draw, by stock numpy and the standard library alone.

Run it to print the file: ``python tests/golden/make_streams.py > tests/golden/streams.json``. The file was made with
numpy 2.4.6 on CPython 3.11.7, x86-64; it never changes, and this program must print it anywhere.
"""

import json
import random

import numpy as np

ADDRESSES = [
    (0, 0),
    (0, 1),
    (1, 0),
    (7, 999),
    (2**32 - 1, 2**32 - 1),
    (2**32, 2**32),
    (2**64 - 1, 2**64 - 1),
    (2**64, 3),
    (2**96, 2**33 + 1),
    (2**128, 12),
    (2**128 - 1, 5),
    (3**400, 10**12),
]


def stream(seed, j):
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(j,))
    integer = int.from_bytes(sequence.generate_state(4, np.uint32).astype("<u4").tobytes(), "little")
    python = random.Random(integer)
    numpy = np.random.Generator(np.random.PCG64(sequence))
    return {
        "seed": str(seed),
        "block": str(j),
        "integer": str(integer),
        "python": {
            "getrandbits(64)": [str(python.getrandbits(64)) for _ in range(3)],
            "random()": [python.random().hex() for _ in range(3)],
        },
        "numpy": {
            "random_raw()": [str(numpy.bit_generator.random_raw()) for _ in range(3)],
            "random()": [numpy.random().hex() for _ in range(3)],
        },
    }


def streams():
    return [stream(seed, j) for seed, j in ADDRESSES]


if __name__ == "__main__":
    print(json.dumps(streams(), indent=1))
