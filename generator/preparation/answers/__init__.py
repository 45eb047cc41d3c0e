"""Answers as clients want them: graphs after a model, and the same in numpy or the framework's own code."""
