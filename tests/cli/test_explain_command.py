"""`xpmlp explain`: the two slides of a recipe or a run."""

import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len

pytestmark = pytest.mark.extended(keep=3)


def test_lectures_network_in_80_columns(command) -> None:
    said = command("explain")
    assert said.status == 0
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "lecture: the network 784-64-32-10, sigmoid"
    assert "Z[1] = X W[1] + b[1]         64×784 784×64 → 64×64  6.42 M  16.4 k" in lines
    for formula in (
        "J = -(1/N) sum(Y * log Ŷ)",
        "dL = -(1/N)(Y - Ŷ)",
        "dZ[2] = dA[2] * A[2] * (1 - A[2])",
        "dW[1] = Xᵀ dZ[1]",
    ):
        assert any(line.startswith(formula) for line in lines), formula
    tables = lines[: lines.index("N: rows of the batch")]
    assert max(map(len, tables)) <= 80
    assert lines[-1] == "(next: xpmlp explain lecture --out explained.svg)"


def test_formulas_are_whole_in_80_columns(command) -> None:
    lines = command("explain", "modern").out.splitlines()
    for formula in (
        "dZ[2] = (γ[2]/σ[2])(dZ̃[2] - dβ[2]/N - X̂[2] * dγ[2]/N)  ",
        "dZ̃[2] = dA[2] * (Φ(Z̃[2]) + Z̃[2] φ(Z̃[2]))  ",
    ):
        assert any(line.startswith(formula) for line in lines), formula
    table = lines[: lines.index("N: rows of the batch")]
    assert max(map(cell_len, table)) <= 80


def test_a_recipe_with_settings(command) -> None:
    said = command("explain", "modern", "--hidden", "20,20", "--set", "model.residual=true")
    assert "modern: the network 784-20-20-10, gelu" in said.out
    assert "A′′[2] = A′[2] + A′[1]" in said.out
    assert "p: dropout 0.3, of inputs 0.2" in said.out


def test_a_run_has_the_sizes_of_its_activations_and_gradients(command, trained: Path) -> None:
    said = command("explain", trained)
    assert said.err == ""
    assert "Root mean squares on the first batch" in said.out
    assert "█" in said.out
    assert "Gradients reach every layer" in said.out
    assert said.out.splitlines()[-1] == f"(next: xpmlp explain {trained} --out explained.svg)"


def test_a_run_on_other_data(command, trained: Path, make_data, tmp_path: Path) -> None:
    other = make_data(tmp_path / "other", seed=4)
    assert command("explain", trained, "--data", other).out != command("explain", trained).out


def test_members_have_mean_sizes(command, trained_members: Path) -> None:
    assert "Gradients reach every layer" in command("explain", trained_members).out


def test_files_are_written_and_named(command, trained: Path) -> None:
    said = command("explain", trained, "--out", "a b.svg", "--latex", "slides.tex")
    assert said.out.splitlines()[-1] == (
        f"Written: a b.svg and slides.tex (next: xpmlp export {trained} model.onnx)"
    )
    assert Path("a b.svg").read_text("utf-8").startswith("<?xml")
    assert Path("slides.tex").read_text("utf-8").startswith(r"\documentclass")


def test_a_recipes_name_is_the_recipe_whatever_directories_there_are(command, trained) -> None:
    Path("lecture").mkdir()
    shutil.copytree(trained, "modern")
    assert command("explain").out.startswith("lecture: the network 784-64-32-10")
    assert command("explain", "modern").out.startswith("modern: the network 784-512-512-10")
    assert command("explain", "./modern").out.startswith("./modern: the network 16-8-10")


def test_letters_are_explained(command) -> None:
    said = command("explain", "--set", "model.activation=selu", "--set", "objective.mixup=0.4").out
    assert "λ: 1.0507\n" in said
    assert "λ₀: drawn from Beta(0.4, 0.4)" in said
    said = command("explain", "--set", "objective.class_weights=balanced").out
    assert "weights: each row counts by the weight of its class" in said
