"""The values that the user says an input takes: `--domain`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.options import Values
from modelrepo.generator.specs.tensors import Domain, TensorSpec

# A range of numbers is two of these standard deviations wide to each side.
DEVIATIONS = 2.0


def with_domains(inputs: Iterable[TensorSpec], values: Sequence[Values]) -> tuple[TensorSpec, ...]:
    """Return inputs with the domains that the user gives them, which count as known.

    OptionError for an input that does not exist, or values that its type can't have.
    """
    inputs = tuple(inputs)
    by_name = {each.name or inputs[0].name: each for each in values if each.name or len(inputs) == 1}
    unknown = {each.name for each in values} - {spec.name for spec in inputs} - ({""} if len(inputs) == 1 else set())
    if unknown:
        named = min(unknown)
        raise OptionError(
            f"--domain names the input {named!r}" if named else "--domain does not name an input",
            f"The model takes {', '.join(map(str, inputs))}",
        )
    return tuple(_given(spec, by_name[spec.name]) if spec.name in by_name else spec for spec in inputs)


def told(values: Iterable[Values]) -> tuple[str, ...]:
    """Return a note on the inputs that were asked for nothing but what the user says that they take."""
    named = [f"{each.name or 'the input'} {each}" for each in values]
    return (f"proven for what --domain says: {', '.join(named)}",) if named else ()


def _given(spec: TensorSpec, values: Values) -> TensorSpec:
    if values.choices:
        chosen = tuple(_fitting(spec, each) for each in values.choices)
        return replace(spec, domain=Domain(choices=tuple(dict.fromkeys(chosen))))
    if spec.dtype == "object":
        raise OptionError(f"--domain gives {spec} a range, but it takes text", "Name its choices, such as red,green")
    low, high = (None if bound is None else float(_fitting(spec, bound)) for bound in (values.low, values.high))
    domain = replace(spec.domain, low=low, high=high, known=True, mask=False, choices=())
    if spec.dtype.startswith("float"):
        center, spread = _usual(values)
        domain = replace(domain, center=(center,), spread=(spread,))
    return replace(spec, domain=domain)


def _usual(values: Values) -> tuple[float, float]:
    """Return the mean and the standard deviation of the numbers that an input is asked with."""
    low, high = values.low, values.high
    if values.center is not None and values.spread:
        return values.center, values.spread
    if low is not None and high is not None:
        return (low + high) / 2, (high - low) / (2 * DEVIATIONS)
    return (low + 1.0, 0.5) if low is not None else ((high or 0.0) - 1.0, 0.5)


def _fitting(spec: TensorSpec, value: str | float) -> str | float:
    """Return a value as an input's type has it; OptionError if it can't be one."""
    import numpy as np

    dtype = np.dtype(spec.dtype)
    if dtype == np.object_:
        return str(value)
    words = {"true": 1.0, "false": 0.0} if dtype == np.bool_ else {}
    try:
        number = words[str(value).lower()] if str(value).lower() in words else float(value)
    except ValueError:
        number = float("nan")
    whole = dtype.kind in "iub"
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    low, high = (limits.min, limits.max) if limits else (0, 1) if dtype == np.bool_ else (-np.inf, np.inf)
    if not low <= number <= high or np.isinf(number) or (whole and number != int(number)):
        raise OptionError(f"--domain gives {spec} the value {value}, but it takes {spec.dtype}")
    return number
