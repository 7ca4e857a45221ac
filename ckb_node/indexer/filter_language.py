"""The language of `block_filter` and `cell_filter`: the part of Rhai that looks at values and cannot loop.

    program     = { "let" name "=" expression ";" } expression [ ";" ]
    expression  = operands joined by || && == != < <= > >= + - * / % with Rhai's precedence, `!` and `-` before one
    operand     = integer | "text" | true | false | () | name | ( expression )
                  followed by any of  .name  ?.name  .method(expression, …)  [expression]; of () `?.name` makes ()
    methods     = to_uint() of text; len(), contains(text), starts_with(text), ends_with(text) of text; len() of arrays;
                  the same as functions: to_uint(x)

Integers are Rhai's (64 bits, signed) or unsigned of 256 bits, which `to_uint` makes of text ("0x…", "0o…", "0b…" or
decimal); nothing wraps around. Values of different types are unequal and have no order. The work is bounded by the
length of the program, as there are no loops, no functions to define, and no operator makes longer text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

MAX_PROGRAM: Final = 4096
"""Characters."""
MAX_DEPTH: Final = 32
"""Of nested parentheses, calls and prefixes."""

MAX_DIGITS: Final = 300

Scope = dict[str, Any]
Evaluate = Callable[[Scope], Any]


class FilterError(Exception):
    """The filter is not of this language, or cannot be evaluated; `filter_name` is the key of the configuration."""

    def __init__(self, reason: str, filter_name: str = "") -> None:
        super().__init__(f"{filter_name}: {reason}" if filter_name else reason)
        self.reason, self.filter_name = reason, filter_name


class Uint(int):
    """An unsigned number of 256 bits, which is of another type than Rhai's integers."""


_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*)|(?P<name>[A-Za-z_]\w*)"
    r'|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>\|\||&&|\?\.|==|!=|<=|>=|\(\)|[-+*/%<>!=().,;\[\]]))'
)
_LEVELS: Final = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXT_METHODS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "contains": lambda text, part: part in text,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
}
_ESCAPES: Final = {'\\"': '"', "\\\\": "\\", "\\n": "\n", "\\t": "\t", "\\r": "\r"}


def compile_filter(text: str) -> Evaluate:
    """What evaluates the program in a scope; it raises FilterError, as this does."""
    if len(text) > MAX_PROGRAM:
        raise FilterError(f"longer than {MAX_PROGRAM} characters")
    return _Parser(_tokens(text)).program()


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise FilterError(f"not understood: {text[at : at + 20]!r}")
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return [*found, ("end", "")]


