"""What the rows and the summary of a tracked run are, in plain dicts and lists; knows nothing of the store."""

import math
from fractions import Fraction


def dotted(data, prefix=""):
    found = {}
    for key, value in data.items():
        found |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return found


def mean(values):
    infinite = {value for value in values if value in (math.inf, -math.inf)}
    if len(infinite) == 2 or not all(value == value for value in values):
        return math.nan
    exact = max(infinite, default=None) or sum(map(Fraction, values)) / len(values)
    return float(exact) if infinite or abs(exact) < 2**1024 - 2**970 else math.inf if exact > 0 else -math.inf


class Model:
    def __init__(self, rows=(), step=0, defined=(), assigned=(), logged=(), used=(), kept=()):
        self.rows, self.step, self.open = dict(rows), step, None
        self.defined, self.assigned = dict(defined), list(assigned)
        self.logged, self.used, self.kept = list(logged), list(used), list(kept)  # versions of an artifact, with steps

    def left_at(self, step, goes_on=False):
        """The same up to a step; `goes_on`: it was resumed, and neither rewound nor forked."""
        rows = {t: row for t, row in self.rows.items() if t <= step}
        assigned, logged, used = (
            [one for one in of if one[0] <= step] for of in (self.assigned, self.logged, self.used)
        )
        return Model(rows, step + 1, self.defined, assigned, logged, used, self.kept if goes_on else used)

    def where(self):
        return self.step if self.open is not None else self.step - 1

    def latest(self, others):
        """The version that the artifact is: of its past, or as the kept past used it, or the last of other runs."""
        return next((of[-1][1] for of in (self.logged, self.kept) if of), max(others, default=None))

    def log(self, data, step=None, commit=None):
        if step is not None and step < self.step:
            return
        if step is not None and step > self.step:
            self.close()
            self.step = step
        self.open = {key: value for key, value in {**(self.open or {}), **dotted(data)}.items() if key != "_step"}
        if commit or (commit is None and step is None):
            self.close()

    def close(self):
        if self.open is not None:
            self.rows[self.step], self.open, self.step = self.open, None, self.step + 1

    def summary(self):
        found, by_hand = {}, {key: (step, value) for step, key, value in self.assigned}
        for key in {key for row in self.rows.values() for key in row}:
            values = [row[key] for _, row in sorted(self.rows.items()) if row.get(key) is not None]
            numbers = [value for value in values if isinstance(value, (int, float))]
            can = {"first": values[0], "last": values[-1]} if values else {}
            if numbers:
                nans = [value for value in numbers if value != value]
                can |= {"min": min(nans or numbers), "max": max(nans or numbers), "mean": mean(numbers)}
            fits = [n for n in self.defined if n == key or (n[-1] == "*" and key.startswith(n[:-1]) and key[0] != "_")]
            kinds = self.defined[max(fits, key=lambda name: (name == key, len(name)))] if fits else ["shown"]
            if key in by_hand and by_hand[key][0] < max(t for t, row in self.rows.items() if key in row):
                del by_hand[key]
            if kinds != ["none"] and (values or fits):
                found[key] = values[-1] if kinds == ["shown"] else {kind: can[kind] for kind in kinds if kind in can}
        return found | {k: v for k, (_, v) in by_hand.items()} | ({"_step": max(self.rows)} if self.rows else {})
