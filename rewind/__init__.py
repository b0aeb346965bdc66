"""Time-travel for long, seeded stochastic loops.

A run of millions of steps is kept as about sqrt(n) checkpoints and one seed. Any step comes back exactly, any step
can be forked, statistics are exact, and the file proves itself::

    run = rewind.record(step, init_state=0, n_steps=1_000_000, seed=42)
    run.get(842_137)
"""

from typing import TYPE_CHECKING

from .engine.divergence import Divergence
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
    ConfigError,
    DroppedError,
    DroppedWarning,
    HistoryMismatchError,
    LogValueError,
    MetricError,
    MissingCodecError,
    MissingStepError,
    MomentError,
    NativeStepError,
    NoLockWarning,
    NondeterminismError,
    NondeterministicReplayError,
    NondeterministicStepError,
    NoRunError,
    PickledStatesWarning,
    RecorderFinishedError,
    RecordingInterrupted,
    RewindError,
    RewindWarning,
    RunBusyError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
    ShardError,
    SharedMemoryWarning,
    SizeLimitError,
    StateClassError,
    StateError,
    StepError,
    StepRangeError,
    StepReturnError,
    StepSourceWarning,
    StoreDamagedError,
    StoreError,
    StoreVersionError,
    TrackedArtifactError,
    TrackerError,
    TransferError,
    UnfinishedRecordingError,
    UnfinishedRecordingWarning,
    UnknownMetricError,
    UnsafeArtifactError,
    WorkersLostError,
)
from .kernel import FastGenerator, FastRandom, kernel_name
from .metrics.statistics import Stats
from .runs.forks import Branches
from .runs.load import load
from .runs.progress import Progress
from .runs.record import record
from .runs.recorder import Recorder
from .runs.resume import resume
from .runs.run import Run
from .runs.search import Cursor
from .runs.views import Observed, View
from .steps.native import NativeStep, get_include, native_step
from .steps.source import VERSION as __version__

if TYPE_CHECKING:  # who tracks no runs does not wait for the tracker
    from .tracker.active import define_metric, finish, log
    from .tracker.config import Config
    from .tracker.init import init
    from .tracker.moment import Moment
    from .tracker.revision import Revision
    from .tracker.run import Summary, TrackedRun
    from .tracker.tracker import Tracker

    config: Config
    summary: Summary
else:
    from .tracker import attribute as __getattr__  # noqa: F401

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
    "ConfigError",
    "Cursor",
    "Divergence",
    "DroppedError",
    "DroppedWarning",
    "FastGenerator",
    "FastRandom",
    "HistoryMismatchError",
    "LogValueError",
    "MetricError",
    "MissingCodecError",
    "MissingStepError",
    "Moment",
    "MomentError",
    "NativeStep",
    "NativeStepError",
    "NoLockWarning",
    "NoRunError",
    "NondeterminismError",
    "NondeterministicReplayError",
    "NondeterministicStepError",
    "Observed",
    "PickledStatesWarning",
    "Progress",
    "Recorder",
    "RecorderFinishedError",
    "RecordingInterrupted",
    "Revision",
    "RewindError",
    "RewindWarning",
    "Run",
    "RunBusyError",
    "RunExistsError",
    "RunFinishedError",
    "RunNotFoundError",
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
    "StoreDamagedError",
    "StoreError",
    "StoreVersionError",
    "TrackedArtifactError",
    "TrackedRun",
    "Tracker",
    "TrackerError",
    "TransferError",
    "UnfinishedRecordingError",
    "UnfinishedRecordingWarning",
    "UnknownMetricError",
    "UnsafeArtifactError",
    "View",
    "WorkersLostError",
    "__version__",
    "define_metric",
    "finish",
    "get_include",
    "init",
    "kernel_name",
    "load",
    "log",
    "native_step",
    "record",
    "resume",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
