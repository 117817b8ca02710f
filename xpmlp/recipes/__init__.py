"""Recipes: runs of training as data, in TOML files."""

from xpmlp.recipes.recipe import (
    MOST_MEMBERS,
    Recipe,
    describe_recipe,
    load_recipe,
    read_setting,
    recipe_names,
)

__all__ = [
    "MOST_MEMBERS",
    "Recipe",
    "describe_recipe",
    "load_recipe",
    "read_setting",
    "recipe_names",
]
