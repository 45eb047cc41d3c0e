"""The optimizers in SavedModels that Keras 2 has trained: TensorFlow can't make them again without Keras 2.

It fails with "'_UserObject' object has no attribute 'add_slot'" (tensorflow/tensorflow#52091): it asks the optimizer
for its variables, and knows the class of the optimizer only if Keras 2 is loaded. No signature needs them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelrepo.generator.sources.tensorflow import tensorflow

# Keras 2's name for every optimizer with such variables.
IDENTIFIER = "optimizer"


@contextmanager
def forgotten() -> Iterator[None]:
    """Let TensorFlow read optimizers of Keras 2 as objects that hold nothing, unless Keras 2 is loaded."""
    from tensorflow.python.saved_model import revived_types

    types = revived_types._REVIVED_TYPE_REGISTRY
    if IDENTIFIER in types:
        yield
        return
    made = revived_types.VersionedTypeRegistration(
        object_factory=lambda proto: _optimizer(),
        version=1,
        min_producer_version=1,
        min_consumer_version=1,
        setter=lambda owner, name, value: None,
    )
    revived_types.register_revived_type(IDENTIFIER, lambda found: False, versions=[made])
    try:
        yield
    finally:
        del types[IDENTIFIER]  # Keras 2, if it is loaded later, registers its own
        revived_types._TYPE_IDENTIFIERS.remove(IDENTIFIER)


def _optimizer() -> Any:
    """Return a trackable object with the methods of an optimizer that loading calls."""
    library = tensorflow()

    class Optimizer(library.__internal__.tracking.AutoTrackable):  # type: ignore[misc, name-defined]
        def add_slot(self, var: Any, slot_name: str) -> Any:
            return library.Variable(library.zeros_like(var), trainable=False, name=slot_name)

        def _create_or_restore_slot_variable(self, **_: Any) -> None:
            """Restore nothing."""

    return Optimizer()
