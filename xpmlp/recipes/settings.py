"""Every setting of a recipe, with its section, type, default and meaning.

A setting is declared, documented and checked where a run takes it: as a field of `TrainConfig`,
`Objective`, `OptimizerConfig`, `ValidationConfig` or `MLP`, or as an option of an optimizer or a
schedule. This module collects them; files, command lines and docs/recipe.md follow from the table
`SETTINGS`.
"""

import dataclasses
import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args, get_origin

from xpmlp import habits, renamed
from xpmlp.algebra import ACTIVATIONS, LOSSES, OUTPUTS
from xpmlp.backends import BACKENDS, PRECISIONS
from xpmlp.checks import check_range, closest, one_of, shown
from xpmlp.data import DATA_NAMES, SCALINGS
from xpmlp.errors import InputError
from xpmlp.network import INITIALIZERS, MLP, NORMALIZATIONS, Objective
from xpmlp.training import AVERAGES, MONITORS, OptimizerConfig, TrainConfig, ValidationConfig
from xpmlp.training.config import COMPILE, CONFIG_PARTS, OWN_SETTINGS

MOST_MEMBERS = 4096
BALANCED = "balanced"
UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Source:
    """What a recipe trains on, and where.

    Parameters
    ----------
    data
        The data set inside the package, the name of another, or a file or directory of data.
    target
        The column of a table to predict, or several between commas; empty for `label`, `class`,
        `target` or the last column.
    drop
        Columns of a table to leave out, such as `id,name`.
    weights
        The column of a table with the weights of the training rows; empty for equal weights.
    scaling
        What is done with the numbers of a table: `none`, or `robust`, by median and quartiles.
    validation
        Fraction of the training rows that becomes the validation set, stratified by class.
    initial_weights
        An `.npz` file with the initial weights `W1 B1 W2 B2 ...`; empty for none.
    members
        Networks trained at once, on the same batches.
    backend
        The array library; `auto`: CuPy if a GPU works, else NumPy.
    device
        `cpu`, `cuda`, or `cuda:1` for the second GPU; empty for the backend's first.
    """

    data: str = "mnist"
    target: str = ""
    drop: str = ""
    weights: str = ""
    scaling: str = "none"
    validation: float = 0.0
    initial_weights: str = ""
    members: int = 1
    backend: str = "auto"
    device: str = ""

    def __post_init__(self) -> None:
        if not self.data:
            raise InputError(f"data=: give a path, or one of {', '.join(DATA_NAMES)}")
        check_range("validation", self.validation, least=0.0, below=1.0)
        if not 1 <= self.members <= MOST_MEMBERS:
            raise InputError(f"members={self.members}: give 1 to {MOST_MEMBERS}")
        one_of(CHOICES["backend"], backend=self.backend)
        one_of(SCALINGS, scaling=self.scaling)


SECTIONS: dict[str, tuple[type, ...]] = {
    "": (Source, TrainConfig),
    "model": (MLP,),
    "objective": (Objective,),
    "optimizer": (OptimizerConfig,),
    "schedule": (),
    "early_stopping": (ValidationConfig,),
}
"""What the settings of each section are fields of; those of no section are at a recipe's top."""

PYTHON_ONLY = {*CONFIG_PARTS, "divides_by_weight", "allow_divergence"}
"""Fields that no text can give."""

SETTING_PATHS = {
    "optimizer": "optimizer.name",
    "schedule": "schedule.name",
    "warm_up": "schedule.warm_up",
    "plateau_patience": "schedule.patience",
    "plateau_factor": "schedule.factor",
}
"""Settings whose section or key is not that of their field."""

DEFAULTS: dict[str, Any] = {
    "layer_sizes": [784, 64, 32, 10],
    "class_weights": "",
    "optimizer": "sgd",
    "schedule": "constant",
    "weight_decay": None,
    "dtype": "float32",
}
"""Defaults as a recipe writes them; the weight decay depends on the optimizer."""

