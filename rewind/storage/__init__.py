"""Bytes on disk: the container of a `.replay` file, and what is read from and written to it.

::

    files.py         a regular file read whole; a file written whole or not at all
    seal.py          the first 512 bytes: length and digest of the rest
    container.py     what a file holds (named arrays and one JSON text), and the limits on it
    hdf5_messages.py, hdf5_subset.py   the strict parser of the part of HDF5 that writer.py uses
    reader.py        bytes -> Container, nothing but Python and numpy
    rewritten.py     the same for files that an HDF5 tool rewrote, with h5py, when asked
    writer.py        arrays -> bytes, with h5py
    artifact.py      a recording <-> a file: names, content hash, signature, save and load
    schema.py        what a file says, checked piece by piece -> a recording
    frames.py        the pieces of a journal, byte by byte
    journal.py       a recording as it grows: an append-only file of frames beside the target, and how it is read
    journal_writer.py   how it is written
    locks.py         one writer at a time
    opening.py       what a path stands for: a finished file, or the journal of one
"""
