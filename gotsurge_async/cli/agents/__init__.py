"""Commands for programs that propose, and for the people who approve."""
