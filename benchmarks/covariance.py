"""The covariance of 64 components takes about what ``numpy.cov`` takes on one thread, with the same bits everywhere.

numpy.cov is one BLAS product over all rows; its bits move with the processor and the number of threads. Here rows come
in blocks of 1,000, with minimum, maximum and NaN count of each component, and blocks are merged in order.
"""

import os

import numpy as np

from rewind.metrics.moments import VectorMoments
from rewind.metrics.statistics import Stats

from .measure import Claim, Figure, against, duration

CLAIMS = (Claim("covariance", "covariance of 64 components, blocks of 1,000", 1.15, "numpy.cov on one thread"),)
BLOCK, WIDTH = 1000, 64

#: BLAS reads these when numpy is imported, so they are set for the process this runs in.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def sides(n, block_size=BLOCK):
    """Return the functions to be compared, over `n` rows."""
    rows = np.random.default_rng(1).standard_normal((n, WIDTH))
    blocks = [(i, rows[i : i + BLOCK]) for i in range(0, n, BLOCK)]

    def ours():
        total = None
        for step, block in blocks:
            part = VectorMoments.of(block, step, rows[0])
            total = part if total is None else total.merge(part)
        return Stats(total).covariance

    return {"numpy.cov": lambda: np.cov(rows, rowvar=False), "covariance": ours}


def measure(options):
    """Return the figures by key."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        return {"covariance": Figure(None, f"needs {' '.join(f'{k}={v}' for k, v in ENVIRONMENT.items())}")}
    n = max(options.steps // 10, 10)
    ratios = against(sides(n), options.rounds)
    spent, own = (duration(ratios[key].seconds / n) for key in ("covariance", "numpy.cov"))
    return {"covariance": Figure(ratios["covariance"].ratio, f"{spent} a row, numpy.cov {own}")}
