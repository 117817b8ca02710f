"""Recipes: runs of training as data, in TOML files."""

from xpmlp.recipes.recipe import (
    Recipe,
    describe_recipe,
    load_recipe,
    read_setting,
    recipe_names,
)

__all__ = ["Recipe", "describe_recipe", "load_recipe", "read_setting", "recipe_names"]
