"""Triton's ModelConfig as protobuf text: quoted, parsed, merged, and written to be read."""

import re
from typing import Any

from modelrepo.generator.errors import OptionError

# The order in which fields are written: as in the shipped template, then all others by number.
ORDER = (
    *("name", "platform", "backend", "max_batch_size", "input", "output", "instance_group"),
    *("dynamic_batching", "version_policy", "model_warmup", "optimization", "parameters"),
)


def quote(value: str) -> str:
    """Return ``value`` as a protobuf text-format string literal."""
    from google.protobuf import text_encoding

    return f'"{text_encoding.CEscape(value.encode(), as_utf8=False)}"'


def parse(text: str, origin: str) -> Any:
    """Parse protobuf text as Triton's ModelConfig; OptionError names ``origin`` and the line."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise OptionError(f"{origin} is not a ModelConfig, line {error}") from error
    except SystemError as error:  # of protobuf 6.33, for the name of an enum value (no issue known)
        raise OptionError(f"{origin} is not a ModelConfig: a name in it is not UTF-8") from error


def merge(config: Any, patch: Any) -> None:
    """Merge ``patch`` over ``config``, in place.

    Single values and sub-messages merge field by field and maps key by key, as in protobuf. ``input`` and ``output``
    merge by name. Every other list replaces the existing one, where protobuf would append.
    """
    named = {}
    for field in ("input", "output"):
        named[field] = list(getattr(patch, field))
    rest = type(patch)()
    rest.CopyFrom(patch)
    for field in named:
        rest.ClearField(field)
    _clear_replaced_lists(config, rest)
    config.MergeFrom(rest)
    for field, tensors in named.items():
        by_name = {tensor.name: tensor for tensor in getattr(config, field)}
        for tensor in tensors:
            _merge_tensor(by_name.get(tensor.name) or getattr(config, field).add(), tensor)


def _merge_tensor(config: Any, patch: Any) -> None:
    _clear_replaced_lists(config, patch)
    config.MergeFrom(patch)


def _clear_replaced_lists(config: Any, patch: Any) -> None:
    for descriptor, value in patch.ListFields():
        is_map = descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry
        if descriptor.is_repeated and not is_map:
            config.ClearField(descriptor.name)
        elif descriptor.message_type is not None and not is_map:
            _clear_replaced_lists(getattr(config, descriptor.name), value)


def merges_requests(text: str) -> bool:
    """Whether a configuration lets Triton merge requests into batches."""
    config = parse(text, "the configuration")
    return bool(config.max_batch_size > 1 and config.HasField("dynamic_batching"))


def with_queue_delay(text: str, microseconds: int) -> str:
    """Return a configuration with this queue delay of the dynamic batcher."""
    config = parse(text, "the configuration")
    config.dynamic_batching.max_queue_delay_microseconds = microseconds
    return to_text(config)


def with_version(text: str, version: int) -> str:
    """Return a configuration that serves one version, and no other."""
    config = parse(text, "the configuration")
    config.version_policy.specific.versions[:] = [version]
    return to_text(config)


def proven(edited: str, wanted: Any, text: str) -> str:
    """Return an ``edited`` text if it parses as ``wanted``; else ``wanted`` as text, after the comment of ``text``."""
    if _parses_as(edited, wanted):
        return edited
    comment = text.partition("\n")[0] + "\n" if text.startswith("#") else ""
    return f"{comment}{to_text(wanted)}"


def _parses_as(text: str, wanted: Any) -> bool:
    try:
        return bool(parse(text, "the edited configuration") == wanted)
    except OptionError:
        return False


def differ_in_policy(one: str, other: str) -> bool:
    """Whether two configurations differ in their version policies, and in nothing else but comments and layout."""
    configs = [parse(text, "the configuration") for text in (one, other)]
    if configs[0].version_policy == configs[1].version_policy:
        return False
    for config in configs:
        config.ClearField("version_policy")
    return bool(configs[0] == configs[1])


def to_text(config: Any) -> str:
    """Return a ModelConfig as text that reads like a hand-written one; ``max_batch_size`` is written even if 0."""
    from google.protobuf import text_format

    set_fields = [descriptor.name for descriptor, _ in config.ListFields()]
    parts = []
    for field in sorted({*set_fields, "max_batch_size"}, key=lambda name: _position(config, name)):
        single = type(config)()
        single.CopyFrom(config)
        for other in set_fields:
            if other != field:
                single.ClearField(other)
        text = text_format.MessageToString(single, as_utf8=True) or f"{field}: 0\n"
        parts.append(re.sub(r"^(?=\w+ \{)", "\n", text, flags=re.MULTILINE))
    return _SAME_FIELD_LINES.sub(_one_list, "".join(parts))


# Two or more lines with numbers for the same repeated field, as protobuf prints a list.
_SAME_FIELD_LINES = re.compile(r"^( +)(\w+): (-?\d+)\n(?:\1\2: -?\d+\n)+", re.MULTILINE)


def _one_list(lines: re.Match[str]) -> str:
    numbers = re.findall(r": (-?\d+)", lines.group())
    return f"{lines[1]}{lines[2]}: [ {', '.join(numbers)} ]\n"


def _position(config: Any, field: str) -> tuple[int, int]:
    number = config.DESCRIPTOR.fields_by_name[field].number
    return (ORDER.index(field) if field in ORDER else len(ORDER), number)


def max_batch_size(text: str) -> int:
    """Return the ``max_batch_size`` of a rendered configuration; a patch may have lowered it."""
    return int(parse(text, "config.pbtxt").max_batch_size)


def input_kinds(config: Any) -> dict[str, str]:
    """Return what clients have for the inputs of a parsed configuration, by name: see ``clients.models.kinds_in``."""
    from modelrepo.clients.models import kinds_in  # imports numpy and tritonclient, which few commands need

    return kinds_in(config.parameters["input_kinds"].string_value) if "input_kinds" in config.parameters else {}
