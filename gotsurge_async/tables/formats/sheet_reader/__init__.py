"""The program that reads a sheet of a workbook: ``python -m sheet_reader``, in a process of its own (see workbook.py).

It imports nothing of the package around it, so that it starts in 0.06 s instead of 0.25 s.
"""
