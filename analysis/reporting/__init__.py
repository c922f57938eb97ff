"""The sections of a report: each module makes one, from what was found out to blocks that any format can show."""
