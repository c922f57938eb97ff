"""The source of a program: its syntax tree, what its names mean, which calls can be reached."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from functools import cached_property

ARGPARSE = "argparse"
_PARSER = f"{ARGPARSE}.ArgumentParser"
_PARTS = ("add_argument_group", "add_mutually_exclusive_group", "add_parser", "add_subparsers")
_BRANCHES = (ast.If, ast.Try, ast.IfExp, ast.ExceptHandler, ast.Match)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def text_of(node: ast.AST) -> str:
    """Return an expression as one line of source."""
    text = ast.unparse(node).replace("\n", " ")
    return text if len(text) <= 60 else f"{text[:60]}…"


class Source:
    """One file of Python; raises `SyntaxError` or `ValueError` where it is none."""

    def __init__(self, content: bytes, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the program's own escapes, such as "\d"
            self.tree = ast.parse(content, name)
        self.nodes = list(ast.walk(self.tree))
        self._parents = {
            child: parent for parent in self.nodes for child in ast.iter_child_nodes(parent)
        }

    @cached_property
    def imports(self) -> dict[str, str]:
        """Return what each imported name is: `ap` is `argparse`, `Parser` is `lib.Parser`."""
        found: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    found[name] = alias.name if alias.asname else name
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{module}.{alias.name}"
        return found

    @cached_property
    def modules(self) -> frozenset[str]:
        """Return the modules that the file imports by `import` or `from`, whole names."""
        found = set()
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add("." * node.level + (node.module or ""))
        return frozenset(found)

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Return the functions and methods of the file by name."""
        return {node.name: node for node in self.nodes if isinstance(node, Function)}

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Return the classes of the file by name."""
        return {node.name: node for node in self.nodes if isinstance(node, ast.ClassDef)}

    def resolve(self, node: ast.expr) -> str:
        """Return the dotted name of an expression, imports resolved; "" for any other one."""
        if isinstance(node, ast.Name):
            return self.imports.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self.resolve(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""

    @cached_property
    def calls(self) -> tuple[ast.Call, ...]:
        """Return every call, in the order of the file."""
        found = [node for node in self.nodes if isinstance(node, ast.Call)]
        return tuple(sorted(found, key=_end))

    @property
    def attributes(self) -> Iterator[ast.Attribute]:
        """Yield every `a.b` of the file."""
        return (node for node in self.nodes if isinstance(node, ast.Attribute))

    def live_calls(self) -> Iterator[ast.Call]:
        """Yield the calls, without those in functions whose name the file never uses."""
        for call in self.calls:
            if not any(function in self._unused for function in self._around(call)):
                yield call

    @cached_property
    def _unused(self) -> frozenset[ast.AST]:
        used = {node.id for node in self.nodes if isinstance(node, ast.Name)}
        used |= {node.attr for node in self.nodes if isinstance(node, ast.Attribute)}
        used |= {
            str(node.value)
            for node in self.nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        return frozenset(
            function
            for function in self.nodes
            if isinstance(function, Function)
            and function.name not in used
            and not function.decorator_list
            and not function.name.startswith("__")
        )

    def _around(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self._parents:
            node = self._parents[node]
            yield node

    def is_conditional(self, node: ast.AST) -> bool:
        """Return whether a call is in a branch; that of `if __name__ == "__main__"` is none."""
        return any(
            isinstance(around, _BRANCHES)
            and not (isinstance(around, ast.If) and "__name__" in ast.unparse(around.test))
            for around in self._around(node)
        )

    def is_parser_class(self, node: ast.expr) -> bool:
        """Return whether a call of `node` makes a parser of argparse, or of a subclass here."""
        name = self.resolve(node)
        is_starred = self.imports.get("*") == f"{ARGPARSE}.*" and name == "ArgumentParser"
        if name == _PARSER or is_starred:
            return True
        own = self.classes.get(name)
        return own is not None and any(self.is_parser_class(base) for base in own.bases)

    @cached_property
    def makes_parser(self) -> bool:
        """Return whether the file makes a parser of argparse."""
        return any(self.is_parser_class(call.func) for call in self.calls)

    def foreign_parsers(self) -> Iterator[ast.Call]:
        """Yield the calls that make a parser of another library or module."""
        for call in self.calls:
            name = self.resolve(call.func)
            last = name.rpartition(".")[2]
            is_foreign = "." in name and name != _PARSER
            is_class = is_foreign and last.endswith(("ArgumentParser", "ArgParser"))
            if is_class or (last in self.classes and self._overrides(last)):
                yield call

    def _overrides(self, name: str) -> bool:
        """Return whether a class here is a parser that adds arguments in a way of its own."""
        own = self.classes[name]
        bases = [self.resolve(base).rpartition(".")[2] for base in own.bases]
        if not any(base.endswith(("ArgumentParser", "ArgParser", "Tap")) for base in bases):
            return False
        methods = {node.name for node in own.body if isinstance(node, Function)}
        return not any(self.is_parser_class(base) for base in own.bases) or (
            "add_argument" in methods
        )

    @cached_property
    def _parser_names(self) -> frozenset[str]:
        """Return the variables that hold a parser or a group of one, by their text."""
        found = set()
        for node in self.nodes:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                call = node.value
                is_part = isinstance(call.func, ast.Attribute) and call.func.attr in _PARTS
                if is_part or self.is_parser_class(call.func):
                    found |= {ast.unparse(target) for target in node.targets}
            elif isinstance(node, ast.Attribute) and node.attr == "add_argument":
                found.add(ast.unparse(node.value))
        return frozenset(found)

    def is_parser(self, node: ast.expr) -> bool:
        """Return whether an expression is a variable that holds a parser."""
        is_variable = isinstance(node, ast.Name | ast.Attribute)
        return is_variable and ast.unparse(node) in self._parser_names

    def is_local_callable(self, node: ast.expr) -> bool:
        """Return whether a called function is one of this file."""
        if isinstance(node, ast.Name):
            is_own = node.id in self.functions or node.id in self.classes
            return is_own and node.id not in self.imports
        if not isinstance(node, ast.Attribute) or node.attr not in self.functions:
            return False
        base = node.value
        return not (isinstance(base, ast.Name) and base.id in self.imports)


def _end(call: ast.Call) -> tuple[int, int]:
    """Return where a call ends: `parser.add_argument_group().add_argument()` is two calls."""
    return call.end_lineno or call.lineno, call.end_col_offset or 0
