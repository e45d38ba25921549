"""What a module must not contain, judged from its syntax tree alone."""

import ast
import re
from collections.abc import Iterator
from typing import Final

MAX_LINES: Final = 500
SHAPELESS: Final = frozenset({"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"})
_MUTABLE_CALLS: Final = frozenset(
    {
        "list",
        "dict",
        "set",
        "bytearray",
        "deque",
        "defaultdict",
        "OrderedDict",
        "Counter",
        "ContextVar",
        "Lock",
        "count",
    }
)
_MUTATORS: Final = frozenset(
    {
        "append",
        "add",
        "extend",
        "insert",
        "update",
        "setdefault",
        "pop",
        "popitem",
        "remove",
        "discard",
        "clear",
        "sort",
    }
)
_UNFINISHED: Final = re.compile(r"#.*\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def shape_faults(source: str) -> list[str]:
    """What is wrong with the shape of a module, as `LINE: what`."""
    tree = ast.parse(source)
    faults = [
        (number, "a note instead of work")
        for number, line in enumerate(source.splitlines(), 1)
        if _UNFINISHED.search(line)
    ]
    faults += [*_stubs(tree), *_mutable_state(tree)]
    if not ast.get_docstring(tree) and tree.body:
        faults.append((1, "the module does not open with a docstring"))
    return [f"{line}: {fault}" for line, fault in sorted(faults)]


def _stubs(tree: ast.Module) -> Iterator[tuple[int, str]]:
    promised = {
        id(function)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(_last_name(base) == "Protocol" for base in node.bases)
        for function in node.body
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {_last_name(decorator) for decorator in node.decorator_list}
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if id(node) not in promised and not names & {"overload", "abstractmethod"} and _is_empty(body):
                yield node.lineno, f"{node.name} does nothing: only a method of a Protocol may be empty"
        if isinstance(node, ast.Raise) and _last_name(node.exc) == "NotImplementedError":
            yield node.lineno, "NotImplementedError is a stub"


def _is_empty(body: list[ast.stmt]) -> bool:
    return bool(body) and all(
        isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and line.value.value is Ellipsis
        for line in body
    )


def _mutable_state(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Collections that a module holds and could change: allowed as constants that nothing in the module changes."""
    changed = _changed_names(tree)
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value) | ast.AnnAssign(target=ast.Name(name), value=value):
                if value is None or not _is_mutable(value) or name.startswith("__"):
                    continue
                if not name.isupper():
                    yield node.lineno, f"{name} is a mutable value at module level: freeze it or name it as a constant"
                elif name in changed:
                    yield node.lineno, f"{name} is named as a constant, but line {changed[name]} changes it"
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Global):
            yield inner.lineno, f"global {', '.join(inner.names)}: state belongs to an object that somebody owns"


def _changed_names(tree: ast.Module) -> dict[str, int]:
    changed: dict[str, int] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(name), attr=attribute)) if attribute in _MUTATORS:
                changed[name] = node.lineno
            case ast.Subscript(value=ast.Name(name), ctx=ast.Store() | ast.Del()):
                changed[name] = node.lineno
    return changed


def _is_mutable(value: ast.expr) -> bool:
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=function):
            return _last_name(function) in _MUTABLE_CALLS
    return False


def _last_name(node: ast.expr | None) -> str:
    match node:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _last_name(function)
        case ast.Subscript(value=value):
            return _last_name(value)
    return ""
