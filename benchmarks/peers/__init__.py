"""Our code and the peers, a module for each library. A module imports its library, and only a worker imports it."""
