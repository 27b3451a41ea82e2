"""From a clip to a body: which neutral word goes into which field of a provider's own request.

Each provider says where a word goes; a word without a place is a problem, never silently dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from kling_pricing.book_values import Options
from kling_pricing.clip import Clip
from kling_pricing.errors import Problem
from kling_pricing.gateways.checks import Table, refuse_if_any
from kling_pricing.vocabulary import Seconds


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot of a multi-shot clip, in whole seconds."""

    prompt: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Element:
    """A person or thing that prompts refer to by name, and the pictures that show it."""

    name: str
    description: str
    image_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a clip is made from, in neutral words; None means not given.

    `image_url` is the first frame, or the picture that an action starts from.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    aspect_ratio: str | None = None
    cfg_scale: float | None = None
    image_url: str | None = None
    last_image_url: str | None = None
    reference_image_urls: Sequence[str] | None = None
    video_url: str | None = None
    audio_url: str | None = None
    source_task_id: str | None = None
    shots: Sequence[Shot] | None = None
    elements: Sequence[Element] | None = None
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A field of a body, by its path, and how a neutral value is written there.

    `words` maps the only values that can be written, `shape` converts any value; without either,
    the value is written as it is. A place that `joins` is a list that several words add to, in the
    order of Inputs.
    """

    path: str
    words: Mapping[Any, Any] | None = None
    shape: Callable[[Any], object] | None = None
    joins: bool = False

    def written(self, value: object) -> object:
        """Return the value as the provider writes it."""
        if self.words is not None:
            return self.words[value]
        return self.shape(value) if self.shape else value


Places = Mapping[str, tuple[Place, ...]]
"""Where each neutral word may go; the first place that the model documents is used."""

IN_BODIES: Final = ("seconds", "resolution", "sound", "multi_shot", "orientation")
"""The fields of a clip that a body gives directly; the others follow from its inputs."""


def write(
    clip: Clip, inputs: Inputs, places: Places, table: Table, by_id: Options
) -> dict[str, Any]:
    """Return a body with everything that was given; RequestError for a word without a place.

    What the model's id fixes needs no place. Whether the provider accepts the body is for its
    reader to check.
    """
    body: dict[str, Any] = {"model": clip.model}
    words = said(clip, inputs)
    placed = {name: _place(places.get(name, ()), table) for name in words}
    needed = {name: place for name, place in placed.items() if place or name not in by_id}
    refuse_if_any([*_between_words(words), *_put(body, words, needed)])
    return body


def said(clip: Clip, inputs: Inputs) -> dict[str, Any]:
    """Return what was given for a clip and its inputs, by neutral name."""
    words = {name: getattr(clip, name) for name in IN_BODIES}
    words |= {"seconds": _plain(clip.seconds), "multi_shot": clip.multi_shot or None}
    words |= {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    return {name: value for name, value in words.items() if value is not None}


def action_problems(clip: Clip, inputs: Inputs) -> Iterator[Problem]:
    """Report a clip whose action contradicts its having a first frame or not."""
    has_image = inputs.image_url is not None
    action = "image_to_video" if has_image else "text_to_video"
    if clip.action != action:
        yield Problem(
            "action", clip.action, f"{action} {'with' if has_image else 'without'} image_url"
        )


def as_it_is(*names: str, inside: str = "") -> Places:
    """Return places for words that a provider writes as we do, at the top or inside a table."""
    return {name: (Place(f"{inside}{name}"),) for name in names}


def listed(addresses: Sequence[str]) -> list[str]:
    """Write several addresses; a text is one address, not a list of letters."""
    return [addresses] if isinstance(addresses, str) else list(addresses)


def shots_as(length: str) -> Callable[[Sequence[Shot]], list[dict[str, Any]]]:
    """Return how to write shots, with their length under this name."""
    return lambda shots: [{"prompt": shot.prompt, length: shot.seconds} for shot in shots]


def elements_as(images: str) -> Callable[[Sequence[Element]], list[dict[str, Any]]]:
    """Return how to write elements, with their pictures under this name."""
    return lambda elements: [
        {
            "name": element.name,
            "description": element.description,
            images: listed(element.image_urls),
        }
        for element in elements
    ]


def _place(places: Sequence[Place], table: Table) -> Place | None:
    return next((place for place in places if _is_in(table, place.path)), None)


def _put(
    body: dict[str, Any], words: Mapping[str, Any], places: Mapping[str, Place | None]
) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for name, place in places.items():
        value = words[name]
        if place is None:
            yield Problem(name, value, f"nothing: {body['model']} documents no field for it")
        elif place.words is not None and value not in place.words:
            yield Problem(name, value, ", ".join(map(str, place.words)))
        elif place.path in taken and not place.joins:
            yield Problem(name, value, f"nothing beside {taken[place.path]}")
        else:
            taken[place.path] = name
            _set(body, place, place.written(value))


def _is_in(table: object, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(table, Table) or name not in table.fields:
            return False
        table = table.fields[name]
    return True


def _set(body: dict[str, Any], place: Place, value: Any) -> None:
    *outer, last = place.path.split(".")
    for name in outer:
        body = body.setdefault(name, {})
    # Joined in the order of Inputs: the order of images means something to a provider.
    body[last] = [*body.get(last, []), *value] if place.joins else value


def _between_words(words: Mapping[str, Any]) -> Iterator[Problem]:
    """Report what a provider would silently ignore or change."""
    if "shots" in words and "multi_shot" not in words:
        yield Problem("shots", words["shots"], "nothing unless the clip is multi_shot")
    if "last_image_url" in words and "image_url" not in words:
        yield Problem("last_image_url", words["last_image_url"], "nothing without image_url")


def _plain(seconds: Seconds | None) -> Seconds | None:
    """Return whole seconds as an int; leave other values for the reader to judge."""
    return seconds if seconds is None or seconds != int(seconds) else int(seconds)
