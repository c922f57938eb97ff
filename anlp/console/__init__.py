"""The command line: parsers, exit codes, tables, progress and the debug log."""
