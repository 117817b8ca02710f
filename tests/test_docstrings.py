"""The public names are documented in numpydoc's sections, with examples that run."""

import dataclasses
import doctest
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpmlp
import xpmlp.data
import xpmlp.network
from xpmlp import schedules

PUBLIC = {
    "xpmlp": xpmlp.__all__,
    "xpmlp.training": xpmlp.training.__all__,
    "xpmlp.optimizers": xpmlp.optimizers.__all__,
    "xpmlp.schedules": [
        name
        for name, value in vars(schedules).items()
        if getattr(value, "__module__", "") == "xpmlp.schedules" and not name.startswith("_")
    ],
    "xpmlp.data": xpmlp.data.__all__,
    "xpmlp.network": xpmlp.network.__all__,
    "xpmlp.backends": xpmlp.backends.__all__,
    "xpmlp.training.find_rate": ["find_rate", "RateCurve"],
    "xpmlp.gradcheck": ["gradcheck", "Comparison"],
    "xpmlp.export": ["export_onnx", "Exported"],
    "xpmlp.reports.explain": ["explain", "Explanation"],
    "xpmlp.model_selection": ["cross_validate_members"],
}

SECTIONS = (
    "Parameters", "Returns", "Attributes", "Warns", "Raises", "See Also", "Notes", "References",
    "Examples",
)  # fmt: skip
"""In the order in which a docstring has them."""

NOT_IMPERATIVE = {"The", "A", "An", "What", "Which", "Whether", "How", "It", "This", "Returns"}

SETTINGS = {"TrainConfig", "Objective", "OptimizerConfig", "ValidationConfig", "MLP"}
"""Recipes take their parameters from here, and types and defaults from the signature."""

NOT_CALLED = {"Run", "Init", "Update"}
"""Classes that nobody makes by hand: their attributes are documented, or the call."""

LOGS = (pytest.mark.trackers, pytest.mark.filterwarnings("ignore"))  # those are their libraries'
MARKS = {
    "MLflowLogger": LOGS,
    "WandbLogger": LOGS,
    "survey": pytest.mark.extended,  # it and the next import torch and JAX
    "usable_backends": pytest.mark.extended,
}


def public() -> Iterator[tuple[str, Any]]:
    """Each public function and class once, by its full name."""
    seen: set[int] = set()
    for module, names in PUBLIC.items():
        for name in names:
            value = getattr(importlib.import_module(module), name)
            if (inspect.isclass(value) or inspect.isfunction(value)) and id(value) not in seen:
                seen.add(id(value))
                yield f"{module}.{name}", value


def members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that xpmlp defines for a class."""
    for kind in inspect.getmro(value) if inspect.isclass(value) else ():
        for member, found in vars(kind).items():
            if kind.__module__.startswith("xpmlp") and not member.startswith("_"):
                bound = getattr(value, member)
                if isinstance(found, property) or hasattr(found, "attrname"):
                    yield f"{name}.{member}", found
                elif is_function(bound) and bound.__module__.startswith("xpmlp"):
                    yield f"{name}.{member}", bound


def is_function(value: Any) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value)


OBJECTS = dict(public())
ALL = {**OBJECTS, **{path: one for name in OBJECTS for path, one in members(name, OBJECTS[name])}}


def test_the_public_names_are_found() -> None:
    assert len(OBJECTS) > 100
    assert len(ALL) > 250


def sections_of(documented: Any) -> dict[str, str]:
    """The sections of a docstring by title; the summary is under an empty one."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.getdoc(documented) or "", flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def heads(section: str) -> list[str]:
    """The lines `name : type` of a section, each with a description below it."""
    return re.findall(r"^(\S.*)\n(?=    \S)", section, flags=re.MULTILINE)


def entries(section: str) -> list[str]:
    """The names in those lines; one line may have several."""
    return [
        name.strip("* ") for head in heads(section) for name in head.partition(" : ")[0].split(",")
    ]


def parameters_of(value: Any) -> list[str]:
    """The names of a signature; of a class those of its constructor, if xpmlp gives it one."""
    if inspect.isclass(value) and issubclass(value, Exception) and "__init__" not in vars(value):
        return []
    if dataclasses.is_dataclass(value):  # the constructor of some also takes old names
        arguments = {one.name for one in dataclasses.fields(value) if one.init}
        return [
            name
            for name, one in value.__dataclass_fields__.items()
            if name in arguments or isinstance(one.type, dataclasses.InitVar)
        ]
    names = inspect.signature(value).parameters
    return [name for name in names if name not in ("self", "cls", "args", "kwargs")]


