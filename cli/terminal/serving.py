"""Running a change of what is served, and a removal: planned, asked for, carried out, told."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelrepo.cli.terminal import lifecycle as told

if TYPE_CHECKING:
    from modelrepo.cli.terminal.connection import At
    from modelrepo.generator.repository.lifecycle.remote import Followed, Health, Remote
    from modelrepo.generator.repository.lifecycle.removal import Removal
    from modelrepo.generator.repository.lifecycle.serving import Change
    from modelrepo.generator.repository.lifecycle.standing import Standing
    from modelrepo.generator.repository.repository import Repository

Plan = Callable[["Standing", "Health | None"], "Change"]
# Of a model, in its repository, with the names of all that are meant.
PlanOfRemoval = Callable[["Standing", "Repository", Sequence[str]], "Removal"]


def change(name: str, plan: Plan, root: Path | None, at: "At | None", *, dry_run: bool, as_json: bool) -> None:
    """Plan a change of what is served, carry it out unless it is a dry run, and print it.

    With ``at`` a running server follows, and ``plan`` gets its health.
    """
    from modelrepo.generator.options import config_file
    from modelrepo.generator.repository.lifecycle.standing import opened

    repository = opened(root or config_file.default_repository())
    if not dry_run:
        repository.recover()
    with _remote(at) as remote:
        status, planned, followed = _changed(repository, name, plan, remote, dry_run=dry_run)
    if as_json:
        document = {"repository": str(repository.root), **told.change_document(planned, status, followed)}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(told.change_text(planned, status, followed))
    _warn((*planned.notes, *(followed.notes if followed else ())))


def _changed(
    repository: "Repository", name: str, plan: Plan, remote: "Remote | None", *, dry_run: bool
) -> "tuple[str, Change, Followed | None]":
    from modelrepo.generator.repository.lifecycle.serving import applied, judge
    from modelrepo.generator.repository.lifecycle.standing import standing

    if remote:
        return _followed(repository, name, plan, remote, dry_run=dry_run)
    planned = plan(standing(repository, name), None)
    if dry_run:
        judge(repository, planned)
        return "planned" if planned.changes else "unchanged", planned, None
    with repository.locked():
        planned = applied(repository, _still(repository, planned, lambda model: plan(model, None)))
    return "changed" if planned.changes else "unchanged", planned, None


def _followed(
    repository: "Repository", name: str, plan: Plan, remote: "Remote", *, dry_run: bool
) -> "tuple[str, Change, Followed]":
    from modelrepo.generator.repository.lifecycle.remote import Followed, follow, foreseen, look
    from modelrepo.generator.repository.lifecycle.serving import judge
    from modelrepo.generator.repository.lifecycle.standing import standing

    planned = plan(standing(repository, name), look(remote))
    if dry_run:
        judge(repository, planned)
        health = foreseen(remote, repository, planned)
        nothing = not planned.changes and health.versions(name) == planned.after
        return "unchanged" if nothing else "planned", planned, Followed(remote.url, health, health)
    with repository.locked(interruptible=True):
        still = _still(repository, planned, lambda model: plan(model, look(remote)))
        planned, followed = follow(remote, repository, still)
    return "changed" if planned.changes else "unchanged", planned, followed


def _still(repository: "Repository", planned: "Change", plan: "Callable[[Standing], Change]") -> "Change":
    """Return a change for what stands now that the lock is held; RepositoryError if it would come to another one.

    Of two who roll back at a time, the later one finds it done.
    """
    from modelrepo.generator.errors import RepositoryError
    from modelrepo.generator.repository.lifecycle.serving import again
    from modelrepo.generator.repository.lifecycle.standing import standing

    model = standing(repository, planned.name)
    target: tuple[int, ...] = ()
    with suppress(RepositoryError):
        target = plan(model).after
    if planned.after not in (model.served, target):
        raise RepositoryError(
            f"another process has changed {planned.name} meanwhile: {told.with_verb(model.served)} served now",
            "Run the command again if that is not what you want",
        )
    return again(repository, planned)


@contextmanager
def _remote(at: "At | None") -> "Iterator[Remote | None]":
    """Connect to the server that follows, if one was named; errors of the client are told as ours."""
    if at is None:
        yield None
        return
    from modelrepo.cli.terminal.errors import client_errors, of_client
    from modelrepo.generator.repository.lifecycle.remote import Remote

    with client_errors(), at.connection.client(at.url) as client:
        yield Remote(client, at.url, at.wait, of_client)


def remove(
    names: Sequence[str],
    plan: PlanOfRemoval,
    root: Path | None,
    at: "At | None",
    *,
    whole: bool = False,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Plan removals, ask if they are many, carry them out unless it is a dry run, and print them.

    With ``whole``, the models that were made for the steps of an ensemble go with it. With ``at``, what a running
    server has loaded stays, or is unloaded first if the whole model goes.
    """
    from modelrepo.generator.ensembles import image
    from modelrepo.generator.options import config_file
    from modelrepo.generator.repository.lifecycle.removal import with_steps
    from modelrepo.generator.repository.lifecycle.standing import matching, opened
    from modelrepo.generator.triton.releases import NEWEST, release_named

    repository = opened(root or config_file.default_repository())
    if not dry_run:
        repository.recover()
    asked = matching(repository, names)
    chosen = with_steps(repository, asked) if whole else asked
    if not chosen and not as_json:
        click.echo(f"{repository.root} has no models")
    documents = []

    def plan_of(model: "Standing", repository: "Repository") -> "Removal":
        return plan(model, repository, chosen)

    with _remote(at) as remote:
        planned = [_planned(repository, name, plan_of, remote) for name in chosen]
        if not dry_run:
            _ask(names, [each for each in planned if each.name in asked], yes=yes)
        for each in planned:
            status, followed = "planned", None
            if not dry_run:
                with repository.locked(interruptible=remote is not None and each.whole):
                    each = _planned(repository, each.name, plan_of, remote)
                    followed = _carry_out(repository, each, remote)
                    image.write(repository, release_named(NEWEST))  # without the packages that only its steps required
                status = "removed" if each.versions or each.whole else "unchanged"
            documents.append(told.removal_document(each, status, followed))
            if not as_json:
                click.echo(told.removal_text(each, status))
                _warn((*each.notes, *(followed.notes if followed else ())))
    if as_json:
        click.echo(json.dumps({"repository": str(repository.root), "models": documents}, indent=2))


