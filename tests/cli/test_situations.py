"""Trouble with tables and images that people reported to other projects.

Each situation is right, refused in one line, or told in one line. Its source is a public report: a
project and the number of an issue or a pull request. The data are made here.
"""

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from xpmlp.data import load_data

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow", reason="needs pyarrow (the extra `tables`)")

pytestmark = [pytest.mark.extended(keep=100), pytest.mark.usefixtures("undrawn")]

COUNT, SIDE = 60, 8
HALF = np.arange(COUNT) % 2
NOISE = np.random.default_rng(0).normal(size=COUNT).round(3)
SIZE = HALF * 10 + NOISE
NAMES = np.array(["no", "yes"])[HALF]
BIG = 2**53 + HALF

OPTIONS = (
    "--hidden 8 --epochs 60 --learning-rate 0.05 --shuffle --backend numpy "
    "--set model.activation=relu --set optimizer.name=adam --out run"
)
NET = OPTIONS.split()

Save = Callable[[], Any]


def write(name: str, text: str | bytes) -> None:
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())


def csv(name: str, **columns: Any) -> None:
    pd.DataFrame(columns).to_csv(name, index=False)


def lines(*more: str, header: str = "size,noise,y", end: str = "") -> str:
    """A CSV file: lines before the header, the header and rows that end with `end`."""
    rows = zip(SIZE, NOISE, NAMES, strict=True)
    written = (f"{size:.3f},{noise},{name}{end}" for size, noise, name in rows)
    return "\n".join([*more, header, *written]) + "\n"


def images(save: Callable[[Image.Image, Path], None], place: str = "images") -> None:
    """Folders of images: a bright bar on the left, or at the top."""
    for number in range(COUNT):
        image = np.full((SIDE, SIDE), number % 40, np.uint8)
        bar = image.T if HALF[number] else image
        bar[1:-1, 1:3] = 230
        folder = Path(place) / ("top" if HALF[number] else "left")
        folder.mkdir(parents=True, exist_ok=True)
        save(Image.fromarray(image), folder / f"{number}.png")


def as_it_is(image: Image.Image, path: Path) -> None:
    image.save(path)


def with_16_bits(image: Image.Image, path: Path) -> None:
    Image.fromarray(np.asarray(image).astype(np.uint16) * 257).save(path)


def turned_by_exif(image: Image.Image, path: Path) -> None:
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees to the right
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


