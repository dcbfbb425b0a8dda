"""Readers of data formats, one a file, with shared checks; `detect.py` recognises a format and calls its reader."""
