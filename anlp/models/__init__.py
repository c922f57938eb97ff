"""One model family per file: flat constructor arguments, shapes at line ends."""