def check(all_of: Callable[[str, Any], list[str]]) -> None:
    """No docstring has a fault of this kind."""
    faults = [f"{name}: {fault}" for name, value in ALL.items() for fault in all_of(name, value)]
    assert not faults, "\n".join(faults)


def test_a_summary_is_one_short_imperative_sentence() -> None:
    def faults(name: str, value: Any) -> list[str]:
        first = (inspect.getdoc(value) or "none").partition("\n")[0]
        is_bad = not first.endswith(".") or len(first) >= 80
        return [first] if is_bad or (is_function(value) and is_noun(first)) else []

    def is_noun(first: str) -> bool:
        return first.split()[0] in NOT_IMPERATIVE

    check(faults)


def test_sections_stand_in_numpydocs_order() -> None:
    def faults(name: str, value: Any) -> list[str]:
        titles = list(sections_of(value))[1:]
        wanted = [title for title in SECTIONS if title in titles]
        text = inspect.getdoc(value) or ""
        return [] if titles == wanted and text.count("\n---") == len(titles) else [str(titles)]

    check(faults)


def test_parameters_are_those_of_the_signature() -> None:
    def faults(name: str, value: Any) -> list[str]:
        sections = sections_of(value)
        if inspect.isclass(value) and hasattr(value, "_fields"):
            wanted, section = list(value._fields), sections.get("Attributes", "")
        elif name.rpartition(".")[2] in NOT_CALLED or not callable(value):
            wanted, section = [], sections.get("Parameters", "")
        else:
            wanted, section = parameters_of(value), sections.get("Parameters", "")
        named = entries(section)
        is_whole = len(heads(section)) == len(re.findall(r"^\S", section, flags=re.MULTILINE))
        if inspect.isclass(value):  # the estimators' are by kind
            named, wanted = sorted(named), sorted(wanted)
        return [] if named == wanted and is_whole else [f"{named} in place of {wanted}"]

    check(faults)


def test_every_parameter_has_its_type_and_says_that_it_has_a_default() -> None:
    def faults(name: str, value: Any) -> list[str]:
        if name.rpartition(".")[2] in SETTINGS:
            return []
        section = sections_of(value).get("Parameters", "")
        signature = inspect.signature(value).parameters if section else {}
        found = []
        for line in heads(section):
            names, _, kind = line.partition(" : ")
            given = [signature[one] for one in names.split(", ") if one in signature]
            has_default = any(one.default is not one.empty for one in given)
            says_so = re.search(r", (default|optional)\b", kind) is not None
            if not line.startswith("**") and (not kind or has_default != says_so):
                found.append(line)
        return found

    check(faults)


def test_a_function_documents_what_it_returns() -> None:
    def faults(name: str, value: Any) -> list[str]:
        if not is_function(value):
            return []
        returns = inspect.signature(value).return_annotation not in (None, "None")
        return [] if ("Returns" in sections_of(value)) == returns else ["Returns"]

    check(faults)


def test_rules_and_schedules_name_their_papers() -> None:
    def faults(name: str, value: Any) -> list[str]:
        is_rule = name.startswith(("xpmlp.optimizers.", "xpmlp.schedules."))
        wants = is_rule and inspect.isfunction(value)
        return ["References"] if wants and not sections_of(value).get("References") else []

    check(faults)


EXAMPLES = [
    pytest.param(name, marks=MARKS.get(name.rpartition(".")[2], ()))
    for name, value in ALL.items()
    if name in OBJECTS or ">>>" in (inspect.getdoc(value) or "")
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty directory, with `np` and `xpmlp` imported; a warning is an error."""
    monkeypatch.chdir(tmp_path)
    text = sections_of(ALL[name]).get("Examples", "")
    names = {"np": np, "xpmlp": xpmlp}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    assert test.examples
    assert len(re.findall(r"^(?:>>>|\.\.\.) ", text, flags=re.MULTILINE)) <= 8
    report: list[str] = []
    outcome = doctest.DocTestRunner().run(test, out=report.append)
    assert outcome.failed == 0, "".join(report)
