"""Pointing the rng to the first draw of a block is hundreds of times faster than numpy's objects for the same stream.

numpy: ``Generator(PCG64(SeedSequence(seed, spawn_key=(j,))))``. In C: what the kernel calls at the start of a block,
called in a loop by a small Cython module. Then the same as it is used: what a block costs a native recording beyond its
steps, with the copy of the checkpoint and a look at the clock. From Python: one call of ``BlockRng.start(j)``.
"""

import numpy as np

from rewind.kernel import BlockRng
from rewind.state.codec import StateCodec
from rewind.steps.resolve import step_of

from .compiled import NoCompiler, extension, native_step
from .measure import Claim, Figure, against, duration

_NUMPY = "Generator(PCG64(SeedSequence(seed, spawn_key=(j,))))"

CLAIMS = (
    Claim("native", "seed a block, in C", 500, _NUMPY, "x faster", True),
    Claim("block", "  all that a block of native steps costs beyond them", None, _NUMPY, "x faster", True),
    Claim("python", "  by a call from Python", None, _NUMPY, "x faster", True),
)
SEED = 20_240_229
#: How many more blocks the other sides seed than the first.
TIMES = 100


def sides(n, block_size=None):
    """Return the functions to be compared: the first seeds `n` blocks, the others `TIMES` as many."""
    many, blocks = TIMES * n, BlockRng(SEED, "numpy")

    def numpy_objects():
        generator, pcg64, sequence = np.random.Generator, np.random.PCG64, np.random.SeedSequence
        for j in range(n):
            generator(pcg64(sequence(SEED, spawn_key=(j,))))

    def python():
        start = blocks.start
        for j in range(many):
            start(j)

    loop = step_of(native_step("nothing"), {}, "numpy").bound(StateCodec.of(0.0, None))()
    rows = np.zeros((many, 8), np.uint8)

    def block():
        done, state = 0, 0.0
        while done < many:
            n_done, state = loop.sweep(state, blocks, done, 1, many - done, rows[done:])
            done += n_done

    def native():
        assert seed_blocks(blocks, many) == many

    seed_blocks = extension("seeding").seed_blocks
    return {
        "numpy": numpy_objects,
        "native": native,
        "block": block,
        "steps": lambda: loop.advance(0.0, blocks.start(0), many, 0),
        "python": python,
    }


def measure(options):
    """Return the figures by key."""
    n = max(options.steps // 200, 1)
    try:
        ratios = against(sides(n), options.rounds)
    except NoCompiler as error:
        return {claim.key: Figure(None, str(error)) for claim in CLAIMS}
    objects = ratios["numpy"].seconds / n
    times = {key: ratios[key].seconds / n / TIMES for key in ("native", "block", "steps", "python")}
    times["block"] -= times.pop("steps")
    return {
        key: Figure(objects / spent, f"{duration(spent)}, numpy's objects {duration(objects)}")
        for key, spent in times.items()
    }
