"""The typed Python clients of what is served."""

from dataclasses import replace

from modelrepo.generator.errors import OptionError
from modelrepo.generator.pipeline.job import Context
from modelrepo.generator.rendered import client_code
from modelrepo.generator.specs.report import Result


def written(row: Result, context: Context) -> Result:
    """Write the client of a served version, and return its row with the client's path; a failure is a note of it.

    The client of a version that was published before is left alone unless it is missing or outdated.
    """
    folder = context.run.client_dir
    newest = context.repository.newest(row.name) if row.status in ("published", "unchanged") else None
    if newest is None or folder is None:
        return row
    path = folder / client_code.module_name(row.name)
    is_new = not path.exists()
    if row.status == "published" or is_new or client_code.is_outdated(path):
        try:
            client_code.write(newest, folder)
        except OptionError as error:  # the version is published all the same
            context.progress.warn(str(error))
            return replace(row, notes=(*row.notes, str(error)))
    if is_new:
        context.progress.show(f"a typed Python client of {row.name}: {path} (--client-dir none writes none)")
    return replace(row, client=path)
