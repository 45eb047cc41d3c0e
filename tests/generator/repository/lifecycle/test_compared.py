"""`diff`: configuration, files, graphs, weights, what is recorded, and answers."""

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.graphs import outline
from modelrepo.generator.repository.lifecycle import answers, policy, weights
from modelrepo.generator.repository.lifecycle.compared import chosen, compared, document
from modelrepo.generator.repository.lifecycle.graph_changes import changes
from modelrepo.generator.repository.lifecycle.rebuilt import rebuilt
from modelrepo.generator.repository.lifecycle.standing import standing
from modelrepo.generator.repository.repository import Repository
from tests.conftest import Generate, snapshot
from tests.generator.repository.lifecycle.onnx_models import FIRST, SECOND, net, repository_of
from tests.generator.repository.lifecycle.published import two_versions

LARGE = 3 * weights.PART


@pytest.fixture
def published(
    generate: Generate, numpy_models: None, workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Repository:
    return two_versions(generate, workdir, tmp_path_factory)


def test_versions_of_other_weights_are_told_apart(published: Repository) -> None:
    before = snapshot(published.root.parent)
    found = compared(published, "linear")
    assert (found.one, found.other, found.equal) == (1, 2, False)
    assert [each.name for each in found.files] == ["model.onnx"]
    assert [line for line in found.config if line[:1] in "+-"][2:] == [
        '-  value { string_value: "random: seed 0" }',
        '+  value { string_value: "random: seed 1" }',
    ]
    assert {(each.name, each.before, each.after) for each in found.facts} == {
        ("weights", "random: seed 0", "random: seed 1"),
        ("option seed", "0", "1"),
    }
    assert found.graph
    assert found.graph.same
    assert found.weights
    (changed,) = found.weights.changed
    one, other = (np.random.default_rng(seed).standard_normal((4, 3)).astype("float32") for seed in (0, 1))
    assert (changed.name, changed.changed, changed.parameters) == ("W", 12, 12)
    assert changed.largest == pytest.approx(np.abs(one - other).max())
    assert changed.relative == pytest.approx(np.linalg.norm(one - other) / np.linalg.norm(one), rel=1e-5)
    assert found.answers
    (output,) = found.answers.outputs
    assert (found.answers.kind, output.name, output.trouble) == ("golden requests", "output", "")
    assert output.largest
    assert output.largest > 1
    assert output.top1 is not None
    assert 0 < output.top1 < 1
    assert document(found)["weights"]["changed_parameters"] == 12
    assert snapshot(published.root.parent) == before


def test_a_version_is_equal_to_itself(published: Repository) -> None:
    found = compared(published, "linear", 2, 2)
    assert found.equal
    assert not any((found.facts, found.graph, found.weights, found.answers))


def test_the_version_policy_is_no_difference(published: Repository) -> None:
    folder = published.root / "linear"
    shutil.rmtree(folder / "1")
    shutil.copytree(folder / "2", folder / "1")
    newest = published.manifests("linear")[1]
    files = {name.replace("2/", "1/"): record for name, record in newest.files.items()}
    published.record(replace(newest, version=1, files=files, config=policy.serving(newest.config, [1])))
    assert published.manifests("linear")[0].config != newest.config
    assert compared(published, "linear", 1, 2).equal


def test_how_a_rebuilt_version_was_made_is_not_compared(published: Repository) -> None:
    shutil.rmtree(published.state)
    rebuilt(published)
    found = compared(published, "linear", 1, 2)
    assert not found.facts
    assert "the record of version 1 was rebuilt: how it was made is not known" in found.notes


def test_an_edit_by_hand_is_compared(published: Repository) -> None:
    config = published.root / "linear/config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 16", "max_batch_size: 4"))
    found = compared(published, "linear", 1, 2, ask=False)
    assert "+max_batch_size: 4" in found.config
    assert found.notes == ("config.pbtxt of version 2 was edited by hand; the edited one is compared",)


