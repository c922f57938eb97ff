"""Resources, keys of YAML blocks and the strict YAML reader."""
