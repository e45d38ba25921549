"""The order of the layers and who may import what, as data, and a checker that reads a module's imports.

Imports run one way, from a later storey to an earlier one; neighbours on one storey do not know each other. So it is
among the folders of the engine, and its own modules stand above them.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import Final

STOREYS: Final = (
    ("model",),
    ("crypto",),
    ("wire",),
    ("index", "store"),
    ("transport",),
    ("discovery",),
    ("engine",),
    ("mount", "control"),
    ("cli",),
)
_HEIGHT: Final = {layer: height for height, storey in enumerate(STOREYS) for layer in storey}

ENGINE_STOREYS: Final = (
    ("chunks", "feeds"),
    ("writing", "replication", "keeping"),
    ("tree",),
    ("history",),
    ("engine",),
)
_ENGINE_HEIGHT: Final = {folder: height for height, storey in enumerate(ENGINE_STOREYS) for folder in storey}

SOLE_IMPORTERS: Final = {
    "cryptography": {"crypto"},
    "blake3": {"crypto"},
    "sqlite_utils": {"index"},
    "sqlite3": {"index"},
    "netifaces": {"transport"},
    "socket": {"transport"},
    "ssl": {"transport"},
    "asyncio": set[str](),
    "trio.socket": {"transport"},
    "pyfuse3": {"mount"},
    "click": {"cli"},
}
"""A module from outside, and the only layers that may import it."""

_STREAMS: Final = tuple(
    f"trio.{name}"
    for name in ("open_tcp", "open_ssl", "open_unix", "serve_tcp", "serve_ssl", "SocketStream", "SocketListener")
)
_STREAM_LAYERS: Final = {"transport"}
"""Names of trio that open connections, which only these layers use."""

PURE: Final = {"model", "wire"}
_IMPURE: Final = {"trio", "threading", "subprocess", "time", "random", "secrets", "pathlib", "tempfile", "select"}
"""What a pure layer does without: it is told time and randomness and does no input or output."""


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """Every import of `module` (dotted name) that breaks the rules, as `LINE: what is wrong`."""
    tree = ast.parse(source)
    package = module if is_package else module.rpartition(".")[0]
    found = [(line, name) for line, name in _imports(tree, package)]
    found += [(line, name) for line, name in _attributes(tree) if _is_guarded(name)]
    return [f"{line}: {wrong}" for line, name in found if (wrong := _judge(module, name))]


def layer_of(module: str) -> str | None:
    """The layer that a dotted name under syncfs belongs to; None for syncfs itself and its `__main__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in _HEIGHT else None


def _judge(module: str, name: str) -> str | None:
    layer = layer_of(module)
    if name.startswith("syncfs."):
        return _judge_layer(layer, name) or _judge_folder(module, name)
    for guarded, importers in SOLE_IMPORTERS.items():
        if _within(name, guarded) and layer not in importers:
            return f"only {_listed(importers)} may import {guarded}"
    if _opens_streams(name) and layer not in _STREAM_LAYERS:
        return f"only {_listed(_STREAM_LAYERS)} may use {name}"
    if layer in PURE and name.partition(".")[0] in _IMPURE:
        return f"{layer} is pure and does without {name}"
    return None


def _judge_layer(layer: str | None, name: str) -> str | None:
    target = layer_of(name)
    if target is None or layer is None:
        return None
    return _judge_heights(_HEIGHT, layer, target)


def _judge_folder(module: str, name: str) -> str | None:
    if layer_of(module) != "engine" or layer_of(name) != "engine":
        return None
    return _judge_heights(_ENGINE_HEIGHT, _folder_of(module), _folder_of(name))


def _folder_of(module: str) -> str:
    folder = module.split(".")[2] if module.count(".") > 1 else ""
    return folder if folder in _ENGINE_HEIGHT else "engine"


def _judge_heights(heights: dict[str, int], importer: str, target: str) -> str | None:
    if heights[target] > heights[importer]:
        return f"{importer} may not import {target}, which is above it"
    if heights[target] == heights[importer] and target != importer:
        return f"{importer} may not import {target}, its neighbour"
    return None


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                start = _absolute(package, level, origin)
                yield from ((node.lineno, f"{start}.{alias.name}") for alias in names)
            case ast.Call(func=ast.Name("__import__") | ast.Attribute(attr="import_module"), args=[argument, *_]):
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def _absolute(package: str, level: int, origin: str | None) -> str:
    if level == 0:
        return origin or ""
    parents = package.split(".")
    start = parents[: len(parents) - level + 1]
    return ".".join([*start, *([origin] if origin else [])])


def _attributes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every `module.attribute` of a module imported as a whole, by the module's real name."""
    real = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in real:
            yield node.lineno, f"{real[node.value.id]}.{node.attr}"


def _is_guarded(name: str) -> bool:
    return _opens_streams(name) or any("." in guarded and _within(name, guarded) for guarded in SOLE_IMPORTERS)


def _opens_streams(name: str) -> bool:
    return name.startswith(_STREAMS)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _listed(layers: Iterable[str]) -> str:
    return " and ".join(sorted(layers)) or "nobody"
