"""Triton's reasons, as it wrote them, and what we say about them."""

import re
from pathlib import Path

import pytest

from modelrepo.server.running.explained import explained
from modelrepo.server.running.words import ROWS
from tests.conftest import PROJECT

UNPARSED = "failed to read text proto from /m/net/config.pbtxt: "
# Recorded from Triton 2.51, but for those of shared memory and of a server that stops, which are in its binaries.
RECORDED = {
    "version 5 is specified for model 'net', but the version directory is not present": (
        "config.pbtxt asks for version 5 too, and there are 1 to 4. Take 5 out of version_policy"
    ),
    f'{UNPARSED}9:14: Message type "inference.ModelConfig" has no field named "max_batchsize".': (
        'line 9 of config.pbtxt: Triton has no field "max_batchsize". Did you mean max_batch_size?'
    ),
    f'{UNPARSED}4:24: Message type "inference.ModelInstanceGroup" has no field named "counts".': "Did you mean count?",
    f'{UNPARSED}8:36: Message type "inference.ModelVersionPolicy.Specific" has no field named "version".': (
        'line 8 of config.pbtxt: Triton has no field "version". Did you mean versions?'
    ),
    f"{UNPARSED}3:17: Expected integer, got: sixteen": (
        "line 3 of config.pbtxt: a whole number belongs there, not sixteen. Correct that line"
    ),
    f'{UNPARSED}5:39: Unknown enumeration value of "FP32" for field "data_type".': (
        "line 5 of config.pbtxt: data_type can't be FP32. Did you mean TYPE_FP32?"
    ),
    f'{UNPARSED}5:44: Unknown enumeration value of "type_fp32" for field "data_type".': "Did you mean TYPE_FP32?",
    f'{UNPARSED}4:37: Unknown enumeration value of "CPU" for field "kind".': (
        "line 4 of config.pbtxt: kind can't be CPU. Did you mean KIND_CPU?"
    ),
    f'{UNPARSED}5:34: Expected integer or identifier, got: "TYPE_FP32"': (
        "line 5 of config.pbtxt: TYPE_FP32 is in quotes. Write it without quotes"
    ),
    f"{UNPARSED}5:33: Expected integer or identifier, got:": "config.pbtxt ends too early, in line 5",
    f"{UNPARSED}1:1: Expected identifier, got: {{": "config.pbtxt does not begin with the name of a field",
    f"{UNPARSED}5:15: Expected string, got: input": "line 5 of config.pbtxt: a text in quotes belongs there, not input",
    f'{UNPARSED}3:16: Expected ":", found "8".': 'line 3 of config.pbtxt: ":" belongs before 8. Correct that line',
    f'{UNPARSED}8:17: Expected "{{", found ""latest"".': 'line 8 of config.pbtxt: "{" belongs before "latest"',
    f'{UNPARSED}9:30: Invalid value for boolean field "enable". Value: "yes".': (
        "line 9 of config.pbtxt: enable is true or false, not yes"
    ),
    f"{UNPARSED}5:50: Expected integer, got: (": "a whole number belongs there, not (",
    f"{UNPARSED}10:1: Expected identifier, got:": "config.pbtxt ends too early, in line 10. Close every brace",
    f'{UNPARSED}9:18: Non-repeated field "dynamic_batching" is specified multiple times.': (
        "line 9 of config.pbtxt: dynamic_batching excludes something that is written above it, or is written twice"
    ),
    "failed to open text file for read /m/net/config.pbtxt: No such file or directory": (
        "the folder has no config.pbtxt, so it is not a model. Add that file"
    ),
    "failed to open text file for read /m/net/nolabels.txt: No such file or directory": (
        "config.pbtxt names the file nolabels.txt, which is not in the model's folder"
    ),
    "unable to find '/m/net/3/model.onnx'": "version 3 lacks its file model.onnx. Copy the file into the folder 3",
    "onnx runtime error: [ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /m/net/4/model.onnx failed:"
    "Protobuf parsing failed.": "model.onnx of version 4 is incomplete, or is not an ONNX model. Copy it again",
    "failed to poll model repository '/m': failed to open directory /m": (
        "/m can't be read; as long as a poll can't read the repository, Triton unloads every model"
    ),
    "failed to stat file /m/net/3/net.onnx": "version 3 lacks its file net.onnx. Copy the file into the folder 3",
    "failed to stat file /m/net/x": "/m/net/x can't be read. Mend or remove that one entry",
    "unexpected directory name 'net' for model 'other', directory name must equal model name": (
        "the folder is called net, and config.pbtxt calls the model other. Correct name in config.pbtxt"
    ),
    "failed to poll model 'linear': not unique across all model repositories": (
        "two repositories have a model called linear"
    ),
    "failed to poll model 'nothere': model not found in any model repository.": "the repository has no folder nothere",
    "unable to find backend library for backend 'onnxrt', try specifying runtime on the model configuration.": (
        "this server has no backend called onnxrt; the local server has onnxruntime and python"
    ),
    "Invalid model name: Could not determine backend for model 'net' with no backend in model configuration. Expected "
    "model name of the form 'model.<backend_name>'.": "config.pbtxt names no backend, and no file in the folder tells",
    "instance group gpu_0 of model gpu has kind KIND_GPU but no GPUs are available": (
        "config.pbtxt asks for a GPU, and this server has none. Serve it with --cpu-overlay"
    ),
    "KIND_GPU instances are not available in the local server": "config.pbtxt asks for a GPU, and this server has none",
    "tensor 'input': the model expects 2 dimensions (shape [-1,4]) but the model configuration specifies 2 dimensions "
    "(an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete "
    "shape [-1,5])": (
        "the shape of input is [-1,4] in the model and [-1,5] in config.pbtxt, with the batch dimension. Correct its"
    ),
    "tensor 'input': the model expects 2 dimensions (shape [-1,4]) but the model configuration specifies 1 dimensions "
    "(shape [4])": (
        "the shape of input is [-1,4] in the model and [4] in config.pbtxt. Correct its dims or max_batch_size"
    ),
    "configuration expects datatype TYPE_INT64 for input 'input', model provides TYPE_FP32": (
        "the input input is TYPE_FP32 in the model and TYPE_INT64 in config.pbtxt. Correct its data_type"
    ),
    "unexpected inference input 'inputs', allowed inputs are: input": (
        "config.pbtxt has an input inputs, and the model has input. Correct its name"
    ),
    "configuration expects 0 inputs, model provides 1": (
        "the number of inputs is 1 in the model and 0 in config.pbtxt. List every input"
    ),
    "dynamic batching preferred size must be <= max batch size for net": (
        "preferred_batch_size is larger than max_batch_size"
    ),
    "model input 'input' dimension must be integer >= 1, or -1 to indicate a variable-size dimension for net": (
        "dims of the input input has a number that is neither -1, for any size, nor at least 1"
    ),
    "model input 'input' must specify 'data_type' for net": "the input input has no data_type in config.pbtxt. Add it",
    "ensemble ens contains models that are not available or ambiguous: nothere": (
        "the ensemble needs nothere, and the server has no such model"
    ),
    "ensemble 'ens' depends on 'linear' whose required version 0 is not loaded.": (
        "the ensemble asks for version 0 of linear, which is not served. Write model_version: -1"
    ),
    "ensemble ens allows maximum batch size 64, but it contains model linear which only allows maximum batch size to "
    "be 8": "the ensemble takes batches of 64, and its member linear takes 8. Write max_batch_size: 8",
    "in ensemble ens, ensemble tensor input is mapping to non-existing input inp in model linear": (
        "the ensemble names an input inp of linear, which has no such input"
    ),
    "in ensemble ens, ensemble tensor out is mapped from non-existing output outp in model linear": (
        "the ensemble names an output outp of linear, which has no such output"
    ),
    "creating server: Internal - failed to load all models": "a model was refused, and this server ends then",
    "failed to start HTTP service: Unavailable - Socket '127.0.0.1:43289' already in use ": (
        "another process uses that port. Stop that process or choose another port"
    ),
    "Unable to initialize shared memory key 'triton_python_backend_shm_region_1' to requested size (1048576 bytes). If "
    "you are running Triton inside docker, use '--shm-size' flag to control the shared memory region size.": (
        "the shared memory of this machine or container, /dev/shm, is full or too small"
    ),
    "Server is stopping, scheduler for model has stopped accepting new inference requests": (
        "the server is shutting down"
    ),
    "explicit model load / unload is not allowed if polling is enabled": (
        "clients can't load or unload models of this server. Start it with --control explicit"
    ),
    "unexpected shape for input 'input' for model 'linear'. Expected [-1,4], got [1,5]. NOTE: Setting a non-zero "
    "max_batch_size in the model config requires a batch dimension to be prepended to each input shape.": (
        "linear takes input in the shape [-1,4], where -1 is any size, and was given [1,5]"
    ),
    "inference request batch-size must be <= 8 for 'linear'": "linear takes at most 8 rows in a request. Split",
    "inference input 'input' data-type is 'INT64', but model 'linear' expects 'FP32'": (
        "linear takes input as FP32, and was given INT64"
    ),
    "unexpected inference input 'x' for model 'linear'": "linear has no input x",
    "unexpected inference output 'nope' for model 'linear'": "linear has no output nope",
    "expected 1 inputs but got 0 inputs for model 'linear'. Got input(s) [], but missing required input(s) ['input']. "
    "Please provide all required input(s).": "a request lacks 'input'; the first ones are those of model_warmup",
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running ConstantOfShape node. Name:'' Status "
    "Message: tensor.cc:57 CalculateTensorStorageSize Tensor shape.Size() must be >= 0": (
        "the model itself can't compute with these values: its operator ConstantOfShape failed. Send values"
    ),
    "Request for unknown model: 'linear' version 7 is not found": "version 7 of linear is not served",
    "Request for unknown model: 'nothere' is not found": "the server has no model nothere",
    "Request for unknown model: 'fill' has no available versions": (
        "fill is known to the server, but no version of it is loaded"
    ),
}
# Made up, for errors of the text that have no row of their own.
UNKNOWN_SYNTAX, WITHOUT_PLACE = f"{UNPARSED}4:7: Something else", UNPARSED.removesuffix(": ")
POLICY = "at least one version must be available under the version policy of model 'net'"


