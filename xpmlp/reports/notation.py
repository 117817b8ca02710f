"""A formula of `xpmlp.algebra.formulas` with the names of one network, as text and as LaTeX.

`dW = Aᵀ dZ` of layer 2 is `dW[2] = A[1]ᵀ dZ[2]`, the lecture's way to number layers.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

FUNCTIONS = (
    "exp", "log", "tanh", "max", "min", "softmax", "softplus", "sqrt", "sum", "mean", "sign"
)  # fmt: skip
WORDS = ("where", "else", "with", "and", "held between", "over rows of")

TOKEN = re.compile(
    r"(?P<word>dU/dZ|over rows of|held between|d?A (?:after|before|in)\b"
    r"|[A-Za-zα-ωΦŶ]+[\u0302\u0303]?'?)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<raised>[ᵀ²³])"
    r"|(?P<sign>>=|[-+*/=(),><|½Σ])"
)

LETTERS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon",
    "λ": r"\lambda", "λα": r"\lambda\alpha", "μ": r"\mu", "π": r"\pi", "σ": r"\sigma",
    "φ": r"\phi", "Φ": r"\Phi", "Ŷ": r"\hat{Y}", "X̂": r"\hat{X}", "Z̃": r"\tilde{Z}",
    "Σ": r"\Sigma", "λ₁": r"\lambda_1", "λ₂": r"\lambda_2", "½": r"\frac{1}{2}",
    "*": r"\ast ", ">=": r"\geq ", "|": r"|", "dU/dZ": r"dU/dZ",
    "ᵀ": r"^{\top}", "²": "^2", "³": "^3",
}  # fmt: skip


class Name(NamedTuple):
    """A matrix of a network: a letter, the number of its layer, and primes for what is on the way
    from one letter to the next."""

    letter: str
    layer: int | None = None
    primes: int = 0

    @property
    def text(self) -> str:
        number = "" if self.layer is None else f"[{self.layer}]"
        return self.letter + "′" * self.primes + number

    @property
    def latex(self) -> str:
        letter = LETTERS.get(self.letter, self.letter)
        letter = rf"\mathrm{{{letter}}}" if letter.isalpha() and len(letter) > 1 else letter
        raised = r"\prime" * self.primes + ("" if self.layer is None else f"[{self.layer}]")
        return f"{letter}^{{{raised}}}" if raised else letter


class Token(NamedTuple):
    """A piece of a formula: its kind, itself, and whether a space stands before it."""

    kind: str
    text: str
    is_apart: bool


def tokens(formula: str) -> Iterator[Token]:
    """The pieces of a formula; `ValueError` for a sign that no formula has."""
    place = 0
    for match in TOKEN.finditer(formula):
        between = formula[place : match.start()]
        if between.strip():
            raise ValueError(f"{between.strip()!r} in {formula!r} is no part of a formula")
        kind = str(match.lastgroup)
        if kind == "word":
            kind = "function" if match[0] in FUNCTIONS else "text" if match[0] in WORDS else "name"
        yield Token(kind, match[0], bool(between))
        place = match.end()
    if formula[place:].strip():
        raise ValueError(f"{formula[place:]!r} in {formula!r} is no part of a formula")


def named(word: str, names: Mapping[str, Name]) -> tuple[str, Name]:
    """`d` or nothing, and the matrix that a formula's word stands for.

    A gradient has the name of what it is the gradient of, unless it is given one of its own.
    """
    is_gradient = word[0] == "d" and len(word) > 1 and word != "dU/dZ"
    d, letter = ("d", word[1:]) if is_gradient else ("", word)
    return d, names.get(word) or names.get(letter) or Name(letter)


def as_text(formula: str, names: Mapping[str, Name]) -> str:
    """The formula with the network's names, as a terminal shows it."""
    parts = []
    for token in tokens(formula):
        shown = token.text
        if token.kind == "name":
            d, name = named(token.text, names)
            shown = d + name.text
        parts.append(" " * token.is_apart + shown)
    return "".join(parts).strip()


def as_latex(formula: str, names: Mapping[str, Name]) -> str:
    """The formula with the network's names, for TeX and for matplotlib alike."""
    parts: list[str] = []
    roots, depth = list[int](), 0
    was_atom = False
    for token in tokens(formula):
        kind, text, _ = token
        is_atom = kind in ("name", "number", "function") or text in ("(", "½")
        space = r"\," if was_atom and is_atom and token.is_apart else ""
        shown = LETTERS.get(text, text)
        if kind == "name":
            d, name = named(text, names)
            shown = d + name.latex
        elif kind == "function":
            known = text in ("exp", "log", "tanh", "max", "min")
            shown = f"\\{text}" if known else rf"\mathrm{{{text}}}" if text != "sqrt" else ""
            shown += " " if known else ""
        elif kind == "text":
            shown = rf"\ \mathrm{{{text.replace(' ', chr(92) + ' ')}}}\ "
        elif kind == "raised":
            shown = _raised(parts, shown)
        elif text == "(":
            is_root = bool(parts) and parts[-1].endswith("\0")
            if is_root:
                parts[-1] = parts[-1][:-1]
                roots.append(depth)
            depth += 1
            shown = r"\sqrt{" if is_root else "("
        elif text == ")":
            depth -= 1
            if roots and roots[-1] == depth:
                roots.pop()
                shown = "}"
        if kind == "function" and text == "sqrt":
            shown = "\0"  # the parenthesis that follows becomes its bar
        parts.append(space + shown)
        was_atom = kind in ("name", "number", "raised") or text in (")", "½")
    return "".join(parts)


def _raised(parts: list[str], shown: str) -> str:
    """A power or ᵀ: of what has a raised number already, around it."""
    if parts and "^" in parts[-1]:
        last = parts.pop()
        space, last = (r"\,", last[2:]) if last.startswith(r"\,") else ("", last)
        return rf"{space}({last}){shown}"
    return shown
