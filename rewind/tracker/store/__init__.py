"""The database of tracked runs, in SQLite, and the files beside it: revisions, rows, artifacts, locks.

May import what the tracker may.
"""