def model(folder: Path, config: str = "", versions: str = "1234") -> Path:
    net = folder / "net"
    net.mkdir()
    for version in versions:
        (net / version).mkdir()
    (net / "config.pbtxt").write_text(config)
    return net


@pytest.mark.parametrize("words", RECORDED)
def test_a_reason_is_explained_and_quoted(words: str, tmp_path: Path) -> None:
    said = explained(words, model(tmp_path))
    assert RECORDED[words] in said
    assert said.endswith(f'(Triton: "{words}")')
    assert "\n" not in said


def test_every_row_of_the_table_is_tried() -> None:
    tried = [*RECORDED, POLICY, "stoll", UNKNOWN_SYNTAX, WITHOUT_PLACE]
    assert {next(row for row in ROWS if re.search(row.pattern, words)) for words in tried} == set(ROWS)


@pytest.mark.parametrize(
    ("config", "versions", "said"),
    [
        ("version_policy { specific { versions: [ 5 ] } }", "1234", "asks for version 5, and there are 1 to 4"),
        ("version_policy { specific { versions: [ 5, 7 ] } }", "124", "version 5 and 7, and there are 1, 2 and 4"),
        ("version_policy { specific { versions: [ 2 ] } }", "1", "asks for version 2, and there is only 1"),
        ("version_policy { specific { } }", "1", "selects no version, and there is only 1"),
        ("", "", "the model's folder has no version"),
    ],
)  # fmt: skip
def test_a_version_policy_is_explained_with_what_is_there(
    config: str, versions: str, said: str, tmp_path: Path
) -> None:
    assert said in explained(POLICY, model(tmp_path, config, versions))


