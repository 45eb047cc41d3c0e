"""What an ensemble is compared with, as any model is: its signature, its reference in Python, and inputs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients import Client
from modelrepo.clients.errors import ClientError
from modelrepo.generator.ensembles.config import input_kinds
from modelrepo.generator.ensembles.member import Member
from modelrepo.generator.ensembles.reference import Pipeline, Stage
from modelrepo.generator.ensembles.shapes import ANY, dtype_name, shape_words
from modelrepo.generator.ensembles.wiring import End, Wiring
from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.specs.artifacts import Export, Weights
from modelrepo.generator.specs.ensembles import EnsembleSpec
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, Signature, TensorSpec, unknown_domain
from modelrepo.generator.verification import datasets, inputs
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.proven import Proven
from modelrepo.generator.verification.remembered import Remembered

BATCH = "batch"
# Likely inputs that a member draws for the comparison.
LIKELY = 8
# How far a step's own answer may be off, as a share of its largest magnitude, before it is named as the one at fault.
FAULT = 1e-2


def pipeline(wiring: Wiring) -> Pipeline:
    """Return an ensemble in Python."""
    return Pipeline(wiring.stages, tuple(wiring.outputs))


def proven_of(spec: EnsembleSpec, wiring: Wiring, seed: int) -> Proven:
    """Return an ensemble as what is compared with its reference; OptionError for samples that do not fit it."""
    signature, run = signature_of(wiring), pipeline(wiring)
    members = [stage.member for stage in wiring.stages]
    untrained = [each.name for each in members if each.record and each.record.untrained]
    detail = ", ".join(f"{each.name} version {each.version}" for each in members)
    source = SourceModel(
        reference=f"ensemble:{spec.name}",
        framework="ensemble",
        native=None,
        inputs=signature.inputs,
        output_names=tuple(wiring.outputs),
        run=run,
        weights=Weights("own", detail, untrained=bool(untrained)),
        input_kinds=input_kinds(wiring),
    )
    theirs = datasets.samples(spec.samples, signature)
    samples = replace(theirs, pools=(*theirs.pools, *_likely(wiring, signature, seed)), labels=None)
    export = Export(Path(spec.name), (), signature, "ensemble", 0, 0)
    return Proven(
        source,
        Remembered(run),
        export,
        Verification(passed=True, samples=datasets.told(theirs, spec.samples, 0)),
        wiring.max_batch_size,
        (*wiring.notes, *theirs.notes),
        samples=samples,
    )


def asked(proven: Proven) -> list[Pool]:
    """Return some inputs of an ensemble: likely ones and the user's, and generated ones."""
    generated = inputs.generated(proven.export.signature, 0, 0)
    return [*proven.samples.compared, *(pool for for_refusing, pool in generated if not for_refusing)]


def signature_of(wiring: Wiring) -> Signature:
    """Return the inputs and outputs of an ensemble, as clients send and receive them."""
    batched = wiring.max_batch_size > 0
    return Signature(
        tuple(_input(name, ends, wiring.models, batched=batched) for name, ends in wiring.inputs.items()),
        tuple(TensorSpec(name, _dtype(end), _shape(name, end, None, batched)) for name, end in wiring.outputs.items()),
    )


def _input(name: str, ends: Sequence[End], members: Mapping[str, Member], *, batched: bool) -> TensorSpec:
    """Return an input of an ensemble: its values are those of the first model that takes it and says which."""
    told = ((end, _told(members[end.step], end.port)) for end in ends)
    end, spec = next(((end, spec) for end, spec in told if spec), (ends[0], None))
    dims = [max(each) for each in zip(*(each.dims for each in ends), strict=True)]
    shape = _shape(name, replace(end, dims=tuple(dims)), spec, batched)
    if spec is None:
        return TensorSpec(name, _dtype(end), shape, unknown_domain(_dtype(end)))
    return TensorSpec(name, spec.dtype, shape, spec.domain, spec.sizes)


