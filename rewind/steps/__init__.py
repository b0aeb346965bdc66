"""The kinds of step function (Python, numba, native), and what identifies their code.

May import metrics, state, kernel and errors.
"""
