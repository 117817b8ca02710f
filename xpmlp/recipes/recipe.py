"""The schema of a recipe, and how one is read: file, then `--set`, then options."""

import inspect
import itertools
import math
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
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

from xpmlp.algebra import ACTIVATIONS, LOSSES, OUTPUTS
from xpmlp.backends import BACKENDS, PRECISIONS, Backend
from xpmlp.checks import check_range, nearest
from xpmlp.data import DATA_NAMES, Split, hold_out
from xpmlp.errors import InputError
from xpmlp.files import refuse_special_file
from xpmlp.network import (
    INITIALIZERS,
    MLP,
    NORMALIZATIONS,
    Objective,
    check_layer_sizes,
)
from xpmlp.optimizers import OPTIMIZERS, WEIGHT_DECAY
from xpmlp.schedules import SCHEDULES
from xpmlp.training import AVERAGES, MONITORS, Control, Descent, Plateau

SUFFIX = ".toml"

LARGEST = 1 << 20
"""Bytes of a recipe's file: one with a value for each of 4,096 members has half as many."""

_PART = r"""(?:"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|[\w-]++)"""
DOTTED = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*+\.[ \t]*+){{32}}", re.ASCII)
"""A key of tables within tables: tomllib's time and memory grow with the square of its length, to
gigabytes for 100 kB. A recipe has no tables."""

MOST_MEMBERS = 4096

BY_MEMBER = ("learning_rate", "weight_decay", "dropout", "input_dropout", "seed")
"""The settings that may have a value for each member."""


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


def _numbers(value: object) -> object:
    """A number, or one for each member; also as text, `0.01,0.03`."""
    if isinstance(value, str):
        try:
            value = [float(number) for number in value.split(",")]
        except ValueError:
            raise ValueError("give a number, or one for each member: 0.01,0.03") from None
    numbers: list[Any] = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError("give a number, or one for each member: 0.01,0.03")
    if not numbers:
        raise ValueError("give a number, or one for each member: 0.01,0.03")
    return value if len(numbers) > 1 else numbers[0]


Numbers = Annotated[float | list[float], BeforeValidator(_numbers)]
"""One number, or one for each member."""


def _one_of(names: Iterable[str]) -> AfterValidator:
    known = tuple(names)

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"{nearest(value, known)}use {', '.join(known)}")
        return value

    return AfterValidator(check)


def _seeds(value: object) -> object:
    """A seed, or one for each member; also as text, `1,2,3`."""
    if isinstance(value, str):
        try:
            seeds = [int(seed) for seed in value.split(",")]
        except ValueError:
            raise ValueError("give a whole number, or one for each member: 1,2,3") from None
        value = seeds if len(seeds) > 1 else seeds[0]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    for seed in value if isinstance(value, list) else [value]:
        if type(seed) is int and not 0 <= seed < 2**63:
            raise ValueError(f"{seed} is no seed; give 0 or more, and less than 2**63")
    return value


def _class_weights(value: object) -> object:
    """`balanced`, or a weight for each class; also as text, `1,2,0.5`."""
    if isinstance(value, str) and value not in ("", BALANCED):
        try:
            return [float(weight) for weight in value.split(",")]
        except ValueError:
            raise ValueError("give balanced, or a weight for each class: 1,2,0.5") from None
    return value


def _numbers_or_none(value: object) -> object:
    return None if value is None else _numbers(value)


def _as_tuple(value: float | list[float]) -> float | tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else value


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def _settings(make: Callable[..., object]) -> set[str]:
    """What an optimizer, a schedule or the like can be told."""
    return set(inspect.signature(make).parameters)


