"""The container of a replay file: the strict reader of the part of HDF5 that the writer writes, the writer, the seal.

May import errors, and state for its columns. The writer and the reader of rewritten files alone import h5py.
"""
