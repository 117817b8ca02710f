"""The schema of a recipe, and how one is read: file, then `--set`, then options."""

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from xpmlp.algebra import ACTIVATIONS
from xpmlp.backends import BACKENDS, PRECISIONS, Backend
from xpmlp.data import MNIST
from xpmlp.errors import InputError
from xpmlp.files import refuse_special_file
from xpmlp.network import MLP, OUTPUTS, check_layer_sizes

SUFFIX = ".toml"


def _widths(value: object) -> object:
    """Widths also as text, `784,64,32,10`; each message names the width at fault."""
    if type(value) is int:
        value = [value]
    if isinstance(value, str):
        try:
            value = [int(width) for width in value.split(",")]
        except ValueError:
            raise ValueError("give whole numbers with commas between, such as 64,32") from None
    if isinstance(value, (list, tuple)) and all(type(width) is int for width in value):
        check_layer_sizes(value)
    return value


Width = Annotated[int, Field(lt=2**28)]
"""Bounded so that NumPy can count the bytes of any two layers: memory is the limit met first."""


def _rates(value: object) -> object:
    """Learning rates, one for all members or one for each; also as text, `0.01,0.03`."""
    if isinstance(value, str):
        try:
            rates = [float(rate) for rate in value.split(",")]
        except ValueError:
            raise ValueError("give a number, or one for each member: 0.01,0.03") from None
        value = rates if len(rates) > 1 else rates[0]
    for rate in value if isinstance(value, list) else [value]:
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            raise ValueError("give a number, or one for each member: 0.01,0.03")
        if not 0.0 < rate < math.inf:
            raise ValueError("give a finite number greater than 0")
    return value


def _one_of(names: Iterable[str]) -> AfterValidator:
    known = tuple(names)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"{_nearest(value, known)}use {', '.join(known)}")
        return value

    return AfterValidator(check)