def test_files_that_changed_since_they_were_published_are_compared_as_they_are(published: Repository) -> None:
    folder = published.root / "linear"
    shutil.copy(folder / "2/model.onnx", folder / "1/model.onnx")
    found = compared(published, "linear", 1, 2)
    assert not found.files
    assert found.notes == ("1/model.onnx changed since it was published",)


def test_which_versions_are_compared(tmp_path: Path) -> None:
    repository = repository_of(tmp_path, [net()] * 4, served=2)
    model = standing(repository, "net")
    assert chosen(model, None, None) == (2, 4)
    assert chosen(model, 1, None) == (1, 2)
    assert chosen(model, 2, None) == (2, 4)
    assert chosen(model, 4, 3) == (4, 3)
    newest = standing(repository_of(tmp_path / "newest", [net()] * 3, served=3), "net")
    assert chosen(newest, None, None) == (2, 3)
    with pytest.raises(RepositoryError, match="no two versions"):
        chosen(standing(repository_of(tmp_path / "one", [net()]), "net"), None, None)
    with pytest.raises(RepositoryError, match="net has no version 7"):
        compared(repository, "net", 7)


def test_operators_signature_and_opset_are_told(tmp_path: Path) -> None:
    wider = np.ones((8, 4), "float32"), np.ones((4, 5), "float32")
    repository = repository_of(tmp_path, [net(), net(*wider, activation="Tanh", opset=18)])
    found = compared(repository, "net", 1, 2).graph
    assert found
    assert found.operators == {"Relu": (1, 0), "Tanh": (0, 1)}
    assert found.versions == {"ai.onnx": (17, 18)}
    (output,) = found.tensors
    assert (output.kind, output.name, output.before, output.after) == ("output", "y", "FLOAT [n, 3]", "FLOAT [n, 5]")


def test_other_attributes_and_other_connections_are_told() -> None:
    assert changes(net(), net(axis=0)).attributes == {"Softmax": 1}
    swapped = net()
    swapped.graph.node[1].CopyFrom(helper.make_node("Relu", ["c"], ["b"]))
    swapped.graph.node[2].input[0], swapped.graph.node[3].input[0] = "a", "b"
    assert changes(net(), swapped).rewired
    renamed = net(names=("p", "q"))
    renamed.graph.node[0].name = "first"
    assert changes(net(), renamed).same


def test_renamed_weights_are_found_by_their_values_or_shapes(tmp_path: Path) -> None:
    repository = repository_of(tmp_path, [net(), net(FIRST, SECOND + 1, names=("p", "q"))])
    found = compared(repository, "net", 1, 2, ask=False).weights
    assert found
    assert found.renamed == (("w1", "p"),)
    (changed,) = found.changed
    assert (changed.was, changed.name) == ("w2", "q")
    assert changed.largest == pytest.approx(1, rel=1e-5)
    assert (found.same, found.removed, found.added) == (1, (), ())


def test_weights_that_could_be_several_are_not_paired(tmp_path: Path) -> None:
    square = np.eye(4, dtype="float32"), np.eye(4, dtype="float32")
    other = square[0] + 1, square[1] + 2
    repository = repository_of(tmp_path, [net(*square), net(*other, names=("p", "q"))])
    found = compared(repository, "net", 1, 2, ask=False).weights
    assert found
    assert [each.name for each in found.removed] == ["w1", "w2"]
    assert [each.name for each in found.added] == ["p", "q"]


def test_other_types_and_shapes_of_weights_are_told(tmp_path: Path) -> None:
    half = net()
    half.graph.initializer[0].CopyFrom(numpy_helper.from_array(FIRST.astype("float16"), "w1"))
    found = weights.compared(weights.constants(net(), tmp_path), weights.constants(half, tmp_path))
    (changed,) = found.changed
    assert (changed.before, changed.data_type) == ("FLOAT [8, 4]", "FLOAT16")
    assert changed.relative
    assert changed.relative < 1e-3
    wide = weights.constants(net(np.ones((8, 5), "float32"), np.ones((5, 3), "float32")), tmp_path)
    shapes = weights.compared(weights.constants(net(), tmp_path), wide)
    assert [(each.before, each.relative) for each in shapes.changed] == [("FLOAT [8, 4]", None), ("FLOAT [4, 3]", None)]