ANSWERED: dict[str, tuple[str, Save, Save]] = {
    "integers as categories, and as fractions because one is missing": (
        "pandas-dev/pandas#20717",
        lambda: csv("train.csv", noise=NOISE, code=[*"AA", *(HALF[2:] + 1)], y=NAMES),
        lambda: csv("asked.csv", noise=NOISE, code=[None, *(HALF[1:] + 1)], y=NAMES),
    ),
    "integers as labels beside text, and as fractions": (
        "calpaterson/csvbase#11",
        lambda: csv("train.csv", size=[30.0] * 9 + [*SIZE[9:]], y=["A"] * 9 + [*(HALF[9:] + 1)]),
        lambda: csv("asked.csv", size=SIZE, y=HALF + 1.0),
    ),
    "labels with spaces behind them": (
        "frictionlessdata/frictionless-py#1172",
        lambda: csv("train.csv", size=SIZE, y=NAMES),
        lambda: csv("asked.csv", size=SIZE, y=[name + " " for name in NAMES]),
    ),
    "categories with spaces behind them": (
        "afimb/gtfslib-python#19",
        lambda: csv("train.csv", noise=NOISE, kind=NAMES, y=NAMES),
        lambda: csv("asked.csv", noise=NOISE, kind=[f" {name} " for name in NAMES], y=NAMES),
    ),
    "names of columns with spaces": (
        "pandas-dev/pandas#9067",
        lambda: write("train.csv", lines(header="size,   noise, y ")),
        lambda: write("asked.csv", lines()),
    ),
    "a byte order mark before the first name, and another": (
        "biolab/orange3#7000",
        lambda: write("train.csv", lines(header="\ufeff\ufeffsize,noise,y")),
        lambda: write("asked.csv", lines()),
    ),
    "a name with a space without width": (
        "pandas-dev/pandas#36343",
        lambda: write("train.csv", lines(header="size,\ufeffnoise,y\u200b")),
        lambda: write("asked.csv", lines()),
    ),
    "a delimiter at the end of each line": (
        "apache/arrow#26743",
        lambda: write("train.csv", lines(header="size,noise,y,,", end=",,")),
        lambda: write("asked.csv", lines()),
    ),
    "blank lines before the header": (
        "microsoft/markitdown#2136",
        lambda: write("train.csv", lines("", "")),
        lambda: write("asked.csv", lines()),
    ),
    "gzip in a file called .csv": (
        "hesther/enzymemap#11",
        lambda: write("train.csv", gzip.compress(lines().encode())),
        lambda: write("asked.csv.gz", lines()),
    ),
    "UTF-16": (
        "vividvilla/csvtotable#35",
        lambda: write("train.csv", lines().encode("utf-16")),
        lambda: write("asked.csv", lines()),
    ),
    "integers that floating-point numbers do not tell apart as labels": (
        "jrothbaum/stata_parquet_io#51",
        lambda: csv("train.csv", size=SIZE, y=BIG),
        lambda: pd.DataFrame({"size": SIZE, "y": BIG}).to_parquet("asked.parquet", index=False),
    ),
    "a category that is not used": (
        "alteryx/compose#349",
        lambda: pd.DataFrame(
            {"size": SIZE, "y": pd.Categorical(NAMES, ["yes", "maybe", "no"])}
        ).to_parquet("train.parquet", index=False),
        lambda: csv("asked.csv", size=SIZE, y=NAMES),
    ),
    "a class with one row": (
        "embeddings-benchmark/mteb#519",
        lambda: csv("train.csv", size=[*SIZE, 99.0], y=[*NAMES, "rare"]),
        lambda: csv("asked.csv", size=SIZE, y=NAMES),
    ),
    "images of 16 bits": (
        "python-pillow/Pillow#3011",
        lambda: images(as_it_is, "train"),
        lambda: images(with_16_bits, "asked"),
    ),
    "images that EXIF turns": (
        "tensorflow/tensorflow#49834",
        lambda: images(as_it_is, "train"),
        lambda: images(turned_by_exif, "asked"),
    ),
    "hidden files among images, and a folder without any": (
        "pytorch/vision#109, pytorch/vision#4925",
        lambda: (
            images(as_it_is, "train"),
            write("train/.DS_Store", "x"),
            write("train/top/._1.png", "x"),
            Path("train/__MACOSX").mkdir(),
        ),
        lambda: images(as_it_is, "asked"),
    ),
}
"""What it is, where it was reported, and what is trained on and asked about: answers are right."""


