"""Maps for reading a user's own tables: their classes, rules and files, and proposals of maps."""
