"""Altered exports: ``python tests/stress/mutated_bundles.py [--trials 3000] [--seed 1]``.

A bundle is altered: by bytes, or by values of its tables with a manifest that agrees. Its import has to end with a
`RewindError`, or add what passes every check; the folder it goes to must be sound afterwards, with what it had. What is
wrong is counted, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.mutated_stores import ODD, Hang, at_most
from helpers.tracked_family import made

import rewind
from rewind.tracker.transfer import export


def altered(value: Any, rng: random.Random) -> Any:
    """Return a value of JSON with one thing in it another one."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: altered(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        kind = rng.randrange(10)
        if kind < 2:
            return value[:at] + value[at + 1 :] if kind else [*value[:at], value[at], *value[at:]]
        return [*value[:at], altered(value[at], rng), *value[at + 1 :]]
    if isinstance(value, str) and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice("0aé/.\0\\{[") + value[at + 1 :]
    odd = [one for one in ODD if not isinstance(one, bytes) and one == one and one not in (float("inf"),)]
    return rng.choice([*odd, [], {}, True, False, 1.5])


def forge(members: dict[str, bytes], target: str, rng: random.Random) -> None:
    """Write the members with one of them altered, and a manifest that agrees."""
    new = dict(members)
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice([name for name in sorted(new) if name != export.MANIFEST])
        lines = new[name].split(b"\n")
        kind = rng.randrange(10)
        if not name.endswith(".jsonl") or kind == 0:
            data = bytearray(new[name] or b"x")
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            new[name] = bytes(data)
        elif kind == 1:
            new[name] = b"\n".join(lines[:1] + lines)
        elif kind == 2 and len(lines) > 2:
            new[name] = b"\n".join(lines[1:])
        elif lines[0]:
            at = rng.randrange(max(1, len(lines) - 1))
            with contextlib.suppress(ValueError):  # it was altered before
                lines[at] = json.dumps(altered(json.loads(lines[at]), rng), separators=(",", ":")).encode()
            new[name] = b"\n".join(lines)
    if rng.random() < 0.1:
        del new[rng.choice(sorted(new))]
    facts = json.loads(members[export.MANIFEST])
    for name in facts["members"]:
        if name in new:
            facts["members"][name] = [len(new[name]), hashlib.blake2b(new[name], digest_size=32).hexdigest()]
    if rng.random() < 0.1:
        facts = altered(facts, rng)
    if isinstance(facts, dict):
        facts["digest"] = export.digest_of_manifest(facts)
    new[export.MANIFEST] = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in new.items():
            zipped.writestr(name, data)


def trial(bundle: str, members: dict[str, bytes], at: str, rng: random.Random) -> tuple[str, str | None]:
    """Import an altered bundle; return what became of it, and what was wrong."""
    path, folder = os.path.join(at, "b.zip"), os.path.join(at, "to")
    if rng.random() < 0.4:
        data = bytearray(Path(bundle).read_bytes())
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.choice([0, 0xFF, rng.randrange(256)])
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        Path(path).write_bytes(data)
    else:
        forge(members, path, rng)
    before = {run.ref: run.digest for run in rewind.Tracker(folder).runs()}
    try:
        with at_most(60):
            new = rewind.Tracker(folder).import_file(path)
    except rewind.RewindError as error:
        result = f"refused: {type(error).__name__}"
        new = []
    except (Hang, Exception) as error:
        return "wrong", f"{type(error).__name__}: {error}"[:300]
    else:
        result = "imported" if new else "nothing new"
    report = rewind.Tracker(folder).fsck()
    if not report.ok or report.leftovers:
        return "wrong", f"{result}, and then fsck: {(report.problems + report.leftovers)[0]}"[:300]
    if any(rewind.Tracker(folder).run(ref).digest != digest for ref, digest in before.items()):
        return "wrong", "a run that was there is another"
    for run_id in new:
        rewind.Tracker(folder).purge(run_id)
    return result, None


def main() -> int:
    """Alter as the command line says; return 1 if an import ended otherwise than it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", rewind.RewindWarning)
    results: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as at:
        content = Path(at, "model")
        content.mkdir()
        (content / "weights.bin").write_bytes(bytes(range(256)))
        bundle = os.path.join(at, "a.zip")
        rewind.Tracker(made(os.path.join(at, "original"), content)).export("of_fork", bundle)
        with zipfile.ZipFile(bundle) as zipped:
            members = {info.filename: zipped.read(info) for info in zipped.infolist()}
        with rewind.init(dir=os.path.join(at, "to"), id="here") as run:
            run.log({"x": 1})
        for i in range(options.seed, options.seed + options.trials):
            result, problem = trial(bundle, members, at, random.Random(i))
            results[result] += 1
            if problem:
                wrong.append(f"{i}: {problem}")
                shutil.rmtree(os.path.join(at, "to"))
                with rewind.init(dir=os.path.join(at, "to"), id="here") as run:
                    run.log({"x": 1})
    print(f"trials: {options.trials:,}, {dict(results)}, wrong: {len(wrong)}", *wrong[:20], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
