"""The field's words, in code and documentation: none of these private ones."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORDS = {
    r"whole numbers?": "integer",
    r"(?:hold|held|holding|holds)[ -]out": "validation rows, left out",
    r"pictures?": "image, figure",
    r"committees?": "ensemble",
    r"mend(?:s|ed|ing)?": "fix",
    r"(?:go|goes|going|gone|went) on": "resume, continue",
    r"no numbers?(?: any more)?": "NaN or infinite",
    r"had enough": "early stopping",
    r"so many": "n, this many",
    r"what (?:is|was|are|were) (?:given|said|asked|found|expected)": "name the noun",
    r"(?:is|was|are|were) said": "is printed, is predicted",
    r"witness(?:es)?": "method, reference",
    r"found to be none": "became NaN or infinite",
    r"(?:that|which) (?:is|are) none": "that do not exist",
    r"as often right": "is right as often as",
    r"is so no more": "name what changed",
    r"not asked for": "unused",
    r"observers?(?!`|=| is)": "callback",
}
"""What no text says, and what it says instead."""

PRIVATE = (
    "Descent", "Control", "Observer", "Training.begin", "keep_best", "lets_members_diverge",
    "first_fault", "predicts_numbers", "at_most_one", "above_zero", "begin_training",
)  # fmt: skip
"""Names of 0.1.0 that texts name no more, in backticks."""

OLD = {"xpmlp/renamed.py", "tests/test_language.py", "tests/test_names.py"}
"""Files about the old words themselves."""

SOURCES = ("xpmlp", "tests", "benchmarks", ".ci")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a file's comments and strings, or all of a page, with their numbers."""
    if path.suffix == ".md":
        text = path.read_text("utf-8")
        if path.name == "CHANGELOG.md":
            # Names in backticks may be those of 0.1.0: it says what they are now.
            text = re.sub(r"`[^`]+`", "NAME", text.split("\n## 0.1.0")[0])
        yield from enumerate(text.split("\n\n"), start=1)
        return
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if tokenize.tok_name[token.type] in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
                yield token.start[0], token.string


def files() -> list[Path]:
    """Every file with words of this project's own."""
    found = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
    for folder in SOURCES:
        found += (ROOT / folder).rglob("*.py")
    found += [one for one in (ROOT / ".ci").iterdir() if one.read_bytes()[:30].count(b"python3")]
    return sorted(one for one in found if "golden" not in one.parts)


def faults(path: Path) -> list[str]:
    """What a file says in private words."""
    if path.relative_to(ROOT).as_posix() in OLD:
        return []
    found = []
    for number, text in texts(path):
        line = " ".join(text.split())
        for pattern, instead in WORDS.items():
            for one in re.finditer(rf"(?<!\{{)\b(?:{pattern})\b", line, flags=re.IGNORECASE):
                context = line[max(0, one.start() - 30) : one.end() + 30]
                found.append(f"{path.relative_to(ROOT)}:{number}: {context!r}: say {instead}")
        found += [
            f"{path.relative_to(ROOT)}:{number}: `{name}` has another name now"
            for name in PRIVATE
            if f"`{name}`" in line
        ]
    return found


@pytest.mark.extended
def test_texts_have_the_fields_words() -> None:
    found = [fault for path in files() for fault in faults(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["A committee of three.", "It goes\non.", "See `keep_best`."])
def test_a_private_word_is_found(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "a.md"
    page.write_text(text, "utf-8")
    assert len(faults(page)) == 1
    source = tmp_path / "a.py"
    source.write_text(f'committee = 1\n"""{text}"""\n', "utf-8")
    assert len(faults(source)) == 1
