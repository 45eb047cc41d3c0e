"""The version policy of a configuration: which versions it serves, and the same text with others."""

import re
from collections.abc import Collection
from pathlib import Path

from modelrepo.generator.lint.selected import among
from modelrepo.generator.lint.text import ConfigText, read
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.triton import pbtxt

# A policy as our template writes it. If the name stands nowhere else in the text, nothing has to be parsed.
OURS = re.compile(r"^version_policy \{\n  specific \{ versions: \[ (\d+(?:, \d+)*) \] \}\n\}$", re.MULTILINE)
NAME = "version_policy"


def served(config: str, there: Collection[int], *, edited: bool = True) -> tuple[int, ...]:
    """Return the versions that Triton loads of those that are ``there``; OptionError if the text can't be parsed.

    A text that was not ``edited`` since we wrote it need not be parsed as a whole, which takes a millisecond.
    """
    ours = OURS.search(config) if config.count(NAME) == 1 and not edited else None
    if ours:
        return tuple(sorted({int(each) for each in ours[1].split(",")} & {*there}))
    return among(there, pbtxt.parse(config, CONFIG))


def serving(config: str, versions: Collection[int]) -> str:
    """Return a configuration that serves these versions. All else stays, with its comments.

    The text is parsed back; if it is not as intended, it is written anew from the message.
    """
    wanted = pbtxt.parse(config, CONFIG)
    wanted.version_policy.specific.versions[:] = sorted(versions)
    block = f"{{\n  specific {{ versions: [ {', '.join(map(str, sorted(versions)))} ] }}\n}}"
    return pbtxt.proven(_replaced(read(Path(CONFIG), config), block), wanted, config)


def _replaced(config: ConfigText, block: str) -> str:
    written = config.tree.fields.get(NAME, [])
    if not written:
        return f"{config.text.rstrip()}\n\n{NAME} {block}\n"
    lines = config.text.split("\n")
    (first, begins), (last, ends) = written[0].begins, written[0].ends
    before = [*lines[: first - 1], lines[first - 1][: begins - 1]]
    after = [lines[last - 1][ends - 1 :], *lines[last:]]
    return "\n".join(before) + block + "\n".join(after)
