"""The board: web pages that show live what happens in the simulator."""
