"""Where other servers of Triton's repositories differ from Triton: each rule is asked with ``--profile`` only."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.selected import selected
from modelrepo.generator.lint.served import type_of
from modelrepo.generator.lint.subject import Case, Host, Repository

HALVES = ("FP16", "BF16")
# What both Kubernetes and KServe's TrainedModel (TmNameFmt in trainedmodel_webhook.go) accept.
KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
MOST_NAMES = 5


def versions(case: Case) -> Iterator[Problem]:
    """Find models of which several versions are loaded, for Dynamo."""
    policy = case.config.message.version_policy
    loaded = selected(case.model, case.config.message)
    if len(loaded) > 1:
        asked = "specific" if policy.HasField("specific") else "latest" if policy.HasField("latest") else "all"
        others = ", ".join(map(str, loaded[:-1]))
        says = f"Dynamo asks for version {loaded[-1]} alone: nothing reaches {others}, which take memory"
        yield Problem(case.config.place("version_policy", asked), says, VERSIONS.write)


def halves(case: Case) -> Iterator[Problem]:
    """Find inputs and outputs of 16-bit floats, for Dynamo."""
    for kind in ("input", "output"):
        for number, tensor in enumerate(getattr(case.config.message, kind)):
            if type_of(tensor) in HALVES:
                yield Problem(case.config.place(kind, number, "data_type"), HALF.triton, HALF.write)


def sequences(case: Case) -> Iterator[Problem]:
    """Find models that take sequences of requests, for Dynamo."""
    config = case.config.message
    if config.HasField("sequence_batching") and not config.sequence_batching.iterative_sequence:
        words = f"inference request to model '{case.model.name}' must specify a non-zero or non-empty correlation ID"
        says = f'Triton refuses each request of Dynamo, which passes no sequence ID on: "{words}"'
        yield Problem(case.config.place("sequence_batching"), says, SEQUENCE.write)


def empty_versions(case: Case) -> Iterator[Problem]:
    """Find versions in whose folder nothing has a byte, for KServe."""
    for version in selected(case.model, case.config.message):
        folder = case.model.versions[version]
        if not any(_has_bytes(path) for path in folder.rglob("*")):
            says = f"KServe does not bring version {version} from S3, as nothing in its folder has a byte"
            yield Problem(Place(folder), f"{says}; Triton then does not find the version", EMPTY.write)


def _has_bytes(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def names(repository: Repository, _: Host) -> Iterator[Problem]:
    """Find models whose names a TrainedModel can't have, for KServe."""
    models = (name for name, model in repository.models.items() if os.path.lexists(model.config_path))
    found = [name for name in models if not KUBERNETES_NAME.fullmatch(name)]
    if found:
        more = f" and {len(found) - MOST_NAMES:,} more" if len(found) > MOST_NAMES else ""
        some = ", ".join(found[:MOST_NAMES])
        says = f"No TrainedModel of KServe can serve {some}{more}: Kubernetes has no such names"
        yield Problem(Place(repository.root), says, NAMES.write)


VERSIONS = Rule(
    code="DYNAMO-VP",
    severity="warning",
    title="Dynamo, and several versions that are loaded",
    triton="Triton loads the versions of version_policy. Dynamo routes by the name of the model alone and asks for no "
    "version, so the newest loaded one answers every request, also one that asks for another.",
    write="Select one version in version_policy, such as latest { num_versions: 1 }",
    check=versions,
    decided_by="dynamo",
    source="docs of 1.5 and 1.6, Triton, known limitations; components/src/dynamo/triton/main.py",
)
HALF = Rule(
    code="DYNAMO-TYPE",
    severity="information",
    title="Dynamo, and inputs or outputs of FP16 or BF16",
    triton="Dynamo 1.5 refuses requests with inputs or outputs of FP16 or BF16. 1.6 serves them.",
    write="Use Dynamo 1.6 or later, or inputs and outputs of FP32",
    check=halves,
    decided_by="dynamo",
    source="docs of 1.5, Triton, known limitations; pull requests 14150 and 14835",
)
SEQUENCE = Rule(
    code="DYNAMO-SEQ",
    severity="warning",
    title="Dynamo, and a model that takes sequences",
    triton='Triton loads the model and refuses each of its requests: "must specify a non-zero or non-empty correlation '
    'ID". Dynamo passes the tensors of a request on, and neither its sequence ID nor its start and end. Models with '
    "iterative_sequence need none.",
    write="Serve models with sequence_batching by Triton itself",
    check=sequences,
    decided_by="dynamo",
    source="components/src/dynamo/triton/handlers.py (1.5, and main after 1.6)",
)
EMPTY = Rule(
    code="KSERVE-EMPTY",
    severity="warning",
    title="KServe, and a version without a file that has a byte",
    triton="KServe's storage initializer leaves out empty files and folders when it downloads a repository from S3. "
    "Triton then misses the version, and refuses an ensemble that has no other. An ensemble's version folder is often "
    "empty, or holds an empty .gitkeep.",
    write="Write a file with some text into the folder of the version, such as a README",
    check=empty_versions,
    decided_by="kserve",
    source="python/storage/kserve_storage/kserve_storage.py, _download_s3",
)
NAMES = Rule(
    code="KSERVE-NAME",
    severity="information",
    title="KServe, and names that a TrainedModel can't have",
    triton="An InferenceService with a storageUri serves a whole repository, whatever the names. A TrainedModel, for "
    "multi-model serving, has the name of the one model that it adds: small letters, digits and hyphens, as Kubernetes "
    "wants it.",
    write="Rename the models, if TrainedModels serve them",
    decided_by="kserve",
    source="pkg/apis/serving/v1alpha1/trainedmodel_webhook.go, pkg/agent/downloader.go",
    needs_config=False,
    check_repository=names,
)
RULES = (VERSIONS, HALF, SEQUENCE, EMPTY, NAMES)