def test_a_version_number_that_ends_the_server_is_named(tmp_path: Path) -> None:
    (model(tmp_path) / "20241031123456789012").mkdir()
    assert explained("stoll", tmp_path).startswith("net/20241031123456789012 is too large for a version number")


def test_a_dangling_link_is_named_with_its_target(tmp_path: Path) -> None:
    link = tmp_path / "dangling"
    link.symlink_to("/nonexistent/x")
    said = explained(f"failed to poll model repository '{tmp_path}': failed to stat file {link}", tmp_path)
    assert said.startswith(f"{link} is a link to /nonexistent/x, which is not there; as long as a poll can't read")


def test_a_folder_without_a_configuration_is_no_model(tmp_path: Path) -> None:
    words = "Invalid model name: Could not determine backend for model 'net' with no backend in model configuration."
    assert explained(words, tmp_path).startswith("the folder has no config.pbtxt, so it is not a model")


def test_a_text_that_cannot_be_read_for_another_reason_has_its_place() -> None:
    assert explained(UNKNOWN_SYNTAX).startswith("config.pbtxt can't be read: line 4, column 7. Correct that line")
    assert explained(WITHOUT_PLACE).startswith("config.pbtxt can't be read. Correct its text")


def test_a_field_of_an_unknown_message_has_no_suggestion() -> None:
    words = f'{UNPARSED}9:14: Message type "inference.Unheard" has no field named "unheard".'
    assert 'Triton has no field "unheard". Correct its spelling, or remove it' in explained(words)


def test_an_unknown_reason_stays_as_it_is() -> None:
    assert explained("something new") == "something new"


def test_what_is_explained_is_not_explained_again(tmp_path: Path) -> None:
    once = explained("stoll", tmp_path)
    assert explained(f"Triton ended: {once}") == f"Triton ended: {once}"


def test_the_reference_lists_what_triton_says(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = model(tmp_path, "version_policy { specific { versions: [ 5 ] } }")
    rows = ["| Triton says | meaning, and what to do |", "|---|---|"]
    for words in (POLICY, *RECORDED):
        said = explained(words, folder).removesuffix(f' (Triton: "{words}")')
        rows.append(f"| {_cell(words)} | {_cell(said)}{'' if said.endswith('?') else '.'} |")
    text = (
        "# What Triton says\n\n<!-- Made from the code: pytest --update-goldens -->\n\n"
        "`serve`, the live check, `infer`, `bench` and `compare` explain Triton's reasons, and quote them in brackets. "
        "Names, versions and paths here are examples; a message has those of your repository. Everything was seen on "
        "Triton 2.51, but for the two on shared memory and on a server that is stopping, which were read in its "
        "binaries. A reason that is not listed is shown as it is.\n\n" + "\n".join(rows) + "\n"
    )
    page = PROJECT / "docs/reference/triton-messages.md"
    if request.config.getoption("--update-goldens"):
        page.write_text(text, "utf-8")
    assert page.read_text("utf-8") == text


def _cell(text: str) -> str:
    """Return a text for a cell of a Markdown table: no part of it is markup."""
    return re.sub(r"([|<>*_\[\]])", r"\\\1", text)
