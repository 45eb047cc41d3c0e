"""TensorRT plans that are not published yet: ``plans.lock``, and a folder for each beside it.

::

    plans.lock                       the entries, by published name
    plans/<name>/model.onnx          the model to build, with external data beside it; config.pbtxt and labels.txt
    plans/<name>/companions/         more files for the version folder, such as a tokenizer's
    plans/<name>/reference/          inputs with ONNX Runtime's answers, for a host without ONNX Runtime
    plans/<name>/model.cc89.plan     built for compute capability 8.9; its record is model.cc89.plan.json
    plans/<name>/timing.cache        the builder's timing cache of the GPU
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

# 2: entries have the version that their configuration was rendered for. Those of 1 can be read, but not built.
SCHEMA, READABLE = 2, (1, 2)
COMPANIONS = "companions"


class PlanStore:
    """The unpublished plans of one repository, in its state folder. Making a PlanStore changes nothing on disk."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.lock = repository.state / "plans.lock"

    def folder(self, name: str) -> Path:
        """Return the folder of a model's prepared files."""
        return self._repository.state / "plans" / name

    def entries(self) -> dict[str, PendingPlan]:
        """Return the entries by name; RepositoryError if plans.lock is damaged, or from a newer release."""
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
        """Return an entry if its files are unchanged."""
        entry = self.entries().get(name)
        return entry if entry and entry.is_intact(self.folder(name)) else None

    def built(self, name: str) -> dict[Path, BuiltPlan]:
        """Return the intact plans in a model's folder, each with its record.

        A plan is left out, and built again, if its record can't be read or belongs to different content.
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
        """Move prepared files into place, and write their entry; call it with the repository's lock held.

        Files of the old folder that still fit are kept in the new one; the others move to the replaced files.
        """
        document = _document({**self.entries(), name: plan})
        sync_tree(folder)
        target = self.folder(name)
        undo = ExitStack()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                self._keep_built(name, folder, plan)
            replace_undoably(target, folder, undo)
            self._repository.write(self.lock, document)
        except BaseException:
            undo.close()
            raise

    def forget(self, name: str) -> None:
        """Remove a model's entry and its prepared files, if there are any; call it with the repository's lock held."""
        plans = self.entries()
        if plans.pop(name, None):
            self._repository.write(self.lock, _document(plans))
        shutil.rmtree(self.folder(name), ignore_errors=True)

    def _keep_built(self, name: str, folder: Path, plan: PendingPlan) -> None:
        """Copy files that were built in a plan's folder, such as model.plan, before the folder is replaced.

        Files built from the same inputs go into the new folder, all others to the replaced files.
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
        """Move a finished plan and its record into the model's folder; call it with the repository's lock held.

        Return its new path. An earlier plan for the same compute capability is replaced. A plan without its record is
        ignored.
        """
        target = self.folder(name) / file_name(built.compute_capability)
        record = target.with_name(f"{target.name}.json")
        record.unlink(missing_ok=True)
        plan.replace(target)
        sync_folder(target.parent)
        self._repository.write(record, json.dumps(asdict(built), indent=2) + "\n")
        return target


def _document(plans: Mapping[str, PendingPlan]) -> str:
    document = {"schema": SCHEMA, "plans": {key: asdict(plans[key]) for key in sorted(plans)}}
    return json.dumps(document, indent=2) + "\n"


def file_name(compute_capability: str) -> str:
    """Return the file name of the plan for GPUs of a compute capability such as "8.9"."""
    return f"model.cc{compute_capability.replace('.', '')}.plan"


def changes(built: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Return in words how a plan's inputs differ from those wanted now; empty if they are the same."""
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
