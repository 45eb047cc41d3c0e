"""Which options have no effect on a model."""

from modelrepo.generator import sources
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.optimize import recipe_of
from modelrepo.generator.specs.options import Choice, Options


def idle(choice: Choice, options: Options) -> set[str]:
    """Return the fields of ``options`` that are no matter to what is made for one of their choices."""
    lowered = choice.precision != "fp32"
    calibrated = lowered and recipe_of(choice.precision).CALIBRATED
    others = {option for backend in BACKENDS.values() for option in backend.OPTIONS}
    return {
        *(others - {*BACKENDS[choice.backend].OPTIONS}),
        *idle_for_source(options),
        *(() if calibrated else ("calibration", "calibration_method")),
        *(() if lowered else ("keep_precise",)),
        *(() if lowered or options.prune else ("max_accuracy_drop",)),
    }


def idle_for_source(options: Options) -> set[str]:
    """Return the fields of ``options`` that have no effect on models of this source."""
    others = {option for source in sources.SOURCES.values() for option in source.options}
    source, _ = sources.find(options.model)
    return others - {*source.options}
