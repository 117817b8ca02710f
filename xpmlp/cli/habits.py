"""What people type from habit, and what to type in its place."""

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from xpmlp import habits
from xpmlp.checks import closest
from xpmlp.habits import by_habit
from xpmlp.recipes import SETTINGS, recipe_names

COMMAND_HABITS = by_habit(
    {
        "train": "fit run learn",
        "train --resume": "resume continue",
        "evaluate": "eval test score",
        "predict": "infer classify",
        "recipes": "list models",
        "report": "show",
        "sweep": "tune search",
        "find-rate": "lr-find",
        "export": "convert",
        "backends": "devices",
        "--help": "help",
        "--version": "version",
    }
)
"""Commands of other programs."""

OPTION_HABITS = by_habit(
    {
        "--backend cupy": "gpu cuda",
        "--backend numpy": "cpu",
        "--out": "output output-dir save-dir",
        "--resume": "checkpoint continue",
        "--quiet": "silent",
        "--hidden": "layers units hidden-layer-sizes",
        "--data": "dataset",
        "--profile": "verbose",
    }
)
"""Options of other programs that no setting is called like."""


def instead_of_command(name: str, rest: Sequence[str], known: Collection[str]) -> str:
    """Return what to type for an unknown command; empty if nothing is near."""
    if name in recipe_names() or name.endswith(".toml"):
        return shlex.join(["xpmlp", "train", name, *rest])
    found = COMMAND_HABITS.get(name.lower()) or closest(name.lower(), known)
    return f"xpmlp {found} {shlex.join(rest)}".strip() if found else ""


def instead_of_option(flag: str, arguments: Sequence[str], known: Collection[str]) -> str:
    """Return what to type for an unknown option, its value included; empty if nothing is near."""
    name = flag.lstrip("-").replace("_", "-")
    value = _value_of(flag, arguments)
    instead, *usual = OPTION_HABITS.get(name, "").split() or [""]
    if instead in known:
        return " ".join([instead, *(usual or [value])]).strip()
    key = name.replace("-", "_")
    key = habits.SETTING_HABITS.get(key, key)
    option = f"--{key.replace('_', '-')}"
    if option in known:
        return f"{option} {value}".strip()
    options = {one.lstrip("-"): one for one in known}
    near = "" if key in SETTINGS else options.get(closest(name, options), "")
    key = key if key in SETTINGS else closest(key, SETTINGS)
    if key and not near and "--set" in known:
        return f"--set {SETTINGS[key].path}={value or 'VALUE'}"
    return near


def _value_of(flag: str, arguments: Sequence[str]) -> str:
    """The value that an option was given, after it or behind `=`; empty if none was."""
    words = [part for word in arguments for part in word.split("=", 1)]
    after = " ".join(words[words.index(flag) + 1 :][:1])
    return "" if after.startswith("-") else after


def swapped(run: Path, inputs: Sequence[Path]) -> str:
    """Return `predict` with its arguments in order, where the run was given last; else nothing."""
    runs = [one for one in inputs if (one / "config.toml").is_file()]
    if not runs or (run / "config.toml").exists():
        return ""
    others = [str(one) for one in (run, *inputs) if one != runs[0]]
    return shlex.join(["xpmlp", "predict", str(runs[0]), *others])
