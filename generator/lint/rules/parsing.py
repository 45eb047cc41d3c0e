"""Whether Triton can read a configuration at all."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.finding import Edit, Place, Problem
from modelrepo.generator.lint.parser import Node
from modelrepo.generator.lint.refusal import refused, shortened
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.lint.text import ConfigText, read
from modelrepo.generator.lint.tokens import STRING_CROSSES, STRING_ENDS, Lines, TextError, Token, Tokenizer

# The release in which a field came, by its message (protobuf/model_config.proto of each release's branch).
SINCE = {
    ("inference.ModelConfig", "runtime"): "24.01",
    ("inference.ModelInput", "is_non_linear_format_io"): "24.08",
    ("inference.ModelOutput", "is_non_linear_format_io"): "24.08",
    ("inference.ModelConfig", "model_metrics"): "24.11",
    ("inference.ModelEnsembling", "max_inflight_requests"): "25.11",
}
# What other frameworks call the types of tensors.
TYPES = {
    **dict.fromkeys(("BYTES", "STR", "TEXT", "OBJECT"), "STRING"),
    **dict.fromkeys(("FLOAT", "FLOAT32", "F32"), "FP32"),
    **dict.fromkeys(("HALF", "FLOAT16", "F16"), "FP16"),
    **dict.fromkeys(("DOUBLE", "FLOAT64", "F64"), "FP64"),
    **dict.fromkeys(("BFLOAT16", "BFLOAT"), "BF16"),
    **dict.fromkeys(("INT", "I32"), "INT32"),
    **dict.fromkeys(("LONG", "I64"), "INT64"),
    "BOOLEAN": "BOOL",
    "BYTE": "UINT8",
}
NO_NUMBER = re.compile(r"Expected integer, got: (.+)", re.DOTALL)
BYTE_ORDER_MARK = "\ufeff"
# What a template leaves to be filled in, and the doubled braces of Python's: they are not filled in, but halved.
PLACEHOLDER = re.compile(
    r"\$\{[^}\n]*\}|\$[A-Za-z_]\w*|\{\{[^:\n]*?\}\}"
    r"|\{%[^\n]*?%\}|\{(?:[A-Za-z_][^{}\s]*)?\}|<[A-Za-z][\w -]*>|[%@]\w+[%@]"
)
# The beginning of what Git LFS has in the place of a file.
POINTER = "version https://git-lfs"
# The bytes with which a text in UTF-16 begins, as they are read.
UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")
CURLY = tuple("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb")
CLOSING = {"{": "}", "<": ">", "[": "]"}
DOUBLED = re.compile(r"\{\{|\}\}")
# What may stand behind the last quote of a line: the ends of the messages around it, and a comment.
REST = re.compile(r"\s*[}\]>,;\s]*(?:#.*)?")
NO_FIELD = re.compile(r'Message type "(?P<type>[\w.]+)" has no field named "(?P<field>\w+)"')
NO_VALUE = re.compile(r'Unknown enumeration value of "(?P<value>\w+)" for field "(?P<field>\w+)"')


def parse(case: Case) -> Iterator[Problem]:
    """Find a text that protobuf can't parse."""
    config = case.model.config
    if config is None or config.message is not None:
        return
    if found := _quotes(config):
        where, edit = found
        says = f'{_words(config)}: this quote ends the text, because a quote inside it is not written as \\"'
        write = "Write a backslash before each quote inside the text"
        yield Problem(where, says, write, (edit,) if edit else ())
        return
    place = Place(config.path, *config.word_at)
    mark = (Edit(config.path, (1, 1), (1, 2), ""),) if config.text.startswith(BYTE_ORDER_MARK) else ()
    yield Problem(place, _words(config), _advice(config), mark)


def _words(config: ConfigText) -> str:
    return f'Triton can\'t read the configuration: "{shortened(config.triton_error)}"'


def _advice(config: ConfigText) -> str:
    """Return what to write instead of what the parser refuses."""
    if config.text.startswith(POINTER):
        return "Fetch the file itself: git lfs pull"
    if advice := _of_template(config):
        return advice
    if found := NO_FIELD.match(config.error):
        return _similar(found["type"], found["field"])
    if found := NO_VALUE.match(config.error):
        return _similar_value(found["field"], found["value"])
    if config.text.startswith(BYTE_ORDER_MARK):
        return "Save the file as UTF-8 without a byte order mark"
    if config.text.lstrip().startswith("{"):
        return "Write fields as name: value, one after the other; the text is JSON"
    if config.text.startswith(UTF_16):
        return "Save the file as UTF-8: it is UTF-16"
    if advice := _of_characters(config):
        return advice
    for reason, advice in ADVICE:
        if reason in config.error:
            return _of_brackets(config) or advice + _instead(config.error)
    return _of_brackets(config) or PARSE.write


