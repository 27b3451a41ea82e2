"""Python's reference: every exported name with its signature and its docstring."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from docs.make.text import GENERATED, as_prose, escaped

PACKAGES: Final = {
    "kling_ledger": "index.md",
    "kling_ledger.testing": "testing.md",
    "kling_pricing": "pricing.md",
}
_WIDEST: Final = 88
_AS_THEY_ARE: Final = (str, int, float, type(None), tuple)


def pages() -> Iterator[tuple[str, str]]:
    """Yield every page by its path under docs/reference/python, with its text."""
    for name, path in PACKAGES.items():
        yield path, _page(import_module(name), path)


def exported(module: ModuleType) -> list[str]:
    """Return the names that a module exports, in the order of the alphabet."""
    own = [
        name
        for name, one in vars(module).items()
        if inspect.isroutine(one) and one.__module__ == module.__name__
    ]
    names = getattr(module, "__all__", own)
    return sorted((one for one in names if one[0] != "_"), key=str.lower)


def _page(module: ModuleType, path: str) -> str:
    parts = [f"# Python: {module.__name__}", GENERATED, as_prose(inspect.getdoc(module) or "")]
    if path == "index.md":
        others = {name: place for name, place in PACKAGES.items() if place != path}
        parts.append("\n".join(f"- [{name}]({place})" for name, place in others.items()))
    names = exported(module)
    errors = [one for one in names if _is_error(getattr(module, one))]
    for name in (one for one in names if one not in errors):
        parts += _described(name, getattr(module, name), level=2)
    if errors:
        parts.append("## Errors")
        parts.append("\n".join(_line_of(getattr(module, name)) for name in errors))
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_error(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, BaseException)


def _line_of(error: type[BaseException]) -> str:
    return f"- `{error.__name__}`: {escaped((inspect.getdoc(error) or '').split(chr(10) * 2)[0])}"


def _described(name: str, thing: Any, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}"
    if not (inspect.isclass(thing) and issubclass(thing, enum.Enum)):
        yield f"```python\n{signature(name, thing)}\n```"
    yield as_prose(_docstring(thing))
    if inspect.isclass(thing):
        yield from _members(name, thing, level=level + 1)


def _docstring(thing: Any) -> str:
    """Return what is written about a thing; a dataclass without words has none, not Python's."""
    written = inspect.getdoc(thing) or ""
    if dataclasses.is_dataclass(thing) and written.startswith(f"{getattr(thing, '__name__', '')}("):
        return ""
    return written


def _members(name: str, thing: type, *, level: int) -> Iterator[str]:
    """Yield the members of an enumeration, or what can be asked of an instance."""
    if issubclass(thing, enum.Enum):
        yield "\n".join(f"- `{one.name}`: `{one.value}`" for one in thing)
        return
    told = [(one, value) for one, value in _public(thing) if isinstance(value, property)]
    if told:
        said = ((one, escaped(inspect.getdoc(value) or "")) for one, value in told)
        yield "\n".join(f"- `.{one}`: {words}" for one, words in said)
    for one, value in _public(thing):
        if callable(value):
            yield from _described(f"{name}.{one}", value, level=level)
    for one, group in _groups(thing):
        yield f"{'#' * level} {name}.{one}"
        yield as_prose(inspect.getdoc(group) or "")
        instance = f"{name}.{one}"
        for inner, value in _public(group):
            if callable(value):
                yield from _described(f"{instance}.{inner}", value, level=level + 1)


def _public(thing: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class and those that it is made of define for others, in their order."""
    seen: set[str] = set()
    for base in reversed([one for one in thing.__mro__ if one.__module__.startswith("kling_")]):
        for name, value in vars(base).items():
            if name[0] == "_" or name in seen:
                continue
            if isinstance(value, property):
                seen.add(name)
                yield name, value
            elif isinstance(value, (classmethod, staticmethod)) or inspect.isfunction(value):
                seen.add(name)
                yield name, getattr(thing, name)


def _groups(thing: type) -> Iterator[tuple[str, type]]:
    """Yield the groups of calls that an instance keeps, such as `ledger.wallets`."""
    made = vars(thing).get("__init__")
    module = inspect.getmodule(thing)
    if made is None or not inspect.isfunction(made) or "<" in made.__code__.co_filename:
        return
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(made)))):
        match node:
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)],
                value=ast.Call(func=ast.Name(id=called)),
            ):
                group = getattr(module, called, None)
                if inspect.isclass(group) and group.__module__.endswith(("group", "groups")):
                    yield attribute, group


def signature(name: str, thing: Callable[..., Any]) -> str:
    """Return how a thing is called, one parameter a line where it is long."""
    found = inspect.signature(thing)
    if inspect.iscoroutinefunction(thing):
        name = f"await {name}"
    kept = [one for one in found.parameters.values() if one.name not in {"self", "cls"}]
    if inspect.isclass(thing):
        found = found.replace(return_annotation=inspect.Signature.empty)
    # Where an object lies in memory is not a part of how it is written.
    given = [re.sub(r"<([\w.]+) object at 0x[0-9a-f]+>", r"\1", str(_plain(one))) for one in kept]
    told = found.return_annotation
    returned = "" if told is found.empty else f" -> {_text(told)}"
    marks = _with_marks(kept, given)
    flat = f"{name}({', '.join(marks)}){returned}"
    if len(flat) <= _WIDEST:
        return flat
    return "\n".join([f"{name}(", *(f"    {one}," for one in marks), f"){returned}"])


def _with_marks(kept: list[inspect.Parameter], given: list[str]) -> list[str]:
    """Put `*` before the parameters that are given by name only."""
    by_name = [one.kind is one.KEYWORD_ONLY for one in kept]
    has_rest = any(one.kind is one.VAR_POSITIONAL for one in kept)
    if True in by_name and not has_rest:
        at = by_name.index(True)
        return [*given[:at], "*", *given[at:]]
    return given


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose default is told by its name, whatever machine this is."""
    default = parameter.default
    if default is not parameter.empty and not isinstance(default, _AS_THEY_ARE):
        parameter = parameter.replace(default=_Told(_default(default)))
    if parameter.annotation is not parameter.empty:
        parameter = parameter.replace(annotation=_Told(_text(parameter.annotation)))
    return parameter


def _default(value: Any) -> str:
    if inspect.isroutine(value) or inspect.isclass(value):
        return str(value.__name__)
    if value is os.environ:
        return "os.environ"
    return "..." if re.search(" at 0x|^<", repr(value)) else repr(value)


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


class _Told:
    """A text that stands for itself in a signature, without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
