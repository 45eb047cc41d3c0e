"""How versions, and changes of what is served, look in a terminal and for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from modelrepo.cli.terminal import tables
from modelrepo.generator.repository.lifecycle.standing import numbered

if TYPE_CHECKING:
    from modelrepo.generator.repository.lifecycle.remote import Followed
    from modelrepo.generator.repository.lifecycle.removal import Removal
    from modelrepo.generator.repository.lifecycle.serving import Change
    from modelrepo.generator.repository.lifecycle.standing import Standing, Version

UNKNOWN = "-"


@dataclass(frozen=True)
class Row:
    """What is told of a version."""

    model: str
    version: int
    served: bool
    created: str
    source: str
    precision: str
    bytes: int
    verification: str
    live_check: str
    edited: bool
    intact: bool | None
    note: str


def rows(model: "Standing") -> list[Row]:
    """Return a row for each version of a model."""
    return [_row(model, version) for version in model.versions]


def _row(model: "Standing", version: "Version") -> Row:
    record = version.manifest
    notes = [version.note, model.trouble if version is model.versions[-1] else ""]
    if model.choice and version.number == max(model.choice.versions):
        notes.append(str(model.choice))
    edited = bool(model.edited) and version.served
    if record is None:
        known = ("", "", "", 0, "", "")
        return Row(model.name, version.number, version.served, *known, edited, version.intact, _joined(notes))
    found = record.provenance.verification
    if record.provenance.rebuilt:
        notes.append("its record was rebuilt: nothing is known of its proof")
    passed = {True: "passed", False: "failed", None: "none"}[found.passed]
    return Row(
        model=model.name,
        version=version.number,
        served=version.served,
        created=record.created,
        source=record.provenance.source.reference,
        precision=record.provenance.optimization.precision,
        bytes=sum(file.size for file in record.files.values()),
        verification=f"{passed}, {found.cases} cases" if found.cases else passed,
        live_check=found.live.status if found.live else "none",
        edited=edited,
        intact=version.intact,
        note=_joined(notes),
    )


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(filter(None, notes))


def show_versions(found: Sequence[Row]) -> None:
    """Print versions as a table; columns that say nothing are left out."""
    headings = ["model", "version", "served", "created", "source", "precision", "size", "verification", "live check"]
    edited, noted = any(each.edited for each in found), any(each.note for each in found)
    headings += ["edited"] * edited + ["note"] * noted
    table = tables.columns(*headings)
    for each in found:
        cells = [each.model, str(each.version), "yes" if each.served else "no", each.created[:16].replace("T", " ")]
        cells += [
            each.source,
            each.precision,
            tables.size(each.bytes) if each.bytes else "",
            each.verification,
            each.live_check,
        ]
        cells += ["by hand" if each.edited else ""] * edited + [each.note] * noted
        table.add_row(*(cell or UNKNOWN for cell in cells))
    tables.show(table)


def change_document(change: "Change", status: str, followed: "Followed | None" = None) -> dict[str, Any]:
    """Return a change of what is served for a program."""
    return {
        "model": change.name,
        "command": change.verb,
        "status": status,
        "before": list(change.before),
        "served": list(change.after),
        "notes": list(change.notes),
        **({"server": _server_document(change.name, followed)} if followed else {}),
    }


def _server_document(name: str, followed: "Followed") -> dict[str, Any]:
    """Return what a server made of a change for a program."""
    health = {
        when: {"ready": each.ready, "versions": list(each.versions(name))}
        for when, each in (("before", followed.before), ("after", followed.after))
    }
    answers = [asdict(each) for each in followed.answers]
    return {"url": followed.url, **health, "smoke": answers, "notes": list(followed.notes)}


def change_text(change: "Change", status: str, followed: "Followed | None" = None) -> str:
    """Return a change of what is served in one line."""
    return _change_text(change, status) + (_server_text(change, status, followed) if followed else "")


def _change_text(change: "Change", status: str) -> str:
    before, after = numbered(change.before), numbered(change.after)
    are = "are" if len(change.after) > 1 else "is"
    if status == "unchanged" or not change.changes:
        return f"{change.name}: {after} {are} served already"
    place = f" in place of {before}" if change.before else ""
    if change.before == change.after:
        place = ", as published: its configuration was another"
    return f"{change.name}: {after} {'would be' if status == 'planned' else are} served{place}"


def _server_text(change: "Change", status: str, followed: "Followed") -> str:
    """Return what a server made of a change in a few words."""
    before = followed.before.versions(change.name)
    known = ["ready" if followed.after.ready else "not ready"]
    if status == "planned":
        return f" ({followed.url} serves {numbered(before)}, {known[0]})"
    if before == change.after:
        done = f", by {followed.url} " + ("too" if status == "unchanged" else "already")
    else:
        others = f"in place of {numbered(before)}" if before else "where it was not loaded"
        done = f", by {followed.url} " + ("too" if before == change.before else others)
    right = sum(each.cases for each in followed.answers)
    known += [f"{right} right answers"] if right else []
    return f"{done} ({', '.join(known)})"


def with_verb(versions: Sequence[int]) -> str:
    """Return versions with their verb."""
    return f"{numbered(versions)} {'are' if len(versions) > 1 else 'is'}"


def removal_document(removal: "Removal", status: str, followed: "Followed | None" = None) -> dict[str, Any]:
    """Return a removal for a program."""
    return {
        "model": removal.name,
        "status": status,
        "versions": list(removal.versions),
        "bytes": removal.bytes,
        "notes": list(removal.notes),
        **({"step_of": removal.step_of} if removal.step_of else {}),
        **({"server": _server_document(removal.name, followed)} if followed else {}),
    }


def removal_text(removal: "Removal", status: str) -> str:
    """Return a removal in one line."""
    what = "the model, with " if removal.whole else ""
    if not removal.versions and not removal.whole:
        return f"{removal.name}: nothing to remove"
    done = "would be removed" if status == "planned" else "removed"
    freed = f", {tables.size(removal.bytes)}" if removal.bytes else ""
    why = f": it was made for a step of {removal.step_of}" if removal.step_of else ""
    return f"{removal.name}: {what}{numbered(removal.versions)} {done}{freed}{why}"