def _balanced(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Weights by which all classes count alike, 1 on average over rows."""
    counts = np.bincount(labels if labels.ndim == 1 else labels.argmax(axis=1), minlength=classes)
    return tuple(len(labels) / (classes * np.maximum(counts, 1)))


BALANCED = "balanced"
PLATEAU = "plateau"


class Recipe(BaseModel):
    """A run of training as data. Every field is an option of `xpmlp train` or `--set FIELD=...`.

    `data` is what `load_data` takes: a name such as `mnist`, or a path; `initial_weights` an .npz
    file or empty; `device` is empty for the backend's first; `threads` is 0 to find the best number
    of them. What is None takes its usual value for the optimizer or the schedule, and must stay
    None where that has no such setting. The fields are explained in `xpmlp.network.Objective`,
    `xpmlp.training.Descent` and `xpmlp.training.Control`; `validation` is the share of the training
    rows that is held out, and `schedule = "plateau"` lets the history decide.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    data: Annotated[str, Field(min_length=1)] = "mnist"
    validation: float = 0.0

    layer_sizes: Annotated[list[Width], BeforeValidator(_widths)] = [784, 64, 32, 10]
    hidden: Annotated[str, _one_of(ACTIVATIONS)] = "sigmoid"
    output: Annotated[str, _one_of(OUTPUTS)] = "softmax"
    normalization: Annotated[str, _one_of(NORMALIZATIONS)] = "none"
    residual: bool = False

    initializer: Annotated[str, _one_of(INITIALIZERS)] = "normal"
    initial_scale: float = 1.0
    zero_output: bool = False
    initial_weights: str = ""

    loss: Annotated[str, _one_of(("", *LOSSES))] = ""
    label_smoothing: float = 0.0
    huber_delta: float | None = None
    quantile: float | None = None
    class_weights: Annotated[str | list[float], BeforeValidator(_class_weights)] = ""
    l1: float = 0.0
    l2: float = 0.0
    dropout: Numbers = 0.0
    input_dropout: Numbers = 0.0
    mixup: float = 0.0

    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 64
    shuffle: bool = False
    drop_last: bool = True
    optimizer: Annotated[str, _one_of(OPTIMIZERS)] = "sgd"
    momentum: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    epsilon: float | None = None
    rho: float | None = None
    learning_rate: Numbers = 0.03
    bias_rate: float = 1.0
    weight_decay: Annotated[float | list[float] | None, BeforeValidator(_numbers_or_none)] = None
    bias_decay: bool = False
    clip_norm: float = 0.0
    clip_value: float = 0.0
    max_norm: float = 0.0

    schedule: Annotated[str, _one_of((*SCHEDULES, PLATEAU))] = "constant"
    warm_up: float = 0.0
    decay_every: int | None = None
    decay_factor: float | None = None
    final_factor: float | None = None
    peak_at: float | None = None
    initial_factor: float | None = None
    power: float | None = None
    plateau_patience: int | None = None
    plateau_factor: float | None = None

    average: Annotated[str, _one_of(AVERAGES)] = "none"
    average_decay: float | None = None
    average_start: float | None = None

    validate_every: int = 0
    monitor: Annotated[str, _one_of(MONITORS)] = "loss"
    patience: int = 0
    keep_best: bool = False
    time_limit: float = math.inf

    seed: Annotated[int | list[int], BeforeValidator(_seeds)] = 0
    members: Annotated[int, Field(ge=1, le=MOST_MEMBERS)] = 1
    dtype: Annotated[str, _one_of(PRECISIONS)] = "float32"
    compile: Annotated[str, _one_of(("auto", "require", "off"))] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    backend: Annotated[str, _one_of(("auto", *BACKENDS))] = "auto"
    device: str = ""

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        """What the parts refuse, and what contradicts another setting."""
        self._check_members()
        self._check_choices()
        _ = self.model, self.descent
        if self.class_weights:
            weights = self.class_weights
            shown = ",".join(map(str, weights)) if isinstance(weights, list) else weights
            if self.model.predicts_numbers:
                raise InputError(
                    f"class_weights={shown}: an output of numbers has no classes; leave it out, or "
                    "train with output=softmax"
                )
            if self.mixup:
                raise InputError(
                    f"class_weights={shown}: with mixup={self.mixup:g} a row is of several "
                    "classes; choose one"
                )
        if self.plateau_patience is not None:
            check_range("plateau_patience", self.plateau_patience, least=0, below=math.inf)
        if self.plateau_factor is not None:
            check_range("plateau_factor", self.plateau_factor, above=0.0, below=1.0)
        self.objective().check(self.output, self.layer_sizes[-1])
        self.control(Split(np.empty((0, 0)), np.empty(0)) if self.validation else None)
        check_range("validation", self.validation, least=0.0, below=1.0)
        check_range("initial_scale", self.initial_scale, above=0.0, below=math.inf)
        return self

    def _check_members(self) -> None:
        for name in BY_MEMBER:
            values = getattr(self, name)
            if isinstance(values, list) and len(values) != self.members:
                kind = "rates" if name == "learning_rate" else "values"
                raise InputError(
                    f"{name}={','.join(map(str, values))}: {len(values)} {kind} for "
                    f"{self.members} members; give one, or one for each (--members {len(values)})"
                )

    def _check_choices(self) -> None:
        """Refuse a setting that the optimizer, schedule, loss or average chosen does not have."""
        for kind, has in self._settings_of_choices().items():
            known = {name for one in has.values() for name in one}
            chosen = getattr(self, kind)
            for name in sorted(known - has.get(chosen, set())):
                if getattr(self, name) is not None:
                    with_it = [one for one, settings in has.items() if name in settings]
                    raise InputError(
                        f"{name}={getattr(self, name)}: {kind}={chosen or 'the usual'} has no such "
                        f"setting; leave it out, or use {kind}={' or '.join(with_it)}"
                    )

    def _settings_of_choices(self) -> dict[str, dict[str, set[str]]]:
        """For each choice, the settings that each of its values has."""
        return {
            "optimizer": {name: _settings(make) for name, make in OPTIMIZERS.items()},
            "schedule": {
                **{name: _settings(make) for name, make in SCHEDULES.items()},
                PLATEAU: {"plateau_patience", "plateau_factor"},
            },
            "loss": {"huber": {"huber_delta"}, "quantile": {"quantile"}},
            "average": {"ema": {"average_decay"}, "swa": {"average_start"}},
        }

    @property
    def model(self) -> MLP:
        """The network that the recipe trains."""
        return MLP(
            self.layer_sizes,
            hidden=self.hidden,
            output=self.output,
            normalization=self.normalization,
            residual=self.residual,
        )

    def objective(self, labels: np.ndarray | None = None) -> Objective:
        """What it minimises; balanced class weights are counted in the labels, 1 each without."""
        weights: Sequence[float] = ()
        if self.class_weights == BALANCED and labels is not None:
            weights = _balanced(labels, max(2, self.layer_sizes[-1]))
        elif isinstance(self.class_weights, list):
            weights = self.class_weights
        return Objective(
            loss=self.loss,
            label_smoothing=self.label_smoothing,
            class_weights=tuple(weights),
            l1=self.l1,
            l2=self.l2,
            dropout=_as_tuple(self.dropout),
            input_dropout=_as_tuple(self.input_dropout),
            mixup=self.mixup,
            **_given(huber_delta=self.huber_delta, quantile=self.quantile),
        )

    @property
    def descent(self) -> Descent:
        """How it goes down the gradient."""
        make = OPTIMIZERS[self.optimizer]
        plateau, schedule = None, SCHEDULES["constant"]()
        if self.schedule == PLATEAU:
            plateau = Plateau(**_given(patience=self.plateau_patience, factor=self.plateau_factor))
        else:
            schedule = SCHEDULES[self.schedule](**self._chosen(SCHEDULES[self.schedule]))
        usual = WEIGHT_DECAY.get(self.optimizer, 0.0)
        return Descent(
            optimizer=make(**self._chosen(make)),
            learning_rate=_as_tuple(self.learning_rate),
            schedule=schedule,
            warm_up=self.warm_up,
            plateau=plateau,
            bias_rate=self.bias_rate,
            weight_decay=usual if self.weight_decay is None else _as_tuple(self.weight_decay),
            bias_decay=self.bias_decay,
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            max_norm=self.max_norm,
            average=self.average,
            **_given(average_decay=self.average_decay, average_start=self.average_start),
        )

    def control(self, validation: Split | None) -> Control:
        """What it is watched with, given the rows held out."""
        return Control(
            validation=validation,
            validate_every=self.validate_every,
            monitor=self.monitor,
            patience=self.patience,
            keep_best=self.keep_best,
            time_limit=self.time_limit,
        )

    def held_out(self, split: Split) -> tuple[Split, Split | None]:
        """The rows that a run trains on, and those that it holds out to validate on, if any."""
        if not self.validation:
            return split, None
        return hold_out(split, self.validation, seed=np.atleast_1d(self.seed).tolist()[0])

    def _chosen(self, make: Callable[..., object]) -> dict[str, object]:
        """The settings given for what an optimizer or a schedule is made by."""
        return _given(**{name: getattr(self, name) for name in _settings(make)})

    @property
    def seeds(self) -> int | list[int]:
        """The seed of the one network, or a seed for each member, counted up from `seed`."""
        if isinstance(self.seed, list) or self.members == 1:
            return self.seed
        return [self.seed + member for member in range(self.members)]

    @property
    def of_one_network(self) -> "Recipe":
        """This recipe with the first of its members alone."""
        first = {
            name: value[0] for name in BY_MEMBER if isinstance(value := getattr(self, name), list)
        }
        return self.replace({**first, "members": 1})

    def replace(self, changes: Mapping[str, object]) -> "Recipe":
        """This recipe with some fields changed, checked as a whole."""
        return _checked({**self.model_dump(), **changes})

    def resolved(self, backend: Backend) -> "Recipe":
        """The recipe as it will run: backend and device as chosen, and paths from the root.

        Where another number of CPU threads would change bits, the number chosen is part of it.
        """
        changes: dict[str, object] = {
            "backend": backend.name,
            "device": backend.device_name,
            **self._usual_settings(),
        }
        if not self.threads:
            changes["threads"] = self.best_threads(backend)
        if self.data not in DATA_NAMES:
            changes["data"] = str(Path(self.data).absolute())
        if self.initial_weights:
            changes["initial_weights"] = str(Path(self.initial_weights).absolute())
        return self.replace(changes)

    def best_threads(self, backend: Backend) -> int:
        """The number of CPU threads to fix for this run: 0 where another gives the same bits."""
        products = self.model.products(self.batch_size)
        found = backend.choose_threads(products, PRECISIONS[self.dtype])
        return 0 if found.may_change else found.number

    def _usual_settings(self) -> dict[str, object]:
        """The values of the settings that were left to what was chosen."""
        usual: dict[str, object] = {"weight_decay": WEIGHT_DECAY.get(self.optimizer, 0.0)}
        for kind, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if (make := table.get(getattr(self, kind))) is not None:
                for name, parameter in inspect.signature(make).parameters.items():
                    usual[name] = parameter.default
        if self.schedule == PLATEAU:
            usual |= {"plateau_patience": Plateau.patience, "plateau_factor": Plateau.factor}
        for kind, settings in self._settings_of_choices().items():
            if kind in ("loss", "average"):
                owner = Objective if kind == "loss" else Descent
                for name in settings.get(getattr(self, kind), ()):
                    usual[name] = getattr(owner, name)
        return {name: value for name, value in usual.items() if getattr(self, name) is None}

    def to_toml(self) -> str:
        """The recipe as text, every field written out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


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
    name_or_file: str, settings: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> Recipe:
    """The named recipe or TOML file, changed by settings (`key=value`) and then by options.

    An option that is None was not given; `hidden_sizes` replaces the widths between the first
    and the last. Raises `InputError` that names the field, the value and what is allowed.
    """
    source = f"{name_or_file}: " if name_or_file.endswith(SUFFIX) else ""
    file = _read(name_or_file)
    _refuse_unknown(file, source)
    given = {name: value for name, value in (options or {}).items() if value is not None}
    inner = given.pop("hidden_sizes", None)
    changes = {**dict(read_setting(text) for text in settings), **given}
    if inner is not None:  # --hidden 64,32: the widths between the data's and the classes'
        # The file and the settings are looked at first: without widths there are none to keep.
        widths = _checked({**file, **changes}, source=source, file=file).layer_sizes
        first, *_, last = widths
        changes["layer_sizes"] = ",".join(map(str, (first, *([inner] if inner else []), last)))
    return _checked({**file, **changes}, source=source, file=file.keys() - changes.keys())


def _read(name_or_file: str) -> dict[str, Any]:
    if not name_or_file.endswith(SUFFIX):
        if name_or_file not in recipe_names():
            raise InputError(_unknown("recipe", name_or_file, recipe_names()))
        text = resources.files("xpmlp.recipes").joinpath(name_or_file + SUFFIX).read_text("utf-8")
        return tomllib.loads(text)
    refuse_special_file(Path(name_or_file))
    try:
        with Path(name_or_file).open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InputError(f"{name_or_file}: more than {LARGEST:,} bytes; give a recipe")
        return _toml(content.decode())
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{name_or_file}: cannot be read ({error.strerror}); give a .toml file"
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
    try:
        return key.strip(), _toml(f"value = {value}")["value"]
    except ValueError:
        return key.strip(), value.strip()


def _toml(text: str) -> dict[str, Any]:
    """The table in a text; `ValueError` for what is none, or would take long to find out."""
    if DOTTED.search(text):
        raise ValueError("a key of more than 32 parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("brackets within brackets, too deep to be followed") from None


def _refuse_unknown(values: Iterable[str], source: str) -> None:
    fields = list(Recipe.model_fields)
    for key in values:
        if key not in fields:
            raise InputError(source + _unknown("setting", key, fields))


def _checked(
    values: Mapping[str, object], *, source: str = "", file: Collection[str] = ()
) -> Recipe:
    """The recipe of these values; `source` begins what is said of those that a file gave."""
    _refuse_unknown(values, "")
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
        is_of_file = all(problem["loc"] and problem["loc"][0] in file for problem in error.errors())
        said = "; ".join(reasons)
        # A value with a line break must not break the line.
        line = "".join(one if one.isprintable() else repr(one)[1:-1] for one in said)
        raise InputError((source if is_of_file else "") + line) from error


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """What to say of an unknown name; of many settings the nearest is enough."""
    near = nearest(name, known)
    if kind == "setting" and near:
        return f"setting {name!r} is unknown: {near.strip()}"
    also = f", or the path of a {SUFFIX} file" if kind == "recipe" else ""
    return f"{kind} {name!r} is unknown: {near}use {', '.join(known)}{also}"