class _Parser:
    """Makes closures of tokens."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def program(self) -> Evaluate:
        """All of it."""
        names: list[tuple[str, Evaluate]] = []
        while self._take("let"):
            kind, name = self._next()
            if kind != "name" or not self._take("="):
                raise FilterError("`let` wants a name and `=`")
            names.append((name, self._binary(0)))
            self._want(";")
        result = self._binary(0)
        self._take(";")
        if self._tokens[self._at][0] != "end":
            raise FilterError(f"not expected: {self._tokens[self._at][1]!r}")

        def evaluate(scope: Scope) -> Any:
            inner = dict(scope)
            for name, value in names:
                inner[name] = value(inner)
            return result(inner)

        return evaluate

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at += token[0] != "end"
        return token

    def _take(self, *texts: str) -> str:
        """The next token if it is one of these signs or words, else nothing."""
        kind, text = self._tokens[self._at]
        if kind in ("sign", "name") and text in texts:
            self._at += 1
            return text
        return ""

    def _want(self, text: str) -> None:
        if not self._take(text):
            raise FilterError(f"{text!r} is missing before {self._tokens[self._at][1]!r}")

    def _binary(self, level: int) -> Evaluate:
        if level == len(_LEVELS):
            return self._prefixed()
        left = self._binary(level + 1)
        while sign := self._take(*_LEVELS[level]):
            left = _joined(sign, left, self._binary(level + 1))
        return left

    def _prefixed(self) -> Evaluate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FilterError(f"nested more than {MAX_DEPTH} deep")
        try:
            if self._take("!"):
                operand = self._prefixed()
                return lambda scope: not _truth(operand(scope))
            if self._take("-"):
                operand = self._prefixed()
                return lambda scope: _calculated("-", 0, operand(scope))
            return self._followed(self._operand())
        finally:
            self._depth -= 1

    def _operand(self) -> Evaluate:
        kind, text = self._next()
        if kind == "number":
            return _constant(_number(text, 63))
        if kind == "text":
            return _constant(re.sub(r"\\.", _unescaped, text[1:-1]))
        if kind == "name":
            return self._named(text)
        if text == "()":
            return _constant(None)
        if text == "(":
            inner = self._binary(0)
            self._want(")")
            return inner
        raise FilterError(f"not expected: {text!r}" if text else "ends too early")

    def _named(self, name: str) -> Evaluate:
        if name in ("true", "false"):
            return _constant(name == "true")
        if self._tokens[self._at][1] in ("(", "()"):
            first, *others = self._arguments() or [_constant(None)]
            return _method(name, first, others)
        return lambda scope: _variable(scope, name)

    def _followed(self, operand: Evaluate) -> Evaluate:
        while sign := self._take(".", "?.", "["):
            if sign == "[":
                operand = _member(operand, self._binary(0))
                self._want("]")
                continue
            kind, name = self._next()
            if kind != "name":
                raise FilterError(f"a name is missing after {sign!r}, not {name!r}")
            if sign == "?.":
                operand = _member_if_any(operand, name)
            elif self._tokens[self._at][1] in ("(", "()"):
                operand = _method(name, operand, self._arguments())
            else:
                operand = _member(operand, _constant(name))
        return operand

    def _arguments(self) -> list[Evaluate]:
        if self._take("()"):
            return []
        self._want("(")
        found = [self._binary(0)]
        while self._take(","):
            found.append(self._binary(0))
        self._want(")")
        return found


def _constant(value: Any) -> Evaluate:
    return lambda _: value


def _unescaped(match: re.Match[str]) -> str:
    if match[0] not in _ESCAPES:
        raise FilterError(f"unknown escape {match[0]!r}")
    return _ESCAPES[match[0]]


def _number(text: str, bits: int) -> int:
    plain = text.replace("_", "")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(plain[:2], 10)
    if len(plain) > MAX_DIGITS:
        raise FilterError(f"too large a number: {text[:80]!r}")
    try:
        value = int(plain[2:] if base != 10 else plain, base)
    except ValueError:
        raise FilterError(f"not a number: {text[:80]!r}") from None
    if not 0 <= value < 1 << bits:
        raise FilterError(f"too large a number: {text[:80]!r}")
    return value


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope:
        raise FilterError(f"there is no {name!r}")
    return scope[name]


def _member(owner: Evaluate, key: Evaluate) -> Evaluate:
    return lambda scope: _found(owner(scope), key(scope))


def _member_if_any(owner: Evaluate, name: str) -> Evaluate:
    """As `_member`, () of ()."""

    def evaluate(scope: Scope) -> Any:
        value = owner(scope)
        return None if value is None else _found(value, name)

    return evaluate


def _found(value: Any, name: Any) -> Any:
    """A member of an object, () when it has none of this name as in Rhai, or an item of an array."""
    if isinstance(value, dict) and isinstance(name, str):
        return value.get(name)
    if isinstance(value, list) and type(name) is int and -len(value) <= name < len(value):
        return value[name]
    raise FilterError(f"there is no {name!r} in a value of type {_type_name(value)}")


def _joined(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    match sign:
        case "||":
            return lambda scope: _truth(left(scope)) or _truth(right(scope))
        case "&&":
            return lambda scope: _truth(left(scope)) and _truth(right(scope))
        case "==":
            return lambda scope: _is_equal(left(scope), right(scope))
        case "!=":
            return lambda scope: not _is_equal(left(scope), right(scope))
        case "<" | "<=" | ">" | ">=":
            return lambda scope: _compared(sign, left(scope), right(scope))
        case _:
            return lambda scope: _calculated(sign, left(scope), right(scope))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FilterError(f"true or false is wanted, not a value of type {_type_name(value)}")
    return value


def _is_equal(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)


def _compared(sign: str, left: Any, right: Any) -> bool:
    if type(left) is not type(right) or not isinstance(left, int | str):
        return False
    return _COMPARE[sign](left, right)


def _calculated(sign: str, left: Any, right: Any) -> int:
    kind = type(left)
    if kind not in (int, Uint) or kind is not type(right):
        raise FilterError(f"no {sign!r} of {_type_name(left)} and {_type_name(right)}")
    if sign in "/%":
        if right == 0:
            raise FilterError("division by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        value = quotient if sign == "/" else left - quotient * right
    else:
        value = {"+": left + right, "-": left - right, "*": left * right}[sign]
    low, high = (0, 1 << 256) if kind is Uint else (-(1 << 63), 1 << 63)
    if not low <= value < high:
        raise FilterError(f"the result of {sign!r} is out of range")
    return Uint(value) if kind is Uint else int(value)


def _method(name: str, owner: Evaluate, arguments: list[Evaluate]) -> Evaluate:
    if name in ("to_uint", "len") and not arguments:
        return (lambda scope: _to_uint(owner(scope))) if name == "to_uint" else (lambda scope: _length(owner(scope)))
    if name in _TEXT_METHODS and len(arguments) == 1:
        argument, test = arguments[0], _TEXT_METHODS[name]
        return lambda scope: test(_text(owner(scope)), _text(argument(scope)))
    raise FilterError(f"unknown method {name!r} with {len(arguments)} arguments")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FilterError(f"text is wanted, not a value of type {_type_name(value)}")
    return value


def _to_uint(value: Any) -> Uint:
    return Uint(_number(_text(value), 256))


def _length(value: Any) -> int:
    if not isinstance(value, str | list):
        raise FilterError(f"a value of type {_type_name(value)} has no length")
    return len(value)


def _type_name(value: Any) -> str:
    names = {type(None): "()", bool: "bool", int: "integer", Uint: "uint", str: "text", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)