def _of_characters(config: ConfigText) -> str:
    """Return what to write instead of characters of other languages, and of word processors; empty for others."""
    offset = Lines(config.text).offset(config.error_at)
    if config.text[offset : offset + 1] in CURLY:
        return 'Write straight quotes: "'
    if config.text[offset : offset + 2] in ("//", "/*"):
        return "Write # before a comment"
    return ""


def _of_brackets(config: ConfigText) -> str:
    """Return what to do about brackets if they are why the parser fails; empty if they are not."""
    lines = Lines(config.text)
    tokens = _before(config.text, lines.offset(config.error_at))
    if not tokens:
        return ""
    opened = _opened(tokens)
    last, found = opened[-1] if opened else None, tokens[-1]
    ends = found.kind == "end" or found.text in CLOSING.values()
    goes_on = found.kind == "identifier" and config.error.startswith('Expected ","')  # in a list
    if last and found.text == CLOSING[last.text]:
        return f"Remove the comma before this {found.text}" if tokens[-2].text == "," else ""
    if last and (ends or goes_on):
        here = f" before {shortened(found.text)}" if found.text else ""
        return f"Close the {last.text} of line {lines.place(last.begins)[0]} with {CLOSING[last.text]}{here}"
    return f"Remove this {found.text}: nothing is open" if ends and found.text else ""


def _before(text: str, offset: int) -> list[Token]:
    """Return the tokens up to the one at an offset; none if that is not a token."""
    tokens = Tokenizer(text)
    found: list[Token] = []
    try:
        while tokens.current.begins < offset or not found:
            tokens.next()
            found.append(tokens.current)
    except TextError:
        return []
    return found


def _opened(tokens: Sequence[Token]) -> list[Token]:
    """Return the brackets that are open before the last token."""
    opened: list[Token] = []
    for token in tokens[:-1]:
        if token.text in CLOSING:
            opened.append(token)
        elif token.text in CLOSING.values() and opened:
            opened.pop()
    return opened


def _instead(error: str) -> str:
    """Return what stands in the place of a number."""
    found = NO_NUMBER.fullmatch(error)
    if not found:
        return ""
    return f" instead of {shortened(found[1])}" if found[1].isidentifier() else ", without quotes"


def _of_template(config: ConfigText) -> str:
    """Return what to do if the parser fails at a placeholder of a template; empty if it does not."""
    lines = Lines(config.text)
    offset = lines.offset(config.error_at)
    begins, ends = config.text.rfind("\n", 0, offset) + 1, config.text.find("\n", offset)
    line = (config.text, begins, len(config.text) if ends < 0 else ends)
    for found in PLACEHOLDER.finditer(*line):
        if found.start() <= offset < found.end():
            return f"Fill in {shortened(found[0])}: this is a template of a configuration"
    for found in DOUBLED.finditer(*line):
        if found.start() <= offset < found.end():
            return f"Write {found[0][0]} once: this is a template of a configuration, to be filled in"
    if (value := NO_VALUE.match(config.error)) and value["value"].endswith("_"):
        return f"Write the whole value: {value['value']} is cut short, as by a placeholder that nothing filled in"
    return ""


ADVICE = (
    ("specified multiple times", "Write the field once"),
    ("another member of oneof", "Write one of the two fields"),
    ("Expected string", "Write the text in quotes"),
    ("Expected integer or identifier", "Write the value without quotes"),
    ("Need space between number", "Write the number without what follows it"),
    ("Integer out of range", "Write a number that fits into the field"),
    ("Expected integer", "Write a whole number"),
    ("Invalid value for boolean", "Write true or false"),
    ('Expected ","', "Write a comma between the entries of a list"),
    ('Expected ":"', "Write a colon between the field and its value"),
    ("Invalid escape sequence", "Write two backslashes for a backslash in a text"),
    ("cannot cross line boundaries", "Close the text with a quote on the same line"),
    ("Interpreting non ascii", "Write letters that are not ASCII within quotes only"),
    ("Invalid control characters", "Remove the control characters"),
    ("Unexpected end of string", "Close the text with a quote"),
)


def _similar(type_name: str, field: str) -> str:
    names = [each.name for each in _message_type(type_name).fields]
    near = difflib.get_close_matches(field.lower(), names, n=1)
    if near:
        return f"Write {near[0]}"
    where = [each.name for each in _messages(_message_type("inference.ModelConfig"), set()) if field in _names(each)]
    if where:
        return f"Write {field} where it belongs: it is a field of {' and '.join(where)}"
    return f"Write one of the fields of {type_name.rpartition('.')[2]}: {', '.join(names)}"


