"""tmp"""

from types import SimpleNamespace


def take_snapshot(project, how, store, *, limit_bytes):
    return SimpleNamespace(folder=None, sentence="no copy")
