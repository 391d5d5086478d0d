"""Bytes of a trace file to checked columns; every mistake is named by file, line and column."""
