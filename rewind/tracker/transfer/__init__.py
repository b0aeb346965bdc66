"""Tracked runs in one file: export, import and merge.

May import what the tracker may.
"""
