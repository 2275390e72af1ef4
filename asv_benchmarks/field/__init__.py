"""One module for each field that accuracy.py measures; it names its files, runs and tables."""
