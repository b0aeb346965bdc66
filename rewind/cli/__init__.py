"""The command ``rewind``: argv in, exit code out. The only place that prints.

May import everything below it.
"""
