"""Text conditions mean what a plain loop finds, prune no block they should not, and say where they cannot be read."""

import itertools
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewind.errors import ConditionError
from rewind.metrics.condition import MAX_LENGTH, Condition, parse
from rewind.metrics.table import COLUMNS

pytestmark = pytest.mark.once

SHAPES = {"x": (), "day.2": (), "odd-name": (), "any": (), "v": (3,), "ω": (3,), "m": (2, 2)}
PLACES = {(): [()], (3,): [(0,), (1,), (2,)], (2, 2): [(0, 0), (0, 1), (1, 0), (1, 1)]}


def over(a, b):
    """Return ``a / b`` as IEEE has it, which Python refuses for b = 0."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": over}
COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
TESTS = {"isnan": math.isnan, "isinf": math.isinf, "isfinite": math.isfinite, "abs": abs}
LITERALS = {
    "0": 0.0,
    "1": 1.0,
    "3.": 3.0,
    ".5": 0.5,
    "1_000.2_5": 1000.25,
    "1e308": 1e308,
    "5e-324": 5e-324,
    "9" * 400: math.inf,
    "inf": math.inf,
    "NaN": math.nan,
    "true": 1.0,
    "False": 0.0,
    "1E+0_2": 100.0,
    "9007199254740993": 9007199254740992.0,
}

# ---- random conditions, as trees: (kind, whether to write parentheses that are not needed, ...)


def numbers(draw, depth, shape):
    """Draw a number; where `shape` is one of a vector, the number may have it."""
    spare = draw(st.integers(0, 9)) == 0
    kind = draw(st.sampled_from(["literal", "metric", "metric"] + ["sign", "arithmetic", "abs", "truth"] * (depth > 0)))
    if kind == "literal":
        return kind, spare, draw(st.sampled_from(sorted(LITERALS)))
    if kind == "metric":
        name = draw(st.sampled_from(sorted(SHAPES)))
        whole = SHAPES[name] in ((), shape)
        if whole and (not SHAPES[name] or draw(st.booleans())):
            return kind, spare, name, None
        return kind, spare, name, draw(st.sampled_from(PLACES[SHAPES[name]]))
    if kind == "sign":
        return kind, spare, draw(st.sampled_from("-+")), numbers(draw, depth - 1, shape)
    if kind == "abs":
        return "test", spare, "abs", numbers(draw, depth - 1, shape)
    if kind == "truth":
        return truths(draw, depth - 1, shape)
    operands = [numbers(draw, depth - 1, shape) for _ in range(2)]
    return kind, spare, draw(st.sampled_from("+-*/")), *operands


def truths(draw, depth, shape=()):
    spare = draw(st.integers(0, 9)) == 0
    kinds = ["compare", "test"] + ["and", "or", "not", "some", "compare", "number"] * (depth > 0)
    kind = draw(st.sampled_from(kinds))
    if kind == "number":
        return numbers(draw, depth - 1, ()) if shape == () else truths(draw, depth - 1, shape)
    if kind == "compare":
        words = draw(st.lists(st.sampled_from(sorted(COMPARISONS)), min_size=1, max_size=3 if depth > 0 else 1))
        return kind, spare, words, [numbers(draw, depth - 1, shape) for _ in range(len(words) + 1)]
    if kind == "test":
        return kind, spare, draw(st.sampled_from(["isnan", "isinf", "isfinite"])), numbers(draw, depth - 1, shape)
    if kind == "not":
        return kind, spare, truths(draw, depth - 1, shape)
    if kind == "some":
        inner = draw(st.sampled_from([(), (3,), (3,), (2, 2)]))
        return kind, spare, draw(st.sampled_from(["any", "all"])), inner, truths(draw, depth - 1, inner)
    return kind, spare, [truths(draw, depth - 1, shape) for _ in range(draw(st.integers(2, 3)))]


trees = st.composite(lambda draw: truths(draw, draw(st.integers(0, 4))))()


def evaluated(tree, row, at=()):
    """Return what a tree is for the values `row` of one step, at component `at` of vectors, in plain Python."""
    kind, _, *parts = tree
    if kind == "literal":
        return LITERALS[parts[0]]
    if kind == "metric":
        name, index = parts
        return row[name][at if index is None and SHAPES[name] else index or ()]
    if kind == "sign":
        value = float(evaluated(parts[1], row, at))
        return -value if parts[0] == "-" else value
    if kind == "arithmetic":
        return ARITHMETIC[parts[0]](*(float(evaluated(part, row, at)) for part in parts[1:]))
    if kind == "test":
        return TESTS[parts[0]](float(evaluated(parts[1], row, at)))
    if kind == "compare":
        values = [evaluated(part, row, at) for part in parts[1]]
        return all(COMPARISONS[word](*pair) for word, pair in zip(parts[0], itertools.pairwise(values), strict=True))
    if kind == "not":
        return not evaluated(parts[0], row, at)
    if kind == "some":
        quantifier = any if parts[0] == "any" else all
        return quantifier(evaluated(parts[2], row, place) for place in PLACES[parts[1]])
    quantifier = any if kind == "or" else all
    return quantifier([evaluated(part, row, at) for part in parts[0]])


WEAK = ["or", "and", "not", "compare", "+-", "*/", "sign", "atom"]


def rendered(tree, least="or"):
    """Return the text of a tree, in parentheses if it binds less than `least`."""
    kind, spare, *parts = tree
    level = kind
    if kind == "literal":
        level, text = "atom", parts[0]
    elif kind == "metric":
        name = parts[0] if parts[0] not in ("odd-name", "any") else f"`{parts[0]}`"
        level, text = "atom", name + (f"[{', '.join(map(str, parts[1]))}]" if parts[1] else "")
    elif kind == "sign":
        text = parts[0] + rendered(parts[1], "sign")
    elif kind == "arithmetic":
        level, tighter = ("+-", "*/") if parts[0] in "+-" else ("*/", "sign")
        text = f"{rendered(parts[1], level)}{parts[0]}{rendered(parts[2], tighter)}"
    elif kind == "test":
        level, text = "atom", f"{parts[0]}({rendered(parts[1])})"
    elif kind == "compare":
        first, *others = (rendered(part, "+-") for part in parts[1])
        text = first + "".join(f" {word}{other}" for word, other in zip(parts[0], others, strict=True))
    elif kind == "not":
        text = f"not {rendered(parts[0], 'not')}"
    elif kind == "some":
        level, text = "atom", f"{parts[0]} ( {rendered(parts[2])} )"
    else:
        text = f" {kind}\n".join(rendered(part, WEAK[WEAK.index(kind) + 1]) for part in parts[0])
    return f"({text})" if spare or WEAK.index(level) < WEAK.index(least) else text


few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 3.0, 0.5, 1000.25, 5e-324, -5e-324, 1e308, -1e308])
special = st.sampled_from([math.nan, math.inf, -math.inf, 1.7976931348623157e308])
floats = few | few | special | st.floats()


@st.composite
def observed(draw, max_steps=6):
    """Draw n and n values of each metric."""
    n = draw(st.integers(1, max_steps))
    values = {}
    for name, shape in SHAPES.items():
        some = draw(st.sampled_from([few, floats, special, st.just(draw(floats))]))
        size = n * math.prod(shape)
        values[name] = np.array(draw(st.lists(some, min_size=size, max_size=size))).reshape(n, *shape)
    return n, values


def plainly(tree, values, n):
    """Return what a tree is at each step."""
    rows = [
        {name: {at: float(values[name][i][at]) for at in PLACES[shape]} for name, shape in SHAPES.items()}
        for i in range(n)
    ]
    return [bool(evaluated(tree, row)) for row in rows]


def tables(values, block_size):
    """Return the table of each metric, with one row per block."""
    found = {}
    for name, array in values.items():
        rows = []
        for start in range(0, len(array), block_size):
            block = array[start : start + block_size]
            nan = np.isnan(block)
            low, high = np.where(nan, np.inf, block), np.where(nan, -np.inf, block)
            none = nan.all(axis=0)
            argmin = np.where(none, -1, low.argmin(axis=0) + start)
            least, most = np.where(none, np.nan, low.min(axis=0)), np.where(none, np.nan, high.max(axis=0))
            rows.append((least, most, nan.sum(axis=0), argmin))
        columns = zip(*rows, strict=True)
        found[name] = {key: np.array(c) for key, c in zip(("min", "max", "nan_count", "argmin"), columns, strict=True)}
    return found


@given(trees, observed())
def test_a_condition_holds_where_a_plain_loop_finds_it(tree, data):
    n, values = data
    condition = parse(rendered(tree), SHAPES)
    found = condition.holds(values, n)
    assert found.dtype == bool and found.shape == (n,) and found.flags.writeable
    assert found.tolist() == plainly(tree, values, n)


@given(trees, observed(12), st.integers(1, 4))
def test_no_block_is_ruled_out_that_has_a_step_for_which_a_condition_holds(tree, data, block_size):
    n, values = data
    n_blocks = -(-n // block_size)
    condition = parse(rendered(tree), SHAPES)
    may = condition.may_hold(tables(values, block_size), n_blocks)
    assert may.dtype == bool and may.shape == (n_blocks,)
    for i, holds in enumerate(plainly(tree, values, n)):
        assert may[i // block_size] or not holds, (i, rendered(tree))


@given(trees)
def test_the_canonical_text_means_the_same(tree):
    condition = parse(rendered(tree), SHAPES)
    again = parse(repr(condition), SHAPES)
    assert repr(again) == repr(condition) and repr(again.program) == repr(condition.program)
    assert again.names == condition.names


@given(trees)
def test_a_condition_survives_a_pickle(tree):
    condition = parse(rendered(tree), SHAPES)
    back = pickle.loads(pickle.dumps(condition))
    assert repr(back) == repr(condition) and back.text == condition.text and back.names == condition.names


# ---- what is known of blocks

NAN, INF = math.nan, math.inf
#: Block by block: what x gives, and what v gives.
BLOCKS = [[0.25, 0.5], [5.0, 7.0], [NAN, NAN], [2.0, NAN], [-INF, 3.0], [-7.0, -4.0], [3.0, 3.0], [0.0, 0.0]]
X = np.array(BLOCKS).reshape(-1)
V = np.stack([X, -X, np.full(len(X), 100.0)], axis=1)
EVERY = set(range(len(BLOCKS)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 1e6", set()),
        ("x > 3", {1}),
        ("x >= 3", {1, 4, 6}),
        ("3 < x", {1}),
        ("x < 0", {4, 5}),
        ("x == 3", {4, 6}),
        ("x != 3", EVERY - {6}),
        ("not x == 3", EVERY - {6}),
        ("x != x", {2, 3}),
        ("x == x", EVERY - {2}),
        ("isnan(x)", {2, 3}),
        ("not isnan(x)", EVERY - {2}),
        ("isinf(x)", {4}),
        ("isfinite(x)", EVERY - {2}),
        ("not isfinite(x)", {2, 3, 4}),
        ("x == inf", set()),
        ("x == -inf", {4}),
        ("abs(x) > 3", {1, 4, 5}),
        ("abs(x) < 1", {0, 4, 7}),
        ("x + x > 2", {1, 3, 4, 6}),
        ("x - 1 > 2", {1}),
        ("2 * x < 1.5", {0, 4, 5, 7}),
        ("x * x > 50", {4}),
        ("-x > 3", {4, 5}),
        ("1 / x > 1", {0, 4, 7}),
        ("10 / x < 0", {4, 5, 7}),
        ("0 < x < 1", {0, 4}),
        ("x < 1 or x > 6", {0, 1, 4, 5, 7}),
        ("x > 1 and x < 3", {3, 4}),
        ("not (x > 1 and x < 6)", EVERY - {6}),
        ("x", EVERY - {7}),
        ("not x", {4, 7}),
        ("(x > 3) + (x < 6) == 2", {1}),
        ("v[0] > 3", {1}),
        ("v[1] > 3", {4, 5}),
        ("any(v > 100)", {4}),
        ("any(v < 0)", EVERY - {2, 7}),
        ("all(v > 0)", {4}),
        ("all(v != 0)", EVERY - {7}),
        ("any(isnan(v))", {2, 3}),
        ("any(v > 6) == false", set()),
        ("x > 3 and isnan(v[2])", set()),
        ("true", EVERY),
        ("1 > 2", set()),
        ("nan == nan", set()),
    ],
)
def test_blocks_are_ruled_out(text, expected):
    condition = parse(text, {"x": (), "v": (3,)})
    known = tables({"x": X, "v": V}, 2)
    assert set(np.flatnonzero(condition.may_hold(known, len(BLOCKS))).tolist()) == expected
    held = condition.holds({"x": X, "v": V}, len(X)).reshape(-1, 2).any(axis=1)
    assert set(np.flatnonzero(held).tolist()) <= expected


def test_a_zero_of_either_sign_is_one_zero_in_a_table():
    x = np.array([0.0, -0.0])
    for text in ("1 / x == -inf", "1 / x == inf", "1 / abs(x) == inf", "1 / -x < 0", "1 / (x * -1) < 0"):
        condition = parse(text, {"x": ()})
        for values in (x, x[::-1].copy(), x[1:].copy(), x[:1].copy()):
            may = condition.may_hold(tables({"x": values}, 2), 1)
            assert may[0] >= condition.holds({"x": values}, len(values)).any()


# Every block of two values of x beside two of y, whose four steps are every pair.
EDGES = [-INF, -1e308, -2.0, -0.0, 0.0, 5e-324, 3.0, 1e308, INF, NAN]
PAIRS = list(itertools.combinations_with_replacement(EDGES, 2))
BOXES = np.array([list(itertools.product(xs, ys)) for xs in PAIRS for ys in PAIRS])
BOX = {"x": BOXES[:, :, 0].reshape(-1), "y": BOXES[:, :, 1].reshape(-1)}
BOX_TABLES = tables(BOX, 4)


def of_boxes(text):
    """Return whether a condition may hold in each box, and whether it does."""
    condition = parse(text, {"x": (), "y": ()})
    may = condition.may_hold(BOX_TABLES, len(BOXES))
    return may, condition.holds(BOX, BOXES.shape[0] * 4).reshape(-1, 4).any(axis=1)


@pytest.mark.parametrize("value", ["x + y", "x - y", "x * y", "x / y", "abs(x)", "-x", "x / y * 0 + x", "(x < y) / y"])
def test_what_is_known_of_a_result_covers_every_result_at_the_edges_of_arithmetic(value):
    questions = ["isnan({})", "not isnan({})", "isinf({})", "not isinf({})", "isfinite({})", "not isfinite({})"]
    edges = [repr(edge) for edge in EDGES if not math.isnan(edge)]
    questions += [f"{{}} {word} {edge}" for word in ("<", "<=", ">", ">=", "==", "!=") for edge in edges]
    for question in questions:
        may, holds = of_boxes(question.format(f"({value})"))
        assert (may >= holds).all(), (question, BOXES[may < holds][0])


ORDERED = [f"x {word} y" for word in ("<", "<=", ">", ">=")]


@pytest.mark.parametrize("text", [*ORDERED, *(f"not {o}" for o in ORDERED), *(f"({o}) < 1" for o in ORDERED)]
                         + ["x != y", "(x != y) == 1", "isnan(x)", "not isnan(x)", "not isfinite(x)"])  # fmt: skip
def test_what_is_known_of_a_comparison_is_no_more_than_there_is(text):
    may, holds = of_boxes(text)
    assert (may == holds).all(), BOXES[may != holds][0]


def test_the_tables_of_a_run_have_what_is_needed():
    assert {"min", "max", "nan_count", "argmin"} <= set(COLUMNS)


# ---- what a condition is


@pytest.mark.parametrize(
    ("text", "canonical", "names"),
    [
        ("x>1e6", "x > 1000000", ("x",)),
        ("infected == 0 and day > 30", "infected == 0 and day > 30", ("infected", "day")),
        (
            "day > 30 and infected == 0 or day < infected",
            "day > 30 and infected == 0 or day < infected",
            ("day", "infected"),
        ),
        ("day > 30 and (infected == 0 or day < 1)", "day > 30 and (infected == 0 or day < 1)", ("day", "infected")),
        ("not x > 3", "not x > 3", ("x",)),
        ("(not x) > 3", "(not x) > 3", ("x",)),
        ("1-(2-3)-4 < x", "1 - (2 - 3) - 4 < x", ("x",)),
        ("(1 < x) < 3", "(1 < x) < 3", ("x",)),
        ("v[-1] > 3", "v[2] > 3", ("v",)),
        ("m[ 0 , -1_0 ] > 3", "m[0, 0] > 3", ("m",)),
        ("`a-b` > x-1", "`a-b` > x - 1", ("a-b", "x")),
        ("`isnan` < isnan(`nan`)", "`isnan` < isnan(`nan`)", ("isnan", "nan")),
        ("TRUE", "1", ()),
        ("1 < 2", "1 < 2", ()),
        ("\t\u00a0x\n", "x", ("x",)),
        ("1e400 == Inf", "inf == inf", ()),
        ("+ + - +x", "-x", ("x",)),
        ("any(any(v))", "any(any(v))", ("v",)),
    ],
)
def test_a_condition_has_a_canonical_text_and_names_its_metrics(text, canonical, names):
    shapes = {"x": (), "infected": (), "day": (), "v": (3,), "m": (2, 10), "a-b": (), "isnan": (), "nan": ()}
    condition = parse(text, shapes)
    assert (repr(condition), condition.text, condition.names) == (canonical, text, names)


def test_a_condition_without_metrics_has_an_answer_for_every_step():
    for text, answer in (("true", True), ("false", False), ("nan", True), ("0 < 1 < 1", False)):
        condition = parse(text, {})
        assert condition.holds({}, 4).tolist() == condition.may_hold({}, 4).tolist() == [answer] * 4
        assert condition.holds({}, 0).shape == (0,)


def test_metrics_a_condition_is_not_about_are_not_looked_at():
    assert parse("x > 1", SHAPES).holds({"x": np.array([0.0, 2.0]), "v": None}, 2).tolist() == [False, True]


def test_a_condition_of_any_depth_or_length_is_read_and_asked():
    x = np.array([1.0, NAN])
    half = MAX_LENGTH // 2
    texts = {
        "(" * (half - 1) + "x" + ")" * (half - 1): [True, True],
        "not " * 2000 + "x": [True, True],
        "-" * 9997 + "x<0": [True, False],
        "x" + "-x" * 4990 + " < 0": [True, False],
        "x == 1" + " and x == 1" * 900: [True, False],
        "1-(" * 2000 + "x" + ")" * 2000 + " == 1": [True, False],
        "abs(" * 1990 + "x" + ")" * 1990 + " == 1": [True, False],
        "x < " + "9" * 9990: [True, False],
    }
    for text, expected in texts.items():
        condition = pickle.loads(pickle.dumps(parse(text, {"x": ()})))
        assert condition.holds({"x": x}, 2).tolist() == expected
        assert condition.may_hold(tables({"x": x}, 1), 2).tolist() == expected
        assert repr(condition)


def test_a_condition_is_frozen():
    condition = parse("x > 1", {"x": ()})
    assert isinstance(condition, Condition)
    with pytest.raises(AttributeError):
        condition.text = "x > 2"


# ---- what is none

NAMES = {"x": (), "y": (), "v": (3,), "m": (2, 2), "infected": (), "a-b": (), "any": ()}
KNOWN = "x, y, v, m, infected, `a-b`, `any`"
CALLS = "abs, all, any, isfinite, isinf, isnan"


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("x > > 3", 4, "expected a number or a metric after '>', at character 5"),
        ("> 3", 0, "expected a number or a metric, at character 1"),
        ("x > 3 and", 9, "expected a number or a metric after 'and', at the end"),
        ("x and (or y)", 7, "expected a number or a metric after '(', at character 8"),
        ("x > and (y)", 4, "expected a number or a metric after '>', at character 5"),
        ("any()", 4, "expected a number or a metric after '(', at character 5"),
        ("x = 3", 2, "'=' has no meaning in a condition, at character 3; write =="),
        ("x => 3", 2, "'=>' has no meaning in a condition, at character 3; write >="),
        ("x <> 3", 2, "'<>' has no meaning in a condition, at character 3; write !="),
        ("x && y", 2, "'&&' has no meaning in a condition, at character 3; write and"),
        ("x || y", 2, "'||' has no meaning in a condition, at character 3; write or"),
        ("!x", 0, "'!' has no meaning in a condition, at character 1; write not"),
        ("x AND y", 2, "expected an operator after 'x', at character 3; write and"),
        ("x ** 2", 2, "'**' has no meaning in a condition, at character 3; there are + - * / and abs()"),
        ("x > 3; y", 5, "';' has no meaning in a condition, at character 6"),
        ("x ≤ 3", 2, "'≤' has no meaning in a condition, at character 3"),
        ("x > ٣", 4, "'٣' has no meaning in a condition, at character 5"),
        ("x > 3x", 4, "'3x' is no number, at character 5"),
        ("x > 1__0", 4, "'1__0' is no number, at character 5"),
        ("x > 1.2.3", 4, "'1.2.3' is no number, at character 5"),
        ("x > 1e", 4, "'1e' is no number, at character 5"),
        ("(x > 3", 0, "'(' is never closed, at character 1"),
        ("x and any(y > 3", 6, "'(' is never closed, at character 7"),
        ("x > 3)", 5, "')' closes nothing, at character 6"),
        ("x > `y", 4, "'`' is never closed, at character 5"),
        ("x y", 2, "expected an operator after 'x', at character 3"),
        ("x > 3 4", 6, "expected an operator after '3', at character 7"),
        ("any(v, x)", 5, "expected an operator after 'v', at character 6"),
        ("(v)[0]", 3, "expected an operator after ')', at character 4"),
        ("- not x", 2, "'not' cannot follow '-', at character 3; put parentheses around it"),
        ("sqrt(x)", 0, f"there is no function 'sqrt', at character 1; there are {CALLS}"),
        ("x(3)", 0, f"there is no function 'x', at character 1; there are {CALLS}"),
        ("isnan", 5, "expected '(' after 'isnan', at the end"),
        ("any > 3", 3, "expected '(' after 'any', at character 4; the metric is written `any`"),
        ("foo > 3", 0, f"there is no metric 'foo', at character 1; there are {KNOWN}"),
        ("infcted > 3", 0, f"there is no metric 'infcted', at character 1; did you mean infected? There are {KNOWN}"),
        ("x>0 or a-b", 7, f"there is no metric 'a', at character 8; did you mean `a-b`? There are {KNOWN}"),
        ("`odd name`", 0, f"there is no metric 'odd name', at character 1; there are {KNOWN}"),
        ("v[3] > 3", 2, "v has shape (3,), at character 3; an index is from 0 to 2, or from -3 to -1"),
        ("v[-4] > 3", 2, "v has shape (3,), at character 3; an index is from 0 to 2, or from -3 to -1"),
        ("v[1.5] > 3", 2, "expected an integer after '[', at character 3"),
        ("v[] > 3", 2, "expected an integer after '[', at character 3"),
        ("v[0 > 3", 4, "expected ']' after '0', at character 5"),
        ("m[0] > 3", 1, "m has shape (2, 2), at character 2; write 2 numbers, as in m[0, 0]"),
        ("m[0,0,0]", 6, "m has shape (2, 2), at character 7; write 2 numbers, as in m[0, 0]"),
        ("`any`[0]", 5, "any is one number and has no components, at character 6"),
        ("any(v > m)", 6, "shapes (3,) and (2, 2) do not fit each other, at character 7"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text, at, message):
    with pytest.raises(ConditionError) as caught:
        parse(text, NAMES)
    assert str(caught.value) == f"cannot read the condition: {message}\n    {text}\n    {' ' * at}^"
    assert (caught.value.text, caught.value.at) == (text, at)
    back = pickle.loads(pickle.dumps(caught.value))
    assert str(back) == str(caught.value) and vars(back) == vars(caught.value)


@pytest.mark.parametrize(
    ("text", "at", "advice"),
    [
        ("v > 3", 0, "v[0] > 3, any(v > 3) or all(v > 3)"),
        ("x > 1 and v > 3", 10, "v[0] > 3, any(v > 3) or all(v > 3)"),
        ("any(v) or x < v + 1", 14, "x < v[0] + 1, any(x < v + 1) or all(x < v + 1)"),
        ("not v", 4, "v[0], any(v) or all(v)"),
        ("v", 0, "v[0], any(v) or all(v)"),
        ("x or abs(m)", 9, "abs(m[0, 0]), any(abs(m)) or all(abs(m))"),
        ("isnan(v)", 6, "isnan(v[0]), any(isnan(v)) or all(isnan(v))"),
        ("v > " + "1 + " * 30 + "1", 0, "one component, such as x[0], any(...) or all(...)"),
    ],
)
def test_a_vector_is_no_truth_value_and_the_message_writes_out_what_is(text, at, advice):
    with pytest.raises(ConditionError, match="several truth values") as caught:
        parse(text, NAMES)
    assert caught.value.at == at and f"; write {advice}\n" in str(caught.value)
    if "such as" not in advice:
        one, some, every = advice.replace(", any(", "|any(").replace(" or all(", "|all(").split("|")
        assert all(parse(cure, NAMES) for cure in (one, some, every))


def test_a_text_that_is_empty_or_too_long_is_no_condition():
    for text in ("", " \n\t"):
        with pytest.raises(ConditionError, match=r"^the condition is empty; write one such as 'x > 1e6'$"):
            parse(text, NAMES)
    with pytest.raises(ConditionError, match=r"^a condition has at most 10,000 characters; this one has 10,001$"):
        parse(" " * 10_000 + "x", NAMES)


def test_a_run_that_observed_nothing_says_so():
    with pytest.raises(ConditionError, match="there is no metric 'x'.*; none was observed, pass observe="):
        parse("x > 3", {})


def test_a_long_text_is_shown_around_the_character():
    with pytest.raises(ConditionError) as caught:
        parse("1 + " * 50 + "= x" + " + 1" * 50, NAMES)
    _, shown, pointer = str(caught.value).split("\n")
    assert len(shown) < 90 and shown.startswith("    ...") and shown.endswith("...")
    assert shown[pointer.index("^") :].startswith("= x + 1")
    with pytest.raises(ConditionError) as caught:
        parse("1 + " * 50, NAMES)
    _, shown, pointer = str(caught.value).split("\n")
    assert len(shown) < 90 and pointer.index("^") == len(shown) and shown.startswith("    ...")


def test_a_text_of_several_lines_is_shown_as_one():
    with pytest.raises(ConditionError) as caught:
        parse("x >\n\t= 3", NAMES)
    assert str(caught.value).endswith("\n    x >  = 3\n         ^")


pieces = st.sampled_from(
    "x v m a-b `a-b` any ( ) [ ] , 0 -1 1e6 nan and or not isnan( abs( < <= == != = + - * / . ` ! & ' \ud800 \0".split(
        " "
    )
)
mixtures = st.lists(pieces, max_size=20).map(" ".join) | st.lists(pieces, max_size=20).map("".join)


def is_read_or_pointed_at(text):
    try:
        condition = parse(text, SHAPES)
    except ConditionError as error:
        assert error.at is None or 0 <= error.at <= len(text)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert str(error).count("\n") == (0 if error.at is None else 2)
    else:
        n, ones = 2, {name: np.ones((2, *shape)) for name, shape in SHAPES.items()}
        assert condition.may_hold(tables(ones, 2), 1)[0] >= condition.holds(ones, n).any()


@given(st.text() | mixtures)
@example("x" * 300 + "(")
@example("`" + "x" * 300 + "`")
@example("v[" + "9" * 5000 + "]")
@example("\ud800")
def test_any_text_is_read_or_pointed_at(text):
    is_read_or_pointed_at(text)


@given(trees, st.data())
def test_a_condition_with_a_slip_in_it_is_read_or_pointed_at(tree, data):
    text = rendered(tree)
    at = data.draw(st.integers(0, len(text)))
    after = data.draw(st.integers(at, min(len(text), at + 3)))
    is_read_or_pointed_at(text[:at] + data.draw(pieces | st.just("")) + text[after:])
