"""What Triton's core fills into a configuration, as seen on 2.51."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from modelrepo.generator.lint.normalized import normalized
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.lint.text import read
from modelrepo.generator.triton.releases import release_named

LATEST = "version_policy { latest { num_versions: 1 } }"
PINNED = "optimization { input_pinned_memory { enable: true } output_pinned_memory { enable: true } }"
REST = f'name: "net" {LATEST} {PINNED}'
ONE = 'instance_group { name: "net" kind: KIND_CPU count: 1 }'


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", f"{REST} {ONE}"),
        ('backend: "onnxruntime"', f'backend: "onnxruntime" {REST} {ONE.replace("count: 1", "count: 2")}'),
        (
            "max_batch_size: 8 dynamic_batching { }",
            f"max_batch_size: 8 {REST} {ONE} dynamic_batching {{ preferred_batch_size: 8 }}",
        ),
        ("dynamic_batching { }", f"{REST} {ONE} dynamic_batching {{ }}"),
        (
            "max_batch_size: 4 sequence_batching { oldest { } }",
            f"max_batch_size: 4 {REST} {ONE} sequence_batching "
            "{ max_sequence_idle_microseconds: 1000000 oldest { preferred_batch_size: 4 } }",
        ),
        (
            "instance_group [ { kind: KIND_CPU }, { count: 2 kind: KIND_MODEL } ]",
            f'{REST} instance_group [ {{ name: "net_0" kind: KIND_CPU count: 1 }}, '
            '{ name: "net_1" kind: KIND_MODEL count: 2 } ]',
        ),
        (
            "ensemble_scheduling { } model_transaction_policy { decoupled: true }",
            f'name: "net" {LATEST} ensemble_scheduling {{ }} model_transaction_policy {{ }}',
        ),
        (
            "ensemble_scheduling { step { model_namespace: 'a' } }",
            f'name: "net" {LATEST} ensemble_scheduling {{ step {{ }} }} model_transaction_policy {{ }}',
        ),
    ],
)
def test_the_core_fills_in(text: str, filled: str) -> None:
    message = read(Path("config.pbtxt"), text).message
    expected = text_format.Parse(filled, model_config_pb2.ModelConfig())
    made = normalized(message, "net", Host(release_named("24.10"), gpus=0))
    assert made.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
