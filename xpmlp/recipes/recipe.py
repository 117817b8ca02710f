"""A recipe: a run of training as data, from a file, `--set` and options."""

import contextlib
import dataclasses
import itertools
import logging
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.checks import check_integer, nearest
from xpmlp.data import DATA_NAMES, Dataset, Split, hold_out, load_data, rows_to_hold_out
from xpmlp.errors import InputError
from xpmlp.files import nearest_path, refuse_special_file
from xpmlp.network import MLP, Objective, balanced_weights
from xpmlp.optimizers import WEIGHT_DECAY
from xpmlp.recipes.settings import (
    BALANCED,
    CHOICES,
    MOST_MEMBERS,
    SETTINGS,
    Source,
    by_name,
    number,
    section_of,
)
from xpmlp.training import TrainConfig
from xpmlp.training.config import OWN_SETTINGS

SUFFIX = ".toml"

LARGEST_RECIPE = 1 << 20
"""Bytes of a recipe's file: one with a value for each of 4,096 members has half as many."""

_PART = r"""(?:"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|[\w-]++)"""
DEEP_KEY = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*+\.[ \t]*+){{32}}", re.ASCII)
"""A key of tables within tables: tomllib's time and memory grow with the square of its length, to
gigabytes for 100 kB. A recipe has tables of one level."""

BY_MEMBER = tuple(name for name, one in SETTINGS.items() if one.is_by_member)
"""The settings that may have a value for each member."""

SOURCE_FIELDS = tuple(one.name for one in dataclasses.fields(Source))
MODEL_FIELDS = tuple(one.name for one in dataclasses.fields(MLP))

log = logging.getLogger(__name__)


