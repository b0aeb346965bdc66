"""What help, answers and errors share: the forms that step code has, what JSON looks like, and text for a terminal."""

#: How options name the user's code.
FORMS = "MODULE:NAME or FILE.py:NAME, for example walk.py:step"

#: Arrays up to this size are written out in JSON; larger ones are summarised.
ARRAY_ITEMS = 1000

JSON_RULES = (
    "What JSON lacks is an object whose first key says what it is: {'float': 'nan'|'inf'|'-inf'}, "
    "{'complex': [re, im]}, {'bytes': HEX}, {'class': 'module:Name', 'fields': {...}}, "
    f"{{'dtype', 'shape', 'data'}} for an array of up to {ARRAY_ITEMS} items, "
    "{'dtype', 'shape', 'digest', 'min', 'max', 'nan_count'} for a larger one, {'type', 'repr'} for any other object. "
    "Integers keep all their digits."
)


def printable(text: str) -> str:
    """Return `text` with control characters and what no terminal shows as escapes: files say things to terminals."""
    if text.isprintable():  # as nearly all is
        return text
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def one_line(text: str) -> str:
    """Return `text` as `printable` has it, on a line of its own."""
    return printable(text.replace("\n", "\\n"))
