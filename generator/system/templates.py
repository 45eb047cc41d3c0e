"""The Jinja templates, and the one environment that renders them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

# Rendered for each version; its content is part of the content key.
CONFIG_TEMPLATE = "config.pbtxt.j2"
TEMPLATES = Path(__file__).resolve().parents[2] / "templates"


def environment(folders: Sequence[Path] = (), *, escaped: bool = False) -> "jinja2.Environment":
    """Return an environment that finds templates in ``folders``, then in ours, and refuses undefined names.

    Values are ``escaped`` for HTML, or rendered as they are: then each template quotes what it renders.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=escaped,  # noqa: S701 - protobuf text, Python and Markdown have a quoting of their own
    )
