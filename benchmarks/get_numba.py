"""With a numba step, a block costs a fraction of a microsecond beyond its steps, and any state is microseconds away.

Calling a numba function that takes a Generator costs some 10 us, whatever it does: numba takes the Generator apart. The
compiled driver is given its address instead.
"""

import importlib.util
import random

import numpy as np

import rewind
from rewind.state.codec import StateCodec
from rewind.steps.resolve import step_of

from .measure import Claim, Figure, against, duration, middle_call
from .steps import relax

_CALL = "numba's own call with a Generator, in the note"

CLAIMS = (
    Claim("call", "one call of the compiled driver, one step in it", 0.4, _CALL, "us"),
    Claim("cold", "get(t) out of the blue, numba step: median", 3.5, "a run of --steps steps", "us"),
)


def measure(options):
    """Return the figures by key."""
    if importlib.util.find_spec("numba") is None:
        return {claim.key: Figure(None, "numba is not installed") for claim in CLAIMS}
    import numba

    compiled = numba.njit(relax)
    codec = StateCodec.of(0.0, None)
    driver = step_of(compiled, {}, "numpy").bound(codec)()
    rng = rewind.FastGenerator(np.random.PCG64(1))
    calls = max(options.steps // 10, 10)

    def nothing():
        for _ in range(calls):
            pass

    def drive():
        advance = driver.advance
        for _ in range(calls):
            advance(0.0, rng, 1, 0)

    def dispatch():
        for _ in range(calls // 10):
            compiled(0.0, rng)

    drive(), dispatch()
    ratios = against({"nothing": nothing, "drive": drive, "dispatch": dispatch}, options.rounds)
    empty = ratios["nothing"].seconds
    call = (ratios["drive"].seconds - empty) / calls
    own = (ratios["dispatch"].seconds - empty / 10) / (calls // 10)

    run = rewind.record(compiled, 0.0, options.steps, 1, backend="numpy")
    pick = random.Random(0)
    cold = middle_call(run.get, [pick.randrange(options.steps) for _ in range(200 + options.steps // 50)])
    mean = f"half a block is {run.block_size // 2} steps"
    return {"call": Figure(call * 1e6, f"numba's own call: {duration(own)}"), "cold": Figure(cold * 1e6, mean)}
