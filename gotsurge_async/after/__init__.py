"""After a push: what became of every order, and what people do about it."""
