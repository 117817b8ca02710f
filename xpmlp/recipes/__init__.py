"""A whole run as data: what to train, on what, how, and where."""

from xpmlp.recipes.recipe import Recipe, load_recipe, recipe_names

__all__ = ["Recipe", "load_recipe", "recipe_names"]
