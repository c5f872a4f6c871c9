"""The report: one self-contained HTML page, and the files it was made from beside it."""
