"""The simulation of a tracked run: how it is recorded, rewound with its rows, and found again.

May import what the tracker may.
"""
