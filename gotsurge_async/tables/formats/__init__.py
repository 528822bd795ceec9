"""Tables that are not text: workbooks, Parquet, and queries."""