def _planned(
    repository: "Repository", name: str, plan: "Callable[[Standing, Repository], Removal]", remote: "Remote | None"
) -> "Removal":
    """Return the plan of a removal; versions that a server has loaded are left out, with a note."""
    from dataclasses import replace

    from modelrepo.generator.repository.lifecycle.standing import standing

    model = standing(repository, name)
    removal = plan(model, repository)
    if remote is None or removal.whole:
        return removal
    from modelrepo.generator.repository.lifecycle.remote import look, with_loaded
    from modelrepo.generator.repository.lifecycle.standing import numbered

    left = plan(with_loaded(model, look(remote)), repository)
    staying = sorted({*removal.versions} - {*left.versions})
    notes = [f"{numbered(staying)} stay{'s' * (len(staying) == 1)}: loaded by {remote.url}"] if staying else []
    return replace(left, notes=(*left.notes, *notes))


def _carry_out(repository: "Repository", removal: "Removal", remote: "Remote | None") -> "Followed | None":
    """Remove what was planned; a server unloads a whole model first, and loads it again if it was not removed."""
    from modelrepo.generator.repository.lifecycle.removal import carried_out

    if remote is None or not removal.whole:
        carried_out(repository, removal)
        return None
    from modelrepo.generator.repository.lifecycle.remote import reload, unload
    from modelrepo.generator.system.interrupts import interrupts_kept_back

    followed = unload(remote, repository, removal.name)
    try:
        with interrupts_kept_back():
            carried_out(repository, removal)
    except OSError:
        if followed.before.loaded(removal.name) and (repository.root / removal.name).is_dir():
            reload(remote, removal.name)
        raise
    return followed


def _ask(names: Sequence[str], planned: "Sequence[Removal]", *, yes: bool) -> None:
    """Ask before a pattern removes from several models; OptionError if nobody can be asked."""
    import sys

    from modelrepo.generator.errors import OptionError

    going = [each for each in planned if each.versions or each.whole]
    if yes or len(going) < 2 or {each.name for each in going} <= {*names}:
        return
    listed = ", ".join(each.name for each in going)
    if not sys.stdin.isatty():
        raise OptionError(f"{' '.join(names)} stands for {len(going)} models: {listed}", "Add --yes if all are meant")
    click.confirm(f"Remove from {len(going)} models: {listed}?", abort=True, err=True)


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        click.echo(f"warning: {note}", err=True)
