"""TensorRT plans that are not published yet: ``plans.lock``, and a folder for each beside it.

::

    plans.lock                       the entries, by the name that each model will have
    plans/<name>/model.onnx          what is built, with external data beside it; config.pbtxt and labels.txt
    plans/<name>/companions/         what goes along into the version folder, such as a tokenizer's files
    plans/<name>/reference/          inputs with ONNX Runtime's answers, for a host that has none
    plans/<name>/model.cc89.plan     built for compute capability 8.9, and what it was built from: model.cc89.plan.json
    plans/<name>/timing.cache        what the builder has learnt of the GPU
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.plans import BuiltPlan
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.files import replace_undoably, sync_folder, sync_tree
from modelrepo.generator.tensorrt.answers import decisive
from modelrepo.generator.tensorrt.plan_spec import TIMING_CACHE

# 2: entries have the version that their configuration was rendered for; those of 1 are read, and can't be built.
SCHEMA, READABLE = 2, (1, 2)
COMPANIONS = "companions"


class PlanStore:
    """The plans beside one repository, in its state folder. Making one touches nothing."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.lock = repository.state / "plans.lock"

    def folder(self, name: str) -> Path:
        """Return where a model's prepared files lie."""
        return self._repository.state / "plans" / name

    def entries(self) -> dict[str, PendingPlan]:
        """Return the entries by name; RepositoryError for a file that is damaged, or of a newer release."""
        try:
            document = json.loads(self.lock.read_text("utf-8"))
            if document["schema"] not in READABLE:
                raise RepositoryError(f"{self.lock} was written by another release of modelrepo", "Upgrade modelrepo")
            return {name: PendingPlan.of(entry) for name, entry in document["plans"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RepositoryError(f"{self.lock} is damaged: {error!r}", "Restore it, or remove it") from error

    def intact(self, name: str) -> PendingPlan | None:
        """Return an entry if the files that it needs are as they were."""
        entry = self.entries().get(name)
        return entry if entry and entry.is_intact(self.folder(name)) else None

    def built(self, name: str) -> dict[Path, BuiltPlan]:
        """Return the plans that stand in a model's folder whole, with what is known of each.

        A plan without a record that can be read, or that is another than the record's, is not among them: it counts for
        nothing, and is built again.
        """
        found = {}
        for record in sorted(self.folder(name).glob("model*.plan.json")):
            plan = record.with_suffix("")
            try:
                built = BuiltPlan.of(json.loads(record.read_text("utf-8")))
                if sha256_of(plan) == built.sha256:
                    found[plan] = built
            except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
                continue
        return found

    def defer(self, name: str, folder: Path, plan: PendingPlan) -> None:
        """Put prepared files in place, and their entry; call it with the repository's lock held.

        The files of the old folder that still fit are kept in the new one, the others where replaced files go.
        """
        plans = {**self.entries(), name: plan}
        document = {"schema": SCHEMA, "plans": {key: asdict(plans[key]) for key in sorted(plans)}}
        sync_tree(folder)
        target = self.folder(name)
        undo = ExitStack()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                self._keep_built(name, folder, plan)
            replace_undoably(target, folder, undo)
            self._repository.write(self.lock, json.dumps(document, indent=2) + "\n")
        except BaseException:
            undo.close()
            raise

    def _keep_built(self, name: str, folder: Path, plan: PendingPlan) -> None:
        """Copy what was built in a plan's folder, such as model.plan, to where it outlives the folder.

        Where a plan would be built from the same, or was by what its record says, that is the new folder.
        """
        target, replaced = self.folder(name), self._repository.replaced_folder(name)
        fitting = {path.name for path, built in self.built(name).items() if not changes(built.inputs, plan.inputs)}
        before = self.entries().get(name)
        same = before is not None and not changes(before.inputs, plan.inputs)
        for file in (entry for entry in target.iterdir() if entry.is_file() and entry.name not in plan.files):
            fits = file.name in (*fitting, *(f"{each}.json" for each in fitting), TIMING_CACHE)
            keep = folder if fits or same else replaced
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, keep / file.name)

    def keep(self, name: str, plan: Path, built: BuiltPlan) -> Path:
        """Move a finished plan into the model's folder with its record; call it with the repository's lock held.

        Return where it lies. The plan of another build for the same compute capability is replaced. Until its record
        stands, a plan counts for nothing.
        """
        target = self.folder(name) / file_name(built.compute_capability)
        record = target.with_name(f"{target.name}.json")
        record.unlink(missing_ok=True)
        plan.replace(target)
        sync_folder(target.parent)
        self._repository.write(record, json.dumps(asdict(built), indent=2) + "\n")
        return target


def file_name(compute_capability: str) -> str:
    """Return the file of the plan for GPUs of a compute capability such as "8.9"."""
    return f"model.cc{compute_capability.replace('.', '')}.plan"


def changes(built: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return in words what a plan was built from that is not what is wanted now; empty where it fits."""
    built, wanted = decisive(built), decisive(wanted)
    keys = dict.fromkeys((*wanted, *built))
    return tuple(_change(key, built.get(key), wanted.get(key)) for key in keys if built.get(key) != wanted.get(key))


def _change(key: str, built: Any, wanted: Any) -> str:
    if key == "onnx" and isinstance(built, Mapping) and isinstance(wanted, Mapping):
        files = [name for name in sorted({*built, *wanted}) if built.get(name) != wanted.get(name)]
        return f"{', '.join(files)} changed"
    plain = all(isinstance(value, (str, int, float, type(None))) for value in (built, wanted))
    name = key.replace("_", " ")
    return f"{name}: {_written(built)} became {_written(wanted)}" if plain else f"{name} changed"


def _written(value: object) -> str:
    return "none" if value in (None, "") else str(value)
