"""After a push: the outcome of every order, and the decisions of people about it."""