def _told(member: Member, port: str) -> TensorSpec | None:
    return next((spec for spec in member.inputs if spec.name == port), None)


def _shape(name: str, end: End, spec: TensorSpec | None, batched: bool) -> tuple[Dim, ...]:
    """Return a shape with the names of its dimensions, as the model that takes the input calls them."""
    own = spec.shape if spec and len(spec.shape) == len(end.dims) else ()
    names = own or tuple(f"{name}_{axis}" for axis in range(len(end.dims)))
    dims = [
        (called if isinstance(called, str) else f"{name}_{axis}") if size == ANY else size
        for axis, (size, called) in enumerate(zip(end.dims, names, strict=True))
    ]
    return (BATCH, *dims[1:]) if batched else tuple(dims)


def _dtype(end: End) -> str:
    from tritonclient.utils import triton_to_np_dtype

    return "object" if end.data_type == "STRING" else np.dtype(triton_to_np_dtype(end.data_type)).name


def _likely(wiring: Wiring, signature: Signature, seed: int) -> Iterator[Pool]:
    """Yield likely inputs of a step that takes all that clients send."""
    for stage in wiring.stages:
        own = {port: name for port, name in stage.inputs.items() if name in wiring.inputs}
        if stage.member.likely and own.keys() == stage.inputs.keys() and {*own.values()} == wiring.inputs.keys():
            for arrays in stage.member.likely(LIKELY, seed):
                yield _as_rows({own[port]: np.asarray(array) for port, array in arrays.items()}, signature)
            return


def _as_rows(arrays: dict[str, Array], signature: Signature) -> Pool:
    """Return inputs as a pool: the rows are samples, or one whole input set for an ensemble without batches."""
    if signature.batch_dim is None:
        return Pool({name: array[np.newaxis] for name, array in arrays.items()}, ("likely",))
    count = len(next(iter(arrays.values())))
    return Pool(arrays, tuple(f"likely {row + 1}" for row in range(count)))


def fault_of(client: Client, wiring: Wiring, pools: Sequence[Pool]) -> str:
    """Return which step of a served ensemble fails or answers wrongly, in words; empty if each is right by itself.

    Every step is asked with what its reference says that it is given, so that only the one at fault is named.
    """
    signature, whole = signature_of(wiring), pipeline(wiring)
    for pool in pools:
        for row in range(len(pool.families)):
            try:
                for stage, taken, given in whole.steps(pool.single(row, signature)):
                    found = _fault(client, stage, taken, given)
                    if found:
                        return f"step {stage.name!r} ({stage.member.name}) {found}"
            except ModelRepoError:
                continue  # the reference refuses the input
    return ""


def _fault(client: Client, stage: Stage, taken: Arrays, given: Arrays) -> str:
    try:
        answer = client.infer(stage.member.name, taken)
    except ClientError as error:
        return f"fails: {error.message}"
    for port, name in stage.outputs.items():
        got: Any = answer.get(port)
        right = given[name]
        if got is None:
            return f"does not answer {port!r}"
        if got.shape != right.shape or (got.dtype != right.dtype and right.dtype != np.object_):
            words = f"{dtype_name(right)} {shape_words(right.shape)}"
            return f"answers {port!r} with {dtype_name(got)} {shape_words(got.shape)} instead of {words}"
        if not _alike(got, right):
            return f"answers {port!r} otherwise than its reference"
    return ""


def _alike(got: Array, right: Array) -> bool:
    if right.dtype == np.object_:
        return all(_text(one) == _text(other) for one, other in zip(got.ravel(), right.ravel(), strict=True))
    scale = np.abs(right.astype(np.float64)).max(initial=0.0)
    one, other = got.astype(np.float64), right.astype(np.float64)
    return bool(np.allclose(one, other, rtol=0, atol=FAULT * scale, equal_nan=True))


def _text(item: object) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()
