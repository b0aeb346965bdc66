"""Claims about speed and size, each measured against what a user would do without rewind: ``python -m benchmarks``."""
