"""Which options have an effect on which models."""

from collections.abc import Iterator

from modelrepo.generator import sources
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.optimize import RECIPES, recipe_of
from modelrepo.generator.specs.options import Choice, Options

CALIBRATED = ("calibration", "calibration_method")
LOWERED = ("keep_precise",)
CHANGED = ("max_accuracy_drop",)
GRAPHS = ("simplify", "prune")  # they change ONNX graphs
PRUNED = "--prune"
ANSWERS = ("head", "top_k", "score_threshold", "iou_threshold", "max_detections", "pooling")
FINISHED = "--with-postprocessing"


def idle(choice: Choice, options: Options) -> set[str]:
    """Return the fields of ``options`` that have no effect on what is made for one of their choices."""
    lowered = choice.precision != "fp32"
    calibrated = lowered and recipe_of(choice.precision).calibrated
    others = {option for backend in BACKENDS.values() for option in backend.options}
    return {
        *(others - {*BACKENDS[choice.backend].options}),
        *idle_for_source(options),
        *(() if options.with_postprocessing else ANSWERS),
        *(() if calibrated else CALIBRATED),
        *(() if lowered else LOWERED),
        *(() if BACKENDS[choice.backend].form is ONNX_FORM else GRAPHS),
        *(() if lowered or options.prune else CHANGED),
    }


def idle_for_source(options: Options) -> set[str]:
    """Return the fields of ``options`` that have no effect on models of this source."""
    others = {option for source in sources.SOURCES.values() for option in source.options}
    source, _ = sources.find(options.model)
    return others - {*source.options}


def applies_to(name: str) -> tuple[str, ...]:
    """Return the sources, backends, precisions and flags that a field of ``Options`` has an effect on."""
    return tuple(_applies_to(name))


def _applies_to(name: str) -> Iterator[str]:
    yield from (scheme for scheme, source in sources.SOURCES.items() if name in source.options)
    yield from (backend for backend, row in BACKENDS.items() if name in row.options)
    if name in GRAPHS:
        yield from (backend for backend, row in BACKENDS.items() if row.form is ONNX_FORM)
    if name in CALIBRATED:
        yield from (precision for precision in RECIPES if recipe_of(precision).calibrated)
    if name in (*LOWERED, *CHANGED):
        yield from RECIPES
    if name in CHANGED:
        yield PRUNED
    if name in ANSWERS:
        yield FINISHED
