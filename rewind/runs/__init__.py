"""What a user holds: `Run` and its verbs, `record`, `Recorder`, `resume` and `load`.

May import storage, engine and all below them.
"""
