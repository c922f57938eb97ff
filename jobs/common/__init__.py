"""The command line, terminals, external commands, git and units."""