def _nearest(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {nearest[0]}? " if nearest else ""


class Recipe(BaseModel):
    """A run of training as data. Every field is an option of `xpmlp train` or `--set FIELD=...`.

    `data` is `mnist` or a directory of IDX files; `initial_weights` an .npz file or empty;
    `device` is empty for the backend's first; `threads` is 0 to find the best number of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    data: Annotated[str, Field(min_length=1)] = "mnist"
    layer_sizes: Annotated[list[Width], BeforeValidator(_widths)] = [784, 64, 32, 10]
    hidden: Annotated[str, _one_of(ACTIVATIONS)] = "sigmoid"
    output: Annotated[str, _one_of(OUTPUTS)] = "softmax"
    initial_weights: str = ""
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float | list[float], BeforeValidator(_rates)] = 0.03
    shuffle: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    members: Annotated[int, Field(ge=1, le=4096)] = 1
    dtype: Annotated[str, _one_of(PRECISIONS)] = "float32"
    compile: Annotated[str, _one_of(("auto", "require", "off"))] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    backend: Annotated[str, _one_of(("auto", *BACKENDS))] = "auto"
    device: str = ""

    @model_validator(mode="after")
    def _rate_for_each_member(self) -> "Recipe":
        rates = self.learning_rate
        if isinstance(rates, list) and len(rates) != self.members:
            raise ValueError(
                f"learning_rate={','.join(map(str, rates))}: {len(rates)} rates for "
                f"{self.members} members; give one, or one for each (--members {len(rates)})"
            )
        return self

    @property
    def model(self) -> MLP:
        """The network that the recipe trains."""
        return MLP(self.layer_sizes, hidden=self.hidden, output=self.output)

    @property
    def seeds(self) -> int | list[int]:
        """The seed of the one network, or a seed for each member, counted up from `seed`."""
        if self.members == 1:
            return self.seed
        return [self.seed + member for member in range(self.members)]

    def replace(self, changes: Mapping[str, object]) -> "Recipe":
        """This recipe with some fields changed, checked as a whole."""
        return _checked({**self.model_dump(), **changes}, source="")

    def resolved(self, backend: Backend) -> "Recipe":
        """The recipe as it will run: backend and device as chosen, and paths from the root.

        Where another number of CPU threads would change bits, the number chosen is part of it.
        """
        changes: dict[str, object] = {
            "backend": backend.name,
            "device": backend.device_name,
        }
        if not self.threads:
            found = backend.choose_threads(
                self.model.products(self.batch_size), PRECISIONS[self.dtype]
            )
            changes["threads"] = 0 if found.may_change else found.number
        if self.data != MNIST:
            changes["data"] = str(Path(self.data).absolute())
        if self.initial_weights:
            changes["initial_weights"] = str(Path(self.initial_weights).absolute())
        return self.replace(changes)

    def to_toml(self) -> str:
        """The recipe as text, every field written out."""
        return tomli_w.dumps(self.model_dump())


def recipe_names() -> list[str]:
    """The recipes that come with xpmlp."""
    folder = resources.files("xpmlp.recipes")
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def load_recipe(
    name_or_file: str, settings: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> Recipe:
    """The named recipe or TOML file, changed by settings (`key=value`) and then by options.

    An option that is None was not given; `hidden_sizes` replaces the widths between the first
    and the last. Raises `InputError` that names the field, the value and what is allowed.
    """
    values = _read(name_or_file)
    source = f"{name_or_file}: " if name_or_file.endswith(SUFFIX) else ""
    recipe = _checked(values, source=source)
    recipe = recipe.replace(dict(_setting(text) for text in settings))
    changes = {name: value for name, value in (options or {}).items() if value is not None}
    inner = changes.pop("hidden_sizes", None)
    if inner is not None:  # --hidden 64,32: the widths between the data's and the classes'
        first, *_, last = recipe.layer_sizes
        changes["layer_sizes"] = ",".join(map(str, (first, *([inner] if inner else []), last)))
    return recipe.replace(changes)


def _read(name_or_file: str) -> dict[str, Any]:
    if not name_or_file.endswith(SUFFIX):
        if name_or_file not in recipe_names():
            raise InputError(_unknown("recipe", name_or_file, recipe_names()))
        text = resources.files("xpmlp.recipes").joinpath(name_or_file + SUFFIX).read_text("utf-8")
        return tomllib.loads(text)
    refuse_special_file(Path(name_or_file))
    try:
        with Path(name_or_file).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InputError(
            f"{name_or_file}: cannot be read ({error.strerror}); give a .toml file"
        ) from error
    except ValueError as error:  # TOML's syntax or its encoding
        raise InputError(
            f"{name_or_file}: no valid TOML ({' '.join(str(error).split())})"
        ) from error


def _setting(text: str) -> tuple[str, object]:
    """`key=value`, the value as TOML has it, or else as plain text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: give key=value, such as epochs=5")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _checked(values: Mapping[str, object], *, source: str) -> Recipe:
    fields = list(Recipe.model_fields)
    for key in values:
        if key not in fields:
            raise InputError(source + _unknown("setting", key, fields))
    try:
        return Recipe.model_validate(dict(values))
    except ValidationError as error:
        reasons = []
        for problem in error.errors():
            if not problem["loc"]:  # said of the recipe as a whole
                reasons.append(problem["msg"].removeprefix("Value error, "))
                continue
            name, value = problem["loc"][0], values.get(str(problem["loc"][0]))
            reason = problem["msg"].removeprefix("Value error, ")
            reason = reason[0].lower() + reason[1:]
            shown = ",".join(map(str, value)) if isinstance(value, list) else value
            if problem["type"].endswith("_type"):  # the quotes of '3' are the point
                shown = repr(value)
            prefix = f"{name}={shown}: "
            reasons.append(reason if reason.startswith(f"{name}=") else prefix + reason)
        raise InputError(source + "; ".join(reasons)) from error


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    also = f", or the path of a {SUFFIX} file" if kind == "recipe" else ""
    return f"{kind} {name!r} is unknown: {_nearest(name, known)}use {', '.join(known)}{also}"