def test_not_a_number_is_equal_to_itself_and_infinity_has_no_distance(tmp_path: Path) -> None:
    def constant(values: list[float]) -> weights.Tensor:
        return weights.Tensor("w", numpy_helper.from_array(np.array(values, "float32"), "w"), tmp_path)

    same = weights.compare(constant([np.nan, np.inf, 1]), constant([np.nan, np.inf, 1]))
    assert same.changed == 0
    one = weights.compare(constant([np.nan, np.inf, 1]), constant([np.nan, np.inf, 2]))
    assert (one.changed, one.largest) == (1, 1.0)
    infinite = weights.compare(constant([1]), constant([np.inf]))
    assert (infinite.changed, infinite.largest, infinite.relative) == (1, None, None)
    assert weights.compare(constant([0, 0]), constant([0, 1])).relative is None


def test_text_is_compared_too(tmp_path: Path) -> None:
    def constant(*values: str) -> weights.Tensor:
        return weights.Tensor("w", numpy_helper.from_array(np.array(values, object), "w"), tmp_path)

    assert weights.compare(constant("a", "b"), constant("a", "c")).changed == 1
    assert weights.compare(constant("a", "b"), constant("a", "b")).changed == 0


def test_numbers_in_attributes_are_weights(tmp_path: Path) -> None:
    def classifier(coefficients: list[float]) -> onnx.ModelProto:
        node = helper.make_node("LinearClassifier", ["x"], ["l", "y"], domain="ai.onnx.ml", coefficients=coefficients)
        return helper.make_model(helper.make_graph([node], "g", [], []))

    one, other = classifier([1.0, 2.0]), classifier([1.0, 2.5])
    assert changes(one, other).same
    (changed,) = weights.compared(weights.constants(one, tmp_path), weights.constants(other, tmp_path)).changed
    assert (changed.name, changed.changed, changed.largest) == ("l.coefficients", 1, 0.5)


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT8E4M3FN", "INT4", "UINT16", "DOUBLE"])
def test_all_types_of_weights_are_compared(tmp_path: Path, kind: str) -> None:
    def read(name: str, first: float) -> weights.Tensor:
        tensor = helper.make_tensor("w", getattr(TensorProto, kind), [2000], [first] + [1.0] * 1999)
        graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [tensor])
        onnx.save(helper.make_model(graph), tmp_path / name)
        return weights.constants(outline.read(tmp_path / name), tmp_path)["w"]

    found = weights.compare(read("one.onnx", 2.0), read("other.onnx", 4.0))
    assert (found.changed, found.largest, found.trouble) == (1, 2.0, "")


def test_large_weights_are_read_in_parts(tmp_path: Path) -> None:
    values = np.zeros(LARGE, "float32")
    for name, last in (("one", 0.0), ("other", 3.0)):
        values[-1] = last
        graph = helper.make_graph(
            [helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [numpy_helper.from_array(values, "w")]
        )
        onnx.save(helper.make_model(graph), tmp_path / f"{name}.onnx")
    sides = [weights.constants(outline.read(tmp_path / f"{name}.onnx"), tmp_path)["w"] for name in ("one", "other")]
    tracemalloc.start()
    found = weights.compare(*sides)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.changed, found.largest) == (1, 3.0)
    assert peak < 2 * values.nbytes + 8 * 8 * weights.PART


def test_data_outside_of_the_version_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"0" * 4096)
    (tmp_path / "version").mkdir()
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0] * 4)
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    outside = weights.Tensor("w", tensor, tmp_path / "version")
    assert "outside of the version" in weights.compare(outside, outside).trouble


def test_weights_beside_the_model_are_compared(tmp_path: Path) -> None:
    large = np.ones((8, 300), "float32"), np.ones((300, 3), "float32")
    moved = large[0], large[1] + 0.5
    repository = repository_of(tmp_path, [net(*large), net(*moved)], beside="weights.data")
    found = compared(repository, "net", 1, 2, ask=False)
    assert "weights.data" in {each.name for each in found.files}
    assert found.weights
    (changed,) = found.weights.changed
    assert changed.name == "w2"
    assert changed.relative == pytest.approx(0.5)


