"""Whether two models are the same: what they are asked, and how far answers may differ."""
