"""What Triton's core fills into a configuration before it serves the model (core/src/model_config_utils.cc)."""

from typing import Any

from modelrepo.generator.lint.subject import Host

IDLE_MICROSECONDS = 1_000_000  # SEQUENCE_IDLE_DEFAULT_MICROSECONDS
# Backends of which the core starts two instances on a CPU.
TWO_ON_CPU = ("tensorflow", "onnxruntime")


def normalized(config: Any, name: str, host: Host, calls_decoupled: bool = False) -> Any:
    """Return a copy of a ModelConfig as the core completes it, for the model of a folder ``name``.

    An ensemble is decoupled exactly if a model that it calls is (``calls_decoupled``), whatever is written.
    The backend, the platform and the file are those that the configuration has. What a backend fills in is not there,
    nor the GPUs of a host: a group on GPUs keeps the list that it has.
    """
    made = type(config)()
    made.CopyFrom(config)
    made.name = made.name or name
    if not made.HasField("version_policy"):
        made.version_policy.latest.num_versions = 1
    _fill_schedulers(made)
    if made.HasField("ensemble_scheduling"):
        made.model_transaction_policy.decoupled = calls_decoupled
        for step in made.ensemble_scheduling.step:
            step.ClearField("model_namespace")  # Triton writes the one in which it finds the model; by default none
    else:
        for memory in ("input_pinned_memory", "output_pinned_memory"):
            if not made.optimization.HasField(memory):
                getattr(made.optimization, memory).enable = True
        _fill_instances(made, host)
    return made


def _fill_schedulers(made: Any) -> None:
    batch = [made.max_batch_size] if made.max_batch_size > 0 else []
    if made.HasField("dynamic_batching") and not made.dynamic_batching.preferred_batch_size:
        made.dynamic_batching.preferred_batch_size.extend(batch)
    if made.HasField("sequence_batching"):
        sequences = made.sequence_batching
        sequences.max_sequence_idle_microseconds = sequences.max_sequence_idle_microseconds or IDLE_MICROSECONDS
        if sequences.HasField("oldest") and not sequences.oldest.preferred_batch_size:
            sequences.oldest.preferred_batch_size.extend(batch)


def _fill_instances(made: Any, host: Host) -> None:
    kinds = type(made).DESCRIPTOR.fields_by_name["instance_group"].message_type.enum_types_by_name["Kind"]
    auto, gpu, cpu = (kinds.values_by_name[f"KIND_{each}"].number for each in ("AUTO", "GPU", "CPU"))
    if not made.instance_group:
        made.instance_group.add(name=made.name)
    for number, group in enumerate(made.instance_group):
        group.name = group.name or f"{made.name}_{number}"
        if group.kind == auto:
            there = host.gpus or 0
            group.kind = gpu if there and all(0 <= each < there for each in group.gpus) else cpu
        if group.count < 1:
            group.count = 2 if group.kind == cpu and made.backend in TWO_ON_CPU else 1
