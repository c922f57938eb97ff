"""The files of runs and grids: paths, formats, readers and writers."""
