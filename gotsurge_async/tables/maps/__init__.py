"""Maps: how a user's own tables are read: their classes, their rules, their files, and proposals."""
