"""The text of a configuration, with the place of each field."""

from dataclasses import dataclass, field
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

    ``message`` is None if the text can't be parsed; ``error`` is then the parser's reason, ``error_at`` where it says
    it, and ``word_at`` the word that it means, as editors count lines and columns. Triton's parser counts a byte as a
    column, and goes on to the next multiple of 8 for a tab: ``triton_error`` is all that it says.
    """

    path: Path
    text: str
    message: Any  # a ModelConfig
    tree: Node
    error: str = ""
    error_at: tuple[int, int] = (0, 0)
    word_at: tuple[int, int] = (0, 0)
    triton_error: str = ""
    broken_by: tuple[int, int] | None = None  # where the text before the error begins and ends, if it is a string
    # The entries of each map by their keys, once they are asked for: of a map of thousands each is.
    _by_key: dict[int, dict[str, Node]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def place(self, *path: "str | int | Key") -> Place:
        """Return the place of a field, such as ``("input", 0, "dims")``; if it is not written, of what is around it."""
        found, written = self.tree, [self.tree]
        for step in path:
            if isinstance(step, Key):
                entry = self._keyed(written).get(step)
                written = [] if entry is None else [entry]
            elif isinstance(step, int):
                written = written[step : step + 1]
            else:
                written = written[0].fields.get(step, [])
            if not written:
                break
            found = written[0]
        return Place(self.path, found.line, found.column)

    def _keyed(self, entries: list[Node]) -> dict[str, Node]:
        """Return the entries of a map by their keys; of several with one key the first."""
        if id(entries) not in self._by_key:
            self._by_key[id(entries)] = {key: entry for entry in reversed(entries) for key in entry.map_keys()}
        return self._by_key[id(entries)]


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
        at, word_at = parser.lines.place(error.offset), parser.lines.place(error.word)
        return ConfigText(path, text, None, parser.tree, error.reason, at, word_at, said, parser.string_before)
    return ConfigText(path, text, message, parser.tree)