CHOICES: dict[str, Sequence[str]] = {
    "backend": ("auto", *BACKENDS),
    "scaling": SCALINGS,
    "dtype": tuple(PRECISIONS),
    "compile": COMPILE,
    "initializer": tuple(INITIALIZERS),
    "activation": tuple(ACTIVATIONS),
    "output": tuple(OUTPUTS),
    "normalization": NORMALIZATIONS,
    "loss": tuple(LOSSES),
    "optimizer": tuple(OWN_SETTINGS["optimizer"]),
    "schedule": tuple(OWN_SETTINGS["schedule"]),
    "average": AVERAGES,
    "monitor": MONITORS,
}
"""The values of the settings that are names."""

NOUNS = {bool: "true or false", int: "an integer", float: "a number", str: "a name"}


class Setting(NamedTuple):
    """A setting: `name` in Python, `path` in recipes and for `--set`.

    `types` are those of a value; `is_many` says whether a list has one for each layer or class, and
    `is_by_member` whether it may have one for each member. Without a default the setting belongs
    to some optimizer, schedule, loss or average alone.
    """

    name: str
    path: str
    types: frozenset[type]
    default: Any = None
    about: str = ""
    is_many: bool = False
    is_by_member: bool = False

    def read(self, value: Any) -> Any:
        """Return a value of the right type; text may give several numbers, `0.01,0.03`.

        Raises
        ------
        InputError
            For a value of another type.
        """
        if isinstance(value, str):
            value = self._read_text(value)
        values = list(value) if self.is_list and isinstance(value, (list, tuple)) else [value]
        if not all(map(self._fits, values)) or not (values or self.is_many):
            text = repr(value) if type(value) is str and not self.is_list else shown(value)
            raise InputError(f"{self.name}={text}: give {self.wanted}")
        if float in self.types:
            values = [float(one) if type(one) is int else one for one in values]
        is_many = self.is_many and not isinstance(value, str)
        return values if is_many or len(values) > 1 else values[0]

    @property
    def is_list(self) -> bool:
        """Whether a value may be a list."""
        return self.is_many or self.is_by_member

    def _read_text(self, text: str) -> Any:
        if self.name == "time_limit":
            return seconds(text)
        if self.name == "data":
            return text.lower() if text.lower() in DATA_NAMES else text
        if self.name == "threads" and text.lower() == "auto":
            return 0
        if self.types == {bool}:
            return {"true": True, "false": False}.get(text.lower(), text)
        if self.is_list:
            try:
                return [number(one) for one in text.split(",")]
            except ValueError:
                pass
        return text.lower() if str in self.types and self.name != "initial_weights" else text

    def _fits(self, value: object) -> bool:
        return type(value) in self.types or (type(value) is int and float in self.types)

    @property
    def wanted(self) -> str:
        """What a value is, in words."""
        noun = next(noun for kind, noun in NOUNS.items() if kind in self.types)
        example = ", such as 64,32"
        if self.is_many:
            return f"{noun.split()[-1]}s with commas between{example}"
        if self.is_by_member:
            example = f", or one for each member: {'1,2,3' if int in self.types else '0.01,0.03'}"
        elif self.default in (None, "") or bool in self.types:
            example = ""
        else:
            example = f", such as {self.default}"
        return noun + example


