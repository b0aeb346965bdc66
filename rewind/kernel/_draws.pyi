import random

import numpy as np

__all__ = ["FastGenerator", "FastRandom", "accelerated"]

class FastGenerator(np.random.Generator): ...
class FastRandom(random.Random): ...

def accelerated() -> dict[str, tuple[str, ...]]: ...
