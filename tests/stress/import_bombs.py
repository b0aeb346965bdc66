"""Small files that are large in memory: ``python tests/stress/import_bombs.py``.

Bundles of a megabyte or so, packed by just as much as an import takes, whose JSON would be gigabytes of objects: one
line, many rows, many names. Each is imported by a process of its own, and the most memory that it had and the time it
took are printed. The exit status is 1 if one took more than 600 MB.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import rewind
from rewind.tracker.transfer import export

MOST = 600_000  # kilobytes


def noisy(unit: bytes, size: int, seed: int = 1) -> bytes:
    """Return about `size` bytes of a unit, with as many random numbers between as let them be packed 75 times."""
    rng, some = random.Random(seed), unit * 2000
    pieces = []
    while len(pieces) * len(some) < size:
        noise = b",".join(b"%d" % rng.randrange(10**9) for _ in range(len(some) // 450))
        pieces.append(some + noise + b",")
    return b"".join(pieces)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "one line of revisions": ("revisions.jsonl", lambda: b"[" + noisy(b"[],", 55_000_000) + b"0]\n"),
    "one row": ("rows/0.jsonl", lambda: b'[0,{"x":[' + noisy(b"[],", 55_000_000) + b"0]}]\n"),
    "many rows": (
        "rows/0.jsonl",
        lambda: b"".join(b'[%d,{"x":[%s0]}]\n' % (i, noisy(b"[],", 20_000, i)) for i in range(2700)),
    ),
    "many names": (
        "rows/0.jsonl",
        lambda: b"".join(
            b"[%d,{%s}]\n" % (i, b",".join(b'"%s%d":1' % (b"a" * 32, i * 100 + j) for j in range(100)))
            for i in range(11_000)
        ),
    ),
    "a manifest in a line": (
        "artifacts.jsonl",
        lambda: b'["a",0,"","%s",%s,"{}",1.0]\n'
        % (b"0" * 64, json.dumps("[" + noisy(b"[],", 55_000_000).decode() + "0]").encode()),
    ),
}  # fmt: skip


def forged(source: str, target: str, name: str, data: bytes) -> int:
    """Write a bundle with another member, and a manifest that agrees; return its size."""
    with zipfile.ZipFile(source) as zipped:
        members = {info.filename: zipped.read(info) for info in zipped.infolist()}
    members[name] = data
    facts = json.loads(members[export.MANIFEST])
    facts["members"][name] = [len(data), hashlib.blake2b(data, digest_size=32).hexdigest()]
    facts["digest"] = export.digest_of_manifest(facts)
    members[export.MANIFEST] = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for one, content in members.items():
            zipped.writestr(one, content)
    return os.path.getsize(target)


CODE = """
import sys, rewind
from rewind.tracker.transfer.import_ import import_bundle
try:
    import_bundle(sys.argv[1], sys.argv[2])
    said = "imported"
except rewind.RewindError as error:
    said = f"{type(error).__name__}: {error}"
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1], said[:200])
"""


def main() -> int:
    """Import each; return 1 if one took too much."""
    worst = 0
    with tempfile.TemporaryDirectory() as at:
        with rewind.init(dir=f"{at}/runs", id="a") as run:
            run.log({"x": 1})
        rewind.Tracker(f"{at}/runs").export("a", f"{at}/a.zip")
        for title, (name, make) in BOMBS.items():
            data = make()
            size = forged(f"{at}/a.zip", f"{at}/b.zip", name, data)
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", CODE, f"{at}/to", f"{at}/b.zip"], capture_output=True, text=True, check=True
            )
            seconds = time.perf_counter() - begun
            kilobytes, said = done.stdout.split(" ", 1)
            worst = max(worst, int(kilobytes))
            said = said.strip().replace(str(Path(at)), "")
            print(
                f"{title}: {size:,} bytes, {len(data):,} unpacked: {int(kilobytes) // 1000} MB, {seconds:.1f} s; {said}"
            )
    return 1 if worst > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
