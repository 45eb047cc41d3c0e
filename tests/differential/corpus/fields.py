"""Fields that no other case has, so that there is a case for each field of ModelConfig."""

from tests.differential.texts import BATCHED, PLAIN, cases

GRAPH = "batch_size: 1 input { key: 'x' value { dim: [ 4 ] } }"
ACCELERATOR = "name: 'openvino' parameters { key: 'a' value: 'b' }"
METRIC = "metric_identifier { family: 'f' } histogram_options { buckets: [ 0.5, 1e3 ] }"

CASES = [
    *cases(
        "field",
        PLAIN,
        [
            ("graphs", f"optimization {{ cuda {{ graph_spec {{ {GRAPH} graph_lower_bound {{ {GRAPH} }} }} }} }}", ""),
            ("output_stream", "optimization { cuda { output_copy_stream: true } }", ""),
            ("pinned", "optimization { output_pinned_memory { enable: false } }", ""),
            (
                "accelerator",
                f"optimization {{ execution_accelerators {{ cpu_execution_accelerator {{ {ACCELERATOR} }} }} }}",
                "",
            ),
            ("agent", "model_repository_agents { agents { name: 'a' parameters { key: 'b' value: 'c' } } }", "AGENT"),
            ("resource", "instance_group { rate_limiter { resources { name: 'r' global: true count: 1 } } }", ""),
            ("buckets", f"model_metrics {{ metric_control {{ {METRIC} }} }}", "FIELD-VER"),
        ],
    ),
    *cases(
        "field_batched",
        BATCHED,
        [
            ("oldest", "sequence_batching { oldest { preserve_ordering: true } }", ""),
            (
                "override",
                "dynamic_batching { priority_levels: 1 default_priority_level: 1 "
                "priority_queue_policy { key: 1 value { allow_timeout_override: true } } }",
                "",
            ),
        ],
    ),
]