def test_answers_say_what_changed_of_an_output(tmp_path: Path) -> None:
    repository = repository_of(tmp_path, [net(), net(second=-SECOND)])
    found = compared(repository, "net", 1, 2).answers
    assert found
    (output,) = found.outputs
    assert found.cases >= answers.ROWS
    assert output.top1 is not None
    assert output.top1 < 0.5
    assert not found.equal
    same = answers.compared(repository, "net", [(1, tmp_path / "net/1/model.onnx")] * 2, None)
    assert same.equal
    assert same.outputs[0].top1 == 1


def test_a_version_that_takes_other_inputs_has_no_answers_to_compare(tmp_path: Path) -> None:
    repository = repository_of(tmp_path, [net(), net(np.ones((9, 4), "float32"))])
    found = compared(repository, "net", 1, 2).answers
    assert found
    assert found.trouble.startswith("version 2 does not answer: ")
    assert found.cases == 0


def test_golden_requests_are_asked_if_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(repository: Repository, name: str, version: int) -> object:
        asked = np.full((2, 8), version, "float32")
        return SimpleNamespace(requests=[SimpleNamespace(inputs={"x": asked})])

    monkeypatch.setattr("importlib.import_module", lambda _: SimpleNamespace(read=read))
    repository = repository_of(tmp_path, [net(), net(second=SECOND + 1)])
    found = compared(repository, "net", 1, 2).answers
    assert found
    assert (found.kind, found.cases) == ("golden requests", 2)


def test_a_graph_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    repository = repository_of(tmp_path, [net(), net()])
    (tmp_path / "net/2/model.onnx").write_bytes(b"not a model")
    found = compared(repository, "net", 1, 2)
    assert found.graph is None
    assert any("can't be compared" in note for note in found.notes)


@pytest.mark.parametrize(
    ("written", "damaged", "said"),
    [
        (b"Softmax", b"Soft\xffax", "a name in it is not UTF-8"),
        (b"\x08\x08\x04\x10\x01", b"\x08\x08\x04\x10\x58", "a type that this release of onnx does not know"),
    ],
)
def test_a_damaged_graph_is_a_note(tmp_path: Path, written: bytes, damaged: bytes, said: str) -> None:
    repository = repository_of(tmp_path / "models", [net(), net()])
    model = tmp_path / "models/net/2/model.onnx"
    assert written in model.read_bytes()
    model.write_bytes(model.read_bytes().replace(written, damaged, 1))
    found = compared(repository, "net", 1, 2)
    assert found.graph is None
    assert any(said in note for note in found.notes)
    assert [each.version for each in rebuilt(repository, ["net"])] == [1, 2]


def test_files_of_other_backends_are_compared_as_a_whole(tmp_path: Path) -> None:
    repository = repository_of(tmp_path, [net(), net()])
    for number in (1, 2):
        (tmp_path / f"net/{number}/model.onnx").rename(tmp_path / f"net/{number}/model.plan")
    (tmp_path / "net/2/model.plan").write_bytes(b"another")
    found = compared(repository, "net", 1, 2)
    (changed,) = found.files
    assert (changed.name, changed.after) == ("model.plan", 7)
    assert (found.graph, found.weights, found.answers) == (None, None, None)


def test_a_version_whose_folder_is_missing_is_refused(published: Repository) -> None:
    shutil.rmtree(published.root / "linear/1")
    with pytest.raises(RepositoryError, match="can't compare version 1 of linear: its folder is missing"):
        compared(published, "linear", 1, 2)


def test_a_model_that_served_in_a_rollback_is_compared_by_its_own_configuration(published: Repository) -> None:
    first = published.manifests("linear")[0]
    assert replace(first, version=1) == first
    (published.root / "linear/config.pbtxt").write_text(first.config)
    found = compared(published, "linear")
    assert (found.one, found.other, found.notes) == (1, 2, ())