@pytest.mark.parametrize("situation", ANSWERED)
def test_situation_is_answered_right(
    command: Any, situation: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, save_training, save_asked = ANSWERED[situation]
    save_training()
    save_asked()
    training, asked = (next(Path().glob(f"{name}*")) for name in ("train", "asked"))
    assert command("train", "--data", training, *NET).status == 0
    said = command("evaluate", "run", "--data", asked, "--json")
    assert said.status == 0, said.err
    found = json.loads(said.out)
    assert found["rows"] == COUNT
    assert found["accuracy"] > 0.95, said
    assert "not there in training" not in caplog.text


class Refused(NamedTuple):
    source: str
    save: Save
    parts: tuple[str, ...]
    data: str = "a.csv"


REFUSED = {
    "two names that are one without spaces": Refused(
        "afimb/gtfslib-python#19",
        lambda: write("a.csv", lines(header="size,size ,y")),
        ("two columns are called 'size'", "rename one"),
    ),
    "no header": Refused(
        "simonw/sqlite-utils#228, fsprojects/FSharp.Data#61",
        lambda: write("a.csv", lines(header="5.1,3.5,yes")),
        ("the first line has numbers and 'yes'", "add a header"),
    ),
    "a row with another number of fields": Refused(
        "Swirrl/csv2rdf#21",
        lambda: write("a.csv", lines() + "1,2\n"),
        (f"Row #{COUNT + 2}: Expected 3 columns, got 2",),
    ),
    "a delimiter at the end of each row, but not of the header": Refused(
        "pandas-dev/pandas#14124",
        lambda: write("a.csv", lines(end=",")),
        ("Row #2: Expected 3 columns, got 4",),
    ),
    "a comment before the header": Refused(
        "JuliaData/CSV.jl#351, d99kris/rapidcsv#61",
        lambda: write("a.csv", lines("# made by machine 7", "# in spring")),
        ("'# made by machine 7'", "give at least two, separated by , ; | or tabs"),
    ),
    "a comment with a delimiter": Refused(
        "pola-rs/polars#865",
        lambda: write("a.csv", lines("# machine 7, spring")),
        ("Row #2: Expected 2 columns, got 3",),
    ),
    "text in another encoding": Refused(
        "codeforbirmingham/Open-Disclosure#7",
        lambda: write("a.csv", lines(header="größe,noise,y").encode("cp1252")),
        ("not UTF-8 or UTF-16", "save it again"),
    ),
    "UTF-16 without a byte order mark": Refused(
        "brycehutchings/InstantTraceViewer#45",
        lambda: write("a.csv", lines().encode("utf-16-le")),
        ("not UTF-8 or UTF-16: null characters",),
    ),
    "a directory of partitions": Refused(
        "h2oai/h2o-3#4786",
        lambda: pd.DataFrame({"size": SIZE, "y": NAMES}).to_parquet("a", partition_cols=["y"]),
        ("no data set, it has 'y=no', 'y=yes'", "tables train and test"),
        data="a",
    ),
    "folders in folders of classes": Refused(
        "pytorch/examples#928",
        lambda: (images(as_it_is, "a/training"), images(as_it_is, "a/val")),
        ("a/training/left: is a folder, not an image", "move it away"),
        data="a",
    ),
}


@pytest.mark.parametrize("situation", REFUSED)
def test_situation_is_refused(refused: Any, situation: str) -> None:
    found = REFUSED[situation]
    found.save()
    said = refused("data", found.data)
    assert all(part in said for part in found.parts), said


class Told(NamedTuple):
    source: str
    columns: dict[str, Any]
    parts: tuple[str, ...]


MANY = np.arange(COUNT)

TOLD = {
    "thousands with commas": Told(
        "tidyverse/readr#799",
        {"price": [f"{1000 + 9 * one:,}" for one in MANY], "y": NAMES},
        ("column 'price' is text such as '1,000'", "write numbers as 1234.5"),
    ),
    "percentages": Told(
        "bastienboutonnet/sheetwork#188",
        {"share": [f"{one}%" for one in MANY], "y": NAMES},
        ("column 'share' is text such as '0%'",),
    ),
    "amounts of money, some below zero in brackets": Told(
        "proompteng/bilig#46",
        {"cost": [f"$1,{one:03d}.56" if one % 2 else f"(${one}.65)" for one in MANY], "y": NAMES},
        ("column 'cost' is text such as '$1,001.56'",),
    ),
    "days before months": Told(
        "pandas-dev/pandas#19402",
        {"day": [f"{1 + one % 28:02d}/{1 + one % 12:02d}/2011" for one in MANY], "y": NAMES},
        ("column 'day' is text such as", "dates as 2026-01-31"),
    ),
    "a dash for missing numbers": Told(
        "JGCRI/gcamdata#300",
        {"rings": ["-" if one % 9 == 0 else one for one in MANY], "y": NAMES},
        ("column 'rings' is text such as '-'", "nothing for missing values"),
    ),
    "NA as the name of a class": Told(
        "datasets/country-codes#38",
        {"size": SIZE, "y": np.where(HALF, "NA", "EU")},
        ("30 rows have no target", "a word such as NA or None"),
    ),
    "classes that are -1 and 1": Told(
        "ludwig-ai/ludwig#3101",
        {"noise": NOISE, "y": 2 * HALF - 1},
        ("the target is a number, one of -1, 1", "write them as text"),
    ),
    "classes that differ in case": Told(
        "kitzeslab/opensoundscape#1, codeforamerica/comport#91",
        {"noise": NOISE, "y": [*NAMES[:40], *map(str.upper, NAMES[40:])]},
        ("classes 'NO' and 'no' differ in case alone", "spell them alike"),
    ),
    "the target under another name": Told(
        "PriorLabs/TabPFN#368",
        {"noise": NOISE, "result": NAMES, "y": HALF},
        ("column 'result=no' alone gives the target away", "--drop"),
    ),
}
"""What it is, where it was reported, the columns of a CSV file, and what a line says of it."""


@pytest.mark.parametrize("verb", ["data", "train"])
@pytest.mark.parametrize("situation", TOLD)
def test_situation_is_told(
    command: Any, situation: str, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = TOLD[situation]
    csv("a.csv", **found.columns)
    said = command(verb, *(["--data", "a.csv", *NET] if verb == "train" else ["a.csv"]))
    assert said.status == 0, said
    words = " ".join((said.out + said.err + caplog.text).split())
    assert all(part in words for part in found.parts), words


def test_one_hot_labels_are_told(command: Any) -> None:
    """Reported as adriangb/scikeras#218."""
    np.savez("a.npz", X=np.stack([SIZE, NOISE], axis=1), y=np.eye(2)[HALF])
    said = command("data", "a.npz")
    assert said.status == 0
    assert "each row has one target of 1: if these are classes" in " ".join(said.out.split())


def test_category_that_only_later_rows_have_is_named(
    command: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Reported as scikit-learn-contrib/category_encoders#154."""
    csv("train.csv", size=SIZE, kind=NAMES, y=NAMES)
    csv("asked.csv", size=SIZE, kind="perhaps", y=NAMES)
    assert command("train", "--data", "train.csv", *NET).status == 0
    assert command("evaluate", "run", "--data", "asked.csv").status == 0
    assert "60 values of column 'kind', such as 'perhaps', were not there in training" in (
        caplog.text
    )


def test_spaces_and_question_marks_of_a_file_of_adults(command: Any) -> None:
    """Reported as HealthCatalyst/healthcareai-py#355: a space after each comma, ? if unknown."""
    work = np.where(np.arange(COUNT) < 6, "?", NAMES)
    rows = "\n".join(map(", ".join, zip(map(str, NOISE), work, NAMES, strict=True)))
    write("a.csv", f"age, work, income\n{rows}\n")
    found = json.loads(command("data", "a.csv", "--json").out)
    assert found["columns"][1] == {
        "name": "work", "kind": "category", "missing": 6, "about": "no, yes"
    }  # fmt: skip
    assert found["classes"] == {"no": 30, "yes": 30}


@pytest.mark.parametrize("kind", ["String", "Categorical", "Enum"])
def test_text_of_polars(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Reported as narwhals-dev/narwhals#3450 and apache/arrow#43010: Arrow's string_view."""
    pl = pytest.importorskip("polars")
    text = pl.Series(
        NAMES.tolist(), dtype=pl.Enum(["no", "yes"]) if kind == "Enum" else getattr(pl, kind)
    )
    caplog.set_level(logging.WARNING)
    found = load_data(pl.DataFrame({"noise": NOISE, "kind": text, "y": text}))
    assert found.schema.classes == ("no", "yes")
    assert found.schema.encoded_names == ("noise", "kind=no", "kind=yes")
    assert (found.test.X[:, 2] == found.test.labels).all()
    assert not caplog.text
