"""What clients of a model have to know of a new version: another source, other inputs or outputs."""

from collections.abc import Iterator
from typing import Any

from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.triton import pbtxt


def since(before: Manifest, now: Manifest) -> Iterator[str]:
    """Yield notes on how a version differs for its clients from the one before it."""
    one, other = before.provenance.source.reference, now.provenance.source.reference
    if one != other:
        yield f"version {now.version} is made from {other}, version {before.version} was made from {one}"
    for kind in ("input", "output"):
        was, is_now = (_tensors(_config(each), kind) for each in (before, now))
        gone, new = (", ".join(sorted(some - others)) for some, others in ((was, is_now), (is_now, was)))
        if gone or new:
            told = f"{new or 'none'} instead of {gone}" if gone else f"{new} more"
            yield f"clients have to change: the {kind}s of version {now.version} are others ({told})"
    if now.max_batch_size < before.max_batch_size:
        least, most = now.max_batch_size, before.max_batch_size
        yield f"version {now.version} takes batches up to {least}, version {before.version} took {most}"


def _config(manifest: Manifest) -> Any:
    return pbtxt.parse(manifest.config, f"the configuration of {manifest.name}")


def _tensors(config: Any, kind: str) -> set[str]:
    """Return the inputs or outputs in words, as clients see them: with the axis of the batch."""
    from tritonclient.grpc import model_config_pb2

    def in_words(tensor: Any) -> str:
        data_type = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        shape = [*([-1] if config.max_batch_size else []), *tensor.dims]
        return f"{tensor.name} {data_type}{shape}{' optional' if getattr(tensor, 'optional', False) else ''}"

    return {in_words(tensor) for tensor in getattr(config, kind)}
