"""Entry: a table of a TOML file, declared once as a frozen dataclass.

The declaration has everything: the keys, what each value may be, and the rules between them. It
serves to read, check and describe content. Only checking and describing import pydantic, which is
slow to load: bundled books were checked when the package was tested and are only read.
"""

# No postponed annotations here, nor where entries are declared: field types are read at run time,
# and evaluating seventy strings would take longer than reading a book.
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, ClassVar, Final, TypeVar, get_args, get_origin

from kling_pricing.errors import MOST_TOLD, BookError, cut

Content = dict[str, Any]
"""A TOML document, or a table of it, as tomllib gives it."""

_LONGEST: Final = 200
"""The most characters of a key that an error shows."""

# `from` and `set` are taken by Python; `source` and `prices` mean something else on a Rate.
_KEYS: Final = {
    "valid_from": "from",
    "valid_until": "until",
    "source_name": "source",
    "price_table": "prices",
    "sets": "set",
}
_SENTENCES: Final = {
    "dataclass_type": "Input should be a table",
    "unexpected_keyword_argument": "Extra inputs are not permitted",
}


def key_of(field: str) -> str:
    """Return the key of a field: its name, unless Python or Rate already uses that name."""
    return _KEYS.get(field, field)


class Entry:
    """The base of every declared table: it refuses unknown keys and checks the rules."""

    __slots__ = ()
    __pydantic_config__: ClassVar[Content] = {"extra": "forbid", "alias_generator": key_of}

    def __post_init__(self) -> None:
        # The first one only: later ones may follow from it.
        for problem in self.problems():
            raise ValueError(problem)

    def problems(self) -> Iterator[str]:
        """Yield the rules that the table breaks; nothing for a table whose keys are independent."""
        yield from ()


class Written:
    """How a value is read from what the file says: `read` raises ValueError for an invalid value.

    `schema` turns the type's JSON Schema into that of the written value; without it they are the
    same.
    """

    def __init__(
        self, read: Callable[[Any], Any], schema: Callable[[Content], Content] = dict
    ) -> None:
        self.read = read
        self.schema = schema

    def __get_pydantic_core_schema__(self, kind: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core.core_schema import no_info_before_validator_function

        return no_info_before_validator_function(self.read, handler(kind))

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], Any]) -> Any:
        return self.schema(handler(core))


class Limits:
    """The limits on a value of the right type, as a pydantic core schema writes them."""

    def __init__(self, **limits: object) -> None:
        self.limits = limits

    def __get_pydantic_core_schema__(self, kind: Any, handler: Callable[[Any], Any]) -> Any:
        return {**handler(kind), **self.limits}


AnyEntry = TypeVar("AnyEntry", bound=Entry)


def entry_of(kind: type[AnyEntry], table: Content) -> AnyEntry:
    """Build the entry of a table that was checked before."""
    said = {
        field.name: _value(field.type, table[key])
        for field in fields(kind)  # type: ignore[arg-type]
        if (key := key_of(field.name)) in table
    }
    return kind(**said)


def _value(kind: Any, written: Any) -> Any:
    """Return a value in the form that its type is stored in."""
    # The same rules that pydantic runs, so that both ways of reading give the same value.
    for rule in getattr(kind, "__metadata__", ()):
        written = rule.read(written) if isinstance(rule, Written) else written
    kind = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
    parts = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Entry):
        return entry_of(kind, written)
    if type(None) in parts:
        return _value(parts[0], written)
    if get_origin(kind) is tuple:
        return tuple(_value(parts[0], one) for one in written)
    if get_origin(kind) is dict:
        return {name: _value(parts[1], one) for name, one in written.items()}
    return written


def checked_entry(kind: type[AnyEntry], content: Content, *, name: str) -> AnyEntry:
    """Return the entry of a file; BookError names each key that is not allowed."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        found = error.errors(include_url=False)
    # An unknown key is usually why another one is missing, so it comes first.
    found.sort(key=lambda problem: problem["type"] != "unexpected_keyword_argument")
    first, *further = [(_path(problem), _sentence(problem)) for problem in found[:MOST_TOLD]]
    told = [first[1], *(f"{key}: {sentence}" for key, sentence in further)]
    if len(found) > MOST_TOLD:
        told.append(f"and {len(found) - MOST_TOLD:,} more")
    raise BookError(name, first[0], "; ".join(told))


def entry_schema(kind: type[Entry]) -> Content:
    """Return the JSON Schema of a file."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).json_schema(by_alias=True)


def _path(problem: Any) -> str:
    return cut(".".join(str(part) for part in problem["loc"]), _LONGEST)


def _sentence(problem: Any) -> str:
    sentence = _SENTENCES.get(problem["type"]) or str(problem["msg"])
    # What we keep as a tuple is a list to the author of the file.
    return sentence.removeprefix("Value error, ").replace("Tuple", "List").replace("tuple", "list")
