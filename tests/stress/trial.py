"""Random simulations with and without planted losses, against the plain loop: ``python tests/stress/trial.py [5000]``.

The property is that of ``tests/runs/test_trial.py``, tried on other examples each time.
"""

from __future__ import annotations

import pathlib
import sys
import warnings

from hypothesis import HealthCheck, settings

TESTS = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "runs")]

from test_trial import test_no_loss_is_certified_and_nothing_faithful_is_refused as tried  # noqa: E402


def main() -> None:
    """Try as many simulations as the command line says."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    warnings.simplefilter("error")
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    tried._hypothesis_internal_use_settings = settings(
        max_examples=n, deadline=None, database=None, derandomize=False, suppress_health_check=quiet
    )
    tried()
    print(f"{n} simulations: no loss was certified, and nothing faithful refused")


if __name__ == "__main__":
    main()
