"""Exact numbers of a metric, and conditions over them.

May import state, kernel and errors.
"""
