"""What a revision remembers of where it was logged: command, git, host, system, Python, packages."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from .store import blobs
from .store.artifacts import MEDIA, add_event
from .store.blobs import File
from .store.database import Store
from .store.history import Record

#: The environment's word for ``save_code=False``.
NO_CODE = "REWIND_NO_CODE"
_MOST_DIFF = 16 << 20
_SECONDS = 10.0  # that git is given


@dataclass(frozen=True)
class Git:
    """What git says of the working directory.

    Attributes
    ----------
    commit : str
    dirty : bool or None
        Whether files that git knows differ from it; None where git did not say.
    diff : bytes
        How.
    """

    commit: str
    dirty: bool | None
    diff: bytes


def wants_code(save_code: bool) -> bool:
    """Whether the state of the code is to be kept: unless the call or the environment says no."""
    return save_code and os.environ.get(NO_CODE, "").lower() in ("", "0", "false", "no")


def machine(save_code: bool) -> tuple[dict[str, Any], bytes]:
    """Return what there is to remember, and the diff of the working directory: empty where there is none."""
    git = git_state(os.getcwd()) if save_code and _has_directory() else None
    found: dict[str, Any] = {
        **command(),
        "directory": _text(os.getcwd()) if _has_directory() else None,
        "host": _text(platform.node()),
        "system": _text(platform.platform()),
        "python": platform.python_version(),
        "packages": packages(),
    }
    if git is not None:
        found["git"] = {"commit": git.commit, "dirty": git.dirty}
    return found, b"" if git is None else git.diff


def _has_directory() -> bool:
    try:
        os.getcwd()
    except OSError:  # somebody deleted it
        return False
    return True


def command() -> dict[str, Any]:
    """Return how this process was started: the interpreter with its program, and the arguments of that."""
    arguments = [_text(one) for one in sys.argv[1:]]
    whole = [_text(one) for one in sys.orig_argv]
    n = len(whole) - len(arguments)
    program = whole[:n] if n > 0 and whole[n:] == arguments else [_text(one) for one in sys.argv[:1]]
    if "-c" in program[1:-1]:
        program[-1] = "..."  # a program of many lines, maybe
    return {"command": shlex.join(program), "arguments": arguments}


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


def packages() -> dict[str, str]:
    """Return the versions of the packages that are imported, as they say themselves; nothing is imported or run."""
    found = {}
    for name, module in sorted(sys.modules.copy().items()):
        if "." not in name and not name.startswith("_"):
            space = getattr(module, "__dict__", None)
            version = space.get("__version__") if type(space) is dict else None
            if type(version) is str and name not in sys.stdlib_module_names:
                found[name] = _text(version)[:100]
    return found


def duration_of(store: Store, record: Record) -> float:
    """Return for how many seconds a revision was logged to: until it was closed, or else up to its last row."""
    ended = record.ended
    if ended is None and store.version > 1:
        query = "SELECT seconds FROM rows WHERE revision = ? ORDER BY step DESC LIMIT 1"
        ended = next((seconds for (seconds,) in store.read(query, (record.uid,))), None)
    return 0.0 if ended is None else max(ended - record.began, 0.0)


# ---- git


@functools.lru_cache(16)
def git_state(directory: str) -> Git | None:
    """Return what git says of a directory, the first time this process asks: the code that it imported by then.

    None where there is no repository, no git, or no commit.
    """
    at = directory
    while not os.path.exists(os.path.join(at, ".git")):  # no process is started where there is none
        above = os.path.dirname(at)
        if above == at:
            return None
        at = above
    commit = _git(at, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    # What a repository's settings name is not run for it: no monitor, no conversion to text, no other diff.
    diff = _git(at, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "HEAD")
    kept = diff if diff is not None and len(diff) <= _MOST_DIFF else b""
    return Git(commit.decode("ascii", "replace").strip(), None if diff is None else bool(diff), kept)


def _git(directory: str, *arguments: str) -> bytes | None:
    call = ["git", "-c", "core.fsmonitor=false", "-C", directory, *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            call, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, env=environment, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


# ---- the diff, a file beside those of artifacts

_NAME = "diff.patch"


def keep_diff(store: Store, uid: int, step: int, diff: bytes) -> None:
    """Keep a diff for a revision, in the transaction that begins it, as what media are: an entry that has no name."""
    digest = hashlib.blake2b(diff, digest_size=32).hexdigest()
    blobs.add_content(store.folder, diff, digest)
    files = [File(_NAME, digest, len(diff), False)]
    manifest = blobs.manifest_digest(files)
    found = store.read("SELECT uid FROM artifacts WHERE name = ?", (MEDIA + manifest,))
    if found:
        artifact = int(found[0][0])
    else:
        statement = """INSERT INTO artifacts (name, version, type, digest, manifest, metadata, began)
                       VALUES (?, 0, 'code', ?, ?, '{}', ?)"""
        values = (MEDIA + manifest, manifest, blobs.manifest_text(files), time.time())
        artifact = int(store.connection.execute(statement, values).lastrowid or 0)
    add_event(store, store.connection, uid, step, "code", artifact, ())


def diff_file(store: Store, uid: int) -> tuple[str, int] | None:
    """Return where the diff of a revision is, and its size; None where there is none."""
    query = """SELECT a.manifest FROM artifact_events e JOIN artifacts a ON a.uid = e.artifact
               WHERE e.revision = ? AND e.kind = 'code' ORDER BY e.n LIMIT 1"""
    for (manifest,) in store.read(query, (uid,)):
        for file in blobs.manifest_of(manifest, f"a manifest in {store.path}"):
            return blobs.content_path(store.folder, file.digest), file.size
    return None
