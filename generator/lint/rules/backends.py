"""What a whole backend does not do: a release without it, decoupled answers, optional inputs."""

from collections.abc import Iterator

from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import place_of, served
from modelrepo.generator.lint.subject import Case

# Backends that answer every request once. DALI's, Python's and vLLM's are among the others.
ONCE = ("onnxruntime", "tensorrt", "openvino", "pytorch", "tensorflow")
# Those whose ``BackendModel`` is made without ``allow_optional``.
WITHOUT_OPTIONAL = ("tensorrt", "openvino", "pytorch", "tensorflow")


def gone(case: Case) -> Iterator[Problem]:
    """Find models of the tensorflow backend."""
    found = served(case, "tensorflow")
    if found:
        field = "backend" if found.config.backend else "platform"
        said = "Triton refuses the model: \"unable to find backend library for backend 'tensorflow'\""
        yield Problem(place_of(case, field), said, GONE.write)


def decoupled(case: Case) -> Iterator[Problem]:
    """Find decoupled models of backends that answer once."""
    if case.config.message.model_transaction_policy.decoupled:
        for backend in ONCE:
            if served(case, backend):
                said = f"{backend} answers every request once, and Triton refuses requests over HTTP and unary gRPC: "
                said += '"doesn\'t support models with decoupled transaction policy"'
                place = place_of(case, "model_transaction_policy", "decoupled")
                yield Problem(place, said, DECOUPLED.write)


def optional(case: Case) -> Iterator[Problem]:
    """Find optional inputs of backends that have none."""
    for backend in WITHOUT_OPTIONAL:
        for number, tensor in enumerate(case.config.message.input) if served(case, backend) else ():
            if tensor.optional:
                said = f"'optional' is set to true for input '{tensor.name}' while the backend model doesn't support "
                said += "optional input"
                place = place_of(case, "input", number, "optional")
                yield Problem(place, f'Triton refuses the model: "{said}"', OPTIONAL.write)


GONE = Rule(
    code="TF-GONE",
    severity="error",
    title="the release has no tensorflow backend",
    triton="Triton refuses the model: \"unable to find backend library for backend 'tensorflow'\". The containers have "
    "none since 25.03.",
    write="Serve the model as ONNX: modelrepo generate converts a SavedModel",
    check=gone,
    source="triton-inference-server/server, pull request 8068",
    needs_config=False,
    since="25.03",
)
DECOUPLED = Rule(
    code="DECOUP",
    severity="warning",
    title="decoupled is true, and the backend answers every request once",
    triton="Triton loads the model, and refuses requests over HTTP and unary gRPC; only streams remain.",
    write="Take out model_transaction_policy",
    check=decoupled,
    source="server/src/http_server.cc and grpc/infer_handler.cc",
)
OPTIONAL = Rule(
    code="OPTIONAL",
    severity="error",
    title="an input is optional, and the backend has no optional inputs",
    triton="Triton refuses the model: \"'optional' is set to true for input '…' while the backend model doesn't "
    'support optional input". TensorRT, OpenVINO, PyTorch and TensorFlow have none.',
    write="Take out optional",
    check=optional,
    decided_by="backend",
    source="backend/src/backend_model.cc",
)
RULES = (GONE, DECOUPLED, OPTIONAL)
