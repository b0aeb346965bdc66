"""Time-travel for long, seeded stochastic loops: any step again, and a branch from any step.

::

    run = rewind.record(step, init_state=0, n_steps=1_000_000, seed=42)    # step(state, rng) -> state
    run.get(842_137)        any state, exactly            run.branch(842_137)   another future from there
    run.first("x > 1e6")    when it held; last, where     run.stats()           exact mean, variance, ...
    run.verify()            replayed, bit for bit         run.save(path)        a few kilobytes

    record, load, resume    a run that is recorded, read from its file, gone on with
    Recorder                a recording that goes on until a loop of yours ends
    plain_loop              the states of your own loop, to hold a recording to
    native_step             a step in C, Cython or Fortran; a numba step is given as it is
    init, log, finish       tracked runs: a logged history that is rewound to a step; Tracker reads it
    config, summary         of the latest tracked run; run is that run, None where none is open
    wandb                   programs written for W&B, as they are
    errors                  all of them, as one tree: RewindError and RewindWarning are its roots

``help(rewind.record)``, ``help(rewind.Run)`` and so on say more; ``rewind --help`` is the same in the shell.
"""

from __future__ import annotations

import importlib
import os
import sys

TYPE_CHECKING = False  # as type checkers read it; typing itself takes longer to load than this module

#: The public names by the module they are in, which is imported when one of them is first used.
_PUBLIC = {
    "errors": """
        ArgumentError ArgumentTypeError ArtifactBusyError ArtifactError ArtifactFormatError ArtifactIOError
        ArtifactIntegrityError ArtifactIsADirectoryError ArtifactNotFoundError ArtifactPermissionError
        ArtifactVersionError ConditionError ConfigError DroppedError DroppedWarning HistoryMismatchError IgnoredWarning
        LeftOutWarning LogValueError LossyStateError MetricError MissingCodecError MissingStepError MomentError
        MutatingMetricWarning NativeStepError NoFreshNoiseWarning NoLockWarning NoRunError NondeterminismError
        NondeterministicReplayError NondeterministicStepError ObservedMismatchError OwnGeneratorWarning PastEndWarning
        PickledStatesWarning RecorderFinishedError RecordingInterrupted RevisionClosedError RewindError RewindWarning
        RunBusyError RunExistsError RunFinishedError RunNotFoundError ShardError SharedMemoryWarning SizeLimitError
        StandInError StateClassError StateError StepError StepRangeError StepReturnError StepSourceWarning
        StoreDamagedError StoreError StoreVersionError SweepNotFoundError TrackedArtifactError TrackerError
        TransferError UnchangedStateWarning UncheckedReplayWarning UnfinishedRecordingError UnfinishedRecordingWarning
        UnknownMetricError UnknownSweepMethodError UnsafeArtifactError WorkersLostError
    """,
    "runs.record": "record",
    "runs.plain_loop": "plain_loop",
    "runs.recorder": "Recorder",
    "runs.diagnose": "Diagnosis Finding diagnose",
    "runs.resume": "resume",
    "runs.load": "load",
    "runs.run": "Run",
    "runs.views": "Observed View",
    "runs.search": "Cursor",
    "runs.forks": "Branches",
    "runs.progress": "Progress",
    "metrics.statistics": "Stats",
    "engine.divergence": "Divergence",
    "engine.recording": "Ancestor",
    "steps.native": "NativeStep get_include native_step",
    "steps.version": "VERSION",
    "kernel": "FastGenerator FastRandom kernel_name",
    "tracker.init": "init",
    "tracker.active": "define_metric finish log",
    "tracker.run": "TrackedRun",
    "tracker.tracker": "Tracker",
    "tracker.revision": "Revision",
    "tracker.moment": "Moment",
}
_HOMES = {name: module for module, names in _PUBLIC.items() for name in names.split()}
_HOMES["__version__"] = _HOMES.pop("VERSION")

