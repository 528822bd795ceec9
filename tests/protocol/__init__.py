"""The protocol of a push, as a model of it is checked by machine."""
