"""Every message in the table of docs/resuming.md is produced here, and only those are in it."""

import errno
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from xpmlp.data import write_idx

pytestmark = pytest.mark.usefixtures("undrawn")

PAGE = Path(__file__).parents[2] / "docs/resuming.md"
TABLE = PAGE.read_text("utf-8").partition("## Messages")[2]
MESSAGES = re.findall(r"^\| `([^`]+)` \|", TABLE, re.MULTILINE)


def spoil(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


class Cases:
    """A method for each message, by the order of the table; each gives the command's arguments."""

    def __init__(self, tiny: list[str], trained: Path, make_data) -> None:
        self.tiny, self.trained, self.make_data = tiny, trained, make_data

    def broken(self) -> Path:
        run = Path("r")
        shutil.copytree(self.trained, run)
        return run

    def own_data(self) -> Path:
        return Path(self.make_data(Path("own")))

    def holds_a_run_already(self):
        return [*self.tiny, "--out", self.trained]

    def no_run_is_here(self):
        return ["evaluate", "."]

    def epochs_are_done(self):
        return ["train", "--resume", self.trained]

    def resumes_with_its_own_settings(self):
        return ["train", "--resume", self.trained, "--seed", "4"]

    def differs_from_its_start(self):
        config = self.broken() / "config.toml"
        config.write_text(config.read_text().replace("batch_size = 4", "batch_size = 5"))
        return ["train", "--resume", "r", "--epochs", "9"]

    def has_other_rows_than_when(self):
        config = self.broken() / "config.toml"
        data = self.own_data()
        write_idx(data / "train-images-idx3-ubyte", np.zeros((50, 4, 4), np.uint8))
        write_idx(data / "train-labels-idx1-ubyte", np.zeros(50, np.uint8))
        config.write_text(re.sub(r'data = ".*"', f'data = "{data}"', config.read_text()))
        return ["train", "--resume", "r", "--epochs", "9", "--force"]

    def no_whole_file_of_xpmlp(self):
        model = self.broken() / "model.safetensors"
        model.write_bytes(model.read_bytes()[:-3])
        return ["evaluate", "r"]

    def is_not_what_was_written_sha_256(self):
        spoil(self.broken() / "checkpoint.safetensors", -1)
        return ["train", "--resume", "r", "--epochs", "9"]

    def failed_in_on_start(self):
        return [*self.tiny, "--log", "csv", "--out", "failing"]

    def is_not_installed(self):
        return [*self.tiny, "--log", "tensorboard"]

    def cannot_be_written(self):
        return [*self.tiny, "--out", "full"]

    def is_unknown(self):
        return ["train", "no-such-recipe"]

    def did_you_mean(self):
        return ["train", "--set", "learning_rat=0.1"]

    def the_network_takes(self):
        return [*self.tiny, "--set", "model.layer_sizes=15,8,10"]

    def the_largest_that_fits_is(self):
        return [*self.tiny, "--set", "model.layer_sizes=16,8,3"]

    def where_its_header_promises(self):
        data = self.own_data()
        images = data / "train-images-idx3-ubyte"
        images.write_bytes(images.read_bytes()[:-1])
        return ["train", "--data", data]

    def nan_or_infinite_values(self):
        data = self.own_data()
        write_idx(data / "train-images-idx3-ubyte", np.full((100, 4, 4), np.nan, np.float32))
        return [*self.tiny, "--data", data]

    def cannot_run_here(self):
        return [*self.tiny, "--backend", "cupy"]

    def first_in(self):
        return [
            *self.tiny,
            "--set",
            "model.activation=relu",
            "--learning-rate",
            "1e30",
            "--out",
            "d",
        ]

    def give_a_time_above_0(self):
        return [*self.tiny, "--time-limit", "-3s"]

    def give_1_or_more_steps(self):
        return [*self.tiny, "--checkpoint-every", "0"]


def no_space(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def no_server(*_: object) -> None:
    raise RuntimeError("no server answers")


def name_of(message: str) -> str:
    return re.sub(r"\W+", "_", message.lower()).strip("_")


def test_the_table_has_a_case_for_each_message() -> None:
    cases = {name for name in vars(Cases) if name[0] != "_"} - {"broken", "own_data"}
    assert {name_of(message) for message in MESSAGES} == cases
    assert len(MESSAGES) == len(cases)


@pytest.mark.extended(keep=4)
@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_line_that_says_so(
    message: str, command, tiny, trained, make_data, monkeypatch
) -> None:
    if message == "cannot run here":
        monkeypatch.setitem(sys.modules, "cupy", None)
    if message == "is not installed":
        monkeypatch.setitem(sys.modules, "tensorboard", None)
    if message == "failed in on_start":
        monkeypatch.setattr("xpmlp.training.loggers.CSVLogger._open", no_server)
    if message == "cannot be written":
        monkeypatch.setattr("xpmlp.files.os.fsync", no_space)
    said = command(*getattr(Cases(tiny, trained, make_data), name_of(message))())
    assert said.status in (1, 2, 3)
    line = said.err.splitlines()[-1]
    assert line.startswith("xpmlp: ")
    assert message in line
    assert "Traceback" not in said.err
