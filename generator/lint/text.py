"""The text of a configuration, with the place of each field."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.finding import Place
from modelrepo.generator.lint.parser import Node, Parser
from modelrepo.generator.lint.tokens import TextError


class Key(str):
    """The key of a map, in the path of a place."""

    __slots__ = ()


@dataclass(frozen=True)
class ConfigText:
    """A config.pbtxt: its text, its message as Triton's parser reads it, and its places.

    ``message`` is None if the text can't be parsed; ``error`` is then the parser's reason, and ``error_at`` where, as
    editors count lines and columns. Triton's parser counts a byte as a column, and goes on to the next multiple of 8
    for a tab: ``triton_error`` is all that it says.
    """

    path: Path
    text: str
    message: Any  # a ModelConfig
    tree: Node
    error: str = ""
    error_at: tuple[int, int] = (0, 0)
    triton_error: str = ""
    broken_by: tuple[int, int] | None = None  # where the text before the error begins and ends, if it is a string

    def place(self, *path: "str | int | Key") -> Place:
        """Return the place of a field, such as ``("input", 0, "dims")``; if it is not written, of what is around it."""
        found, written = self.tree, [self.tree]
        for step in path:
            if isinstance(step, Key):
                written = [entry for entry in written if entry.is_for(step)]
            elif isinstance(step, int):
                written = written[step : step + 1]
            else:
                written = written[0].fields.get(step, [])
            if not written:
                break
            found = written[0]
        return Place(self.path, found.line, found.column)


def quoted(text: str) -> str:
    """Return a text as the value of a field."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def read(path: Path, text: str) -> ConfigText:
    """Parse a text as a ModelConfig, and find the place of each field."""
    from tritonclient.grpc import model_config_pb2

    parser, message = Parser(text), model_config_pb2.ModelConfig()
    try:
        parser.parse(message)
    except TextError as error:
        line, column = parser.lines.protobuf_place(error.offset)
        said = f"Error parsing text-format inference.ModelConfig: {line}:{column}: {error.reason}"
        at = parser.lines.place(error.offset)
        return ConfigText(path, text, None, parser.tree, error.reason, at, said, parser.string_before)
    return ConfigText(path, text, message, parser.tree)
