"""A formula of `xpmlp.algebra.formulas` with the names of one network, as text and as LaTeX.

`dW = Aᵀ dZ` of layer 2 is `dW[2] = A[1]ᵀ dZ[2]`, the lecture's way to number layers. LaTeX is made
from that text, so both show the same.
"""

import re
import unicodedata
from collections.abc import Mapping

LETTERS = "[A-Za-zα-ωΦŶ]+[\u0302\u0303]?"
WORD = re.compile(rf"dU/dZ|d?A (?:after|before|in)\b|{LETTERS}'?")
SYMBOL = re.compile(
    rf"(?P<d>d?)(?P<letter>{LETTERS}[₀₁₂]?)(?P<primes>′*)(?P<number>(?:\[\w+\])?)(?P<raised>[ᵀ²³]?)"
)
"""A matrix, a number or a function in the text of a formula, `dA′[2]` for example."""

TEX: dict[str, str | int | None] = {
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ",
    "λ": r"\lambda ", "μ": r"\mu ", "π": r"\pi ", "σ": r"\sigma ", "φ": r"\phi ", "Φ": r"\Phi ",
    "Σ": r"\Sigma ", "½": r"\frac{1}{2}", "*": r"\ast ", "≥": r"\geq ",
    "→": r"\to ", "×": r"\times ", "ᵀ": r"\top ", "′": r"\prime ", "²": "^2", "³": "^3",
    "₀": "_0", "₁": "_1", "₂": "_2",
}  # fmt: skip
"""Letters and signs as TeX has them in formulas."""

IN_TEXT: dict[str, str | int | None] = {
    **{sign: f"\\{sign}" for sign in "{}_&%$#"},
    **{sign: f"${tex}$" for sign, tex in TEX.items() if not sign.isascii()},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
"""What stands for a sign in TeX's text, outside of formulas."""

ACCENTS = {"\u0302": r"\hat", "\u0303": r"\tilde"}


def as_text(formula: str, names: Mapping[str, str]) -> str:
    """Return the formula with the network's names, as a terminal shows it.

    A gradient is `d` and the name of its matrix, unless `names` has one for the gradient itself.
    """

    def named(word: re.Match[str]) -> str:
        d, letter = ("d", word[0][1:]) if word[0].startswith("d") else ("", word[0])
        return names.get(word[0]) or d + names.get(letter, letter)

    return WORD.sub(named, formula)


def as_latex(text: str) -> str:
    """Return the text of a formula for TeX and for matplotlib alike."""
    text = unicodedata.normalize("NFD", text).replace(">=", "≥")
    text = re.sub(r"sqrt\(((?:[^()]|\([^()]*\))*)\)", r"√{\1}", text)
    text = re.sub(r"(?<=[\w\u0302\u0303\])′,]) (?=[\w(√])", "~", text)
    text = SYMBOL.sub(_symbol, text).translate(str.maketrans(TEX))
    return text.replace("√", r"\sqrt").replace(" +=", r"~{+}\!=")


def _symbol(found: re.Match[str]) -> str:
    d, letter, primes, number, raised = found.groups()
    if letter[-1] in ACCENTS:
        letter = f"{ACCENTS[letter[-1]]}{{{letter[:-1]}}}"
    elif letter.isascii() and len(letter) > 1:
        letter = rf"\mathrm{{{letter}}}"
    above = primes + number + raised.replace("²", "").replace("³", "")
    matrix = f"{d}{letter}^{{{above}}}" if above else d + letter
    if raised in ("", "ᵀ"):
        return matrix
    return f"({matrix}){raised}" if above else matrix + raised


def tex_text(text: str) -> str:
    """Return text that TeX prints as it is; a file's name may hold anything."""
    return text.translate(str.maketrans(IN_TEXT))
