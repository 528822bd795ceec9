"""Tables that are not plain CSV: packed, in another encoding, workbooks, Parquet, and queries."""
