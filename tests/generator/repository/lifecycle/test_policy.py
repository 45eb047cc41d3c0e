"""The version policy of a configuration, read and replaced; all else stays."""

import pytest

from modelrepo.generator.repository import choice
from modelrepo.generator.repository.choice import Choice
from modelrepo.generator.repository.lifecycle import policy
from modelrepo.generator.triton import pbtxt

# What is written, and which of the versions 1, 2 and 3 are served.
POLICIES = {
    "max_batch_size: 1\nversion_policy {\n  specific { versions: [ 3, 1, 9 ] }\n}\n": (1, 3),
    "max_batch_size: 1": (3,),
    "version_policy { }": (1, 2, 3),
    "version_policy: { all { } }": (1, 2, 3),
    "version_policy { latest { num_versions: 2 } }": (2, 3),
    "version_policy { latest { } }": (),
    "version_policy < specific < versions: 2 versions: 9 > >": (2,),
    "version_policy { specific { versions: [ 1, # the old one }\n 3 ] } }": (1, 3),
    "# version_policy { all { } }\nmax_batch_size: 1": (3,),
    'parameters { key: "version_policy { all { } }" value { string_value: "" } }': (3,),
    "name: 'x' version_policy { specific { versions: 1 } }": (1,),
    "version_policy { specific { versions: 1 } } # }\nmax_batch_size: 2": (1,),
}


@pytest.mark.parametrize("written", POLICIES)
def test_the_served_versions_are_those_of_the_policy(written: str) -> None:
    assert policy.served(written, [3, 1, 2]) == POLICIES[written]
    assert policy.served(written, [3, 1, 2], edited=False) == POLICIES[written]


@pytest.mark.parametrize("written", POLICIES)
def test_another_policy_leaves_all_else(written: str) -> None:
    changed = policy.serving(written, (2, 1))
    assert policy.served(changed, [1, 2, 3]) == (1, 2)
    before, after = pbtxt.parse(written, "before"), pbtxt.parse(changed, "after")
    before.ClearField("version_policy")
    after.ClearField("version_policy")
    assert before == after


def test_comments_and_layout_stay() -> None:
    written = "# mine\nname: 'x' # the name\nversion_policy { all {} } # all\n\nmax_batch_size: 2\n"
    assert policy.serving(written, (4,)) == (
        "# mine\nname: 'x' # the name\nversion_policy {\n  specific { versions: [ 4 ] }\n} # all\n\nmax_batch_size: 2\n"
    )


@pytest.mark.parametrize(
    "chosen",
    [Choice("rollback", (1,), (2,), choice.now()), Choice("promote", (2, 10), (), choice.now())],
)
def test_a_choice_is_read_back_until_the_text_is_edited(chosen: Choice) -> None:
    text = choice.marked("name: 'ä'\n", chosen)
    assert choice.read(text) == chosen
    assert pbtxt.parse(text, "here").name == "ä"
    assert choice.read(text.replace("name", "# a note\nname")) is None
    assert choice.read(f"\n{text}") is None
    assert choice.read("name: 'ä'\n") is None
