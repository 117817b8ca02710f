"""A container engine where there is none: podman with a configuration and a store of its own.

The base image is made by mmdebstrap from the system's packages, so nothing comes from a registry.
Needs root, podman, runc and mmdebstrap.
"""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
BASE = "localhost/python-base:trixie"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

LOCKED_DOWN = (
    "--network=none", "--read-only", "--read-only-tmpfs=false",
    "--tmpfs=/tmp:rw,noexec,nosuid,size=64m", "--cap-drop=all",
    "--security-opt=no-new-privileges", "--memory=1g", "--user=12345:12345", "--no-healthcheck",
)  # fmt: skip
"""What `docker run` is asked for: no network, no writing, no capability, another user, a limit."""

BUILDING = (
    "--isolation=oci", "--network=host", "--format=docker", "--pull=never",
    f"--build-arg=BASE_IMAGE={BASE}", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro",
)  # fmt: skip
"""What `podman build` needs to build as Docker would, from the base image that is here."""

CUSTOMIZE = (
    "rm -f $1/usr/lib/python3*/EXTERNALLY-MANAGED; "
    "ln -s /usr/bin/python3 $1/usr/local/bin/python; ln -s /usr/bin/pip3 $1/usr/local/bin/pip"
)


def missing() -> str:
    """What is not there to build with, in words; empty if all is."""
    if os.geteuid() != 0:
        return "needs root"
    tools = [name for name in ("podman", "runc", "mmdebstrap") if shutil.which(name) is None]
    return f"needs {', '.join(tools)}" if tools else ""


Done: TypeAlias = "subprocess.CompletedProcess[str]"


class Engine:
    """podman with everything it writes below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        conf, storage = directory / "containers.conf", directory / "storage.conf"
        conf.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        storage.write_text(
            '[storage]\ndriver = "overlay"\n'
            f'graphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
        )
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }

    def __call__(
        self, *arguments: object, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """podman, whatever its status."""
        return subprocess.run(
            ["podman", *map(str, arguments)],
            env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def must(self, *arguments: object, timeout: float = 600) -> str:
        """What podman prints; an error that shows what it said if it fails."""
        done = self(*arguments, timeout=timeout)
        assert done.returncode == 0, f"podman {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def wait_for(self, words: str, container: str) -> None:
        """Return when a container has said these words on its standard error."""
        with subprocess.Popen(
            ["podman", "logs", "--follow", container],
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as logs:  # fmt: skip
            assert logs.stderr is not None
            assert any(words in line for line in logs.stderr), f"{container} never said {words!r}"
            logs.kill()

    def make_base(self) -> None:
        """The base image: Debian's Python, as the official slim image has it."""
        archive = self.directory / "base.tar"
        packages = "python3,python3-venv,python3-pip,ca-certificates"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={packages}",
             f"--customize-hook={CUSTOMIZE}", "trixie", archive],
            check=True, timeout=600,
        )  # fmt: skip
        self.must("import", archive, BASE)
        archive.unlink()

    def build(self, tag: str, **arguments: str) -> None:
        """An image of the repository's Dockerfile."""
        settings = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        self.must("build", *BUILDING, *settings, f"--tag={tag}", ROOT, timeout=1800)

    def as_docker(self, directory: Path) -> dict[str, str]:
        """An environment whose `docker` is this engine, by a program in the directory."""
        directory.mkdir()
        program = directory / "docker"
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = build ]; then shift; set -- build {shlex.join(BUILDING)} "$@"'
            '\nelse shift; set -- run --network none --no-healthcheck "$@"; fi\nexec podman "$@"\n'
        )
        program.chmod(0o755)
        return {**self.environment, "PATH": f"{directory}:{self.environment['PATH']}"}

    def refusal(self) -> str:
        """Why no container runs here, in words, once the base image has been made; else empty."""
        try:
            self.make_base()
        except (OSError, subprocess.SubprocessError, AssertionError) as error:
            return f"no base image ({error})"
        done = self("run", "--rm", *LOCKED_DOWN, BASE, "python", "--version")
        return done.stderr.strip() if done.returncode else ""

    def remove(self) -> None:
        """Everything that it has written, and what it has mounted there."""
        self("rmi", "--all", "--force")
        for mounted in ("graph/overlay", "graph"):
            subprocess.run(["umount", self.directory / mounted], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def size(self, image: str) -> int:
        """Bytes."""
        return int(json.loads(self.must("image", "inspect", image))[0]["Size"])
