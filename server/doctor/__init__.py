"""What is on this machine, and what that means for every command."""
