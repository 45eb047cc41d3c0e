"""From ONNX to ONNX: lower precision, pruning, clean-up. One module for each precision, and one table."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelrepo.generator.optimize.recipe import Recipe

# Precision -> the module of its recipe; imported only when needed, because options list all precisions.
RECIPES = {
    "fp16": "modelrepo.generator.optimize.fp16",
    "bf16": "modelrepo.generator.optimize.bf16",
    "int8": "modelrepo.generator.optimize.int8",
    "int8-dynamic": "modelrepo.generator.optimize.int8_dynamic",
    "fp8": "modelrepo.generator.optimize.fp8",
}


def precisions() -> tuple[str, ...]:
    """Return the names of all precisions."""
    return "fp32", *RECIPES


def recipe_of(precision: str) -> "Recipe":
    """Import and return the recipe of a precision other than fp32."""
    recipe: Recipe = importlib.import_module(RECIPES[precision]).RECIPE
    return recipe
