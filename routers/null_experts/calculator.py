"""Arithmetic in a prompt, understood as a whole or not at all, and worked out exactly.

    expression = product (("+" | "-") product)*
    product    = signed (("*" | "/") signed)*
    signed     = "-" signed | power
    power      = atom ("^" signed)?
    atom       = number ("%" "of" signed)? | "(" expression ")" | "sqrt" atom
    number     = decimal | "0x" hexadecimal | "0b" binary | "0o" octal

The words around it ("what is", "please", "?") and words for operators ("times", "divided by") are read as people mean
them. Whatever else stands in the prompt, a unit, a name, a second question, means that it is not understood.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

_MOST_CHARS: Final = 200
_MOST_EXPONENT: Final = 128
_MOST_DEPTH: Final = 24
#: How a number in another base than ten begins -> the base.
_BASES: Final = {"0x": 16, "0b": 2, "0o": 8}
#: Beyond this a number is no longer what somebody asks for in a sentence.
_MOST_DIGITS: Final = 40
#: Digits of a result that has no end, or no exact value.
_SIGNIFICANT: Final = 12

_ASKED: Final = re.compile(
    r"(?:please\s+)?(?:(?:can|could) you (?:please )?(?:tell me )?)?"
    r"(?P<verb>calculate|compute|evaluate|work out|solve|what\s+is|what's|whats|what does|how much is)\b\s*:?\s*"
)
#: Of the verbs, those that leave no doubt that a calculation is meant.
_CERTAIN: Final = frozenset({"calculate", "compute", "evaluate", "work out"})
_TRAILING: Final = re.compile(r"\s*(?:,?\s*please)?\s*(?:(?P<equals>=|equals?|equal to)\s*)?[?.!]*\s*$")
_WORDS: Final = tuple(
    (re.compile(pattern), symbol)
    for pattern, symbol in (
        (r"\bplus\b", "+"),
        (r"\bminus\b|[−–]", "-"),
        (
            (
                r"\b(?:times|multiplied by)\b|[×·]|"
                r"(?<=\d)(?<!(?<![\d.,])0)x(?=\d)|(?<=\d)(?:\s+x\s*|\s*x\s+)(?=\d)|\*(?!\*)"
            ),
            "*",
        ),
        (r"\b(?:divided by|over)\b|÷", "/"),
        (r"\bto the power of\b|\*\*", "^"),
        (r"\bsquared\b", "^2"),
        (r"\bcubed\b", "^3"),
        (r"\bper\s?cent\b", "%"),
        (r"\b(?:the )?square root(?: of)?\b|√", "sqrt"),
    )
)
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>0x[0-9a-f]+(?![\w.])|0b[01]+(?![\w.])|0o[0-7]+(?![\w.])|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)|(?P<sign>of\b|sqrt\b|[-+*/^%()]))"
)
#: What is something else to whoever reads it: a number with a zero before it (octal, or a name), a date, a factorial.
_AMBIGUOUS: Final = re.compile(r"(?<![\w.,])0\d|\d{4}-\d\d?-\d\d?(?!\d)|[\d)]\s*!")
#: A date, a score, a telephone number: no calculation unless somebody says so.
_LOOKS_LIKE_A_NAME: Final = re.compile(r"\d+(?:[-/]\d+)+")


class _NotUnderstood(Exception):
    """The text is no arithmetic that can be worked out."""


def calculate(text: str) -> str | None:
    """The result of the arithmetic that a prompt consists of.

    Args:
        text: The whole prompt.

    Returns:
        The result in decimal digits (followed by "(rounded)" where it was), or None where any part of the prompt is not
        understood, nothing is to be calculated, or there is no result.
    """
    if len(text) > _MOST_CHARS:
        return None
    asked = " ".join(text.lower().split())
    verb = _ASKED.match(asked)
    body = asked[verb.end() :] if verb else asked
    if _AMBIGUOUS.search(body):
        return None
    end = _TRAILING.search(body)
    assert end is not None  # noqa: S101  # it matches the empty end of any text
    body = body[: end.start()]
    certain = end["equals"] is not None or (verb is not None and verb["verb"] in _CERTAIN)
    if _LOOKS_LIKE_A_NAME.fullmatch(body) and not certain:
        return None
    for pattern, symbol in _WORDS:
        body = pattern.sub(symbol, body)
    try:
        tokens = list(_tokens(body))
        # A number alone, signed or in parentheses, asks for nothing.
        if not {"+", "*", "/", "^", "%", "sqrt"}.intersection(tokens) and "-" not in tokens[1:]:
            return None
        if "^" in tokens and any(token[:2] in _BASES for token in tokens):
            # In code it is no power.
            return None
        reader = _Reader(tokens)
        value = reader.expression()
        reader.end()
        return _written(value, exact=reader.exact)
    except (_NotUnderstood, ZeroDivisionError):
        return None


def _tokens(body: str) -> Iterator[str]:
    at = 0
    while at < len(body):
        found = _TOKEN.match(body, at)
        if found is None:
            raise _NotUnderstood
        yield found["number"] or found["sign"]
        at = found.end()


class _Reader:
    """Reads an expression by recursive descent, working it out on the way."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self.exact = True

    def end(self) -> None:
        """Nothing may be left."""
        if self._at < len(self._tokens):
            raise _NotUnderstood

    def expression(self) -> Fraction:
        value = self._product()
        while sign := self._take("+", "-"):
            right = self._product()
            value = value + right if sign == "+" else value - right
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while sign := self._take("*", "/"):
            right = self._signed()
            value = _bounded(value * right if sign == "*" else value / right)
        return value

    def _signed(self) -> Fraction:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _NotUnderstood
        value = -self._signed() if self._take("-") else self._power()
        self._depth -= 1
        return value

    def _power(self) -> Fraction:
        base = self._atom()
        if not self._take("^"):
            return base
        exponent = self._signed()
        if exponent.denominator != 1 or abs(exponent) > _MOST_EXPONENT:
            raise _NotUnderstood
        return _bounded(base ** int(exponent))

    def _atom(self) -> Fraction:
        if self._take("("):
            value = self.expression()
            if not self._take(")"):
                raise _NotUnderstood
            return value
        if self._take("sqrt"):
            bare = self._at < len(self._tokens) and self._tokens[self._at] != "("
            value = self._atom()
            if bare and self._at < len(self._tokens) and self._tokens[self._at] != ")":
                # "The square root of 16 plus 9" is 13 to one reader and 5 to another.
                raise _NotUnderstood
            return self._root(value)
        number = self._number()
        if not self._take("%"):
            return number
        # "10 % of 50" means one thing; "100 + 10 %" means two.
        if not self._take("of"):
            raise _NotUnderstood
        return number / 100 * self._signed()

    def _root(self, value: Fraction) -> Fraction:
        if value < 0:
            raise _NotUnderstood
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
        self.exact = False
        return Fraction(math.sqrt(value))

    def _number(self) -> Fraction:
        if self._at >= len(self._tokens):
            raise _NotUnderstood
        base = _BASES.get(self._tokens[self._at][:2])
        if base is not None:
            self._at += 1
            return _bounded(Fraction(int(self._tokens[self._at - 1][2:], base)))
        if not self._tokens[self._at][-1].isdigit():
            raise _NotUnderstood
        token = self._tokens[self._at].replace(",", "")
        self._at += 1
        return _bounded(Fraction(token if token[0] != "." else "0" + token))

    def _take(self, *signs: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at] in signs:
            self._at += 1
            return self._tokens[self._at - 1]
        return None


def _bounded(value: Fraction) -> Fraction:
    if max(abs(value.numerator), value.denominator) >= 10**_MOST_DIGITS:
        raise _NotUnderstood
    return value


def _written(value: Fraction, *, exact: bool) -> str:
    if exact and value.denominator == 1:
        return str(value.numerator)
    digits = _decimals(value.denominator)
    if exact and digits is not None and digits <= _SIGNIFICANT:
        whole = str(abs(value.numerator) * 10**digits // value.denominator).rjust(digits + 1, "0")
        return f"{'-' if value < 0 else ''}{whole[:-digits]}.{whole[-digits:]}"
    return f"{float(value):.{_SIGNIFICANT}g} (rounded)"


def _decimals(denominator: int) -> int | None:
    """Digits after the point of a reduced fraction; None where they never end."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None
