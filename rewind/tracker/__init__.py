"""Tracked runs: a logged history, and its simulation, kept so that it can be rewound or forked at any step.

May import runs, storage, engine and all below them.
"""
