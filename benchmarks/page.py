"""Put what ``python -m benchmarks --json PATH`` has measured into the page: ``python -m benchmarks.page PATH``.

The page is ``docs/performance.md``; only the text between two comments changes, and only if PATH has the figures
that belong there; those of `MOMENTS` have comments of their own.
"""

import argparse
import json
import pathlib

from . import MOMENTS
from .measure import Claim, Figure, row, shown

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
BEGIN_MOMENTS, END_MOMENTS = "<!-- moments: begin -->\n", "<!-- moments: end -->\n"
#: Files whose rows are no claims.
COMPARED = ("draws", "alternatives", "pure_kernel")


def tables(found):
    """Return the text between the first marks."""
    results = [result for result in found["results"] if result["file"] not in MOMENTS]
    parts = [
        head(found, results),
        table([result for result in results if result["file"] not in COMPARED], True),
        "For comparison, without bounds:",
        table([result for result in results if result["file"] in COMPARED], False),
    ]
    if found["instructions"]:
        lines = ["| file | side | instructions | |", "|---|---|---:|---:|"]
        for name, sides in found["instructions"].items():
            reference = next(iter(sides.values()))
            for side, value in sides.items():
                lines.append(f"| `{name}` | {side} | {value:,.0f} | {value / reference:.3g}x |")
        parts += ["Instructions a step (a block for `seed_block`, a value or row for statistics):", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def moments(found):
    """Return the text between the other marks."""
    results = [result for result in found["results"] if result["file"] in MOMENTS]
    return f"{head(found, results)}\n\n{table(results, True)}\n"


def head(found, results):
    """Return what is said before a table."""
    bounds = [result for result in results if result["met"] is not None]
    missed = sum(not result["met"] for result in bounds)
    met = f"{len(bounds) - missed} of {len(bounds)} bounds are met"
    return f"Measured with {about(found)}. {met}. In brackets: the least and the most of the processes."


def about(found):
    """Return the machine and the versions in words."""
    names = ("numpy", "h5py", "numba", "scipy", "zarr", "joblib", "distributed")
    versions = ", ".join(f"{name} {found[name]}" for name in names if name in found)
    machine = f"{found['cores']} cores of {found['machine']}, {found['system']}"
    steps = f"{found['steps']:,} steps, {found['fast_steps']:,} where they are native"
    ours = f"rewind {found['rewind']} ({found['kernel']} kernel), Python {found['python']}"
    return f"{ours}, {versions} on {machine}; {steps}"


def table(results, has_bounds):
    """Return rows of the table in Markdown."""
    head = "| what | measured | bound | met | against | |" if has_bounds else "| what | measured | against | |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for result in results:
        claim = Claim(**{name: result[name] for name in Claim.__dataclass_fields__})
        what, value, bound, met, reference, note = row(claim, Figure(result["value"], result["note"]))
        if result["value"] is not None and result["least"] != result["most"]:
            value += f" ({' to '.join(shown(result[end], claim, False) for end in ('least', 'most'))})"
        what = f"... {what.strip()}" if what.startswith(" ") else what
        cells = (what, value, bound, met, reference, note) if has_bounds else (what, value, reference, note)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    """Rewrite the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.splitlines()[0])
    parser.add_argument("path", type=pathlib.Path, help="what --json wrote")
    found = json.loads(parser.parse_args().path.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    measured = {result["file"] in MOMENTS for result in found["results"]}
    if False in measured:
        text = put(text, BEGIN, tables(found), END)
    if True in measured:
        text = put(text, BEGIN_MOMENTS, moments(found), END_MOMENTS)
    PAGE.write_text(text, encoding="utf-8")


def put(text, begin, between, end):
    """Return `text` with other words between two marks."""
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{between}\n{end}{after}"


if __name__ == "__main__":
    main()
