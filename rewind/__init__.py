"""Time-travel for long, seeded stochastic loops."""

from .kernel import kernel_name

__all__ = ["kernel_name"]
