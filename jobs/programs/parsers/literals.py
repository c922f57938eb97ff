"""Evaluate the literal expressions of a program's source without running any of it."""

from __future__ import annotations

import ast
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MAX_POWER = 64
MAX_RANGE = 1000
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
_MAKERS: Mapping[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "list": list,
    "tuple": tuple,
    "set": list,
    "sorted": sorted,
}
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)
_MUTATORS = ("append", "extend", "insert", "update", "setdefault", "add", "remove", "pop", "clear")


class NotLiteralError(ValueError):
    """An expression whose value is only known by running the program."""


class Literals:
    """The values of expressions of one file: literals, and names that are bound to one once.

    Args:
        tree: the whole file.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._constants: dict[str, ast.expr] = {}
        bound = _bindings(tree)
        for name, value in _assignments(tree):
            if bound[name] == 1:
                self._constants[name] = value
        for name in _changed_in_place(tree):
            self._constants.pop(name, None)
        self._open: set[str] = set()

    def value(self, node: ast.expr) -> Any:
        """Return the value of an expression.

        Raises:
            NotLiteralError: it is not known without running the program.
        """
        try:
            return self._value(node)
        except NotLiteralError:
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError):
            raise NotLiteralError from None

    def text(self, node: ast.expr) -> str:
        """Return the value of an expression that is text, with the same `Raises`."""
        value = self.value(node)
        if not isinstance(value, str):
            raise NotLiteralError
        return value

    def items(self, node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
        """Yield the keys of a dictionary and the expressions of its values."""
        if isinstance(node, ast.Name):
            node = self._constants.get(node.id, node)
        if not isinstance(node, ast.Dict):
            raise NotLiteralError
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise NotLiteralError
            yield self.text(key), value

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self._value(item) for item in node.elts]
        if isinstance(node, ast.Dict):
            return self._mapping(node)
        if isinstance(node, ast.Name):
            return self._constant(node.id)
        if isinstance(node, ast.UnaryOp | ast.BinOp):
            return self._computed(node)
        if isinstance(node, ast.Call):
            return self._made(node)
        raise NotLiteralError

    def _mapping(self, node: ast.Dict) -> dict[Any, Any]:
        """Return a dictionary by its keys.

        The class `NotLiteralError` stands for values that are not known.
        """
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise NotLiteralError
            try:
                found[self._value(key)] = self._value(value)
            except NotLiteralError:
                found[self._value(key)] = NotLiteralError
        return found

    def _constant(self, name: str) -> Any:
        if name not in self._constants or name in self._open:
            raise NotLiteralError
        self._open.add(name)
        try:
            return self._value(self._constants[name])
        finally:
            self._open.discard(name)

    def _computed(self, node: ast.UnaryOp | ast.BinOp) -> Any:
        if isinstance(node, ast.UnaryOp):
            operand = self._value(node.operand)
            if isinstance(node.op, ast.Not):
                return not operand
            return -operand if isinstance(node.op, ast.USub) else +operand
        left, right = self._value(node.left), self._value(node.right)
        numbers = all(isinstance(side, int | float) for side in (left, right))
        is_sum = isinstance(node.op, ast.Add) and type(left) is type(right)
        is_huge = isinstance(node.op, ast.Pow) and numbers and abs(right) > MAX_POWER
        if type(node.op) not in _OPERATORS or is_huge or not (numbers or is_sum):
            raise NotLiteralError
        return _OPERATORS[type(node.op)](left, right)

    def _made(self, node: ast.Call) -> Any:
        if node.keywords:
            raise NotLiteralError
        if isinstance(node.func, ast.Attribute) and node.func.attr == "keys" and not node.args:
            return list(self._value(node.func.value))
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        arguments = [self._value(argument) for argument in node.args]
        if name == "range" and len(range(*arguments)) <= MAX_RANGE:
            return list(range(*arguments))
        if name == "dict" and not arguments:
            return {}
        if name not in _MAKERS or len(arguments) != 1:
            raise NotLiteralError
        return _MAKERS[name](arguments[0])


def _bindings(tree: ast.Module) -> Counter[str]:
    """Return how often each name is bound anywhere in the file, in whichever scope."""
    found: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found[node.id] += 1
        elif isinstance(node, ast.arg):
            found[node.arg] += 1
        elif isinstance(node, ast.alias):
            found[(node.asname or node.name).split(".")[0]] += 1
        elif isinstance(node, _NAMED) and node.name:
            found[node.name] += 1
    return found


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a statement of the file or of a function, in no branch, assigns."""
    bodies = [tree.body]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies += [node.body for node in ast.walk(tree) if isinstance(node, functions)]
    for statement in itertools.chain.from_iterable(bodies):
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and statement.value is not None:
                yield target.id, statement.value


def _changed_in_place(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        is_item = isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
        is_method = isinstance(node, ast.Attribute) and node.attr in _MUTATORS
        target = getattr(node, "value", None) if is_item or is_method else None
        if isinstance(target, ast.Name):
            yield target.id
