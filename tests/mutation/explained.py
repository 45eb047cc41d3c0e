"""Why verification misses what it misses: the page has the text beside the mutant."""

MORE_NODES = "There are more splits than rows in the budget for them: --verify-effort thorough asks ten times as many."
# By the name of the fault, and a part of the case's key.
EXPLAINED: dict[tuple[str, str], str] = {
    ("neighbour", "onnx/nonzero"): "The search reads the graph that is served, and this one no longer looks for NaN.",
    ("flag", "onnx/words"): "Stop words are asked as the file has them, and not in capitals.",
    ("threshold 10%", "lgbm three"): MORE_NODES,
    ("threshold up", "isolation two"): MORE_NODES,
    ("threshold down", "BaggingRegressor"): MORE_NODES,
    ("mode", "texts stop"): "No text that is asked repeats a word of the vocabulary.",
    ("flag set", "KNeighborsClassifier"): "Answers that depend on a choice among equal values are left out.",
    ("weight +10%", "CategoricalNB"): "A category of some columns: refused in all at once, it is not tried alone.",
}
