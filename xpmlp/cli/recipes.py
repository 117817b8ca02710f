"""`xpmlp recipes`."""

import json

from xpmlp.cli.console import echo
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import JsonOption
from xpmlp.recipes import describe_recipe, recipe_names


def recipes(as_json: JsonOption = False) -> None:
    """List the recipes that come with xpmlp, and what was measured with each.

    Example: xpmlp recipes
    """
    found = {name: describe_recipe(name) for name in recipe_names()}
    if as_json:
        echo(json.dumps({name: found[name]._asdict() for name in found}))
        return
    for name, (about, measured) in found.items():
        echo(name, style="bold")
        echo(f"  {about}")
        if measured:
            echo(f"  Measured: {measured}")
    echo("Train one: xpmlp train NAME; change it: --set key=value")
    echo_next("xpmlp", "explain", next(iter(found)))
