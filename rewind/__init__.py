"""Time-travel for long, seeded stochastic loops.

A run of millions of steps is kept as about sqrt(n) checkpoints and one seed. Any step comes back exactly, any step
can be forked, statistics are exact, and the file proves itself::

    run = rewind.record(step, init_state=0, n_steps=1_000_000, seed=42)
    run.get(842_137)
"""

from .branches import Branches
from .cursors import Cursor
from .engine.divergence import Divergence
from .engine.moments import Stats
from .engine.native import NativeStep, get_include, native_step
from .engine.recording import Ancestor
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    ArtifactBusyError,
    ArtifactError,
    ArtifactFormatError,
    ArtifactIntegrityError,
    ArtifactIOError,
    ArtifactIsADirectoryError,
    ArtifactNotFoundError,
    ArtifactPermissionError,
    ArtifactVersionError,
    ConditionError,
    MetricError,
    MissingCodecError,
    MissingStepError,
    NativeStepError,
    NoLockWarning,
    NondeterminismError,
    NondeterministicReplayError,
    NondeterministicStepError,
    PickledStatesWarning,
    RecorderFinishedError,
    RecordingInterrupted,
    RewindError,
    RewindWarning,
    ShardError,
    SharedMemoryWarning,
    SizeLimitError,
    StateClassError,
    StateError,
    StepError,
    StepRangeError,
    StepReturnError,
    StepSourceWarning,
    TransferError,
    UnfinishedRecordingError,
    UnfinishedRecordingWarning,
    UnknownMetricError,
    UnsafeArtifactError,
    WorkersLostError,
)
from .kernel import FastGenerator, FastRandom, kernel_name
from .loader import load
from .progress import Progress
from .recorder import record
from .resuming import resume
from .run import Run
from .source import VERSION as __version__
from .stepwise import Recorder
from .views import Observed, View

__all__ = [
    "Ancestor",
    "ArgumentError",
    "ArgumentTypeError",
    "ArtifactBusyError",
    "ArtifactError",
    "ArtifactFormatError",
    "ArtifactIOError",
    "ArtifactIntegrityError",
    "ArtifactIsADirectoryError",
    "ArtifactNotFoundError",
    "ArtifactPermissionError",
    "ArtifactVersionError",
    "Branches",
    "ConditionError",
    "Cursor",
    "Divergence",
    "FastGenerator",
    "FastRandom",
    "MetricError",
    "MissingCodecError",
    "MissingStepError",
    "NativeStep",
    "NativeStepError",
    "NoLockWarning",
    "NondeterminismError",
    "NondeterministicReplayError",
    "NondeterministicStepError",
    "Observed",
    "PickledStatesWarning",
    "Progress",
    "Recorder",
    "RecorderFinishedError",
    "RecordingInterrupted",
    "RewindError",
    "RewindWarning",
    "Run",
    "ShardError",
    "SharedMemoryWarning",
    "SizeLimitError",
    "StateClassError",
    "StateError",
    "Stats",
    "StepError",
    "StepRangeError",
    "StepReturnError",
    "StepSourceWarning",
    "TransferError",
    "UnfinishedRecordingError",
    "UnfinishedRecordingWarning",
    "UnknownMetricError",
    "UnsafeArtifactError",
    "View",
    "WorkersLostError",
    "__version__",
    "get_include",
    "kernel_name",
    "load",
    "native_step",
    "record",
    "resume",
]
