"""Our own strict reader: the bytes of a replay file -> `Container`, in Python and numpy only.

The seal is checked before anything is parsed, and libhdf5 is not involved. A file that is not exactly what `writer.py`
makes is refused; there is no second reader to fall back to. For a file that an HDF5 tool rewrote there is
`h5py_reader.read_with_h5py`, when the caller chooses it.
"""

from __future__ import annotations

import zlib

from ...errors import ArtifactError, ArtifactFormatError, ArtifactIntegrityError
from ..files import read_file
from .container import Container, assemble, load_json
from .messages import ChecksumMismatch, Malformed
from .parser import Subset
from .room import Room
from .seal import SEAL_BYTES, check_seal

__all__ = ["Container", "load_json", "read", "read_file"]


def read(data: bytes, *, max_bytes: int | None = None, path: object = None) -> Container:
    """Return the arrays and the metadata in the bytes of a `.replay` file.

    Parameters
    ----------
    data : bytes
        The whole file; see `read_file`.
    max_bytes : int, optional
        Limit on the decoded arrays together. Default: the memory that is available here.
    path : optional
        Named in the messages.

    Raises
    ------
    ArtifactFormatError
        If this is not a `.replay` file, or one that no writer of ours made.
    ArtifactIntegrityError
        If a byte differs from what was saved.
    ArtifactVersionError
        If it is of a later version.

    Notes
    -----
    O(file + decoded arrays) time and memory: 0.6 ms for 1,000 checkpoints of one integer.
    """
    try:
        sealed = check_seal(data, path)
        base = SEAL_BYTES if sealed else 0
        attributes, arrays = Subset(data, base, Room(max_bytes)).read()
        return assemble(attributes, arrays, sealed, path)
    except ArtifactError:
        raise
    except ChecksumMismatch as error:
        raise ArtifactIntegrityError(str(error), path) from None
    except Malformed as error:
        raise ArtifactFormatError(f"{error}{_advice(data)}", path) from None
    except (ValueError, IndexError, KeyError, OverflowError, RecursionError, zlib.error) as error:
        # Nothing is known to get here. If something does, it is still a bad file and not the user's mistake.
        raise ArtifactFormatError(f"it cannot be parsed ({type(error).__name__}: {error})", path) from None
    except MemoryError:
        raise ArtifactFormatError("its arrays do not fit in memory", path) from None


def _advice(data: bytes) -> str:
    """Return what to do about an unsealed file, which a tool may have rewritten."""
    if data.startswith(b"{"):
        return ""
    return '. If an HDF5 tool rewrote a .replay file, load it with reader="h5py"'
