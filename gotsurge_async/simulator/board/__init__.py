"""The board: what the simulator holds, for people, live."""
