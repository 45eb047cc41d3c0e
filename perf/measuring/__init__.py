"""One measurement, done fairly: subjects, rounds, the machine, and when a figure counts."""
