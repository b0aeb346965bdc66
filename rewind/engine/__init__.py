"""Pure computation over blocks: sweep, replay, scan, queries, verify, forks; no file, clock, environment or global.

May import steps, metrics, state, kernel and errors. It is handed an executor and never makes one.
"""
