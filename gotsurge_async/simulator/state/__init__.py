"""What the simulator holds: partners and their people, who is signed in, the tasks, and the time."""