if TYPE_CHECKING:  # the same names, for those who read and do not run
    from typing import Any

    from . import errors as errors
    from .engine.divergence import Divergence as Divergence
    from .engine.recording import Ancestor as Ancestor
    from .errors import ArgumentError as ArgumentError
    from .errors import ArgumentTypeError as ArgumentTypeError
    from .errors import ArtifactBusyError as ArtifactBusyError
    from .errors import ArtifactError as ArtifactError
    from .errors import ArtifactFormatError as ArtifactFormatError
    from .errors import ArtifactIntegrityError as ArtifactIntegrityError
    from .errors import ArtifactIOError as ArtifactIOError
    from .errors import ArtifactIsADirectoryError as ArtifactIsADirectoryError
    from .errors import ArtifactNotFoundError as ArtifactNotFoundError
    from .errors import ArtifactPermissionError as ArtifactPermissionError
    from .errors import ArtifactVersionError as ArtifactVersionError
    from .errors import ConditionError as ConditionError
    from .errors import ConfigError as ConfigError
    from .errors import DroppedError as DroppedError
    from .errors import DroppedWarning as DroppedWarning
    from .errors import HistoryMismatchError as HistoryMismatchError
    from .errors import IgnoredWarning as IgnoredWarning
    from .errors import LeftOutWarning as LeftOutWarning
    from .errors import LogValueError as LogValueError
    from .errors import LossyStateError as LossyStateError
    from .errors import MetricError as MetricError
    from .errors import MissingCodecError as MissingCodecError
    from .errors import MissingStepError as MissingStepError
    from .errors import MomentError as MomentError
    from .errors import MutatingMetricWarning as MutatingMetricWarning
    from .errors import NativeStepError as NativeStepError
    from .errors import NoFreshNoiseWarning as NoFreshNoiseWarning
    from .errors import NoLockWarning as NoLockWarning
    from .errors import NondeterminismError as NondeterminismError
    from .errors import NondeterministicReplayError as NondeterministicReplayError
    from .errors import NondeterministicStepError as NondeterministicStepError
    from .errors import NoRunError as NoRunError
    from .errors import ObservedMismatchError as ObservedMismatchError
    from .errors import OwnGeneratorWarning as OwnGeneratorWarning
    from .errors import PastEndWarning as PastEndWarning
    from .errors import PickledStatesWarning as PickledStatesWarning
    from .errors import RecorderFinishedError as RecorderFinishedError
    from .errors import RecordingInterrupted as RecordingInterrupted
    from .errors import RevisionClosedError as RevisionClosedError
    from .errors import RewindError as RewindError
    from .errors import RewindWarning as RewindWarning
    from .errors import RunBusyError as RunBusyError
    from .errors import RunExistsError as RunExistsError
    from .errors import RunFinishedError as RunFinishedError
    from .errors import RunNotFoundError as RunNotFoundError
    from .errors import ShardError as ShardError
    from .errors import SharedMemoryWarning as SharedMemoryWarning
    from .errors import SizeLimitError as SizeLimitError
    from .errors import StandInError as StandInError
    from .errors import StateClassError as StateClassError
    from .errors import StateError as StateError
    from .errors import StepError as StepError
    from .errors import StepRangeError as StepRangeError
    from .errors import StepReturnError as StepReturnError
    from .errors import StepSourceWarning as StepSourceWarning
    from .errors import StoreDamagedError as StoreDamagedError
    from .errors import StoreError as StoreError
    from .errors import StoreVersionError as StoreVersionError
    from .errors import SweepNotFoundError as SweepNotFoundError
    from .errors import TrackedArtifactError as TrackedArtifactError
    from .errors import TrackerError as TrackerError
    from .errors import TransferError as TransferError
    from .errors import UnchangedStateWarning as UnchangedStateWarning
    from .errors import UncheckedReplayWarning as UncheckedReplayWarning
    from .errors import UnfinishedRecordingError as UnfinishedRecordingError
    from .errors import UnfinishedRecordingWarning as UnfinishedRecordingWarning
    from .errors import UnknownMetricError as UnknownMetricError
    from .errors import UnknownSweepMethodError as UnknownSweepMethodError
    from .errors import UnsafeArtifactError as UnsafeArtifactError
    from .errors import WorkersLostError as WorkersLostError
    from .kernel import FastGenerator as FastGenerator
    from .kernel import FastRandom as FastRandom
    from .kernel import kernel_name as kernel_name
    from .metrics.statistics import Stats as Stats
    from .runs.diagnose import Diagnosis as Diagnosis
    from .runs.diagnose import Finding as Finding
    from .runs.diagnose import diagnose as diagnose
    from .runs.forks import Branches as Branches
    from .runs.load import load as load
    from .runs.plain_loop import plain_loop as plain_loop
    from .runs.progress import Progress as Progress
    from .runs.record import record as record
    from .runs.recorder import Recorder as Recorder
    from .runs.resume import resume as resume
    from .runs.run import Run as Run
    from .runs.search import Cursor as Cursor
    from .runs.views import Observed as Observed
    from .runs.views import View as View
    from .steps.native import NativeStep as NativeStep
    from .steps.native import get_include as get_include
    from .steps.native import native_step as native_step
    from .steps.version import VERSION as __version__  # noqa: F401
    from .tracker.active import define_metric as define_metric
    from .tracker.active import finish as finish
    from .tracker.active import log as log
    from .tracker.config import Config
    from .tracker.init import init as init
    from .tracker.moment import Moment as Moment
    from .tracker.revision import Revision as Revision
    from .tracker.run import TrackedRun as TrackedRun
    from .tracker.summary import Summary
    from .tracker.tracker import Tracker as Tracker

    config: Config
    summary: Summary
    run: TrackedRun | None
else:  # or type checkers would take any name for one

    def __getattr__(name: str) -> Any:
        if name in ("config", "summary"):  # of the latest tracked run, whichever that is when they are asked for
            active = importlib.import_module(".tracker.active", __name__)
            return getattr(active.latest(name), name)
        if name == "run":
            return importlib.import_module(".tracker.active", __name__).open_run()
        if name in ("errors", "wandb"):
            return importlib.import_module(f".{name}", __name__)
        if (
            name == "__all__" and sys._getframe(1).f_globals.get("__name__") != "pydoc"
        ):  # help() would print every class
            return __dir__()
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f".{_HOMES[name]}", __name__)
        found = globals()[name] = getattr(module, "VERSION" if name == "__version__" else name)
        return found

    def __dir__() -> list[str]:
        return sorted(_HOMES)

    if os.environ.get("REWIND_AS_WANDB", "0") not in ("", "0"):
        importlib.import_module(".wandb", __name__).install()
