"""Commands for programs that propose, and for people who approve."""
