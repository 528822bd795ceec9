"""What the client costs: every benchmark runs our code and its peers in turns, against a server of its own.

``python -m benchmarks`` runs them all; ``--help`` says more. docs/performance.md has the results and how to read them.
"""
