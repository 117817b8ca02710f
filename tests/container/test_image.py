"""The image as it is meant to be run: no network, nothing to write to, no capability, any user."""

import json
import re
import signal
import subprocess
from pathlib import Path

import engine
import pytest
from conftest import IMAGE

from xpmlp.runs import RunDirectory, load_checkpoint

pytestmark = pytest.mark.container

MOST = 350 * 10**6
"""Bytes that the CPU image may have beyond its base."""

SHORT = ("train", "--epochs", "1", "--quiet")


def test_a_run_lands_in_the_mounted_directory(run, out: Path) -> None:
    done = run("train", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert "Test accuracy" in done.stdout
    trained = RunDirectory(out / "runs/lecture-1")
    assert json.loads((trained.path / "summary.json").read_text())["epochs"] == 1
    assert (trained.path / "model.safetensors").stat().st_uid == 12345
    said = run("evaluate", "runs/lecture-1")
    assert (said.returncode, "accuracy" in said.stdout) == (0, True)
    assert run("train", "--resume", "runs/lecture-1", "--epochs", "2").returncode == 0
    for command in (
        ("report", "runs/lecture-1"),
        ("explain", "runs/lecture-1", "--out", "slides.svg"),
        ("compare", "runs/lecture-1", "runs/lecture-1"),
        ("gradcheck", "--hidden", "4"),
        ("plot", "runs/lecture-1"),
    ):
        said = run(*command)
        assert said.returncode == 0, said.stderr
        assert "(next: " in said.stdout
    assert (trained.path / "report.html").stat().st_size > 10_000
    assert load_checkpoint(trained)[0].epoch == 2


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("--version",), 0),
        ((), 0),
        (("train", "--epochs", "-1"), 2),
        (("train", "no-such-recipe"), 2),
        (("train", "--backend", "cupy"), 3),
    ],
)
def test_exit_statuses(run, command: tuple[str, ...], status: int) -> None:
    done = run(*command)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_a_forgotten_mount_is_refused_at_once(podman) -> None:
    done = podman("run", "--rm", *engine.LOCKED_DOWN, IMAGE, *SHORT)
    assert done.returncode == 2
    assert "cannot be made" in done.stderr


def test_any_user_and_little_memory(run) -> None:
    done = run(*SHORT, options=("--user=54321:54321", "--memory=400m"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_to_go_on_with(podman, run, out: Path, number) -> None:
    container = podman.must(
        "run", "--detach", *engine.LOCKED_DOWN, f"--volume={out}:/out", IMAGE,
        "train", "--epochs", "100000", "--out", "r",
    ).strip()  # fmt: skip
    podman.wait_for("epoch 2/", container)
    podman.must("kill", f"--signal={number.name}", container)
    assert podman.must("wait", container).strip() == str(128 + number)
    said = podman("logs", container)
    podman.must("rm", container)
    assert "all is saved: resume with xpmlp train --resume r" in said.stderr
    trained = RunDirectory(out / "r")
    epoch = load_checkpoint(trained)[0].epoch
    assert epoch >= 1
    assert run("train", "--resume", "r", "--epochs", str(epoch + 1)).returncode == 0
    assert load_checkpoint(trained)[0].epoch == epoch + 1


def test_documented_lines(podman, tmp_path: Path) -> None:
    """As they stand, with podman in Docker's place; those for a GPU build 2 GB, and are left."""
    page = (engine.ROOT / "docs" / "container.md").read_text("utf-8")
    build, run, *_ = re.findall(r"^docker .*$", page, flags=re.MULTILINE)
    docker = podman.as_docker(tmp_path / "bin")
    work = tmp_path / "work"
    work.mkdir()
    for line, place in ((build, engine.ROOT), (run, work)):
        done = subprocess.run(
            ["bash", "-euc", line], cwd=place, env=docker, capture_output=True, text=True
        )
        assert done.returncode == 0, (line, done.stderr)
    summary = json.loads((work / "runs/lecture-1/summary.json").read_text())
    assert summary["epochs"] == 20
    assert summary["test_accuracy"] > 0.86


def test_health_check_answers(podman, out: Path) -> None:
    options = [one for one in engine.LOCKED_DOWN if one != "--no-healthcheck"]
    container = podman.must(
        "run", "--detach", *options, "--health-interval=disable", f"--volume={out}:/out", IMAGE,
        "train", "--epochs", "100000", "--quiet", "--out", "r",
    ).strip()  # fmt: skip
    try:
        assert podman("healthcheck", "run", container).returncode == 0
    finally:
        podman.must("rm", "--force", "--time=0", container)


def test_nothing_of_the_build_is_left(podman) -> None:
    def files(image: str) -> set[str]:
        found = podman.must(
            "run", "--rm", "--no-healthcheck", "--network=none", "--user=0", "--entrypoint=find",
            image, "/", "-xdev", "-not", "-path", "/proc/*", "-not", "-path", "/sys/*",
        )  # fmt: skip
        return set(found.splitlines())

    added = files(IMAGE) - files(engine.BASE)
    assert {path for path in added if not path.startswith("/opt/xpmlp/")} == {"/opt/xpmlp", "/out"}
    assert any(path.endswith("xpmlp/recipes/lecture.toml") for path in added)
    names = {Path(path).name for path in added}
    assert not names & {"pip", "pip.conf", "requirements.txt", ".git", ".cache"}


def test_its_user_is_not_root_and_it_has_a_health_check(podman) -> None:
    config = json.loads(podman.must("image", "inspect", IMAGE))[0]
    assert config["Config"]["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "xpmlp", "--version"]
    assert "Volumes" not in config["Config"]


def test_its_size(podman) -> None:
    beyond = podman.size(IMAGE) - podman.size(engine.BASE)
    assert 0 < beyond <= MOST, f"{beyond:,} bytes beyond the base"
