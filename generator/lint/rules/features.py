"""What the server itself does for a model: its response cache, its metrics, its repository agents."""

from collections.abc import Iterator
from itertools import pairwise

from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case

# The agents of NVIDIA's images.
AGENTS = ("checksum",)
METRIC_FAMILIES = ("nv_inference_first_response_histogram_ms",)


def cache(case: Case) -> Iterator[Problem]:
    """Find a response cache of a sequence model, or of a decoupled one."""
    config = case.config.message
    if not config.response_cache.enable:
        return
    place = case.config.place("response_cache", "enable")
    words = f"Response Cache does not currently support model {case.model.name} with"
    if config.HasField("sequence_batching"):
        yield refused(place, f"{words} sequence batching scheduler. Please disable the response cache.", CACHE.write)
    if config.model_transaction_policy.decoupled:
        reason = f"{words} 'decoupled' transaction policy. Please disable the response cache."
        yield refused(place, reason, CACHE.write)


def cache_off(case: Case) -> Iterator[Problem]:
    """Find a response cache, which the server may not have."""
    config = case.config.message
    if config.response_cache.enable and not any(cache(case)):
        says = "Triton caches nothing unless it is started with --cache-config"
        yield Problem(case.config.place("response_cache", "enable"), says, CACHE_OFF.write)


def metrics(case: Case) -> Iterator[Problem]:
    """Find model metrics without a family, or without buckets."""
    for number, control in enumerate(case.config.message.model_metrics.metric_control):
        place = case.config.place("model_metrics", "metric_control", number)
        if not control.HasField("metric_identifier"):
            yield refused(place, "metric control must specify 'metric_identifier'", METRICS.write)
        elif not control.metric_identifier.family:
            yield refused(place, "metric identifier must specify non-empty 'family'", METRICS.write)
        elif not control.HasField("histogram_options"):
            yield refused(place, "metric control must specify 'histogram_options'", METRICS.write)
        elif not control.histogram_options.buckets:
            yield refused(place, "histogram options must specify non-empty 'buckets'", METRICS.write)


def descending(case: Case) -> Iterator[Problem]:
    """Find buckets that do not ascend."""
    for number, control in enumerate(case.config.message.model_metrics.metric_control):
        buckets = list(control.histogram_options.buckets)
        for position, (before, after) in enumerate(pairwise(buckets), 1):
            if not before < after:
                path = ("metric_control", number, "histogram_options", "buckets", position)
                says = f"Triton loads the model, and counts wrongly: {after:g} stands behind {before:g}"
                yield Problem(case.config.place("model_metrics", *path), says, BUCKETS.write)
                break


def other_family(case: Case) -> Iterator[Problem]:
    """Find families of metrics that have no settings."""
    for number, control in enumerate(case.config.message.model_metrics.metric_control):
        family = control.metric_identifier.family
        if family and family not in METRIC_FAMILIES:
            place = case.config.place("model_metrics", "metric_control", number, "metric_identifier", "family")
            yield Problem(place, f"Triton ignores the settings of {family}, and logs it", FAMILY.write)


def agents(case: Case) -> Iterator[Problem]:
    """Find agents that NVIDIA's images do not have."""
    for number, agent in enumerate(case.config.message.model_repository_agents.agents):
        if agent.name not in AGENTS:
            words = f"unable to find 'libtritonrepoagent_{agent.name}.so' for repo agent '{agent.name}'"
            place = case.config.place("model_repository_agents", "agents", number, "name")
            yield refused(place, words, AGENT.write)


def no_agent(case: Case) -> Iterator[Problem]:
    """Find a list of agents without any."""
    config = case.config.message
    if config.HasField("model_repository_agents") and not config.model_repository_agents.agents:
        says = "Triton is killed by a segmentation fault when it reads the configuration, and serves no model at all"
        yield Problem(case.config.place("model_repository_agents"), says, NO_AGENT.write)


CACHE = Rule(
    code="CACHE",
    severity="error",
    title="a response cache of a sequence model or a decoupled one",
    triton='Triton refuses the model: "Response Cache does not currently support model".',
    write="Leave response_cache out",
    check=cache,
    seen="2.51",
)
CACHE_OFF = Rule(
    code="CACHE-OFF",
    severity="information",
    title="a response cache",
    triton="Triton ignores it unless the server is started with --cache-config.",
    write="Start the server with --cache-config, or leave response_cache out",
    check=cache_off,
    seen="2.51",
)
METRICS = Rule(
    code="METRICS",
    severity="error",
    title="a metric without its family or its buckets",
    triton='Triton refuses the model: "metric control must specify \'metric_identifier\'", "metric identifier must '
    "specify non-empty 'family'\", \"metric control must specify 'histogram_options'\" or \"histogram options must "
    "specify non-empty 'buckets'\".",
    write="Write metric_identifier with a family, and histogram_options with buckets",
    check=metrics,
    source="core/src/model_config_utils.cc",
    since="24.11",
)
BUCKETS = Rule(
    code="METRICS-ORDER",
    severity="warning",
    title="the buckets of a histogram do not ascend",
    triton="Triton loads the model. An observation is counted in the first bucket that is not below it, so that the "
    "buckets behind a larger one stay empty.",
    write="Write the buckets in ascending order",
    check=descending,
    source="core: src/metric_model_reporter.cc; prometheus-cpp 1.0.1: core/src/histogram.cc",
    since="24.11",
)
FAMILY = Rule(
    code="METRICS-FAMILY",
    severity="warning",
    title="a family of metrics that has no settings",
    triton="Triton ignores it: nv_inference_first_response_histogram_ms alone has settings.",
    write="Write nv_inference_first_response_histogram_ms, or leave this metric_control out",
    check=other_family,
    source="core/src/metric_model_reporter.cc",
    since="24.11",
)
AGENT = Rule(
    code="AGENT",
    severity="error",
    title="a repository agent that the server does not have",
    triton='Triton refuses the model: "unable to find … for repo agent".',
    write="Write checksum, the agent of NVIDIA's images, or ignore this rule if your server has this one",
    check=agents,
    seen="2.51",
)
NO_AGENT = Rule(
    code="AGENT-NONE",
    severity="error",
    title="model_repository_agents without agents",
    triton="Triton is killed by a segmentation fault when it reads the configuration: no model is served.",
    write="Leave model_repository_agents out",
    check=no_agent,
    seen="2.51",
)
RULES = (CACHE, CACHE_OFF, METRICS, BUCKETS, FAMILY, AGENT, NO_AGENT)
