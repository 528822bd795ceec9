"""Maps: how somebody's own tables are read. Read from TOML, made into rules, kept by name, and drafted."""
