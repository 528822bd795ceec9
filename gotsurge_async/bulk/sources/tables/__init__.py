"""Tables that are no plain CSV: packed, in another encoding, workbooks, Parquet, and what a database answers."""
