"""numba steps: one generated driver runs a whole block. numba is imported where a step needs it.

May import what steps may.
"""
