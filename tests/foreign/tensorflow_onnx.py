"""tensorflow-onnx's backend tests: each function as a SavedModel."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.specs.tensors import Array, Arrays
from tests.foreign.case import Given, Suite, Task
from tests.foreign.unit_tests import Enough, module_of, outcome

# The tests also go by TensorFlow Lite and TensorFlow.js, unless told not to.
ONLY_TENSORFLOW = {"TF2ONNX_SKIP_TFLITE_TESTS": "TRUE", "TF2ONNX_SKIP_TFJS_TESTS": "TRUE"}


def given(task: Task, folder: Path) -> Given | None:
    """Return the function of a test's first ``run_test_case`` as a SavedModel, with the test's shapes."""
    module, name = _test(task)
    base = module_of(Path(task.checkout) / "tests", "backend_test_base").Tf2OnnxBackendTestBase
    calls: list[tuple[Any, Arrays, list[str], Mapping[str, Any]]] = []

    def record(self: Any, func: Any, feed_dict: Any, inputs: Any, outputs: Any, *args: Any, **options: Any) -> None:
        calls.append((func, feed_dict, outputs, options))
        raise Enough

    original, base.run_test_case = base.run_test_case, record
    try:
        outcome(module, name)
    finally:
        base.run_test_case = original
    if not calls:
        return None
    func, feed, outputs, options = calls[0]
    feeds = {each.partition(":")[0]: array for each, array in feed.items()}
    if options.get("as_session"):
        answers = _saved_graph(func, feeds, outputs, bool(options.get("premade_placeholders")), folder / "model")
    else:
        answers = _saved_function(func, feeds, outputs, folder / "model")
    return Given(f"savedmodel:{folder / 'model'}", feeds, lambda _, __: answers)


def _saved_function(func: Any, feeds: Arrays, outputs: list[str], folder: Path) -> Mapping[str, Array]:
    """Save a function of tensors, and return its answers by the names of the outputs."""
    import tensorflow as tf

    tf.compat.v1.reset_default_graph()
    names = [each.partition(":")[0] for each in outputs]
    specs = [tf.TensorSpec(array.shape, tf.as_dtype(array.dtype), name) for name, array in feeds.items()]

    @tf.function(input_signature=specs)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> Any:
        answer = func(*tensors)
        return dict(zip(names, answer if isinstance(answer, (list, tuple)) else [answer], strict=False))

    holder = tf.Module()
    holder.serve = serve
    concrete = serve.get_concrete_function()
    holder.variables_of_serve = list(concrete.variables)
    tf.saved_model.save(holder, str(folder), signatures=concrete)
    loaded = tf.saved_model.load(str(folder)).signatures["serving_default"]
    answer = loaded(**{name: tf.constant(array) for name, array in feeds.items()})
    return {name: np.asarray(tensor) for name, tensor in answer.items()}


def _saved_graph(func: Any, feeds: Arrays, outputs: list[str], premade: bool, folder: Path) -> Mapping[str, Array]:
    """Save a graph of TensorFlow 1 that a function builds, and return its answers by the names of the outputs."""
    import tensorflow.compat.v1 as tf1

    with tf1.Graph().as_default() as graph, tf1.Session(graph=graph) as session:
        tf1.set_random_seed(1)
        places = [] if premade else [tf1.placeholder(tf1.as_dtype(a.dtype), a.shape, n) for n, a in feeds.items()]
        func(*places)
        session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
        inputs = {name: graph.get_tensor_by_name(f"{name}:0") for name in feeds}
        wanted = {each.partition(":")[0]: graph.get_tensor_by_name(each) for each in outputs}
        answers = session.run(wanted, {inputs[name]: array for name, array in feeds.items()})
        tf1.saved_model.simple_save(session, str(folder), inputs, wanted, tf1.tables_initializer())
    return {name: np.asarray(array) for name, array in answers.items()}


def by_hand(task: Task, folder: Path) -> str:
    """Run the whole test: it converts the function, runs it with ONNX Runtime, and compares the answers."""
    return outcome(*_test(task))


def _test(task: Task) -> tuple[Any, str]:
    os.environ.update(ONLY_TENSORFLOW)
    sys.argv[:] = ["pytest"]  # the tests read the arguments of any other program
    module, _, name = task.name.partition(".")
    return module_of(Path(task.checkout) / "tests", module), name


SUITE = Suite(
    "tensorflow-onnx",
    "tensorflow-onnx",
    "Functions of TensorFlow, each saved as a SavedModel with the shapes of the test.",
    ("tensorflow-cpu", "tf2onnx"),
    given,
    by_hand,
)
