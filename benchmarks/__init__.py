"""Claims about speed and size, one file each, measured against what a user would do without rewind.

``python -m benchmarks`` measures all of them and prints the table; ``python -m benchmarks record_walk`` one of them.
``docs/performance.md`` shows the table and says what the rows mean.

A file has `CLAIMS`, ``measure(options) -> {key: Figure}`` and, where instructions can be counted, ``sides(n_steps,
block_size)``, functions to be compared of which the first is the reference.
"""

#: The files about searches, statistics and workers: a table of their own.
MOMENTS = ("first_nan", "bisect_nan", "stats_pass", "two_workers", "task_overhead")

#: The files, in the order of the table.
BENCHMARKS = (
    "record_walk",
    "record_numpy_scalar",
    "record_dataclass",
    "record_array",
    "record_numba",
    "get_numba",
    "record_native",
    "seed_block",
    "exact_moments",
    "covariance",
    "get_next",
    "get_with_budget",
    "scan",
    "verify_threads",
    "memory_flat",
    "record_to_file",
    "trial",
    "track_runs",
    "track_reads",
    "import_time",
    "shell_time",
    "draws",
    "alternatives",
    "pure_kernel",
    *MOMENTS,
)
