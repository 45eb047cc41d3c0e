"""A server that is asked for a model loads the models that it calls, too."""

from pathlib import Path

from modelrepo.server.running.called import with_called


def write(repository: Path, name: str, text: str = "") -> None:
    (repository / name).mkdir()
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"\n{text}')


def test_what_a_model_calls_is_loaded_with_it(tmp_path: Path) -> None:
    write(tmp_path, "first", 'ensemble_scheduling { step { model_name: "first__cascade" model_version: 2 } }')
    write(tmp_path, "first__cascade", 'parameters { key: "calls" value { string_value: "small@1,large@3" } }')
    write(tmp_path, "small")
    write(tmp_path, "large", 'parameters { key: "calls" value { string_value: "small@1,large@3" } }')
    write(tmp_path, "other")
    assert with_called(tmp_path, ["first", "missing"]) == ("first", "missing", "first__cascade", "small", "large")
