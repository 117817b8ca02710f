"""Computes with the formulas as a reader sees them: `dZ[2] = dA[2] * A[2] * (1 - A[2])`.

A parser of its own, which knows nothing of how the formulas were made.
"""

import re
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

NAME = r"dU/dZ|d?(?:[A-Za-zα-ωΦŶ]+[₀₁₂\u0302\u0303]?)′*(?:\[\d+\])?"
TOKEN = re.compile(
    r"\s*(?:(?P<words>sum over rows of|held between|and\b|where\b|else\b)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    rf"|(?P<name>{NAME})|(?P<sign>>=|\S))"
)


def softmax(L: np.ndarray) -> np.ndarray:
    E = np.exp(L - L.max(axis=-1, keepdims=True))
    return E / E.sum(axis=-1, keepdims=True)


FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "max": np.maximum,
    "min": np.minimum,
    "sign": np.sign,
    "softmax": softmax,
    "softplus": lambda Z: np.logaddexp(0.0, Z),
    "Φ": ndtr,
    "φ": lambda Z: np.exp(-(Z**2) / 2) / np.sqrt(2 * np.pi),
    "sum": np.sum,
    "mean": lambda Q: np.mean(Q, axis=-1, keepdims=True),
}


class Formula:
    """Recursive descent over one side of an equation; `values` are matrices by their names."""

    def __init__(self, text: str, values: Mapping[str, object], *, is_product: bool) -> None:
        self.tokens = [
            (match.lastgroup, match[match.lastgroup]) for match in TOKEN.finditer(text.strip())
        ]
        self.values, self.is_product = values, is_product
        self.place = 0

    def value(self):
        found = self.chosen()
        assert self.place == len(self.tokens), self.tokens[self.place :]
        return found

    def peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def take(self, wanted: str) -> bool:
        if self.peek() == wanted:
            self.place += 1
            return True
        return False

    def chosen(self):
        """`P where A > 0, else Q`; `D held between -δ and δ`."""
        found = self.added()
        if self.take("held between"):
            low = self.added()
            assert self.take("and")
            return np.clip(found, low, self.added())
        if self.take("where"):
            left, sign = self.added(), self.peek()
            self.place += 1
            right = self.added()
            assert self.take(",")
            assert self.take("else")
            condition = {">": np.greater, ">=": np.greater_equal}[sign](left, right)
            return np.where(condition, found, self.added())
        return found

    def added(self):
        found = self.multiplied()
        while self.peek() in ("+", "-"):
            is_plus = self.take("+") or not self.take("-")
            other = self.multiplied()
            found = found + other if is_plus else found - other
        return found

    def multiplied(self):
        found = self.signed()
        while True:
            if self.take("*"):
                found = found * self.signed()
            elif self.take("/"):
                found = found / self.signed()
            elif self.begins():  # side by side
                other = self.raised()
                found = found @ other if self.is_product else found * other
            else:
                return found

    def begins(self) -> bool:
        if self.place == len(self.tokens):
            return False
        kind, text = self.tokens[self.place]
        return kind in ("name", "number") or text in ("(", "½", "Σ")

    def signed(self):
        return -self.signed() if self.take("-") else self.raised()

    def raised(self):
        found = self.atom()
        while True:
            if self.take("ᵀ"):
                found = found.T
            elif self.take("²"):
                found = found**2
            elif self.take("³"):
                found = found**3
            else:
                return found

    def atom(self):
        if self.take("sum over rows of"):
            return self.multiplied().sum(axis=0)
        if self.take("Σ"):
            if self.take("|"):
                found = np.abs(self.added())
                assert self.take("|")
                return found.sum()
            return self.raised().sum()
        if self.take("½"):
            return 0.5
        if self.take("("):
            found = self.added()
            assert self.take(")")
            return found
        kind, text = self.tokens[self.place]
        self.place += 1
        if kind == "number":
            return float(text)
        assert kind == "name", text
        if text in FUNCTIONS:
            return self.called(FUNCTIONS[text])
        return self.values[text]

    def called(self, function):
        if not self.take("("):
            return function(self.raised())  # `log Ŷ`
        arguments = [self.added()]
        while self.take(","):
            arguments.append(self.added())
        assert self.take(")")
        return function(*arguments)


def compute(shown: str, values: dict[str, object], *, is_product: bool) -> None:
    """Put the result of `C = A B, with A = ...` beside the values it is computed from; A, too."""
    first, *others = re.split(r", (?:with )?(?=[^ ,]+(?: d?[^ ,]+)? = )", shown)
    for equation in reversed(others):
        name, right = equation.split(" = ")
        # `2 dU/dZ = ...` names twice something
        factor, _, name = name.rpartition(" ")
        found = Formula(right, values, is_product=False).value()
        values[name] = found / float(factor) if factor else found
    adds = " += " in first
    name, right = first.split(" += " if adds else " = ")
    found = Formula(right, values, is_product=is_product).value()
    values[name] = values[name] + found if adds else found
