"""A wrapped source to ONNX: its model is exported as ever, and joined with the graphs before and after it."""
