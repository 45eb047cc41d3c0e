"""The text of a configuration, with the place of each field: protobuf parses it, and keeps no places."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.finding import Place


class Key(str):
    """The key of a map, in the path of a place."""

    __slots__ = ()


# The brackets that may enclose a message.
CLOSING = {"{": "}", "<": ">"}
QUOTES = ("'", '"')
# As protobuf's own parsers limit it.
DEEPEST = 100


@dataclass
class Node:
    """A value in the text: its place, and its token or the values of its fields, in order. Places count from 1."""

    line: int = 0  # of the field's name, or of the value in a list
    column: int = 0
    written: str = ""  # as it is written; empty for a message
    begins: tuple[int, int] = (0, 0)  # line and column of the value itself
    ends: tuple[int, int] = (0, 0)  # line and column behind it
    fields: dict[str, list["Node"]] = field(default_factory=dict)

    def is_for(self, key: str) -> bool:
        """Whether this is the entry of a map for a key."""
        return any(each.written[1:-1] == key for each in self.fields.get("key", []))


@dataclass(frozen=True)
class ConfigText:
    """A config.pbtxt: its text, its message as Triton's parser reads it, and its places.

    ``message`` is None if the text can't be parsed; ``error`` is then the parser's reason, and where.
    """

    path: Path
    text: str
    message: Any  # a ModelConfig
    tree: Node
    error: str = ""
    error_at: tuple[int, int] = (0, 0)

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


def read(path: Path, text: str) -> ConfigText:
    """Parse a text as a ModelConfig, and find the place of each field."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    tree = tree_of(text)
    try:
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        reason = str(error).partition(" : ")[2] or str(error)
        return ConfigText(path, text, None, tree, reason, (error.GetLine() or 0, error.GetColumn() or 0))
    return ConfigText(path, text, message, tree)


def tree_of(text: str) -> Node:
    """Return the places of a text's fields; of a broken text, those before it breaks."""
    from google.protobuf import text_format

    tree = Node()
    try:
        tokens = _Tokens(text_format.Tokenizer(text.split("\n")))
        _read_fields(tokens, tree, "", 0)
    except text_format.ParseError:
        pass  # the parser says why; the places that were found stand
    return tree


class _Tokens:
    """The tokens of a text, one by one, with their places."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.ended = (1, 1)  # line and column behind the token before the current one

    @property
    def current(self) -> str:
        """The current token; empty at the end."""
        return str(self._tokenizer.token)

    def here(self) -> tuple[int, int]:
        """Return the line and column of the current token. An error is the only public way to ask for them."""
        error = self._tokenizer.ParseError("")
        return error.GetLine(), error.GetColumn()

    def next(self) -> str:
        """Return the current token, and go to the next."""
        token = self.current
        line, column = self.here()
        self.ended = (line, column + len(token))
        self._tokenizer.NextToken()
        return token


def _read_fields(tokens: _Tokens, into: Node, closing: str, depth: int) -> None:
    """Read fields until ``closing``; the text format is at protobuf.dev/reference/protobuf/textformat-spec."""
    while tokens.current and tokens.current != closing and depth < DEEPEST:
        here = tokens.here()
        name = tokens.next()
        if name == "[":  # an extension, or the type of an Any: Triton has neither
            while tokens.current and tokens.next() != "]":
                pass
        if tokens.current == ":":
            tokens.next()
        into.fields.setdefault(name, []).extend(_values(tokens, here, depth))
        if tokens.current in (",", ";"):
            tokens.next()


def _values(tokens: _Tokens, here: tuple[int, int], depth: int) -> Iterator[Node]:
    """Yield a node for each value of a field that begins ``here``: several for a list."""
    if tokens.current == "[":
        tokens.next()
        while tokens.current and tokens.current != "]":
            yield from _values(tokens, tokens.here(), depth)
            if tokens.current == ",":
                tokens.next()
        tokens.next()
        return
    node = Node(*here, begins=tokens.here())
    if tokens.current in CLOSING:
        closing = CLOSING[tokens.next()]
        _read_fields(tokens, node, closing, depth + 1)
        tokens.next()
    else:
        if tokens.current == "-":
            tokens.next()
        node.written = tokens.next()
        while node.written[:1] in QUOTES and tokens.current[:1] in QUOTES:  # strings in a row are one
            tokens.next()
    node.ends = tokens.ended
    yield node
