"""A run's page: whole, alone, and true."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from xpmlp.backends import select_backend
from xpmlp.data import load_data, write_idx
from xpmlp.errors import InputError
from xpmlp.recipes import load_recipe
from xpmlp.reports import charts
from xpmlp.reports.flow import bar_length
from xpmlp.reports.page import report, write_report
from xpmlp.runs import RunDirectory, trainer_from_recipe
from xpmlp.training import evaluate

pytestmark = pytest.mark.extended(keep=6)

RANDOM = np.random.default_rng(2)


def trained_run(path: Path, data: Path, *settings: str) -> RunDirectory:
    """A run of two epochs, as the command leaves it, but for its figure."""
    given = ["epochs=2", "batch_size=10", "backend=numpy", "threads=1", *settings]
    backend = select_backend("numpy")
    recipe = load_recipe("lecture", given, {"data": str(data)}).resolved(backend)
    dataset = load_data(str(data)).for_network(recipe.layer_sizes, recipe.output)
    run = RunDirectory.create(path, recipe)
    trainer = trainer_from_recipe(recipe, dataset, backend).run()
    test = evaluate(
        trainer.model,
        trainer.parameters,
        dataset.test,
        objective=recipe.objective(),
        backend=backend,
    )
    run.save_results(trainer, test, image_shape=dataset.image_shape)
    return run


def write_images(path: Path, *, classes: int = 3, count: int = 60) -> Path:
    path.mkdir()
    for part, n in (("train", count), ("t10k", 30)):
        labels = RANDOM.integers(0, classes, n).astype(np.uint8)
        images = RANDOM.integers(0, 120, (n, 4, 4)).astype(np.uint8)
        images.reshape(n, 16)[np.arange(n), labels % 16] = 255
        write_idx(path / f"{part}-images-idx3-ubyte", images)
        write_idx(path / f"{part}-labels-idx1-ubyte", labels)
    return path


def write_table(path: Path, targets: np.ndarray) -> Path:
    """Rows of five numbers, and these targets."""
    n = len(targets)
    X = RANDOM.normal(size=(n, 5)).astype(np.float32)
    half = n // 2
    np.savez(path, x_train=X[:half], y_train=targets[:half], x_test=X[half:], y_test=targets[half:])
    return path


class Page(HTMLParser):
    """What a reader's program makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    VOID = ("meta", "link", "img", "br")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def checked(text: str) -> Page:
    """A page whose tags are closed, whose ids are single and which asks nobody for anything."""
    page = Page(text)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), target
            assert not target.startswith("#") or len(target) == 1 or target[1:] in ids, target
    assert not page.all("script")
    assert "url(http" not in text
    assert "@import" not in text
    for image in page.all("img"):
        assert image["alt"]
    # A drawing is silent; the words below it speak.
    drawings = page.all("svg")
    assert all(one["aria-hidden"] == "true" for one in drawings)
    captions = [html.unescape(one) for one in re.findall(r"<figcaption>(.*?)</figcaption>", text)]
    assert len(captions) == len(drawings) + len(page.all("img"))
    assert all(captions)
    return page


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "tiny")


def test_a_page_has_all_that_a_reader_asks_for(images: Path, tmp_path: Path) -> None:
    run = trained_run(
        tmp_path / "a run", images, "layer_sizes=16,6,3", "validation=0.2", "schedule=cosine"
    )
    page = checked(report(run))
    summary = run.load_summary()
    for said in (
        "a run", "16-6-3, sigmoid, on tiny", f"{summary['test_accuracy']:.2%}",
        "Training loss", "Accuracy", "Validation loss", "Learning rate", "Confusion",
        "Precision and recall", "Calibration", "Expected calibration error",
        "Most confident mistakes", "First layer's weights", "Gradient flow", "How it was made",
        summary["platform"], "cosine", "validation",
        "xpmlp train", "Training accuracy:", "Validation:",
    ):  # fmt: skip
        assert said in page.text, said
    titles = [one for one in page.words if one.startswith("It begins at 0.03, is at most 0.03")]
    assert len(titles) == 1
    assert len([one for one in page.all("img") if "Weights into unit" in str(one["alt"])]) == 6


