"""How much memory there is for what a file holds."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

#: What may always be asked for, however little there seems to be.
ALWAYS = 64 << 20

#: What is assumed where the system does not say.
_UNKNOWN = 4 << 30


def available_memory() -> int:
    """Return how many bytes a process may still take: of the machine, its control group and its own limit.

    A part of it is left to others. At least `ALWAYS`; where the operating system does not say what is available, half
    of what the machine has.
    """
    free = min(_found(), default=_UNKNOWN)
    return max(ALWAYS, free - free // 8)


def _found() -> Iterator[int]:
    """Yield the room under each limit that is known."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        said = _table("/proc/meminfo")
        yield (said["MemAvailable"] + said.get("SwapFree", 0)) << 10
        yield from _of_groups()
    if sys.platform != "linux":
        with contextlib.suppress(AttributeError, OSError, ValueError):
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # there is none on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm") as file:
                yield max(0, limit - int(file.read().split()[0]) * resource.getpagesize())


def _table(path: str) -> dict[str, int]:
    """Return the lines ``name: number`` or ``name number`` of a file."""
    with open(path) as file:
        pairs = (line.replace(":", " ").split() for line in file)
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}


def _of_groups(root: str = "/sys/fs/cgroup") -> Iterator[int]:
    """Yield the room in each control group this process is in, of either version; pages of files are given back."""
    with open("/proc/self/cgroup") as file:
        groups = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, path in groups:
        if not controllers:
            top, limit, used, cache = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            top, (limit, used, cache) = os.path.join(root, "memory"), names
        else:
            continue
        at = path
        while True:
            folder = os.path.join(top, at.lstrip("/"))
            with contextlib.suppress(OSError, ValueError, KeyError):  # no limit is the text "max"
                most = _number(os.path.join(folder, limit))
                taken = _number(os.path.join(folder, used)) - _table(os.path.join(folder, "memory.stat"))[cache]
                yield max(0, most - taken)
            if at in ("", "/"):
                break
            at = os.path.dirname(at)


def _number(path: str) -> int:
    with open(path) as file:
        return int(file.read())