@dataclass(frozen=True, init=False)
class Recipe:
    """A run of training as data: every setting of docs/recipe.md, also as an attribute.

    `Recipe(epochs=5, optimizer="adam")` takes settings by name, by path or in sections. A setting
    without a value is None: it belongs to another optimizer, schedule, loss or average.

    Attributes
    ----------
    settings
        The settings that have a value, by name.

    Raises
    ------
    InputError
        For an unknown setting, a value out of range, and settings that contradict each other.
    """

    settings: Mapping[str, Any]

    def __init__(self, **settings: Any) -> None:
        problems: list[str] = []
        values = {name: one.default for name, one in SETTINGS.items() if one.default is not None}
        for name, value in by_name(settings)[0].items():
            if value is not None:
                with _collecting(problems):
                    values[name] = SETTINGS[name].read(value)
        ordered = {name: values[name] for name in SETTINGS if name in values}
        object.__setattr__(self, "settings", ordered)
        if not problems:
            for check in (self._check_source, lambda: self.model, self.config):
                with _collecting(problems):
                    check()
        if not problems:
            with _collecting(problems):
                self._check_classes()
        if problems:
            # A value with a line break must not break the line.
            said = "; ".join(problems)
            raise InputError("".join(c if c.isprintable() else repr(c)[1:-1] for c in said))

    def __getattr__(self, name: str) -> Any:
        if name not in SETTINGS:
            raise AttributeError(f"'Recipe' object has no attribute {name!r}")
        return self.settings.get(name)

    def _check_source(self) -> None:
        Source(**{name: self.settings[name] for name in SOURCE_FIELDS})
        check_integer("epochs", self.epochs, least=1)
        for name in BY_MEMBER:
            values = self.settings.get(name)
            if isinstance(values, list) and len(values) != self.members:
                raise InputError(
                    f"{name}={','.join(map(str, values))}: {len(values)} values for "
                    f"{self.members} members; give one, or one for each (--members {len(values)})"
                )

    def _check_classes(self) -> None:
        """Refuse what contradicts the output, class weights above all."""
        self.objective().check(self.output, self.layer_sizes[-1])
        weights = self.class_weights
        if not isinstance(weights, str) or not weights:
            return
        if weights != BALANCED:
            raise InputError(
                f"class_weights={weights}: give {BALANCED}, or a weight for each class: 1,2,0.5"
            )
        if self.model.is_regression:
            raise InputError(
                "class_weights=balanced: an output of numbers has no classes; leave it out, or "
                "train with output=softmax"
            )
        if self.mixup:
            raise InputError(
                f"class_weights=balanced: with mixup={self.mixup:g} a row is of several classes; "
                "choose one"
            )

    @property
    def dropped(self) -> list[str]:
        """The columns of a table that are left out."""
        return [name.strip() for name in self.drop.split(",")] if self.drop else []

    def load_data(self) -> Dataset:
        """Load the data set that the recipe names."""
        return load_data(
            self.data,
            target=self.target,
            drop=self.dropped,
            weights=self.weights,
            scaling=self.scaling,
        )

    @property
    def model(self) -> MLP:
        """The network that the recipe trains."""
        return MLP(**{name: self.settings[name] for name in MODEL_FIELDS})

    def config(
        self, labels: np.ndarray | None = None, validation: Split | None = None
    ) -> TrainConfig:
        """Return what the network is trained with.

        Parameters
        ----------
        labels
            Those of the training rows, in which balanced class weights are counted.
        validation
            The validation rows.
        """
        settings = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.settings.items()
            if name not in SOURCE_FIELDS and name not in MODEL_FIELDS
        }
        if isinstance(self.class_weights, str):
            settings["class_weights"] = ()
            if self.class_weights == BALANCED and labels is not None:
                weights = balanced_weights(labels, max(2, self.layer_sizes[-1]))
                settings["class_weights"] = weights
        if validation is None and self.validation:
            validation = Split(np.empty((0, 0)), np.empty(0))
        return TrainConfig.of(None, **{**settings, "seed": self.seeds, "validation": validation})

    def objective(self, labels: np.ndarray | None = None) -> Objective:
        """What it minimises; balanced class weights are counted in the labels, 1 each without."""
        return self.config(labels).objective

    def held_out(self, split: Split) -> tuple[Split, Split | None]:
        """The rows that a run trains on, and its validation rows, if any."""
        if not self.validation:
            return split, None
        return hold_out(split, self.validation, seed=self._first_seed)

    def row_weights(self, dataset: Dataset) -> np.ndarray | None:
        """The weights of the rows that a run trains on, if the data set has some."""
        if dataset.weights is None or not self.validation:
            return dataset.weights
        labels = dataset.train.labels
        rows, _ = rows_to_hold_out(labels, self.validation, seed=self._first_seed)
        weights: np.ndarray = dataset.weights[rows]
        return weights

    @property
    def _first_seed(self) -> int:
        return int(np.atleast_1d(self.seed)[0])

    @property
    def seeds(self) -> int | list[int]:
        """The seed of the one network, or a seed for each member, counted up from `seed`."""
        if isinstance(self.seed, list) or self.members == 1:
            return self.seed  # type: ignore[no-any-return]
        count = min(max(1, self.members), MOST_MEMBERS)  # other numbers are refused elsewhere
        return [self.seed + member for member in range(count)]

    @property
    def of_one_network(self) -> "Recipe":
        """This recipe with the first of its members alone."""
        first = {
            name: value[0]
            for name in BY_MEMBER
            if isinstance(value := self.settings.get(name), list)
        }
        return self.replace({**first, "members": 1})

    def replace(self, changes: Mapping[str, object]) -> "Recipe":
        """This recipe with some settings changed, checked as a whole."""
        return Recipe(**{**self.settings, **by_name(changes)[0]})

    def resolved(self, backend: Backend) -> "Recipe":
        """The recipe as it will run: backend and device as chosen, and paths from the root.

        Where another number of CPU threads would change bits, the number chosen is part of it.
        """
        changes: dict[str, object] = {"weight_decay": WEIGHT_DECAY.get(self.optimizer, 0.0)}
        for kind, has in OWN_SETTINGS.items():
            changes |= has.get(self.settings[kind], {})
        changes |= {**self.settings, "backend": backend.name, "device": backend.device_name}
        if not self.threads:
            changes["threads"] = self.best_threads(backend)
        if self.data not in DATA_NAMES:
            changes["data"] = str(Path(self.data).absolute())
        if self.initial_weights:
            changes["initial_weights"] = str(Path(self.initial_weights).absolute())
        return Recipe(**changes)

    def best_threads(self, backend: Backend) -> int:
        """The number of CPU threads to fix for this run: 0 where another gives the same bits."""
        products = self.model.products(self.batch_size)
        found = backend.choose_threads(products, PRECISIONS[self.dtype])
        return 0 if found.may_change else found.number

    def to_toml(self) -> str:
        """The recipe as text, every setting written out in its section."""
        found: dict[str, Any] = {}
        for name, value in self.settings.items():
            path = SETTINGS[name].path
            table = found.setdefault(section, {}) if (section := section_of(path)) else found
            table[path.rpartition(".")[2]] = value
        return tomli_w.dumps(found)


@contextlib.contextmanager
def _collecting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        problems.append(str(error))


class Description(NamedTuple):
    """What a recipe is about, and what was measured with it: its file's first lines."""

    about: str
    measured: str


def describe_recipe(name: str) -> Description:
    """What the comment at the head of a recipe says; its second half begins with `Measured:`."""
    text = resources.files("xpmlp.recipes").joinpath(name + SUFFIX).read_text("utf-8")
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    about, _, measured = " ".join(line.strip("# ") for line in lines).partition(" Measured: ")
    return Description(about, measured)


