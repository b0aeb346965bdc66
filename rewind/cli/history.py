"""The verb that writes the rows of tracked runs: history."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..storage.files import write_file_by
from ..tracker.moment import reference
from ..tracker.store import history as chain
from ..tracker.store.database import Store
from ..tracker.store.keys import near
from ..tracker.store.lookup import revision_of
from .answer import Answer, NotFound, UsageError
from .common import require_output
from .render import json_text
from .tracker import open_store, ref_of
from .user_code import Importer

_plain = json.JSONEncoder(allow_nan=False, check_circular=False).encode
_BATCH = 1000  # rows that are written at a time
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # what the text of a formula begins with
_PLAIN = frozenset({float, int, str, bool, type(None)})


def history(args: argparse.Namespace, importer: Importer) -> Answer:
    """Write the rows of a revision of a tracked run, those of its parents included, as CSV or JSON."""
    kinds = [kind for kind in ("csv", "json", "jsonl") if getattr(args, kind)]
    if len(kinds) > 1:
        raise UsageError(f"--{kinds[0]} and --{kinds[1]} are two forms of one answer; choose one")
    kind = kinds[0] if kinds else "csv"
    if args.safe_csv and kind != "csv":
        raise UsageError(f"--safe-csv is for CSV, and --{kind} is another form; choose one")
    if args.output is not None:
        require_output(args.output, "-o", None, args.force)
    run_id, number = reference(ref_of(args))
    low = max(args.min_step, 0)
    high = chain.END if args.max_step is None else min(args.max_step, chain.END)
    with open_store(args) as store:
        record = revision_of(store, run_id, number, removed=True)
        spans = chain.spans(store, record.uid)
        columns, n, last = _columns(store, record.uid, spans, low, high)
        keys = _keys(store, record.uid, spans, args.keys, columns)
        if keys is not None:
            n = sum(map(len, chain.batches(store, spans, keys, low, high)))
        names = list(columns if keys is None else keys)

    def found() -> Iterator[dict[str, Any]]:
        with open_store(args) as store:  # rows that come meanwhile are after the last one
            yield from chain.history(store, spans, keys, low, min(high, last + 1))

    facts: dict[str, Any] = {"dir": store.folder, "run": record.ref, "columns": ["_step", *names], "n_rows": n}
    if kind == "json":
        pieces = _json_pieces({"schema": 1, "verb": "history", **facts, "rows": found()})
    else:
        pieces = (
            _csv_pieces(names, found(), args.safe_csv)
            if kind == "csv"
            else _joined(f"{_row_text(row)}\n" for row in found())
        )
    if args.output is None:
        return Answer(facts, "", pieces=pieces)
    write_file_by(args.output, lambda fd: _write(fd, pieces))
    return Answer({**facts, "output": args.output}, f"wrote {args.output}: {n:,} rows of {len(names):,} columns")


def _columns(store: Store, uid: int, spans: list[chain.Span], low: int, high: int) -> tuple[list[str], int, int]:
    """Return the keys of all rows, as they come, the number of the rows, and the last step."""
    if low == 0 and high == chain.END and not store.read("SELECT 1 FROM backfilled LIMIT 1"):  # no row is read for it
        query = "SELECT count(*) FROM rows WHERE revision = ? AND step <= ?"
        n = sum(store.read(query, (span.uid, span.last_row))[0][0] for span in spans)
        return list(chain.aggregates_at(store, uid)), n, chain.last_step(store, uid)
    columns, n, last = dict[str, None](), 0, -1
    for steps, rows, _ in chain.kept_batches(store, spans, low, high):
        n, last = n + len(rows), steps[-1]
        for row in rows:
            if not row.keys() <= columns.keys():
                columns |= dict.fromkeys(row)
    return list(columns), n, last


def _keys(store: Store, uid: int, spans: list[chain.Span], texts: list[str], columns: list[str]) -> list[str] | None:
    """Return what --keys names: a name as it stands, or several with commas between them."""
    if not texts:
        return None
    asked = [key for text in texts for key in ([text] if text in columns else text.split(","))]
    if not {*asked} <= {"_step", *columns}:
        columns = _columns(store, uid, spans, 0, chain.END)[0]
        asked = [key for text in texts for key in ([text] if text in columns else text.split(","))]
    for key in asked:
        if key not in columns and key != "_step":
            columns = list(dict.fromkeys([*near(key, columns), *columns]))
            some = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
            raise NotFound(f"no row has {key!r}; there is {some or 'none'}")
    return list(dict.fromkeys(key for key in asked if key != "_step"))


def _csv_pieces(names: list[str], found: Iterable[Mapping[str, Any]], safe: bool) -> Iterator[str]:
    columns, rest = ["_step", *names], iter(found)
    yield _csv_text([list(map(_harmless, columns)) if safe else columns])
    while some := list(itertools.islice(rest, _BATCH)):
        rows = [[row.get(name, "") for name in columns] for row in some]
        cells = [[value if type(value) is float else _cell(value) for value in row] for row in rows]
        yield _csv_text([list(map(_harmless, row)) for row in cells] if safe else cells)


def _csv_text(rows: list[list[Any]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(rows)
    text = file.getvalue()
    if "\r" not in text:
        return text
    file = io.StringIO(newline="")
    for row in rows:  # Python before 3.13 writes a carriage return as it is, and the cell would end there
        returns = any(type(cell) is str and "\r" in cell for cell in row)
        quoting: Any = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
        csv.writer(file, lineterminator="\n", quoting=quoting).writerow(row)
    return file.getvalue()


def _harmless(cell: Any) -> Any:
    """Return a cell that no spreadsheet runs: text that begins as a formula does has an apostrophe before it.

    Numbers stay numbers, negative ones too. Blanks before a formula do not keep every program from running it, and some
    take the wide forms of these characters.
    """
    if type(cell) is str and cell and (cell.lstrip()[:1] in _FORMULA or cell[0] in "\t\r\n"):
        return f"'{cell}"
    return cell


def _cell(value: Any) -> Any:
    if type(value) in (float, str, bool) or (type(value) is int and abs(value) < 1 << 64):
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return json_text(_whole(value))


def _row_text(row: Mapping[str, Any]) -> str:
    if all(type(value) in _PLAIN for value in row.values()):
        with contextlib.suppress(ValueError):  # NaN, or an integer of more digits than Python writes
            return _plain(row)
    return json_text(_whole(row))


def _whole(value: Any) -> Any:
    """Return a value whose arrays `to_json` writes out, however large they are."""
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "data": value.tolist()}
    if isinstance(value, list):
        return list(map(_whole, value))
    return {key: _whole(one) for key, one in value.items()} if isinstance(value, dict) else value


def _json_pieces(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of one JSON object, the last of whose values is an iterator."""
    *before, (name, items) = facts.items()
    yield f"{json_text(dict(before))[:-1]}, {json.dumps(name)}: ["
    yield from _joined(f"{', ' if i else ''}{_row_text(item)}" for i, item in enumerate(items))
    yield "]}\n"


def _joined(pieces: Iterable[str]) -> Iterator[str]:
    """Yield pieces, many at a time."""
    rest = iter(pieces)
    while some := "".join(itertools.islice(rest, _BATCH)):
        yield some


def _write(fd: int, pieces: Iterable[str]) -> None:
    with os.fdopen(os.dup(fd), "wb") as file:
        for piece in pieces:
            file.write(piece.encode("utf-8", "backslashreplace"))
        file.flush()
        os.fsync(fd)
