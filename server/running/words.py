"""Triton's reasons and what they mean, as a table: add a row for a reason that a user has to look up.

Rows marked [S] were read in Triton's binaries; all others were seen on Triton 2.51. The first row that fits counts.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A reason of Triton's, what it means and the next step; ``{braces}`` name groups of the pattern, or facts."""

    pattern: str
    meaning: str
    step: str


ROWS = (
    # Versions.
    Row(r"at least one version must be available under the version policy", "{policy}", "{versions_step}"),
    Row(
        r"version (?P<asked>\d+) is specified for model '[^']+', but the version directory is not present",
        "config.pbtxt asks for version {asked} too, and {there}",
        "Take {asked} out of version_policy, or publish that version",
    ),
    Row(
        r"\bstoll\b",
        "{overflowing} is too large for a version number, and Triton ends when it reads one",
        "Rename that folder to a smaller number",
    ),
    # The text of a configuration.
    Row(
        r'failed to read text proto.*: (?P<line>\d+):\d+: Message type "(?P<type>[\w.]+)" has no field named '
        r'"(?P<field>[^"]*)"',
        'line {line} of config.pbtxt: Triton has no field "{field}"',
        "{similar_field}",
    ),
    Row(
        r"failed to read text proto.*: (?P<line>\d+):\d+: Expected [^:]+, got:$",
        "config.pbtxt ends too early, in line {line}",
        "Close every brace, or copy the file again if it is incomplete",
    ),
    Row(
        r"failed to read text proto.*: 1:1: Expected identifier, got: (?P<got>.+)",
        "config.pbtxt does not begin with the name of a field",
        "Write it as lines such as name: value, not as JSON, and save it as UTF-8 without a byte order mark",
    ),
    Row(
        r"failed to read text proto.*: (?P<line>\d+):\d+: Expected integer, got: (?P<got>.+)",
        "line {line} of config.pbtxt: a whole number belongs there, not {got}",
        "Correct that line",
    ),
    Row(
        r'failed to read text proto.*: (?P<line>\d+):\d+: Unknown enumeration value of "(?P<got>[^"]*)" for field '
        r'"(?P<field>[^"]*)"',
        "line {line} of config.pbtxt: {field} can't be {got}",
        "{similar_value}",
    ),
    Row(
        r'failed to read text proto.*: (?P<line>\d+):\d+: Expected integer or identifier, got: "(?P<got>[^"]*)"',
        "line {line} of config.pbtxt: {got} is in quotes",
        "Write it without quotes",
    ),
    Row(
        r"failed to read text proto.*: (?P<line>\d+):\d+: Expected string, got: (?P<got>.+)",
        "line {line} of config.pbtxt: a text in quotes belongs there, not {got}",
        "Write it with quotes",
    ),
    Row(
        r'failed to read text proto.*: (?P<line>\d+):\d+: Expected "(?P<wanted>[^"]+)", found "(?P<got>.*)"\.',
        'line {line} of config.pbtxt: "{wanted}" belongs before {got}',
        "Correct that line",
    ),
    Row(
        r'failed to read text proto.*: (?P<line>\d+):\d+: Invalid value for boolean field "(?P<field>[^"]*)". '
        r'Value: "(?P<got>[^"]*)"',
        "line {line} of config.pbtxt: {field} is true or false, not {got}",
        "Correct that line",
    ),
    Row(
        r'failed to read text proto.*: (?P<line>\d+):\d+: Non-repeated field "(?P<field>[^"]*)" is specified',
        "line {line} of config.pbtxt: {field} excludes something that is written above it, or is written twice",
        "Remove one of the two",
    ),
    Row(
        r"failed to read text proto.*: (?P<line>\d+):(?P<column>\d+): ",
        "config.pbtxt can't be read: line {line}, column {column}",
        "Correct that line",
    ),
    Row(r"failed to read text proto", "config.pbtxt can't be read", "Correct its text"),
    # Files.
    Row(
        r"failed to open text file for read .*/config\.pbtxt: No such file",
        "the folder has no config.pbtxt, so it is not a model",
        "Add that file, or move the folder out of the repository",
    ),
    Row(
        r"failed to open text file for read .*?(?P<file>[^/]+): No such file",
        "config.pbtxt names the file {file}, which is not in the model's folder",
        "Add the file, or remove its label_filename",
    ),
    Row(
        r"unable to find '.*?(?P<version>\d+)/(?P<file>[^/']+)'",
        "version {version} lacks its file {file}",
        "Copy the file into the folder {version}, or remove that folder",
    ),
    Row(
        r"failed to stat file \S*?(?P<version>\d+)/(?P<file>[^/'\s]+\.onnx)",
        "version {version} lacks its file {file}",
        "Copy the file into the folder {version}, or remove that folder",
    ),
    Row(
        r"INVALID_PROTOBUF : Load model from .*?(?P<version>\d+)/(?P<file>[^/]+?) failed",
        "{file} of version {version} is incomplete, or is not an ONNX model",
        "Copy it again, or publish the model again",
    ),
    Row(
        r"failed to poll model repository .*: failed to (stat file|open directory) (?P<path>.+)",
        "{broken_path}; as long as a poll can't read the repository, Triton unloads every model",
        "Mend or remove that one entry",
    ),
    Row(r"failed to (stat file|open directory) (?P<path>.+)", "{broken_path}", "Mend or remove that one entry"),
    # Names and backends.
    Row(
        r"unexpected directory name '(?P<folder>[^']*)' for model '(?P<model>[^']*)'",
        "the folder is called {folder}, and config.pbtxt calls the model {model}",
        "Correct name in config.pbtxt, or rename the folder",
    ),
    Row(
        r"failed to poll model '(?P<model>[^']+)': not unique across all model repositories",
        "two repositories have a model called {model}",
        "Rename one of them, or serve one repository",
    ),
    Row(
        r"failed to poll model '(?P<model>[^']+)': model not found in any model repository",
        "the repository has no folder {model}",
        "Publish the model first, or correct its name",
    ),
    Row(
        r"unable to find backend library for backend '(?P<backend>[^']*)'",
        "this server has no backend called {backend}; the local server has {backends}",
        "Correct backend in config.pbtxt, or use --runtime docker, where NVIDIA's image has more backends",
    ),
    Row(
        r"Could not determine backend for model '[^']*'",
        "{no_backend}",
        "{backend_step}",
    ),
    Row(
        r"has kind KIND_GPU but no GPUs are available|KIND_GPU instances are not available",
        "config.pbtxt asks for a GPU, and this server has none",
        "Serve it with --cpu-overlay, or write KIND_CPU in its instance_group",
    ),
    # A configuration that differs from the model.
    Row(
        r"tensor '(?P<tensor>[^']*)'.*the model expects \d+ dimensions \(shape (?P<has>\[[^]]*\])\) but the .*"
        r"making complete shape (?P<says>\[[^]]*\])\)",
        "the shape of {tensor} is {has} in the model and {says} in config.pbtxt, with the batch dimension",
        "Correct its dims or max_batch_size in config.pbtxt",
    ),
    Row(
        r"tensor '(?P<tensor>[^']*)'.*the model expects \d+ dimensions \(shape (?P<has>\[[^]]*\])\) but the .*"
        r"\(shape (?P<says>\[[^]]*\])\)",
        "the shape of {tensor} is {has} in the model and {says} in config.pbtxt",
        "Correct its dims or max_batch_size in config.pbtxt",
    ),
    Row(
        r"configuration expects datatype (?P<says>\w+) for (?P<kind>\w+) '(?P<tensor>[^']*)', model provides "
        r"(?P<has>\w+)",
        "the {kind} {tensor} is {has} in the model and {says} in config.pbtxt",
        "Correct its data_type in config.pbtxt",
    ),
    Row(
        r"unexpected inference (?P<kind>\w+) '(?P<tensor>[^']*)', allowed \w+ are: (?P<has>.+)",
        "config.pbtxt has an {kind} {tensor}, and the model has {has}",
        "Correct its name in config.pbtxt",
    ),
    Row(
        r"configuration expects (?P<says>\d+) inputs, model provides (?P<has>\d+)",
        "the number of inputs is {has} in the model and {says} in config.pbtxt",
        "List every input of the model in config.pbtxt",
    ),
    Row(
        r"dynamic batching preferred size must be <= max batch size",
        "preferred_batch_size is larger than max_batch_size",
        "Lower the one or raise the other in config.pbtxt",
    ),
    Row(
        r"model (?P<kind>\w+) '(?P<tensor>[^']*)' dimension must be integer >= 1, or -1",
        "dims of the {kind} {tensor} has a number that is neither -1, for any size, nor at least 1",
        "Correct its dims in config.pbtxt",
    ),
    Row(
        r"model (?P<kind>\w+) '(?P<tensor>[^']*)' must specify '(?P<field>\w+)'",
        "the {kind} {tensor} has no {field} in config.pbtxt",
        "Add it",
    ),
    # Ensembles.
    Row(
        r"contains models that are not available or ambiguous: (?P<members>.+)",
        "the ensemble needs {members}, and the server has no such model",
        "Publish it, or correct model_name in the ensemble's steps",
    ),
    Row(
        r"depends on '(?P<member>[^']*)' whose required version (?P<asked>\d+) is not loaded",
        "the ensemble asks for version {asked} of {member}, which is not served",
        "Write model_version: -1 in that step for the version that is served (0 means version 0)",
    ),
    Row(
        r"allows maximum batch size (?P<own>\d+), but it contains model (?P<member>\S+) which only allows maximum "
        r"batch size to be (?P<most>\d+)",
        "the ensemble takes batches of {own}, and its member {member} takes {most}",
        "Write max_batch_size: {most} in the ensemble's config.pbtxt",
    ),
    Row(
        r"ensemble tensor (?P<tensor>\S+) is mapp(ed|ing) (from|to) non-existing (?P<kind>\w+) (?P<asked>\S+) in model "
        r"(?P<member>\S+)",
        "the ensemble names an {kind} {asked} of {member}, which has no such {kind}",
        "Correct the key in that step's map",
    ),
    # The server itself.
    Row(
        r"failed to load all models",
        "a model was refused, and this server ends then",
        "Read the reason in its log, or start it with --exit-on-error=false to serve the others",
    ),
    Row(
        r"failed to start \w+ service: .*already in use",
        "another process uses that port",
        "Stop that process or choose another port; port 0 is any free one",
    ),
    Row(
        r"Unable to initialize shared memory key",  # [S]
        "the shared memory of this machine or container, /dev/shm, is full or too small",
        "Make room there; a container gets more with --shm-size",
    ),
    Row(
        r"Server is stopping, scheduler for model has stopped",  # [S]
        "the server is shutting down",
        "Ask again when it has been started again",
    ),
    Row(
        r"explicit model load / unload is not allowed",
        "clients can't load or unload models of this server",
        "Start it with --control explicit",
    ),
    # Requests.
    Row(
        r"unexpected shape for input '(?P<tensor>[^']*)' for model '(?P<model>[^']*)'\. Expected (?P<takes>\[[^]]*\]), "
        r"got (?P<got>\[[^]]*\])",
        "{model} takes {tensor} in the shape {takes}, where -1 is any size, and was given {got}",
        "Send that shape; the first number is the batch if the model batches",
    ),
    Row(
        r"inference request batch-size must be <= (?P<most>\d+) for '(?P<model>[^']*)'",
        "{model} takes at most {most} rows in a request",
        "Split the request",
    ),
    Row(
        r"inference input '(?P<tensor>[^']*)' data-type is '(?P<got>\w+)', but model '(?P<model>[^']*)' expects "
        r"'(?P<takes>\w+)'",
        "{model} takes {tensor} as {takes}, and was given {got}",
        "Convert it before it is sent",
    ),
    Row(
        r"unexpected inference (?P<kind>\w+) '(?P<tensor>[^']*)' for model '(?P<model>[^']*)'",
        "{model} has no {kind} {tensor}",
        "Ask for its metadata, which lists its inputs and outputs",
    ),
    Row(
        r"missing required input\(s\) \[(?P<missing>'.+')\]",
        "a request lacks {missing}; the first ones are those of model_warmup in config.pbtxt, if it has any",
        "Send every input of the model",
    ),
    Row(
        r"ONNXRuntimeError\].*Non-zero status code returned while running (?P<operator>\w+) node",
        "the model itself can't compute with these values: its operator {operator} failed",
        "Send values that it takes",
    ),
    Row(
        r"Request for unknown model: '(?P<model>[^']*)' version (?P<asked>\d+) is not found",
        "version {asked} of {model} is not served",
        "Leave the version out, or ask for one that is served",
    ),
    Row(
        r"Request for unknown model: '(?P<model>[^']*)' is not found",
        "the server has no model {model}",
        "Correct the name, or load the model first",
    ),
    Row(
        r"Request for unknown model: '(?P<model>[^']*)' has no available versions",
        "{model} is known to the server, but no version of it is loaded",
        "Load it, or mend it if it was refused",
    ),
)
