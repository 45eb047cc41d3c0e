"""What clients of a model have to know of a new version: another source, other inputs or outputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.triton import pbtxt


@dataclass(frozen=True)
class _Tensor:
    """An input or output as clients see it: with the axis of the batch; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool

    def __str__(self) -> str:
        return f"{self.name} {self.datatype}{list(self.shape)}{' optional' if self.optional else ''}"

    def is_kept_by(self, other: "_Tensor") -> bool:
        """Whether clients of this tensor can use the other one: sizes may have become open."""
        named = (self.name, self.datatype, len(self.shape)) == (other.name, other.datatype, len(other.shape))
        sizes = zip(self.shape, other.shape, strict=False)
        return named and other.optional >= self.optional and all(new in (old, -1) for old, new in sizes)


def since(before: Manifest, now: Manifest) -> Iterator[str]:
    """Yield notes on how a version differs for its clients from the one before it."""
    one, other = before.provenance.source.reference, now.provenance.source.reference
    if one != other and not before.provenance.rebuilt:
        yield f"version {now.version} is made from {other}, version {before.version} was made from {one}"
    for kind in ("input", "output"):
        was, is_now = (_tensors(_config(each), kind) for each in (before, now))
        gone = [tensor for tensor in was if not any(map(tensor.is_kept_by, is_now))]
        new = [tensor for tensor in is_now if not any(each.is_kept_by(tensor) for each in was)]
        if gone or (kind == "input" and not all(tensor.optional for tensor in new)):
            told = f"{_listed(new) or 'none'} instead of {_listed(gone)}" if gone else f"{_listed(new)} more"
            yield f"clients have to change: the {kind}s of version {now.version} are others ({told})"
    if now.max_batch_size < before.max_batch_size:
        least, most = now.max_batch_size, before.max_batch_size
        yield f"version {now.version} takes batches up to {least}, version {before.version} took {most}"


def _config(manifest: Manifest) -> Any:
    return pbtxt.parse(manifest.config, f"the configuration of {manifest.name}")


def _tensors(config: Any, kind: str) -> list[_Tensor]:
    from tritonclient.grpc import model_config_pb2

    batch = (-1,) if config.max_batch_size else ()

    def as_seen(tensor: Any) -> _Tensor:
        datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        return _Tensor(tensor.name, datatype, (*batch, *tensor.dims), getattr(tensor, "optional", False))

    return list(map(as_seen, getattr(config, kind)))


def _listed(tensors: list[_Tensor]) -> str:
    return ", ".join(sorted(map(str, tensors)))
