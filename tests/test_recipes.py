"""Recipes: what is written is read, and nothing unknown is believed."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.memory import at_most
from xpmlp.algebra import ACTIVATIONS, LOSSES, OUTPUTS
from xpmlp.backends import BACKENDS, select_backend
from xpmlp.errors import InputError
from xpmlp.network import INITIALIZERS, NORMALIZATIONS
from xpmlp.optimizers import OPTIMIZERS
from xpmlp.recipes import SETTINGS, Recipe, load_recipe, recipe_names
from xpmlp.recipes.settings import SECTIONS
from xpmlp.schedules import SCHEDULES
from xpmlp.training import AVERAGES

pytestmark = pytest.mark.extended(keep=60)

texts = st.text(st.characters(codec="utf-8"), max_size=20)


def numbers(least: float = 0.0, most: float = 1e8, **limits: bool) -> st.SearchStrategy:
    return st.floats(least, most, allow_nan=False, allow_infinity=False, **limits)


below_1 = numbers(0.0, 1.0, exclude_max=True)
inside = numbers(0.0, 1.0, exclude_min=True, exclude_max=True)
above_0 = numbers(0.0, exclude_min=True)

SETTINGS_OF = {
    ("optimizer", "sgd"): {},
    ("optimizer", "momentum"): {"momentum": below_1},
    ("optimizer", "nesterov"): {"momentum": below_1},
    ("optimizer", "rmsprop"): {"rho": below_1, "epsilon": above_0},
    ("optimizer", "adam"): {"beta1": below_1, "beta2": below_1, "epsilon": above_0},
    ("optimizer", "adamw"): {"beta1": below_1, "beta2": below_1, "epsilon": above_0},
    ("optimizer", "lion"): {"beta1": below_1, "beta2": below_1},
    ("schedule", "constant"): {},
    ("schedule", "step"): {"decay_every": st.integers(1, 2**31 - 1), "decay_factor": above_0},
    ("schedule", "exponential"): {"decay_factor": above_0},
    ("schedule", "cosine"): {"final_factor": numbers()},
    ("schedule", "one_cycle"): {
        "peak_at": inside, "initial_factor": numbers(), "final_factor": numbers(),
    },
    ("schedule", "inverse_scaling"): {"power": numbers()},
    ("schedule", "cosine_log"): {},
    ("schedule", "plateau"): {"plateau_patience": st.integers(0, 2**62), "plateau_factor": inside},
    ("average", "none"): {},
    ("average", "ema"): {"average_decay": below_1},
    ("average", "swa"): {"average_start": below_1},
    ("loss", ""): {},
    ("loss", "softmax_cross_entropy"): {},
    ("loss", "sigmoid_cross_entropy"): {},
    ("loss", "squared_error"): {},
    ("loss", "huber"): {"huber_delta": above_0},
    ("loss", "quantile"): {"quantile": inside},
    ("loss", "poisson"): {},
}  # fmt: skip
"""What each choice can be told besides, written down a second time: the schema infers it."""

CHOICES = {
    kind: sorted(name for other, name in SETTINGS_OF if other == kind) for kind, _ in SETTINGS_OF
}


@st.composite
def choices(draw: st.DrawFn) -> dict[str, object]:
    """An optimizer, a schedule, an average and a loss, with some of what they can be told."""
    found: dict[str, object] = {}
    for kind, names in CHOICES.items():
        found[kind] = chosen = draw(st.sampled_from(names))
        found |= draw(st.fixed_dictionaries({}, optional=SETTINGS_OF[kind, chosen]))
    loss = found["loss"]
    found["output"] = LOSSES[loss].output if loss else draw(st.sampled_from(list(OUTPUTS)))
    if found["output"] == "softmax":
        found["label_smoothing"] = draw(below_1)
    if not OUTPUTS[found["output"]].is_regression:
        found["class_weights"] = draw(st.sampled_from(["", "balanced"]))
    if not found.get("class_weights"):
        found["mixup"] = draw(numbers())
    if draw(st.booleans()):
        found |= {
            "validation": draw(inside),
            "validate_every": draw(st.integers(0, 2**62)),
            "monitor": draw(st.sampled_from(["loss", "accuracy"])),
            "patience": draw(st.integers(0, 2**62)),
            "restore_best": draw(st.booleans()),
        }
    return found


@st.composite
def of_members(draw: st.DrawFn) -> dict[str, object]:
    """A number of members, and what they may differ in: one value, or one for each."""
    members = draw(st.integers(1, 4096) | st.integers(2, 4))

    def one_or_all(values: st.SearchStrategy) -> st.SearchStrategy:
        few = st.lists(values, min_size=members, max_size=members)
        return values | few if 1 < members <= 4 else values

    return {
        "members": members,
        "learning_rate": draw(one_or_all(above_0)),
        "weight_decay": draw(st.none() | one_or_all(numbers())),
        "dropout": draw(one_or_all(below_1)),
        "input_dropout": draw(one_or_all(below_1)),
        "seed": draw(one_or_all(st.integers(0, 2**63 - 1))),
    }


widths_of_layers = st.integers(1, 2**28 - 1)
shapes = st.fixed_dictionaries(
    {"layer_sizes": st.lists(widths_of_layers, min_size=2, max_size=6)}
) | st.fixed_dictionaries(
    {
        "layer_sizes": st.tuples(*[widths_of_layers] * 3).map(lambda w: [w[0], w[1], w[1], w[2]]),
        "residual": st.booleans(),
    }
)


def recipe_of(*parts: dict[str, object], **settings: object) -> Recipe:
    return Recipe(**settings, **{name: part[name] for part in parts for name in part})


recipes = st.builds(
    recipe_of,
    shapes,
    choices(),
    of_members(),
    data=texts.filter(bool),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    normalization=st.sampled_from(NORMALIZATIONS),
    initializer=st.sampled_from(sorted(INITIALIZERS)),
    initial_scale=above_0,
    zero_output=st.booleans(),
    initial_weights=texts,
    l1=numbers(),
    l2=numbers(),
    epochs=st.integers(1, 2**62),
    batch_size=st.integers(1, 2**62),
    shuffle=st.booleans(),
    bias_rate=numbers(),
    bias_decay=st.booleans(),
    clip_norm=numbers(),
    clip_value=numbers(),
    max_norm=numbers(),
    warm_up=numbers(),
    time_limit=st.floats(0.0, exclude_min=True, allow_nan=False),
    dtype=st.sampled_from(["float32", "float64"]),
    compile=st.sampled_from(["auto", "require", "off"]),
    threads=st.integers(0, 1024),
    backend=st.sampled_from(["auto", *BACKENDS]),
    device=texts,
)


def test_recipes_made_up_here_have_every_choice() -> None:
    assert CHOICES["optimizer"] == sorted(OPTIMIZERS)
    assert CHOICES["schedule"] == sorted(SCHEDULES)
    assert CHOICES["average"] == sorted(AVERAGES)
    assert CHOICES["loss"] == sorted(["", *LOSSES])


@pytest.mark.extended
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=recipes)
def test_written_recipe_is_read_back(tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "config.toml"
    path.write_text(recipe.to_toml(), "utf-8")
    assert load_recipe(str(path)) == recipe


@given(recipe=recipes)
def test_a_change_changes_that_alone(recipe: Recipe) -> None:
    changed = recipe.replace({"epochs": 3})
    assert changed.epochs == 3
    assert changed.replace({"epochs": recipe.epochs}) == recipe


def recipe_or_message(*arguments: object, **options: object) -> Recipe | str:
    try:
        return load_recipe("lecture", *arguments, options)
    except InputError as error:
        return str(error)


@given(key=texts, value=texts)
def test_any_setting_is_taken_or_refused_in_words(key: str, value: str) -> None:
    assert recipe_or_message([f"{key}={value}"])


@given(name=st.sampled_from(sorted(SETTINGS)), value=texts)
def test_any_value_is_taken_or_refused_by_name(name: str, value: str) -> None:
    found = recipe_or_message([f"{name}={value}"])
    assert isinstance(found, Recipe) or found.startswith(f"{name}=")


widths = st.text("0123456789,-+_ .x", max_size=12)


@given(hidden=texts | widths)
def test_any_hidden_widths_are_taken_or_refused_by_name(hidden: str) -> None:
    found = recipe_or_message([], hidden=hidden)
    if isinstance(found, Recipe):
        assert (found.layer_sizes[0], found.layer_sizes[-1]) == (784, 10)
    else:
        assert found.startswith("layer_sizes=784,")


def test_lecture_is_as_the_lecture_has_it() -> None:
    recipe = load_recipe("lecture")
    assert "lecture" in recipe_names()
    assert recipe.model.layer_sizes == (784, 64, 32, 10)
    assert recipe.model.activation == "sigmoid"
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (20, 64, 0.03)
    assert (recipe.shuffle, recipe.data, recipe.members) == (False, "mnist", 1)


def test_a_file_need_not_say_everything(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("epochs = 3\nlearning_rate = 1\n")
    assert load_recipe(str(tmp_path / "a.toml")) == Recipe(epochs=3, learning_rate=1.0)


def test_settings_then_options(tmp_path: Path) -> None:
    settings = ["epochs=3", "layer_sizes=20,5,4", "hidden = 'tanh'", "data=a b=c"]
    recipe = load_recipe("lecture", settings, {"epochs": 4, "hidden": "7, 6"})
    assert recipe.epochs == 4
    assert recipe.layer_sizes == [20, 7, 6, 4]
    assert recipe.activation == "tanh"
    assert recipe.data == "a b=c"


def test_hidden_sizes_is_no_setting() -> None:
    with pytest.raises(InputError, match="'hidden_sizes' is unknown"):
        load_recipe("lecture", ["hidden_sizes=5"])


def test_seeds_count_up_member_by_member() -> None:
    assert Recipe(seed=5).seeds == 5
    assert Recipe(seed=5, members=3).seeds == [5, 6, 7]


def test_a_recipe_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        Recipe().epochs = 3  # type: ignore[misc]


def test_resolved_is_what_will_run_wherever_it_is_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(data="some/where", initial_weights="w.npz").resolved(select_backend("numpy"))
    assert recipe.data == str(tmp_path / "some/where")
    assert recipe.initial_weights == str(tmp_path / "w.npz")
    assert (recipe.backend, recipe.device) == ("numpy", "cpu")
    assert Recipe().resolved(select_backend("numpy")).data == "mnist"


def test_resolved_has_the_usual_values_written_out_and_runs_the_same() -> None:
    recipe = Recipe(optimizer="adamw", schedule="one_cycle", average="ema")
    found = recipe.resolved(select_backend("numpy"))
    assert (found.beta1, found.beta2, found.epsilon) == (0.9, 0.999, 1e-8)
    assert (found.weight_decay, found.average_decay) == (0.01, 0.999)
    assert (found.momentum, found.power, found.average_start) == (None, None, None)
    assert None not in (found.peak_at, found.initial_factor, found.final_factor)
    one, other = recipe.config().optimizer_config, found.config().optimizer_config
    assert (one.learning_rate, one.weight_decay) == (other.learning_rate, other.weight_decay)
    plateau = Recipe(schedule="plateau", loss="huber", output="identity", average="swa")
    found = plateau.resolved(select_backend("numpy"))
    assert (found.plateau_patience, found.plateau_factor) == (5, 0.1)
    assert (found.huber_delta, found.average_start) == (1.0, 0.75)
    assert str(found.config().optimizer_config.schedule) == str(
        plateau.config().optimizer_config.schedule
    )


def test_one_network_of_several_is_the_first() -> None:
    recipe = Recipe(members=2, learning_rate=[0.1, 0.2], seed=[7, 8], dropout=0.5)
    single = recipe.of_one_network
    assert (single.members, single.learning_rate, single.seed) == (1, 0.1, 7)
    assert single.dropout == 0.5
    assert single.of_one_network == single


# What a choice does not have, and what contradicts another setting


ALL = sorted({name for settings in SETTINGS_OF.values() for name in settings})
VALUES = {"decay_every": 3, "plateau_patience": 3}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", sorted(CHOICES))
def test_a_setting_is_refused_by_every_choice_that_does_not_have_it(kind: str, name: str) -> None:
    with_it = [one for one in CHOICES[kind] if name in SETTINGS_OF[kind, one]]
    if not with_it:  # a setting of another kind of choice
        return
    value = VALUES.get(name, 0.5)
    for chosen in CHOICES[kind]:
        output = LOSSES[chosen].output if kind == "loss" and chosen else "softmax"
        settings = [f"{kind}='{chosen}'", f"{name}={value}", f"output={output}"]
        found = recipe_or_message(settings)
        if chosen in with_it:
            assert isinstance(found, Recipe), found
        else:
            said, _, remedy = str(found).partition("; leave it out, or use ")
            assert said == f"{name}={value}: {kind}={chosen or 'the default'} has no such setting"
            assert sorted(remedy.removeprefix(f"{kind}=").split(" or ")) == with_it


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("schedule=one_cycle plateau_patience=3", "plateau_patience=3: schedule=one_cycle has no"),
        ("schedule=plateau plateau_factor=2", "plateau_factor=2.0: .* below 1"),
        ("schedule=plateau plateau_patience=-1", "plateau_patience=-1: .*0 or more"),
        ("output=identity class_weights=balanced", "class_weights=balanced: .*no classes"),
        ("output=identity class_weights=1,2", "class_weights=1.0,2.0: .*no classes"),
        ("output=identity label_smoothing=0.1", "label_smoothing=0.1: .*no classes"),
        ("class_weights=1,2", "class_weights=1.0,2.0: 2 weights for 10 classes"),
        ("class_weights=heavy", "class_weights=heavy: give balanced, or a weight for each class"),
        ("class_weights=balanced mixup=0.2", "class_weights=balanced: with mixup=0.2 a row"),
        ("loss=huber", "loss=huber: is for output=identity; with output=softmax use"),
        ("output=identity loss=softmax_cross_entropy", "loss=softmax_cross_entropy: is for"),
        ("patience=3", "patience=3: needs validation rows; .*validation=0.1"),
        ("restore_best=true", "restore_best=True: needs validation rows"),
        ("validate_every=100", "validate_every=100: needs validation rows"),
        ("validate_every=-1 validation=0.1", "validate_every=-1: give an integer of 0 or more"),
        ("validation=1", "validation=1.0: .*below 1"),
        ("dropout=1", "dropout=1.0: .*below 1"),
        ("dropout=0.1,0.2", "dropout=0.1,0.2: 2 values for 1 members"),
        ("weight_decay=0.1,0.2 members=3", "weight_decay=0.1,0.2: 2 values for 3 members"),
        ("seed=1,2 members=3", "seed=1,2: 2 values for 3 members"),
        ("time_limit=0", "time_limit=0.0: give seconds"),
        ("optimizer=adam beta1=1", "beta1=1.0: .*below 1"),
        ("schedule=step decay_every=0", "decay_every=0: give an integer of 1 or more"),
    ],
)
def test_contradicting_settings_are_refused_with_the_reason(settings: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_recipe("lecture", settings.split())


@pytest.mark.parametrize(
    ("setting", "near"),
    [
        ("activation=rellu", "relu"),
        ("output=softmx", "softmax"),
        ("normalization=bacth", "batch"),
        ("initializer=he_norml", "he_normal"),
        ("loss=hubert", "huber"),
        ("optimizer=nestrov", "nesterov"),
        ("schedule=onecycle", "one_cycle"),
        ("schedule=plato", "plateau"),
        ("average=emma", "ema"),
        ("monitor=acuracy", "accuracy"),
        ("dtype=float23", "float32"),
        ("backend=nunpy", "numpy"),
        ("compile=of", "off"),
    ],
)
def test_an_unknown_value_gets_the_nearest_valid_one(setting: str, near: str) -> None:
    name, value = setting.split("=")
    with pytest.raises(InputError, match=f"{name}='{value}': did you mean {near}\\? use "):
        load_recipe("lecture", [setting])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("learning_rat", "optimizer.learning_rate"),
        ("drop_out", "objective.dropout"),
        ("plateau_patiance", "schedule.patience"),
        ("layersizes", "model.layer_sizes"),
    ],
)
def test_an_unknown_name_gets_the_nearest_valid_one(name: str, near: str) -> None:
    with pytest.raises(InputError, match=f"setting '{name}' is unknown: did you mean {near}\\?$"):
        load_recipe("lecture", [f"{name}=1"])


@pytest.mark.parametrize("section", ["", "optimizer", "early_stopping"])
def test_unknown_setting_lists_those_of_its_section(section: str) -> None:
    names = [one.path for one in SETTINGS.values() if one.path.rpartition(".")[0] == section]
    with pytest.raises(InputError) as refused:
        load_recipe("lecture", [f"{section}{'.' * bool(section)}qqqqqqqqqqqq=1"])
    _, _, listed = str(refused.value).partition("is unknown: use ")
    others = [] if section else [f"{name}.KEY" for name in SECTIONS if name]
    assert listed.split(", ") == names + others


def test_unknown_section_lists_the_sections() -> None:
    with pytest.raises(InputError, match="unknown: use model, objective, optimizer, schedule, ea"):
        load_recipe("lecture", ["xyzzy.qqqq=1"])


# What someone else wrote


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "[" * 100_000, "brackets within brackets"),
        ("x = " + "{a=" * 10_000, "brackets within brackets"),
        (".".join("a" * 200_000) + " = 1", "a key of more than 32 parts"),
        ("[" + ".".join(['"\\""'] * 100_000) + "]", "a key of more than 32 parts"),
        ("seed = 0\n" + "#" * (1 << 20), "more than 1,048,576 bytes"),
        ("epochs = " + "9" * 5000, "no valid TOML"),
    ],
    ids=["arrays", "tables", "dotted", "quoted", "large", "digits"],
)
def test_a_file_that_is_made_to_take_time_or_memory(tmp_path: Path, text: str, said: str) -> None:
    """Parsed as it stands, 100 kB of a dotted key take minutes and gigabytes."""
    path = tmp_path / "a.toml"
    path.write_text(text)
    began = time.perf_counter()
    with at_most(64 << 20), pytest.raises(InputError, match=said) as caught:
        load_recipe(str(path))
    assert time.perf_counter() - began < 10
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.toml").open("wb") as file:
        file.truncate(1 << 34)
    with at_most(8 << 20), pytest.raises(InputError, match="more than 1,048,576 bytes"):
        load_recipe(str(tmp_path / "a.toml"))


def test_a_value_for_each_of_all_members_has_room(tmp_path: Path) -> None:
    each = [float(number) / 7.0 % 1.0 for number in range(4096)]
    wanted = Recipe(
        members=4096, learning_rate=[rate + 1e-9 for rate in each], weight_decay=each,
        dropout=each, input_dropout=each, seed=[2**63 - 1 - number for number in range(4096)],
    )  # fmt: skip
    (tmp_path / "a.toml").write_text(wanted.to_toml())
    assert load_recipe(str(tmp_path / "a.toml")) == wanted


def test_a_setting_is_text_where_it_is_no_toml() -> None:
    with pytest.raises(InputError, match="activation="):
        load_recipe("lecture", ["hidden=" + "[" * 20_000])


@pytest.mark.parametrize("name", ["optimizer", "normalization", "schedule", "data"])
def test_a_value_with_a_line_break_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f'{name} = "mom\\ntum\\u001b[31m"\nepochs = -1\n')
    with pytest.raises(InputError) as caught:
        load_recipe(str(path))
    assert str(caught.value).isprintable()


def test_setting_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.toml"
    path.write_text("learning_rate = 0.5\n[optimizer]\nlearning_rate = 0.1\n")
    with pytest.raises(InputError, match=r"learning_rate is given twice; keep one"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("text", "value"), [("shuffle=True", True), ("validation=.2", 0.2), ("epochs=03", 3)]
)
def test_text_of_other_programs_is_read(text: str, value: object) -> None:
    assert getattr(load_recipe("lecture", [text]), text.partition("=")[0]) == value