def test_numbers_are_those_of_the_network(images: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", images, "layer_sizes=16,6,3")
    text = report(run)
    trained = run.load_model()
    (W1, b1), (W2, b2) = trained.model.layers(trained.parameters)
    X, labels = load_data(str(images)).test
    A = 1 / (1 + np.exp(-(X / 255 @ W1 + b1)))
    said = (A @ W2 + b2).argmax(axis=1)
    table = text[text.index("confusion") :]
    rows = re.findall(r"<tr><th scope=\"row\">(\d)</th>(.*?)</tr>", table, flags=re.DOTALL)[:3]
    shown = [
        [int(cell or 0) for cell in re.findall(r"<td[^>]*>(\d*)</td>", cells)] for _, cells in rows
    ]
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels, said), 1)
    assert shown == expected.tolist()
    mistakes = re.findall(r"Test row (\d+): class (\d), predicted as (\d)", text)
    wrong = np.flatnonzero(said != labels)
    assert {int(row) for row, _, _ in mistakes} == set(wrong.tolist()[:24]) or len(wrong) > 24
    for row, label, answer in mistakes:
        assert (labels[int(row)], said[int(row)]) == (int(label), int(answer))


def test_same_run_has_the_same_page(images: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", images, "layer_sizes=16,6,3")
    assert report(run) == report(run)


def test_members_are_an_ensemble(images: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", images, "layer_sizes=16,6,3", "members=3")
    page = checked(report(run))
    assert "Ensemble" in page.text
    assert "the first member's" in page.text
    ensemble = run.load_summary()["ensemble_test_accuracy"]
    assert f"{ensemble:.2%}" in page.text


@pytest.mark.extended
def test_many_classes_are_an_image(tmp_path: Path) -> None:
    data = write_images(tmp_path / "many", classes=30)
    page = checked(report(trained_run(tmp_path / "run", data, "layer_sizes=16,6,30")))
    assert "darker squares have a larger fraction of their class" in page.text
    assert 'class="confusion"' not in report(RunDirectory(tmp_path / "run"))


def test_numbers_have_errors_in_place_of_classes(tmp_path: Path) -> None:
    data = write_table(tmp_path / "two.npz", RANDOM.normal(size=(80, 2)).astype(np.float32))
    run = trained_run(tmp_path / "run", data, "layer_sizes=5,4,2", "output=identity")
    page = checked(report(run))
    assert "root mean square" in page.text
    assert "Output 1" in page.text
    assert "Calibration" not in page.text
    assert "W1, 5 values in (down) by 4 units (across)" in page.text


def test_answers_have_scores_but_no_confusion(tmp_path: Path) -> None:
    targets = RANDOM.integers(0, 2, (80, 3)).astype(np.float32)
    data = write_table(tmp_path / "answers.npz", targets)
    run = trained_run(tmp_path / "run", data, "layer_sizes=5,4,3", "output=sigmoid")
    page = checked(report(run))
    assert "Precision and recall of each label" in page.text
    assert "mistakes" not in page.text


def test_two_classes_of_a_table(tmp_path: Path) -> None:
    data = write_table(tmp_path / "binary.npz", RANDOM.integers(0, 2, 80))
    run = trained_run(tmp_path / "run", data, "layer_sizes=5,4,1", "output=sigmoid")
    page = checked(report(run))
    assert "test row" in page.text  # no images: a table
    assert "Confusion" in page.text


def test_nothing_of_a_run_is_taken_for_html(images: Path, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>&amp;"
    path = tmp_path / name.replace("/", "_")
    page = checked(report(trained_run(path, images, "layer_sizes=16,6,3")))
    assert "<script>alert(1)<_script>&amp;" in page.text


@pytest.mark.extended
def test_a_page_does_without_summary_and_checkpoint(images: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", images, "layer_sizes=16,6,3")
    (run.path / "summary.json").write_text("[1]")
    checked(report(run))
    (run.path / "summary.json").unlink()
    checked(report(run))
    summary = {"train_accuracy": None, "seconds": 0.0, "seconds_per_step": None}
    (run.path / "summary.json").write_text(json.dumps(summary))
    checked(report(run))


def test_a_place_that_cannot_be_written_is_refused(images: Path, tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", images, "layer_sizes=16,6,3")
    with pytest.raises(InputError, match=r"no/report.html"):
        write_report(run, tmp_path / "no" / "report.html")
    write_report(run, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.extended
def test_a_chart_of_many_steps_stays_small() -> None:
    assert len(charts.loss_chart(RANDOM.random(1_000_000))) < 100_000


def test_groups_of_steps_keep_every_loss_in_their_range() -> None:
    losses = RANDOM.random((1234, 3))
    steps, low, high, mean = charts.grouped(losses)
    assert len(steps) == charts.MOST_CHART_POINTS
    assert (low.min(), high.max()) == (losses.min(), losses.max())
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert 1.0 <= steps[0] < steps[-1] <= 1234.0
    few = charts.grouped(losses[:5, 0])
    np.testing.assert_array_equal(few[0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(few[3], losses[:5, 0])


def test_losses_that_the_axis_cuts_off_are_known() -> None:
    losses = np.linspace(1.0, 0.5, 200)
    losses[0], losses[1] = 9.0, np.inf
    top, largest = charts.cut_losses(losses) or (0.0, 0.0)
    assert 1.0 < top < largest == 9.0
    assert charts.cut_losses(losses[:20]) is None  # all of it is shown
    assert charts.cut_losses(np.full(200, 0.5)) is None


def test_caption_of_losses_names_what_the_axis_cuts_off(images, tmp_path, monkeypatch) -> None:
    run = trained_run(tmp_path / "run", images, "layer_sizes=16,6,3")
    history = run.load_history()
    history.losses = [9.0, *np.linspace(1.0, 0.5, 199)]
    monkeypatch.setattr(RunDirectory, "load_history", lambda _: history)
    top, _ = charts.cut_losses(history.loss) or (0.0, 0.0)
    cut = f"The axis ends at {top:.4g}: larger losses, up to 9, are cut off."
    assert cut in checked(report(run)).text


def test_curves_are_those_of_the_history(images, tmp_path, monkeypatch) -> None:
    run = trained_run(
        tmp_path / "run", images, "layer_sizes=16,6,3", "validation=0.5", "validate_every=2"
    )
    drawn: dict[str, dict] = {}

    def chart(name: str, curves: dict, **_: str) -> str:
        drawn[name] = curves
        return ""

    monkeypatch.setattr(charts, "series_chart", chart)
    history = run.load_history()
    # Three steps an epoch; evaluations after 2, 4 and 6.
    history.validation_losses = [np.float32(value) for value in (0.5, 0.3, 0.4)]
    history.validation_accuracies = [np.float32(value) for value in (0.1, 0.2, 0.3)]
    assert history.validation_iterations == [2, 4, 6]
    monkeypatch.setattr(RunDirectory, "load_history", lambda _: history)
    figure = r"<h3>(.*?)</h3>.*?<figcaption>(.*?)</figcaption>"
    words = dict(re.findall(figure, report(run), flags=re.DOTALL))
    places, values = drawn["accuracy"]["training"]
    np.testing.assert_array_equal(places, [1, 2])
    np.testing.assert_array_equal(values, history.accuracy)
    places, values = drawn["accuracy"]["validation"]
    np.testing.assert_allclose(places, [2 / 3, 4 / 3, 2])
    np.testing.assert_allclose(values, [0.1, 0.2, 0.3])
    assert words["Validation loss"] == "3 evaluations; the least, 0.3, after iteration 4."
    places, values = drawn["validation"]["validation"]
    np.testing.assert_array_equal(places, [2, 4, 6])
    assert "10.00% at first, 30.00% at last, 30.00% at best" in words["Accuracy"]
    _, values = drawn["rate"]["learning rate"]
    np.testing.assert_allclose(values, 0.03)
    assert words["Training loss"].startswith("6 iterations. ")


@pytest.mark.parametrize(
    ("value", "length"),
    [(1.0, 1.0), (1e-3, 0.5), (1e-6, 0.0), (1e-9, 0.0), (0.0, 0.0), (np.nan, 0.0), (np.inf, 0.0)],
)
def test_bars_of_gradients_are_logarithmic(value: float, length: float) -> None:
    assert bar_length(value, 1.0) == pytest.approx(length)


def test_settings_of_ones_own_stand_before_the_lectures(images: Path, tmp_path: Path) -> None:
    text = report(trained_run(tmp_path / "run", images, "layer_sizes=16,6,3", "l2=0.01"))
    own, _, others = text[text.index("not the lecture's") :].partition("<details>")
    for name in ("model.layer_sizes", "objective.l2", "data", "batch_size"):
        assert f">{name}<" in own
        assert f">{name}<" not in others
    for name in ("model.activation", "optimizer.learning_rate", "optimizer.name"):
        assert f">{name}<" in others
        assert f">{name}<" not in own
