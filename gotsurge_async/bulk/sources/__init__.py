"""Files of orders: `open_source` reads CSV and JSON Lines, one good order after another, and reports every fault."""

from gotsurge_async.bulk.sources.base import Source, SourceRow
from gotsurge_async.bulk.sources.fields import Column, item_columns, order_columns
from gotsurge_async.bulk.sources.opening import open_source
from gotsurge_async.bulk.sources.options import ColumnMap, FileMap, SourceOptions
from gotsurge_async.bulk.sources.report import Fault, SourceReport

__all__ = [
    "Column",
    "ColumnMap",
    "Fault",
    "FileMap",
    "Source",
    "SourceOptions",
    "SourceReport",
    "SourceRow",
    "item_columns",
    "open_source",
    "order_columns",
]
