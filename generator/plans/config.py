"""The config.pbtxt of a prepared plan, fitted to the version and the plan files that it is published with.

The text is edited, so that comments and layout stay, and parsed back. If the result is not as intended, the text is
written anew from the message.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.triton import pbtxt

ORIGIN = "the prepared config.pbtxt"


@dataclass(frozen=True)
class PreparedConfig:
    """The config.pbtxt that was prepared with a plan."""

    prepared: str
    max_batch_size: int
    version: int | None  # that it was prepared for; None if the versions that are served are a list of the user's
    plans: Mapping[str, str]  # files by compute capability, as {"8.9": "model.cc89.plan"}; empty for one model.plan

    def text(self, version: int, existing: Collection[int] = ()) -> str:
        """Return the text for a version that joins the ``existing`` ones in the model's folder.

        OptionError if the text is not a ModelConfig; RepositoryError if it lists a version that will not be there, or
        names files already.
        """
        moved = self.prepared if self.version is None else _with_version(self.prepared, self.version, version)
        message = pbtxt.parse(moved, ORIGIN)
        absent = set(message.version_policy.specific.versions) - {version, *existing}
        if absent:
            raise RepositoryError(
                f"{ORIGIN} of {message.name} lists version {min(absent)}, which does not exist",
                "Run generate again with another --version-policy",
            )
        if not self.plans:
            return moved
        if message.default_model_filename or message.cc_model_filenames:
            raise RepositoryError(
                f"{ORIGIN} of {message.name} names model files already",
                "Run generate again without them in --config-patch and --templates",
            )
        return _with_files(moved, self.plans)


def _with_version(text: str, prepared: int, version: int) -> str:
    """Return the text with the version that it was prepared for replaced, if it lists no others."""
    wanted = pbtxt.parse(text, ORIGIN)
    if list(wanted.version_policy.specific.versions) != [prepared]:
        return text
    wanted.version_policy.specific.versions[:] = [version]
    pattern = rf"(\bversion_policy\s*:?\s*\{{\s*specific\s*:?\s*\{{\s*versions\s*:\s*\[?\s*){prepared}\b"
    return pbtxt.proven(re.sub(pattern, rf"\g<1>{version}", text, count=1), wanted, text)


def _with_files(text: str, plans: Mapping[str, str]) -> str:
    wanted = pbtxt.parse(text, ORIGIN)
    blocks = []
    for capability in sorted(plans, key=lambda each: [*map(int, each.split("."))]):
        wanted.cc_model_filenames[capability] = plans[capability]
        key, value = pbtxt.quote(capability), pbtxt.quote(plans[capability])
        blocks.append(f"\ncc_model_filenames {{\n  key: {key}\n  value: {value}\n}}\n")
    return pbtxt.proven(f"{text.rstrip()}\n{''.join(blocks)}", wanted, text)
