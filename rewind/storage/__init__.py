"""Bytes on disk: the replay file and the journal of one that grows.

May import engine and all below it. Only ``hdf5`` imports h5py.
"""
