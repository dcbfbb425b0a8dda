"""Readers of data formats, one a file, with shared checks; `data/load.py` recognises a format and calls its reader."""
