"""A server's configuration, compared with the one that is predicted."""

from typing import Any

import pytest

from modelrepo.generator.repository.lifecycle.predicted import disagreement

WRITTEN = """
max_batch_size: 4
input { name: "a" data_type: TYPE_FP32 dims: [ 1, 2 ] }
output { name: "b" data_type: TYPE_FP32 dims: [ 2 ] }
instance_group { kind: KIND_AUTO count: 1 }
parameters { key: "k" value { string_value: "v" } }
"""
# As the server answers what is written there.
ANSWERED: dict[str, Any] = {
    "name": "m",
    "max_batch_size": 4,
    "version_policy": {"latest": {"num_versions": 1}},
    "input": [{"name": "a", "data_type": "TYPE_FP32", "dims": [1, 2], "allow_ragged_batch": False}],
    "output": [{"name": "b", "data_type": "TYPE_FP32", "dims": [2]}],
    "instance_group": [{"name": "m_0", "kind": "KIND_CPU", "count": 1}],
    "optimization": {"input_pinned_memory": {"enable": True}, "output_pinned_memory": {"enable": True}},
    "parameters": {"k": {"string_value": "v"}},
    "runtime": "model.py",
}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({}, None),
        ({"max_batch_size": 5}, "max_batch_size is 5 instead of 4"),
        ({"input": [{**ANSWERED["input"][0], "dims": [1, 3]}]}, "input[0].dims[1] is 3 instead of 2"),
        ({"input": []}, "input is nothing instead of"),
        ({"instance_group": [{"name": "m_0", "kind": "KIND_CPU", "count": 2}]}, "instance_group[0].count is 2 instead"),
        ({"parameters": {}}, "parameters is nothing instead of"),
        ({"parameters": {"k": {"string_value": "w"}}}, "parameters.k.string_value is w instead of v"),
        ({"dynamic_batching": {}}, "dynamic_batching is {} instead of nothing"),
        ({"instance_group": [{"name": "m_0", "kind": "KIND_GPU", "count": 1, "gpus": [0, 1]}]}, None),
    ],
)
def test_the_servers_configuration_is_compared_with_the_predicted_one(
    change: dict[str, Any], difference: str | None
) -> None:
    found = disagreement(WRITTEN, {**ANSWERED, **change})
    assert found is None if difference is None else difference in str(found)


def test_what_a_server_completes_is_not_compared() -> None:
    alone = [{"name": "m", "kind": "KIND_CPU", "count": 1}]
    completed = {**ANSWERED, "instance_group": alone, "parameters": {}, "dynamic_batching": {}}
    assert disagreement("max_batch_size: 0", completed) is None
    assert disagreement("max_batch_size: 0", {**completed, "response_cache": {"enable": True}})
