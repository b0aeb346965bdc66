"""The errors that programs written for W&B catch, by their names there: each is one of rewind's."""

from __future__ import annotations

from ..errors import ConfigError as ConfigError
from ..errors import RewindError, TrackerError

#: All that this package raises on its own account.
Error = RewindError
#: A call that is wrong in itself, such as one to a finished run: any of them.
UsageError = RewindError
#: What is not there or cannot be reached; here, of what is in the folder.
CommError = TrackerError
