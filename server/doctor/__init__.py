"""`modelrepo doctor`: the facts about this machine, and what they mean for every command."""
