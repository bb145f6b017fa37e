"""Bytes to Arrow: one module a format, chosen by a table."""