def recipe_names() -> list[str]:
    """The recipes that come with xpmlp."""
    folder = resources.files("xpmlp.recipes")
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def load_recipe(
    name_or_file: str,
    settings: Sequence[str] = (),
    options: Mapping[str, object] | None = None,
    *,
    warns: bool = True,
) -> Recipe:
    """Return the named recipe or TOML file, changed by settings and then by options.

    Parameters
    ----------
    name_or_file
        A name of `recipe_names()`, or a path that ends in `.toml`.
    settings
        Texts `key=value`; the key is a path such as `optimizer.beta1`.
    options
        Values by name, or their texts. `hidden` are the widths between the first and the last.
    warns
        Whether flat keys of 0.1.0 are logged, in one line.

    Raises
    ------
    InputError
        For a setting that is unknown or has another value than it may.
    """
    source = f"{name_or_file}: " if name_or_file.endswith(SUFFIX) else ""
    with _prefixed(source, lambda _: True):
        file, old = by_name(_read(name_or_file))
    given = dict(options or {})
    hidden = given.pop("hidden", None)
    changes, old_changes = by_name(dict(map(read_setting, settings)))
    changes |= {
        name: option_value(name, value) for name, value in given.items() if value is not None
    }
    values = {**file, **changes}
    with _prefixed(source, lambda name: name in file and (name not in changes)):
        recipe = Recipe(**values)
    if hidden in CHOICES["activation"]:
        raise InputError(f"--hidden {hidden}: did you mean --set model.activation={hidden}?")
    if hidden is not None:
        first, *_, last = recipe.layer_sizes
        widths = [first, *([hidden] if hidden else []), last]
        recipe = recipe.replace({"layer_sizes": ",".join(map(str, widths))})
    if warns and (old or old_changes):
        log.warning("%s%s", source if old else "--set: ", _rewritten({**old, **old_changes}))
    return recipe


def _rewritten(old: Mapping[str, str]) -> str:
    """The line about flat keys: what to write in place of the first few."""
    first = [f"{path} for {key}" for key, path in itertools.islice(old.items(), 3)]
    more = ["..."] if len(old) > len(first) else []
    return f"flat keys are those of 0.1.0; write {', '.join(first + more)} (see docs/recipe.md)"


@contextlib.contextmanager
def _prefixed(source: str, is_of_file: Callable[[str], bool]) -> Iterator[None]:
    """Name the file first where an error is about a setting that it gave."""
    try:
        yield
    except InputError as error:
        if is_of_file(str(error).partition("=")[0]) and not str(error).startswith(source):
            raise InputError(source + str(error)) from error
        raise


def _read(name_or_file: str) -> dict[str, Any]:
    if not name_or_file.endswith(SUFFIX):
        if name_or_file not in recipe_names():
            raise InputError(_unknown_recipe(name_or_file))
        text = resources.files("xpmlp.recipes").joinpath(name_or_file + SUFFIX).read_text("utf-8")
        return tomllib.loads(text)
    refuse_special_file(Path(name_or_file))
    try:
        with Path(name_or_file).open("rb") as file:
            content = file.read(LARGEST_RECIPE + 1)
        if len(content) > LARGEST_RECIPE:
            raise InputError(f"{name_or_file}: more than {LARGEST_RECIPE:,} bytes; give a recipe")
        return _toml(content.decode())
    except InputError:
        raise
    except OSError as error:
        near = nearest_path(name_or_file)
        raise InputError(
            f"{name_or_file}: cannot be read ({error.strerror}); {near or 'give a .toml file'}"
        ) from error
    except ValueError as error:  # TOML's syntax or its encoding
        raise InputError(
            f"{name_or_file}: no valid TOML ({' '.join(str(error).split())})"
        ) from error


def read_setting(text: str) -> tuple[str, object]:
    """`key=value`, the value as TOML has it, or else as plain text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: give key=value, such as epochs=5")
    return key.strip(), _value(value)


def _value(text: str) -> object:
    for read in (lambda: _toml(f"value = {text}")["value"], lambda: number(text)):
        with contextlib.suppress(ValueError):
            return read()
    return text.strip()


def option_value(name: str, value: object) -> object:
    """The value of an option; text stays text where the setting is text."""
    is_text = SETTINGS[name].types == {str}
    return _value(value) if isinstance(value, str) and not is_text else value


def _toml(text: str) -> dict[str, Any]:
    """Return the table in a text; `ValueError` for invalid or too deeply nested TOML."""
    if DEEP_KEY.search(text):
        raise ValueError("a key of more than 32 parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("brackets within brackets, too deep to be followed") from None


def _unknown_recipe(name: str) -> str:
    """The message for an unknown name: a run, a file, data or another recipe may be meant."""
    file, config = Path(name + SUFFIX), Path(name) / "config.toml"
    if file.is_file():
        meant = f"did you mean {file}?"
    elif config.is_file():
        meant = f"did you mean --resume {name}, or {config} to train it again?"
    elif name and (name in DATA_NAMES or Path(name).exists()):
        meant = f"did you mean --data {name}?"
    else:
        names = recipe_names()
        near = nearest(name, names)
        meant = f"{near}use {', '.join(names)}, or the path of a {SUFFIX} file"
    return f"recipe {name!r} is unknown: {meant}"