def number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def seconds(text: str, *, shown_as: str = "time_limit=") -> float:
    """Return `90`, `90s`, `10m` or `1.5h` in seconds; `InputError` for other texts."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNIT_SECONDS else (text, "s")
    try:
        found = float(number) * UNIT_SECONDS[unit]
    except ValueError:
        found = math.nan
    if not 0.0 < found < math.inf:
        raise InputError(f"{shown_as}{text}: give a time above 0, such as 60s, 10m or 1h")
    return found


def _declared() -> Iterator[Setting]:
    """The settings in the order of their sections."""
    for section, kinds in SECTIONS.items():
        for kind in kinds:
            about = parameters_of(kind)
            for field in dataclasses.fields(kind):
                name = field.name
                default = DEFAULTS.get(name, field.default)
                types = _plain(field.type) | ({str} if isinstance(default, str) else set())
                is_list = get_origin(field.type) in (Sequence, tuple)
                by_member = not is_list and "[" in f"{field.type}"
                path = f"{section}.{name}".lstrip(".")
                yield Setting(name, path, types, default, about[name], is_list, by_member)
    for has in OWN_SETTINGS.values():
        for options in has.values():
            for name, default in options.items():
                section = "optimizer" if has is OWN_SETTINGS["optimizer"] else "schedule"
                yield Setting(name, f"{section}.{name}", frozenset({type(default)}))


def _plain(annotation: Any) -> frozenset[type]:
    """The types among bool, int, float and str in an annotation."""
    inner = get_args(annotation)
    if inner:
        return frozenset().union(*map(_plain, inner))
    return frozenset({annotation} & NOUNS.keys())


def parameters_of(documented: Any) -> dict[str, str]:
    """The parameters of a docstring in numpydoc's form, each with its description in a line."""
    text = inspect.cleandoc(documented.__doc__ or "")
    found = re.findall(r"^(\w+)\n((?:    .+\n?)+)", text, re.MULTILINE)
    return {name: " ".join(about.split()) for name, about in found}


def _table() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for one in _declared():
        if one.name not in PYTHON_ONLY:
            found.setdefault(one.name, one._replace(path=SETTING_PATHS.get(one.name, one.path)))
    for has in OWN_SETTINGS.values():
        for name in {name for options in has.values() for name in options}:
            found[name] = found[name]._replace(default=None)
    order = list(SECTIONS)
    return dict(sorted(found.items(), key=lambda one: order.index(section_of(one[1].path))))


def section_of(path: str) -> str:
    """The section of a setting; empty at the top of a recipe."""
    return path.rpartition(".")[0]


SETTINGS = _table()

PATHS = {one.path: name for name, one in SETTINGS.items()}
"""The settings' names by their paths."""


def by_name(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return settings by name, and for each flat key of 0.1.0 among them what to write now.

    Keys are paths, names, or sections with a mapping of their own.

    Raises
    ------
    InputError
        For an unknown key.
    """
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and key in SECTIONS:
            pairs += [(f"{key}.{inner}", one) for inner, one in value.items()]
        else:
            pairs.append((key, value))
    found, old = {}, {}
    for path, value in pairs:
        name = PATHS.get(path) or renamed.SETTINGS.get(path, path)
        if name not in SETTINGS:
            raise InputError(unknown_setting(path))
        if path == "hidden" and shown(value)[:1].isdigit():
            raise InputError(
                f"hidden={shown(value)}: for widths use --hidden or model.layer_sizes; this key is "
                "the activation, model.activation now"
            )
        if name in found:
            raise InputError(f"{path}={shown(value)}: {name} is given twice; keep one")
        if path not in PATHS:
            old[path] = SETTINGS[name].path
        found[name] = value
    return found, old


def unknown_setting(path: str) -> str:
    """The message for an unknown key: what it may have meant, or all keys of its section."""
    section, _, key = path.replace("-", "_").rpartition(".")
    if (meant := habits.SETTING_HABITS.get(key)) in SETTINGS:
        return f"setting {path!r} is unknown: did you mean {SETTINGS[meant].path}?"
    known = {**{name: one.path for name, one in SETTINGS.items()}, **{path: path for path in PATHS}}
    near = closest(key, known) or (section not in SECTIONS and closest(path, known))
    if near:
        return f"setting {path!r} is unknown: did you mean {known[near]}?"
    names = [one for one in PATHS if one.rpartition(".")[0] == section and section in SECTIONS]
    if not section:
        names += [f"{name}.KEY" for name in SECTIONS if name]
    return f"setting {path!r} is unknown: use {', '.join(names or filter(None, SECTIONS))}"
