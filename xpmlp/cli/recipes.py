"""`xpmlp recipes`."""

import json

from xpmlp.cli.console import say, say_verbatim
from xpmlp.cli.next_command import say_next
from xpmlp.cli.options import JsonOption
from xpmlp.recipes import describe_recipe, recipe_names


def recipes(as_json: JsonOption = False) -> None:
    """List the recipes that come with xpmlp, and what was measured with each.

    Example: xpmlp recipes
    """
    found = {name: describe_recipe(name) for name in recipe_names()}
    if as_json:
        say_verbatim(json.dumps({name: found[name]._asdict() for name in found}))
        return
    for name, (about, measured) in found.items():
        say(name, style="bold")
        say(f"  {about}")
        if measured:
            say(f"  Measured: {measured}")
    say("Train one: xpmlp train NAME; change it: --set key=value")
    say_next("xpmlp", "explain", next(iter(found)))
