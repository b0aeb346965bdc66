"""The SQLite database of tracked runs: revisions, rows, values, artifacts, and who may write.

May import what the tracker may.
"""
