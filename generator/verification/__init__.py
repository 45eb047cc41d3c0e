"""Whether two models are the same: the inputs that they get, and how far their answers may differ."""
