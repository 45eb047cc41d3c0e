"""One fair measurement: its subjects, its rounds, the machine, and which figures count."""
