"""What a code object does and which names it looks up, read from its instructions.

Line numbers, comments, docstrings and layout leave no trace in the digest. It holds within one version of Python.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import types
from typing import Any

from ..state.frozen import frozen

#: ``("g", "NAME", "attribute", ...)`` for what a global name leads to, ``("d", "name")`` for a name of a closure, and
#: ``("?", "attribute")`` for an attribute of something else.
Tag = tuple[str, ...]

_NOTHING = frozenset({"CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL", "NOT_TAKEN"})
#: Methods of built-in containers and arrays that change them.
_MUTATORS = frozenset(
    "append appendleft extend extendleft insert remove pop popleft popitem clear sort reverse rotate add discard "
    "update setdefault difference_update intersection_update symmetric_difference_update fill "
    "put itemset resize".split()
)
_SETS = frozenset({"BUILD_SET", "SET_ADD", "SET_UPDATE"})
_ROTATED = {"ROT_TWO": 2, "ROT_THREE": 3, "ROT_FOUR": 4}
_CONSUMERS = ("POP_", "STORE_", "DELETE_", "RETURN_", "RAISE_", "JUMP", "END_", "RERAISE")
_KINDS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # of arguments and of function: the other flags change nothing


@frozen
class Facts:
    """What was read.

    Attributes
    ----------
    digest : str
        ``?`` where a test runner wrote into the code, which is another in the next process.
    chains : tuple of tuple of str
        Global names it looks up, each with the attributes that are asked of it at once.
    written : frozenset of Tag
        What it writes: a name, or something in the container that a name stands for.
    attributes, attributes_written : frozenset of str
        Names of attributes it asks for; and of those it sets, or whose container it changes.
    sets : bool
        Whether it is seen to make a set, or to ask for a hash.
    """

    digest: str
    chains: tuple[tuple[str, ...], ...]
    written: frozenset[Tag]
    attributes: frozenset[str]
    attributes_written: frozenset[str]
    sets: bool


@functools.lru_cache(maxsize=1024)
def read(code: types.CodeType) -> Facts:
    """Return what is known of a code object, with those inside it."""
    instructions = list(dis.get_instructions(code))
    inner = [read(item) for item in code.co_consts if isinstance(item, types.CodeType)]
    names = _Names()
    for instruction in instructions:
        names.follow(instruction)
    chains = [*names.chains, *(chain for one in inner for chain in one.chains)]
    rewritten = any(one.digest == "?" for one in inner) or any(chain[0].startswith("@py") for chain in chains)
    return Facts(
        "?" if rewritten else _digest(code, instructions),
        tuple(dict.fromkeys(chains)),
        frozenset(names.written).union(*(one.written for one in inner)),
        frozenset(names.attributes).union(*(one.attributes for one in inner)),
        frozenset(names.attributes_written).union(*(one.attributes_written for one in inner)),
        any(one.opname in _SETS for one in instructions)
        or any(chain[0] in ("set", "frozenset", "hash") for chain in chains)
        or any(one.sets for one in inner),
    )


def _digest(code: types.CodeType, instructions: list[dis.Instruction]) -> str:
    kept = [one for one in instructions if one.opname not in _NOTHING]
    at, places = 0, {}
    for one in instructions:  # a jump leads to the next instruction that does something
        places[one.offset] = at
        at += one.opname not in _NOTHING
    jumps = {*dis.hasjrel, *dis.hasjabs}
    words: list[Any] = []
    for one in kept:
        if one.opcode in jumps:
            words.append((one.opname, places.get(one.argval, -1)))
        elif one.opcode in dis.hasconst:
            words.append((one.opname, _constant(one.argval)))
        elif isinstance(one.argval, tuple) and all(isinstance(name, str) for name in one.argval):
            # Two instructions in one, which the layout of lines decides.
            first, _, second = one.opname.partition("_FAST_")
            words += [(f"{first}_FAST", one.argval[0]), (second, one.argval[1])]
        else:
            words.append((one.opname, one.argval if isinstance(one.argval, (str, int)) else repr(one.argval)))
    protected = [
        (places.get(entry.start, -1), places.get(entry.end, at), places.get(entry.target, -1), entry.depth, entry.lasti)
        for entry in getattr(dis, "_parse_exception_table", lambda _: ())(code)
    ]
    n = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    head = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames[:n])
    text = repr((head, code.co_flags & _KINDS, words, protected))
    return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=4).hexdigest()


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return read(value).digest
    if isinstance(value, frozenset):
        return "frozenset", sorted(map(repr, value))
    if isinstance(value, tuple):
        return [_constant(item) for item in value]
    return type(value).__name__, repr(value)


class _Names:
    """Follows the stack through the instructions, as far as it takes to see what a name leads to."""

    def __init__(self) -> None:
        self.chains: list[tuple[str, ...]] = []
        self.written: set[Tag] = set()
        self.attributes: set[str] = set()
        self.attributes_written: set[str] = set()
        self._stack: list[Tag | None] = []

    def _top(self, k: int) -> Tag | None:
        return self._stack[-k] if len(self._stack) >= k else None

    def _mutated(self, tag: Tag | None) -> None:
        if tag is not None:
            self.written.add(tag)
            if len(tag) > 2 or tag[0] == "?":
                self.attributes_written.add(tag[-1])

    def follow(self, one: dis.Instruction) -> None:
        """Go on by one instruction."""
        name, word, stack = one.opname, one.argval, self._stack
        try:
            effect = dis.stack_effect(one.opcode, one.arg, jump=False)
        except ValueError:
            effect = 0
        tag: Tag | None = None
        if name in ("LOAD_GLOBAL", "LOAD_NAME"):
            self.chains.append((word,))
            tag = ("g", word)
        elif name in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
            tag = ("d", word)
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            self.attributes.add(word)
            base = self._top(1)
            if word in _MUTATORS:
                self._mutated(base)
            tag = ("?", word) if base is None or base[0] == "?" else (*base, word)
            if tag[0] == "g":
                self.chains.append(tag[1:])
            if stack:
                stack.pop()
                effect += 1
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            self.written.add(("g", word))
        elif name in ("STORE_DEREF", "DELETE_DEREF"):
            self.written.add(("d", word))
        elif name in ("STORE_ATTR", "DELETE_ATTR"):
            base = self._top(1)
            self.attributes_written.add(word)
            if base is not None and base[0] != "?":
                self.written.add((*base, word))
        elif name in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            self._mutated(self._top(2))
        elif name == "STORE_SLICE":
            self._mutated(self._top(3))
        elif name in ("COPY", "DUP_TOP"):
            stack.append(self._top(one.arg or 1))
            return
        elif name == "DUP_TOP_TWO":
            stack += [self._top(2), self._top(1)]
            return
        elif name == "SWAP":
            k = one.arg or 2
            if len(stack) >= k:
                stack[-1], stack[-k] = stack[-k], stack[-1]
            return
        elif name in _ROTATED:
            if len(stack) >= _ROTATED[name]:
                stack.insert(-_ROTATED[name] + 1, stack.pop())
            return
        if effect < 0:
            del stack[effect:]
        else:
            stack.extend([None] * effect)
        if stack and not name.startswith(_CONSUMERS):
            stack[-1] = tag
