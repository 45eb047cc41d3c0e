"""The inputs that the cost of a layer is measured on."""

from collections.abc import Sequence

from modelrepo.generator.errors import ConversionError, VerificationError
from modelrepo.generator.graphs import runtime
from modelrepo.generator.optimize.recipe import Request
from modelrepo.generator.specs.tensors import Arrays, Signature
from modelrepo.generator.verification.inputs import Pool, generated
from modelrepo.generator.verification.verify import usable

# The families to measure on if the user gives no data: their answers say most.
PROBE_FAMILIES = ("random 1", "random 2", "random 3", "large (x10)")
SEED = 0


def probe_inputs(request: Request, count: int = len(PROBE_FAMILIES)) -> list[Arrays]:
    """Return up to ``count`` inputs, each a batch of one: from the request's data if it has any, otherwise generated.

    Raises ConversionError if the model answers none of them.
    """
    signature = request.export.signature
    if request.data:
        return _singles(request.data, signature)[:count]
    run = runtime.open_model(request.export.path)
    reason = ""
    for _, pool in generated(signature, 1, SEED):
        rows = [pool.families.index(family) for family in PROBE_FAMILIES]
        try:
            kept = usable(pool.only(rows), run, signature)
        except VerificationError as error:
            reason = error.message
            continue
        return _singles([kept], signature)[:count]
    raise ConversionError(
        f"the model answers none of the generated inputs, so the cost can't be measured: {reason}",
        "Give inputs that it answers with --calibration",
    )


def _singles(pools: Sequence[Pool], signature: Signature) -> list[Arrays]:
    return [pool.single(row, signature) for pool in pools for row in range(len(pool.families))]
