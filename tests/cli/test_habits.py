"""What people type from habit, or mistype, and the suggestion that they get: one line, status 2."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("undrawn")

MISTAKES = {
    "train --lr 0.1": "did you mean --learning-rate 0.1?",
    "train --lr=0.1": "did you mean --learning-rate 0.1?",
    "train --set lr=0.1": "did you mean optimizer.learning_rate?",
    "train --set optimizer.lr=0.1": "did you mean optimizer.learning_rate?",
    "train --gpu": "did you mean --backend cupy?",
    "train --epochs ten": "epochs='ten': give an integer, such as 20",
    "train --batch_size 32": "did you mean --batch-size 32?",
    "train --optimizer adam": "did you mean --set optimizer.name=adam?",
    "train --momentum 0.9": "did you mean --set optimizer.momentum=0.9?",
    "train --dropout 0.2": "did you mean --set objective.dropout=0.2?",
    "train --hiden 64": "did you mean --hidden?",
    "train --hidden relu": "did you mean --set model.activation=relu?",
    "train --set hidden=64,32": "hidden=64,32: for widths use --hidden or model.layer_sizes",
    "train --layers 64,32": "did you mean --hidden 64,32?",
    "train --set model.activation=rellu": "did you mean relu?",
    "train --set optimiser.name=adam": "did you mean optimizer.name?",
    "train --data minst": "did you mean mnist?",
    "train --data tiny/dgits": "did you mean tiny/digits?",
    "train mnist": "did you mean --data mnist?",
    "train mine": "did you mean mine.toml?",
    "train miney.toml": "did you mean mine.toml?",
    "train runs/one": "did you mean --resume runs/one",
    "fit --epochs 3": "did you mean xpmlp train --epochs 3?",
    "lecture --epochs 3": "did you mean xpmlp train lecture --epochs 3?",
    "resume runs/one": "did you mean xpmlp train --resume runs/one?",
    "trian": "did you mean xpmlp train?",
    "eval runs/one": "did you mean xpmlp evaluate runs/one?",
    "evaluate runs/onne": "did you mean runs/one?",
    "evaluate rusn/one": "did you mean runs/one?",
    "predict seven.png runs/one": "did you mean xpmlp predict runs/one seven.png?",
    "version": "did you mean xpmlp --version?",
}


@pytest.fixture
def _files(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(trained)
    (tmp_path / "tiny" / "digits").mkdir(parents=True)
    (tmp_path / "seven.png").write_bytes(b"")
    (tmp_path / "mine.toml").write_text("epochs = 3\n")


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(("typed", "suggestion"), MISTAKES.items(), ids=list(MISTAKES))
def test_mistake_gets_the_right_suggestion(refused, typed: str, suggestion: str) -> None:
    assert suggestion in refused(*typed.split())


@pytest.mark.parametrize(
    "options",
    ["--backend NumPy --compile AUTO", "--set model.activation=ReLU", "--set optimizer.name=Adam"],
)
def test_values_ignore_case(command, tiny, options: str) -> None:
    assert command(*tiny, *options.split(), "--out", "r", "--quiet") == (0, "", "")
    assert command("evaluate", "r", "--backend", "NumPy").status == 0


def test_hidden_is_widths_as_an_option_and_the_activation_as_a_key_of_0_1_0(
    command, tiny, caplog
) -> None:
    options = ("--hidden", "7,6", "--set", "hidden=relu", "--quiet", "--out", "r")
    assert command(*tiny, *options).status == 0
    (warning,) = caplog.messages
    assert "write model.activation for hidden (see docs/recipe.md)" in warning
    config = Path("r/config.toml").read_text("utf-8")
    assert 'activation = "relu"' in config
    assert "    7,\n    6,\n" in config
    assert "\n[optimizer]\nname = " in config


def test_flat_keys_of_a_file_and_of_set_give_one_warning(command, tiny, caplog) -> None:
    Path("old.toml").write_text('layer_sizes = [16, 8, 10]\noptimizer = "adam"\nbeta1 = 0.95\n')
    train, *options = tiny
    assert (
        command(train, "old.toml", *options, "--set", "l2=0.1", "--out", "r", "--quiet").status == 0
    )
    (warning,) = caplog.messages
    assert warning.startswith(
        "old.toml: flat keys are those of 0.1.0; write model.layer_sizes for layer_sizes, "
        "optimizer.name for optimizer, optimizer.beta1 for beta1, ..."
    )
    caplog.clear()
    assert command(train, "r/config.toml", *options, "--out", "again", "--quiet").status == 0
    assert caplog.messages == []
