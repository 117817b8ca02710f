"""Recipes: runs of training as data, in TOML files.

settings.py   every setting, from where it is declared
recipe.py     a recipe, and how it is read
"""

from xpmlp.recipes.recipe import (
    Recipe,
    describe_recipe,
    load_recipe,
    option_value,
    read_setting,
    recipe_names,
)
from xpmlp.recipes.settings import CHOICES, MOST_MEMBERS, SETTINGS, by_name, seconds

__all__ = [
    "CHOICES",
    "MOST_MEMBERS",
    "SETTINGS",
    "Recipe",
    "by_name",
    "describe_recipe",
    "load_recipe",
    "option_value",
    "read_setting",
    "recipe_names",
    "seconds",
]
