"""The verb that tells what record would meet: doctor."""

from __future__ import annotations

import argparse

from ..runs.diagnose import diagnose
from .answer import Answer
from .common import codec_of, params_of
from .exit_codes import DIFFERENT, OK
from .record import state_of
from .user_code import Importer


def doctor(args: argparse.Namespace, importer: Importer) -> Answer:
    """Tell what record would meet: storage, cost, what it would refuse, and the cures."""
    found = diagnose(
        importer.named(args.step, "STEP"),
        state_of(args.init, importer),
        seed=args.seed,
        n_steps=args.n_steps,
        backend=args.backend,
        params=params_of(args.param),
        codec=codec_of(args, importer),
    )
    return Answer(found.to_dict(), str(found), OK if found.ok else DIFFERENT)
