"""Tell from the `type=` of an `add_argument` call what kind of value the program expects."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from jobs.programs.parsers.source import Source

_PLAIN = ("int", "float", "str", "bool")
_TRUE = ("true", "yes", "t", "y", "1", "on")
_FALSE = ("false", "no", "f", "n", "0", "off")
BOOLEANS = ("True", "False")

Typed = tuple[str, type | None, tuple[str, str]]  # name, hint and how booleans are written


def read_type(node: ast.expr | None, source: Source) -> Typed:
    """Return the name of a `type`, what it seems to make, and how it wants true and false.

    A lambda or a function of the file is judged by what it calls and compares with; any other
    function by its name.
    """
    if node is None:
        return "", None, BOOLEANS
    name = source.resolve(node)
    if name in _PLAIN:
        return name, None, BOOLEANS
    if name == "json.loads":
        return "other", None, ("true", "false")
    function = source.functions.get(name)
    if isinstance(node, ast.Lambda):
        return "other", *_judged([node.body])
    if function is not None:
        hint, booleans = _judged(function.body)
        return "other", hint or hint_of_name(name), booleans
    return "other", hint_of_name(name), BOOLEANS


def hint_of_name(name: str) -> type | None:
    """Return what a function makes by its name: `positive_int`, `str2bool`, `Path`.

    >>> hint_of_name("positive_int"), hint_of_name("utils.str2bool"), hint_of_name("eval")
    (<class 'int'>, <class 'bool'>, None)
    """
    words = name.rpartition(".")[2].lower()
    if "bool" in words:
        return bool
    if words in ("path", "purepath", "abspath", "expanduser"):
        return str
    for kind in (float, int):
        parts = words.replace("2", "_").split("_")
        if any(part.rstrip("0123468") == kind.__name__ for part in parts):
            return kind
    return None


def _judged(body: Sequence[ast.AST]) -> tuple[type | None, tuple[str, str]]:
    nodes = [node for part in body for node in ast.walk(part)]
    called = {
        node.func.id
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    texts = [
        node.value for node in nodes if isinstance(node, ast.Constant) and type(node.value) is str
    ]
    booleans = (_word(texts, _TRUE, BOOLEANS[0]), _word(texts, _FALSE, BOOLEANS[1]))
    if booleans[0].islower() and booleans[1] == BOOLEANS[1]:
        booleans = (booleans[0], "false")
    if "float" in called:
        return float, booleans
    if "int" in called and "strtobool" not in called:
        return int, booleans
    is_truth = any(text.lower() in _TRUE for text in texts) or "bool" in called
    return bool if is_truth else None, booleans


def _word(texts: Sequence[str], words: Sequence[str], otherwise: str) -> str:
    """Return the first text of a function that is one of `words`, as the function spells it."""
    return next((text for text in texts if text.lower() in words), otherwise)
