"""Random changes of a text, of its tokens and of its bytes: what is no text of a ModelConfig, and what still is."""

import re
from collections.abc import Callable
from random import Random

from tests.differential.case import Case
from tests.differential.drawing import NAME

# Texts in the forms that protobuf has for one thing, each with a value of every type.
BASES = (
    f"""name: "{NAME}"
backend: "light"
max_batch_size: 8
input {{ name: "x" data_type: TYPE_FP32 dims: [ 4, -1 ] reshape {{ shape: [ 4, -1 ] }} optional: true }}
output [ {{ name: "y" data_type: TYPE_FP32 dims: 4 dims: 2 }}, {{ name: 'z' data_type: 11 dims: [ ] dims: 0x7 }} ]
parameters {{ key: "a" value {{ string_value: "text" }} }}
parameters: < key: "b" value: < string_value: "te" 'xt' > >;
dynamic_batching {{ max_queue_delay_microseconds: 100, default_queue_policy {{ timeout_action: DELAY }}
  priority_levels: 3 default_priority_level: 1 priority_queue_policy {{ key: 1 value {{ max_queue_size: 3 }} }} }}
instance_group [ {{ count: 1 kind: KIND_CPU rate_limiter {{ resources [ {{ name: "r" count: 1 global: t }} ] }} }} ]
""",
    r"""backend: "light" # a comment
platform: 'x' "y"
max_batch_size: 010
input < name: "x" data_type: TYPE_FP32 dims: 4 >
output < name: "y" data_type: TYPE_STRING dims: [ 1 ] >,
sequence_batching { direct { minimum_slot_utilization: .5e0 max_queue_delay_microseconds: 1 }
  control_input [ { name: "c" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ -1.5f, 1e3 ] } ] },
  { name: "d" control { kind: 1 int32_false_true: [ -2147483648, 0x7fffffff ] } } ]
  state { input_name: "i" output_name: "o" data_type: TYPE_FP32 dims: 4
    initial_state { name: "s\x41\101\u00e9\n" data_type: TYPE_FP32 dims: 4 zero_data: true } } }
metric_tags { key: "k" value: "v" }
parameters { key: "e" value { string_value: "\U0001F600 \" ' \' ä" } }
version_policy: { specific: { versions: [ 1 ] } }
model_warmup { name: "w" batch_size: 1
  inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 random_data: true } }
  inputs { key: "c" value { data_type: TYPE_FP32 dims: 1 zero_data: True } } }
""",
)
TOKEN = re.compile(
    r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_][A-Za-z0-9_]*|[0-9.][0-9A-Za-z.]*|\s+|#[^\n]*|.""", re.DOTALL
)
NUMBERS = (
    "inf -inf nan -nan infinity INF 1. .5 1e5 1E+5 1e 1e- 0x 0xFF 0XfF 07 08 00 0 -0 - --1 + +1 1f 1.5F 0f 0x1.0 1.2.3 "
    "1..2 . .. 1.e5 9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 2147483648 "
    "-2147483649 4294967296 1_000 1a 01 00x e5 -0x1 -01 -.5 -1. 0b1 1l 1u 0.0 -0.0 1e400 1e-400 0x10f 0f1 00.5 01.5"
)
WORDS = (
    "_ a.b true false True False t f TRUE FALSE T TYPE_FP32 type_fp32 TYPE_INVALID 99 KIND_CPU max_batch_size: 8 input "
    "Input unknown:1 unknown{a:1} key:'a' value:'b' 1:2 input:1 input:{} input{ input:[ parameters{} "
    "parameters{value{}} [type.googleapis.com/inference.ModelConfig]{} [a.b.c]:1 [a.b] [a/b] [a] in_f"
)
QUOTED = (
    r""""a" 'a' "a""b" "a"'b' a"b" "a"b "" " ' "\ "\q" "\x" "\xg" "\x4" "\x414" "\400" "\8" "\777" "\0" "\1234" """
    r""""\u12" "\u0041" "\ud800" "\ud83d\ude00" "\ud83d\ud83d" "\U0000d83d\ude00" "\U00110000" "\U0010ffff" """
    r""""\U001fffff" "\U00200000" "\u0000" "\?" "\a\b\f\v" "\N" "\uD83D" "\u{41}" "\U1" "\U0000004g" "ä" """
)
SIGNS = "# #c #\0 // /**/ ; , ;; ,, : :: = { } < > [ ] [] [,] [1,] {} <> {> <} [{}] [<>] @ $ % & * ! ? / | ` ~ ^ ( ) ä"
FRAGMENTS = (
    *(f"{NUMBERS} {WORDS} {QUOTED} {SIGNS}".split(" ")),
    *("- 1", "- inf", "1 .5", "0 x1", '"a" "b"', '"a\nb"', '"\t"', '"\x01"', '"\x7f"', '"\udcff"', '"\\\n"'),
    *("\u00a0", "\ufeff", "\0", "\v", "\f", "\r", "\r\n", "\x1f", "\x7f", "\udcff"),
)
OF_SYNTAX = b"\"'\\{}<>[]:;,#.-+xXeEfF0123456789 \n\t\r\0_/"


def _of_tokens(text: str, random: Random) -> str:
    """Return a text in which a few tokens are other ones, are gone, repeated or swapped."""
    tokens = TOKEN.findall(text)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        at, other = random.randrange(len(tokens)), random.randrange(len(tokens))
        what = random.choice(("replace", "replace", "replace", "insert", "insert", "delete", "repeat", "swap"))
        if what == "replace":
            tokens[at] = random.choice(FRAGMENTS)
        elif what == "insert":
            tokens.insert(at, random.choice(FRAGMENTS))
        elif what == "swap":
            tokens[at], tokens[other] = tokens[other], tokens[at]
        else:
            tokens[at] *= 0 if what == "delete" else 2
    return "".join(tokens)


def _of_bytes(text: str, random: Random) -> str:
    """Return a text in which a few bytes are other ones, or gone."""
    data = bytearray(text.encode("utf-8", "surrogateescape"))
    for _ in range(random.choice((1, 1, 2, 3))):
        at, what = random.randrange(len(data)), random.choice(("replace", "insert", "delete", "flip"))
        byte = random.choice((random.randrange(256), random.randrange(128), random.choice(OF_SYNTAX)))
        if what == "flip":
            data[at] ^= 1 << random.randrange(8)
        else:
            data[at : at + (what != "insert")] = b"" if what == "delete" else bytes([byte])
    return data.decode("utf-8", "surrogateescape")


def mutated(seed: int, count: int) -> list[Case]:
    """Return so many models with texts that were changed, always the same for a seed."""
    random = Random(seed)
    ways: tuple[Callable[[str, Random], str], ...] = (_of_tokens, _of_tokens, _of_bytes)
    names = [f"t{seed}_{number}" for number in range(count)]
    return [Case(name, random.choice(ways)(random.choice(BASES).replace(NAME, name), random)) for name in names]