def _names(descriptor: Any) -> list[str]:
    return [each.name for each in descriptor.fields]


def _message_type(name: str) -> Any:
    from tritonclient.grpc import model_config_pb2

    return model_config_pb2.DESCRIPTOR.pool.FindMessageTypeByName(name)


def _similar_value(field: str, value: str) -> str:
    """Return the value of an enumeration that was meant; each is told by its prefix, such as TYPE_."""
    from tritonclient.grpc import model_config_pb2

    if field == "data_type" and (meant := TYPES.get(value.upper().removeprefix("TYPE_"))):
        return f"Write TYPE_{meant}"
    fields = [
        message.fields_by_name[field]
        for message in _messages(model_config_pb2.ModelConfig.DESCRIPTOR, set())
        if field in message.fields_by_name
    ]
    kinds = {known.enum_type.full_name: known.enum_type for known in fields if known.enum_type is not None}
    names = [each.name for kind in kinds.values() for each in kind.values]
    last = value.upper().rpartition("_")[2]
    alike = [each for each in names if each.rpartition("_")[2] == last]
    alike = alike or difflib.get_close_matches(value.upper(), names, cutoff=0.85)
    if alike:
        return f"Write {alike[0]}"
    return f"Write one of {', '.join(names)}" if len(kinds) == 1 else PARSE.write


def _messages(descriptor: Any, seen: set[str]) -> Iterator[Any]:
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    yield descriptor
    for each in descriptor.fields:
        if each.message_type is not None:
            yield from _messages(each.message_type, seen)


def _quotes(config: ConfigText) -> tuple[Place, Edit | None] | None:
    """Return the place of a quote that ends the text which it is in, and that text mended; None if none does."""
    lines = Lines(config.text)
    offset = lines.offset(config.error_at)
    ends_of_line = config.text.find("\n", offset)
    line_end = len(config.text) if ends_of_line < 0 else ends_of_line
    if config.broken_by is None:
        return None
    begins, ends = config.broken_by
    quote = config.text[begins]
    rest = config.text[ends:line_end]
    if "\n" in config.text[ends:offset] or quote not in rest:
        return None
    crosses = config.error in (STRING_CROSSES, STRING_ENDS)
    if not crosses and (not rest or rest[0] in " \t\r}]>,;#"):
        return None
    last = config.text.rfind(quote, ends, line_end)
    if not REST.fullmatch(config.text, last + 1, line_end):
        return None
    inner = re.sub(rf"(?<!\\){quote}", lambda found: "\\" + found[0], config.text[begins + 1 : last])
    mended = f"{quote}{inner}{quote}"
    where = Place(config.path, *lines.place(ends - 1))
    edit = Edit(config.path, lines.place(begins), lines.place(last + 1), mended)
    after = read(Path(config.path), config.text[:begins] + mended + config.text[last + 1 :])
    helps = after.message is not None or after.error_at > config.error_at
    return where, (edit if helps else None)


def newer_fields(case: Case) -> Iterator[Problem]:
    """Find fields that the release does not have yet."""
    release = case.host.release.container
    config = case.config
    for type_name, name, node in _written(config.tree, config.message.DESCRIPTOR):
        since = SINCE.get((type_name, name), "")
        if since > release:
            yield refused(
                Place(config.path, node.line, node.column),
                f'Message type "{type_name}" has no field named "{name}".',
                f"Leave {name} out, or serve with {since} or newer",
            )


def _written(node: Node, descriptor: Any) -> Iterator[tuple[str, str, Node]]:
    for name, values in node.fields.items():
        for value in values:
            yield descriptor.full_name, name, value
            inner = descriptor.fields_by_name[name].message_type
            if inner is not None:
                yield from _written(value, inner)


PARSE = Rule(
    code="PARSE",
    severity="error",
    title="the text is not a ModelConfig",
    triton='Triton ignores the model: "failed to read text proto from …"; over its API it only says "failed to poll". '
    "Its parser is that of protobuf for C++, which differs from the one for Python.",
    write="Correct the line; every field is listed in model_config.proto",
    check=parse,
    seen="2.51",
    needs_config=False,
    fixable=True,
)
FIELD_VER = Rule(
    code="FIELD-VER",
    severity="error",
    title="a field is newer than the release",
    triton='Triton ignores the model: "Message type … has no field named …".',
    write="Leave the field out, or serve with a release that has it",
    check=newer_fields,
    seen="2.51",
)
RULES = (PARSE, FIELD_VER)
