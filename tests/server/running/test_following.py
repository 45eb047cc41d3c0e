"""What is reported while a server runs, from lines that Triton 2.51 wrote and from its answers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from modelrepo.generator.errors import ServerError
from modelrepo.server.running.following import Following
from modelrepo.server.running.handle import Health, ModelState, Server

PLACE = "1130 17:56:29.728345 19722 model_lifecycle.cc:839]"
LIBPROTOBUF = (
    "[libprotobuf ERROR /src/google/protobuf/text_format.cc:337] Error parsing text-format inference.ModelConfig: "
)
READY = Health(ready=True)


def loaded(name: str) -> str:
    return f"I{PLACE} \"successfully loaded '{name}'\"\n"


def unloaded(name: str, version: int) -> str:
    return f"I{PLACE} \"successfully unloaded '{name}' version {version}\"\n"


def failed(name: str, version: int, reason: str) -> str:
    said = f"Internal: TritonModelException: unable to load model '{name}': {reason}"
    return f"E{PLACE} \"failed to load '{name}' version {version}: {said}\\n\\nAt:\\n  model.py(55): initialize\\n\"\n"


def unparsed(name: str, detail: str) -> str:
    said = f"Poll failed for model directory '{name}': failed to read text proto from /m/{name}/config.pbtxt"
    return f'{LIBPROTOBUF}{detail}\nE{PLACE} "{said}"\n'


class Stand:
    """A server that says and answers what a test tells it to."""

    def __init__(self, repository: Path) -> None:
        self.repository, self.log, self.health_now = repository, b"", READY
        self.answers: frozenset[tuple[str, str]] = frozenset()
        self.silent = False

    def says(self, text: str, served: Iterable[tuple[str, str]] | None = None, health: Health = READY) -> None:
        self.log += text.encode()
        self.health_now = health
        self.answers = self.answers if served is None else frozenset(served)

    def log_bytes(self, start: int = 0) -> bytes:
        return self.log[start:]

    def served(self) -> frozenset[tuple[str, str]]:
        if self.silent:
            raise ServerError("Triton does not answer")
        return self.answers

    def health(self) -> Health:
        return self.health_now

    def models(self) -> tuple[ModelState, ...]:
        return ()


@pytest.fixture
def server(tmp_path: Path) -> Stand:
    (tmp_path / "net").mkdir()
    stand = Stand(tmp_path)
    stand.says(loaded("net"), [("net", "1")])
    return stand


@pytest.fixture
def following(server: Stand) -> Following:
    return Following(cast(Server, server))


def told(following: Following) -> list[str]:
    return [event.message for event in following.look()]


def test_what_was_loaded_at_the_start_is_no_event(following: Following) -> None:
    assert told(following) == []


def test_a_new_version_takes_the_place_of_the_old_one(server: Stand, following: Following) -> None:
    server.says(loaded("net"), [("net", "2")])
    assert told(following) == ["net version 2 is served, in place of version 1"]
    server.says(unloaded("net", 1))
    assert told(following) == []


def test_a_version_beside_others_is_served(server: Stand, following: Following) -> None:
    server.says(loaded("net"), [("net", "1"), ("net", "2"), ("net", "10")])
    (event,) = following.look()
    assert event.message == "net versions 2 and 10 are served"
    assert (event.kind, event.model, event.versions) == ("served", "net", ("2", "10"))


def test_a_changed_model_is_loaded_again(server: Stand, following: Following) -> None:
    server.says(loaded("net"))
    assert told(following) == []
    server.says(unloaded("net", 1))
    assert told(following) == ["net version 1 is loaded again, because it was changed"]


def test_a_version_or_a_model_that_is_gone_is_named(server: Stand, following: Following) -> None:
    server.says(loaded("net"), [("net", "1"), ("net", "2")])
    following.look()
    server.says(unloaded("net", 2), [("net", "1")])
    assert told(following) == ["net version 2 is no longer served; version 1 is still served"]
    server.says(unloaded("net", 1), [])
    assert told(following) == ["net version 1 is no longer served"]


def test_a_refusal_is_told_once_until_it_changes_and_again_when_it_is_mended(
    server: Stand, following: Following
) -> None:
    sixteen = unparsed("net", "3:17: Expected integer, got: sixteen")
    server.says(sixteen)
    (event,) = following.look()
    assert event.kind == "refused"
    assert event.message.startswith(
        "net is refused, and version 1 is still served: line 3 of config.pbtxt: a whole num"
    )
    assert event.reason.endswith("3:17: Expected integer, got: sixteen")
    server.says(sixteen)
    assert told(following) == []
    server.says(unparsed("net", "3:17: Expected integer, got: many"))
    assert "not many" in told(following)[0]
    server.says(loaded("net"))
    assert told(following) == ["net is accepted again, and version 1 is served"]
    server.says(unloaded("net", 1))  # the version that the mended one has replaced
    assert told(following) == []
    server.says(sixteen)
    assert "not sixteen" in told(following)[0]


def test_a_change_after_a_mended_one_is_told(server: Stand, following: Following) -> None:
    server.says(unparsed("net", "3:17: Expected integer, got: sixteen"))
    following.look()
    server.says(loaded("net"))
    assert told(following) == ["net is accepted again, and version 1 is served"]
    server.says(loaded("net"))
    following.look()
    server.says(unloaded("net", 1))
    assert told(following) == ["net version 1 is loaded again, because it was changed"]


def test_a_new_version_that_was_refused_before_is_served(server: Stand, following: Following) -> None:
    server.says(failed("net", 2, "unable to find '/m/net/2/model.onnx'"))
    assert told(following)[0].startswith(
        "net version 2 is refused, and version 1 is still served: version 2 lacks its file model.onnx"
    )
    server.says(loaded("net"), [("net", "2")])
    assert told(following) == ["net version 2 is served, in place of version 1"]


def test_the_changed_version_is_refused_and_the_old_one_stays(server: Stand, following: Following) -> None:
    server.says(failed("net", 1, "configuration expects 0 inputs, model provides 1"))
    assert told(following)[0].startswith("the changed net version 1 is refused, and it is served as it was before: the")


def test_several_refused_versions_are_named(server: Stand, following: Following) -> None:
    server.says(failed("net", 2, "one") + failed("net", 3, "two"))
    assert [event.versions for event in following.look()] == [("2",), ("3",)]


def test_a_version_that_is_not_there_is_named_if_the_others_are_loaded(server: Stand, following: Following) -> None:
    absent = f"E{PLACE} \"version 5 is specified for model 'net', but the version directory is not present\"\n"
    said = "at least one version must be available under the version policy of model 'net'"
    policy = f"E{PLACE} \"failed to load model 'net': {said}\"\n"
    server.says(absent + loaded("net"))
    assert told(following)[0].startswith("net version 5 is refused, and version 1 is still served: config.pbtxt asks")
    server.says(absent + policy)
    (event,) = following.look()
    assert event.versions == ()


def test_a_repository_that_cannot_be_read_takes_every_model_with_it(server: Stand, following: Following) -> None:
    link = server.repository / "dangling"
    link.symlink_to("/nonexistent")
    poll = f"E{PLACE} \"failed to poll model repository '{server.repository}': failed to stat file {link}\"\n"
    server.says(poll + unloaded("net", 1), [])
    refused, gone = following.look()
    assert refused.message.startswith(
        f"the whole repository is refused: {link} is a link to /nonexistent, which is not"
    )
    assert gone.message == "net version 1 is no longer served, because the repository can't be read"
    server.says(poll)
    assert told(following) == []
    server.says(loaded("net"), [("net", "1")])
    assert told(following) == ["net version 1 is served"]
    server.says(poll)
    assert told(following)


def test_a_refused_model_that_was_removed_is_gone(server: Stand, following: Following) -> None:
    (server.repository / "broken").mkdir()
    server.says(unparsed("broken", "1:1: nonsense"))
    assert told(following)
    assert told(following) == []
    (server.repository / "broken").rmdir()
    assert told(following) == ["broken is gone from the repository; it was refused before"]
    assert told(following) == []


def test_a_model_that_was_removed_while_it_was_loaded_is_not_refused_again(server: Stand, following: Following) -> None:
    (server.repository / "broken").mkdir()
    server.says(failed("broken", 1, "unable to find '/m/broken/1/model.onnx'"))
    following.look()
    (server.repository / "broken").rmdir()
    assert told(following) == ["broken is gone from the repository; it was refused before"]
    server.says(failed("broken", 1, "unable to find '/m/broken/1/model.onnx'"))
    assert told(following) == []


def test_a_model_that_a_client_asked_for_and_that_is_not_there_is_named(server: Stand, following: Following) -> None:
    server.says(f"E{PLACE} \"failed to poll model 'nothere': model not found in any model repository.\"\n")
    assert told(following)[0].startswith("nothere is refused: the repository has no folder nothere")
    assert told(following) == []


def test_an_ensemble_that_is_refused_is_named(server: Stand, following: Following) -> None:
    (server.repository / "ens").mkdir()
    said = "Invalid argument: ensemble ens contains models that are not available or ambiguous: nothere"
    server.says(f'E{PLACE} "{said}"\n')
    assert told(following)[0].startswith("ens is refused: the ensemble needs nothere")


def test_a_server_that_is_not_ready_is_told_once_with_the_version_that_keeps_it_so(
    server: Stand, following: Following
) -> None:
    broken = Health(ready=False, failed=("net version 2",))
    server.says(failed("net", 2, "broken"), health=broken)
    refused, unready = following.look()
    assert (refused.kind, unready.kind) == ("refused", "unready")
    assert "/v2/health/ready answers 400) because of net version 2" in unready.message
    server.says(failed("net", 2, "broken"), health=Health(ready=False))  # while it is loaded once more
    assert told(following) == []
    server.says(failed("net", 2, "broken"), health=broken)
    assert told(following) == []
    server.says(loaded("net"), [("net", "2")])
    assert told(following)[-1] == "the server calls itself ready again"


def test_a_server_that_loads_something_is_not_called_unready(server: Stand, following: Following) -> None:
    server.says("I loading\n", health=Health(ready=False))
    assert told(following) == []


def test_a_server_that_was_not_ready_at_the_start_is_told(server: Stand) -> None:
    server.says(failed("net", 2, "broken"), health=Health(ready=False, failed=("net version 2",)))
    following = Following(cast(Server, server))
    assert [event.kind for event in following.look()] == ["unready"]
    assert told(following) == []


def test_nothing_is_lost_while_a_server_does_not_answer(server: Stand, following: Following) -> None:
    server.silent = True
    server.says(loaded("net"), [("net", "2")])
    assert told(following) == []
    server.silent = False
    assert told(following) == ["net version 2 is served, in place of version 1"]


def test_a_log_that_was_removed_ends_the_reports_and_not_the_server(
    server: Stand, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(start: int = 0) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(server, "log_bytes", removed)
    assert told(following) == []


def test_half_a_line_is_read_when_it_is_complete(server: Stand, following: Following) -> None:
    text = unparsed("net", "3:17: Expected integer, got: sixteen")
    for end in (20, len(LIBPROTOBUF) + 60, len(text) - 1):
        server.log += text.encode()[len(server.log) - len(loaded("net")) : end]
        assert told(following) == []
    server.log += text.encode()[len(text) - 1 :]
    assert "not sixteen" in told(following)[0]


def test_what_the_server_writes_while_it_answers_belongs_to_the_answer(
    server: Stand, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, calls = server.served, []

    def slowly(self: Any = None) -> frozenset[tuple[str, str]]:
        calls.append(answer())
        if len(calls) == 1:
            server.says(loaded("net"), [("net", "2")])
        return calls[-1]

    monkeypatch.setattr(server, "served", slowly)
    server.says("I something\n")
    assert told(following) == ["net version 2 is served, in place of version 1"]
    assert told(following) == []
