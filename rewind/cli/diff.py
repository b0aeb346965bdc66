"""The verb that compares two runs: diff; of two files here."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..engine.divergence import Divergence
from ..engine.recording import Recording
from ..errors import ArgumentError, MissingCodecError, MissingStepError, StateClassError, show
from ..runs.load import load
from ..runs.run import Run
from ..state.codec import StateCodec
from ..state.layout import Layout
from ..steps.raised import ended, is_own
from .answer import Answer
from .common import codec_of, facts_of, from_main, has_classes, progress_of
from .exit_codes import DIFFERENT, OK
from .render import brief, differences
from .run_diff import are_runs, diff_runs
from .text import FORMS
from .user_code import CodeError, Importer


def diff(args: argparse.Namespace, importer: Importer) -> Answer:
    """Show where two runs differ: the first such step, and what their files, or a tracker, say of them."""
    if are_runs(args):
        return diff_runs(args)
    (a, mine), (b, theirs) = (facts_of(path, args) for path in (args.file, args.other))
    same = a["content_hash"] == b["content_hash"]
    for facts in (a, b):
        for name in ("file", "bytes", "sealed", "signed", "content_hash"):  # of the files, or told apart from the rest
            del facts[name]
    found = differences(a, b)
    lines = [f"{key}: {_short(x)} | {_short(y)}" for key, x, y in found]
    table = {key: [x, y] for key, x, y in found}
    facts = {"file": args.file, "other": args.other, "same_content": same, "differences": table}
    states = _States("agree")
    if not args.metadata:
        if not same or args.other_step is not None:
            try:
                states = _states(args, importer, mine, theirs)
            except BaseException as error:
                if isinstance(error, Exception) or not is_own(error) or same:
                    raise
                states = _States("not compared", note=f"{ended(error)}")  # that they differ had been found
            lines.append(states.text(mine, theirs))
        divergence = None if states.found is None else asdict(states.found)
        facts |= {"divergence": divergence, "states": states.verdict, "note": states.note or None}
    which = "agree: the same run" + (", told differently" if found else "") if same else "differ"
    lines.append(f"content hashes {which}")
    alike = same and not found and states.verdict == "agree"
    return Answer(facts, "\n".join(lines), OK if alike else DIFFERENT)


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "mean" in value and "argmin" in value:
        return brief(value)
    return "-" if value is None else show(value, 80)


@dataclass(frozen=True)
class _States:
    """What the states of two runs say: `verdict` is one of "agree", "part", "stored agree", "not compared"."""

    verdict: str
    found: Divergence | None = None
    note: str = ""

    def text(self, a: Recording, b: Recording) -> str:
        note = f"; {self.note}" if self.note else ""
        if self.found is None:
            start = max(side.origin.start for side in (a, b))
            n = min(side.origin.start + side.n_steps for side in (a, b)) - start
            agree = {"agree": f"states agree at all {n:,} steps that both have", "stored agree": "stored states agree"}
            return agree.get(self.verdict, "states not compared") + note
        found = self.found
        at = f"at step {found.step:,}" if found.exact else f"at step {found.step:,} or before"
        if a.origin.start or b.origin.start:
            own = [found.step - side.origin.start for side in (a, b)]
            at += f" of the root (step {own[0]:,} | step {own[1]:,})"
        values = f"{found.path or 'the state'} is {show(found.value, 80)} | {show(found.other, 80)}"
        return (
            f"states first differ {at}: {values} ({found.n_agreeing:,} of {found.n_common:,} stored states agree){note}"
        )


def _states(args: argparse.Namespace, importer: Importer, a: Recording, b: Recording) -> _States:
    """Compare states: the stored ones, which needs no code, and between them if their step functions are available."""
    for path, side in ((args.file, a), (args.other, b)):
        if side.checkpoints.pickles and not args.allow_pickle:
            return _States("not compared", note=f"{path} holds pickles: --allow-pickle compares them, if you trust it")
    found: Divergence | None = None
    pickles = bool(a.checkpoints.pickles or b.checkpoints.pickles)  # whose classes have to be imported first
    try:
        if not pickles:
            found = _stored_difference(a, b)
            if found is None or found.exact:
                return _States("agree" if found is None else "part", found)
    except MissingStepError:
        pass  # the stored states agree
    except ArgumentError as error:
        return _States("not compared", note=str(error))
    runs: list[Run[Any]] = []
    other_step = args.step if args.other_step is None else args.other_step
    option = "--step" if args.other_step is None else "--other-step"
    steps: dict[Any, Any] = {}  # both runs may well have the same
    for path, side, code, asked in ((args.file, a, args.step, "--step"), (args.other, b, other_step, option)):
        key = code or tuple(sorted(side.step.items()))
        try:
            if key not in steps:
                steps[key] = importer.named(code, asked, from_main(side)) if code else importer.recorded(side.step)
            runs.append(_with_step(args, importer, side, path, steps[key]))
        except (CodeError, StateClassError, MissingCodecError) as error:
            if code is not None:
                raise
            if pickles:
                return _States("not compared", note=f"pickled states need the code of both runs: {error}")
            note = f"the exact step needs the step functions of both: --step {FORMS} ({path}: {error})"
            if found is None:
                note = note.replace("the exact step needs", "whether all do needs")
            return _States("stored agree" if found is None else "part", found, note)
    try:
        exact = runs[0].diff(runs[1], progress=progress_of(args))
    except ArgumentError as error:
        return _States("not compared", note=str(error))
    except BaseException as error:
        if isinstance(error, Exception) or not is_own(error) or found is None:
            raise
        return _States("part", found, f"the exact step needs a replay, and {ended(error)}")
    found = exact
    if found is None:
        return _States("agree")
    return _States("part", found, "" if found.exact else "a replay here shows no earlier difference")


def _with_step(args: argparse.Namespace, importer: Importer, recording: Recording, path: str, step: Any) -> Run[Any]:
    codec = codec_of(args, importer) if recording.checkpoints.codec.user else None
    return load(path, step, allow_pickle=args.allow_pickle, codec=codec, reader=args.reader, key=args.key)


def _stored_difference(a: Recording, b: Recording) -> Divergence | None:
    """Return where stored states differ, without any code; a `MissingStepError` says that they agree."""
    classes = has_classes(a) and has_classes(b)
    sides = [side if classes else _without_classes(side) for side in (a, b)]
    found = Run(sides[0], None, {}).diff(Run(sides[1], None, {}))
    if found is None or classes or "'dict'" in str(a.checkpoints.codec.layout and a.checkpoints.codec.layout.to_json()):
        return found
    return replace(found, path=re.sub(r"\['(\w+)'\]", r".\1", found.path))


def _without_classes(recording: Recording) -> Recording:
    """Return a recording whose states are dicts where they are of classes that are not imported."""
    checkpoints = recording.checkpoints
    if checkpoints.layout is None:
        return recording
    layout = Layout.from_json(_plain(checkpoints.layout.to_json()))
    codec = StateCodec(layout.first(), checkpoints.codec.user)
    wide = layout if checkpoints.wide is not None else None
    return replace(recording, checkpoints=replace(checkpoints, codec=codec, wide=wide))


def _plain(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_plain(item) for item in tree]
    if not isinstance(tree, dict) or "dtype" in tree:
        return tree
    if "class" in tree:
        return {"dict": [[name, _plain(child)] for name, child in tree[next(k for k in tree if k != "class")]]}
    return {key: _plain(item) if key in ("list", "tuple", "dict") else item for key, item in tree.items()}
