"""Finding the variants of a model in a repository, their files, and why some can't be measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelrepo.clients import connect
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.errors import OptionError, RepositoryError, nearest
from modelrepo.generator.graphs.walk import MODEL_FILE
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.layout import CONFIG, LABELS
from modelrepo.generator.repository.manifest import Manifest, Provenance
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.tensorrt import plan_spec
from modelrepo.server.running import local, overlay

DAMAGED = "is not as it was published"


@dataclass(frozen=True)
class Variant:
    """A model of the repository, published or still to be built.

    ``size`` is the size of its version's files in bytes, and ``onnx`` its ONNX model; None if there is none.
    ``unserved`` says why it can't be measured, and is empty if it can.
    """

    name: str
    backend: str
    provenance: Provenance
    max_batch_size: int
    version: int | None = None
    size: int | None = None
    onnx: Path | None = None
    labels: tuple[str, ...] = ()
    unserved: str = ""

    @property
    def precision(self) -> str:
        """The precision of its computation, such as fp32 or int8."""
        return self.provenance.optimization.precision

    @property
    def sparsity(self) -> float | None:
        """The share of its weights that pruning made zero, 0 to 1; None if it is not pruned."""
        return self.provenance.optimization.sparsity


def found(names: Sequence[str], root: Path, url: str | None, progress: Progress) -> list[Variant]:
    """Return the named variants, or for one name all variants of that model, with reasons why some can't be served.

    The server is the one at ``url``, or without a URL a local one. Raises OptionError for a name that is not in the
    repository ``root``, RepositoryError if there is no repository or the first model's files are not as they were
    published, and ClientError if the server does not answer.
    """
    if not root.is_dir():
        raise RepositoryError(
            f"there is no model repository {root}, and compare needs its files",
            "Name it with --repository",
        )
    repository = Repository(root)
    plans = PlanStore(repository).entries()
    known = {each.name for each in repository.root.iterdir() if repository.manifests(each.name)} | plans.keys()
    for name in names:
        if name not in known:
            raise _unknown(name, root, known)
    variants = {name: _variant(name, repository, plans.get(name)) for name in sorted(known)}
    chosen = [variants[name] for name in names]
    if len(chosen) == 1:
        chosen = _kin(chosen[0], list(variants.values()))
        progress.show(f"of {chosen[0].provenance.source.reference}: {', '.join(each.name for each in chosen)}")
    return _with_reasons(chosen, url, repository)


def _unknown(name: str, root: Path, known: set[str]) -> OptionError:
    if (root / name / CONFIG).is_file():
        message = f"{name} was not published by modelrepo: its source is not known"
        return OptionError(message, "Measure it with modelrepo bench")
    hint = nearest(name, known) if known else "Generate it first, or name another with --repository"
    return OptionError(f"{root} has no model {name!r}", hint)


def _variant(name: str, repository: Repository, plan: PendingPlan | None) -> Variant:
    manifests = repository.manifests(name)
    if manifests:
        return _published(repository, manifests[-1])
    assert plan  # noqa: S101 - the name is that of one or the other
    unserved = f"its plan is still to be built: {plan.reason}"
    return Variant(name, plan_spec.BACKEND, plan.provenance, plan.max_batch_size, unserved=unserved)


def _published(repository: Repository, manifest: Manifest) -> Variant:
    folder = repository.root / manifest.name
    own = {name: record for name, record in manifest.files.items() if name not in manifest.sidecars}
    onnx = folder / str(manifest.version) / MODEL_FILE
    labels = folder / LABELS
    return Variant(
        manifest.name,
        manifest.backend,
        manifest.provenance,
        manifest.max_batch_size,
        manifest.version,
        sum(record.size for record in own.values()),
        onnx if f"{manifest.version}/{MODEL_FILE}" in own else None,
        tuple(labels.read_text("utf-8").splitlines()) if labels.is_file() else (),
    )


def _kin(named: Variant, variants: Sequence[Variant]) -> list[Variant]:
    """Return all variants of one source with the same weights, FP32 first; OptionError if there is only one."""

    def origin(variant: Variant) -> tuple[object, ...]:
        source = variant.provenance.source
        return source.reference, source.weights, source.inputs

    def order(variant: Variant) -> tuple[bool | str, ...]:
        row = BACKENDS[variant.backend]
        plain = row.form is ONNX_FORM and not row.read_by_tensorrt
        other = variant.precision != "fp32", variant.sparsity is not None, not plain
        return bool(variant.unserved), *other, variant.name

    kin = sorted((each for each in variants if origin(each) == origin(named)), key=order)
    if len(kin) == 1:
        reference = named.provenance.source.reference
        raise OptionError(
            f"{named.name} is the only model made from {reference} with these weights",
            "Make others, for example with: generate --model NAME --backends onnx,onnx:fp16,onnx:int8",
        )
    return kin


def _with_reasons(variants: Sequence[Variant], url: str | None, repository: Repository) -> list[Variant]:
    """Return the variants with the reasons why some can't be measured; RepositoryError if the first is damaged."""
    variants = [_intact(each, repository) for each in variants]
    if variants[0].unserved.endswith(DAMAGED):
        raise RepositoryError(f"{variants[0].name}: {variants[0].unserved}", "Generate it again")
    if url is None:
        return [each if each.unserved else replace(each, unserved=_unservable(each, repository)) for each in variants]
    with connect(url) as client:
        ready = {entry.name for entry in client.index() if entry.state == "READY"}
    absent = f"{url} does not serve it"
    return [each if each.unserved or each.name in ready else replace(each, unserved=absent) for each in variants]


def _intact(variant: Variant, repository: Repository) -> Variant:
    """Return a variant, without its files if they are not as they were published."""
    if variant.unserved or repository.newest(variant.name) is not None:
        return variant
    return replace(variant, onnx=None, size=None, unserved=f"version {variant.version} {DAMAGED}")


def _unservable(variant: Variant, repository: Repository) -> str:
    """Return why the local server can't serve a model, or an empty text."""
    backend = BACKENDS[variant.backend].triton_name
    if backend not in local.served_backends():
        return f"the local server has no {backend} backend; name a server that has one with --url"
    _, changes = overlay.overlaid(repository.config_text(variant.name) or "", variant.name)
    return "its configuration asks for a GPU; name a server that has one with --url" if changes else ""
