"""The calculator: what it understands it gets right, and it keeps out of everything else."""

from __future__ import annotations

import ast
import operator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routers.null_experts.calculator import calculate


@pytest.mark.parametrize(
    ("prompt", "result"),
    [
        ("what is 17% of 240?", "40.8"),
        ("12*(3+4)", "84"),
        ("What's 2+2", "4"),
        ("Please calculate 3 × 4, please.", "12"),
        ("what is 5 plus 3 times 2?", "11"),
        ("5 + 10 percent of 50 =", "10"),
        ("What is the square root of 144?", "12"),
        ("what does 3 plus 4 equal?", "7"),
        ("7 x 8 = ?", "56"),
        ("1,234.5 * 2", "2469"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("0.1 + 0.2", "0.3"),
        ("(-1/8) * 1", "-0.125"),
        ("1/3 =", "0.333333333333 (rounded)"),
        ("sqrt(2) * 3", "4.24264068712 (rounded)"),
        ("2^100", str(2**100)),
        ("calculate 24/7", "3.42857142857 (rounded)"),
        ("0x10 + 5", "21"),
        ("what is 0xff * 2?", "510"),
        ("0b11 + 0o17", "18"),
        ("0 x 10", "0"),
        ("100x10", "1000"),
    ],
)
def test_it_understands(prompt: str, result: str) -> None:
    assert calculate(prompt) == result


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "42",
        "what is -42?",
        "what is love?",
        "12 apples + 3",
        "2024-11-23",
        "9/11",
        "what is 24/7?",
        "555-1234",
        "100 + 10%",
        "1,5 + 2",
        "3 divided by 0",
        "10^50",
        "9^9^9",
        "3 4",
        "(1+2",
        "1+2)",
        "2(3+4)",
        "x + 1",
        "0x10",
        "0x1.8 + 1",
        "0xfg + 1",
        "0x10 ^ 0x01",
        "017 + 1",
        "3 + 5!",
        "5 km + 3 km",
        "the square root of 16 plus 9",
        "2024-11-23 + 1",
        "what is 2+2 and why?",
        "what is 2+2? Answer in French.",
        "what is 17% of 240 dollars?",
        "__import__('os')",
        "sqrt(-1)",
        "(" * 300 + "1+1" + ")" * 300,
        "-" * 150 + "1+1",
    ],
)
def test_it_keeps_out_of(prompt: str) -> None:
    assert calculate(prompt) is None


_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def _by_python(node: ast.expr) -> Fraction:
    """Python's own reading of the same text, in exact arithmetic."""
    if isinstance(node, ast.BinOp):
        worked_out: Fraction = _OPERATORS[type(node.op)](_by_python(node.left), _by_python(node.right))
        return worked_out
    if isinstance(node, ast.UnaryOp):
        return -_by_python(node.operand)
    assert isinstance(node, ast.Constant)
    return Fraction(str(node.value))


_numbers = st.integers(0, 999).map(str) | st.decimals(0, 99, places=2).map(str)
_expressions = st.recursive(
    _numbers,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map(lambda text: f"-{text}")
    ),
    max_leaves=8,
)


@given(_expressions, st.sampled_from(["+", "*", "-", "/"]), _expressions)
def test_it_agrees_with_python(left: str, sign: str, right: str) -> None:
    text = f"{left} {sign} {right}"
    result = calculate(f"What is {text}?")
    try:
        expected = _by_python(ast.parse(text, mode="eval").body)
    except ZeroDivisionError:
        assert result is None
        return
    if result is None:
        assert max(abs(expected.numerator), expected.denominator) > 10**15 or len(text) > 150 or text.count("-") > 20
    elif result.endswith(" (rounded)"):
        assert float(result.split()[0]) == pytest.approx(float(expected), rel=1e-11)
    else:
        assert Fraction(result) == expected
