"""A long run goes NaN near its end: find the step, look at the state before it, repair it on the very same noise.

The model: the logarithm of a portfolio that earns a random return at every step. A return below -100 % has no
logarithm. That happens once or twice in a million steps, and everything after it is NaN.

    python examples/nan_hunt.py [FILE]
"""

import functools
import math
import os
import sys
import tempfile
from dataclasses import dataclass

import rewind

N_STEPS, SEED = 200_000, 119  # a seed whose NaN comes late


@dataclass
class State:
    value: float  # logarithm of the wealth
    peak: float


def step(state, rng, floor=-math.inf):
    earned = max(rng.gauss(0.03, 0.22), floor)
    value = state.value + (math.log1p(earned) if earned > -1 else math.nan)
    return State(value, max(state.peak, value))


def never_below(floor):
    """The repair: the same step, which loses at most `floor`."""
    return functools.partial(step, floor=floor)


def main(path):
    run = rewind.record(step, State(0.0, 0.0), N_STEPS, seed=SEED, observe={"value": "value"})
    run.save(path)
    print(f"recorded {N_STEPS:,} steps into {os.path.getsize(path):,} bytes; the last value is {run[-1].value}")

    # 1. Find the step. The scan replays forward from state to state: it costs the steps it looks at, and no more.
    calls = 0

    @functools.wraps(step)
    def counted(state, rng):
        nonlocal calls
        calls += 1
        return step(state, rng)

    run = rewind.load(path, step_fn=counted)
    bad = next(t for t in range(run.n_steps) if math.isnan(run.get(t).value))
    print(f"the first NaN is at step {bad:,}: a scan of {bad + 1:,} states ran step {calls:,} times")
    print(f"the recording had seen it, no replay needed: step {run.observed['value'].first_nan:,}")

    # 2. Look. Any state is a few hundred steps away.
    run = rewind.load(path, step_fn=step)
    for t in (bad - 2, bad - 1, bad):
        print(f"  step {t:,}: value {run.get(t).value:.4f}")

    # 3. Branch just before, on the SAME noise: the repaired step meets the very draw that broke the run.
    repaired = never_below(-0.95)
    same = run.branch(bad - 1, noise="same", step_fn=repaired)
    before, after, last = (same[t].value for t in (0, 1, -1))
    print(f"same noise, loss capped at 95 %: value {before:.4f} -> {after:.4f}, at the end {last:.4f}")

    # Without the repair that draw breaks it again: the branch is the run.
    again = run.branch(bad - 1, noise="same")
    print(f"same noise, no repair:           value {again[0].value:.4f} -> {again[1].value}")

    # Fresh noise: would it have been fine with other luck? Give seeds for independent futures.
    futures = [run.branch(bad - 1, seed=seed, n_steps=20_000) for seed in range(5)]
    broken = sum(math.isnan(future[-1].value) for future in futures)
    print(
        f"fresh noise, no repair:          {broken} of {len(futures)} futures of 20,000 steps go NaN: it was bad luck"
    )

    # 4. Nothing was lost and nothing changed: the run still proves itself.
    print(f"verified, NaN and all: {run.verify(full=True)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, "nan_hunt.replay"))
