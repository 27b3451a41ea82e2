"""Arguments: what each tool takes, as its client reads it and as it is checked."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from kling_pricing.vocabulary import Action, Resolution

Amount = Annotated[str, Field(min_length=1, max_length=60)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=20_000)]


class Arguments(BaseModel):
    """What every tool's arguments have in common: nothing that is not known is let in."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


class Look(Arguments):
    """A clip whoever makes it."""

    model: Name = Field(description="The model family, such as kling-3.0.")
    seconds: int | None = Field(None, description="The length of the clip in whole seconds.")
    resolution: Resolution | None = Field(None, description="The resolution of the clip.")
    sound: bool | None = Field(None, description="With or without generated sound.")
    action: Action | None = Field(None, description="What to do; text_to_video by default.")


class Afford(Look):
    """A clip and a sum."""

    budget: Amount = Field(
        description='The amount to spend, such as "20 USD" or "500 crun-credit".'
    )
    provider: Name | None = Field(None, description="Only at this provider.")


class ClipOrBody(Arguments):
    """One clip at one provider: in neutral words, or as the provider's own JSON body."""

    provider: Name | None = Field(
        None, description="Who makes the clip: runapi, crun, evolink or uniall."
    )
    model: Name | None = Field(None, description="The model id, as the provider writes it.")
    seconds: int | None = Field(None, description="The length of the clip in whole seconds.")
    resolution: Resolution | None = Field(None, description="The resolution of the clip.")
    sound: bool | None = Field(None, description="With or without generated sound.")
    action: Action | None = Field(
        None, description="What to do; by default as the body or the model says."
    )
    prompt: Text | None = Field(None, description="What the clip shows.")
    image_url: Annotated[str, Field(max_length=4_000)] | None = Field(
        None, description="The first frame."
    )
    body: dict[str, Any] | None = Field(
        None,
        description="The provider's own request body, instead of the fields above except provider.",
    )


class Check(ClipOrBody):
    """A clip and who would pay for it."""

    max_cost: Amount | None = Field(
        None, description='The most that it may cost, such as "0.70 USD"; enforced as in `run`.'
    )
    project: Name | None = Field(None, description="The project, such as film/teaser.")
    labels: dict[str, str] | None = Field(
        None, description="Labels for budgets and reports, such as {team: a}."
    )


class Run(Check):
    """A clip that is to be made and paid for."""

    key: Annotated[str, Field(min_length=1, max_length=120)] = Field(
        description="Your own id for this job. The same key again follows the same job and "
        "never pays twice: repeat a call whose answer was lost with the same key."
    )
    wait_s: int = Field(
        0, ge=0, le=600, description="How many seconds to wait for the end; 0 returns at once."
    )
    approval: Name | None = Field(
        None, description="The id of an approval that a person has granted, if one was needed."
    )


class Status(Arguments):
    """A job that was started."""

    reservation: Name | None = Field(None, description="The id that `run` gave, res_...")
    key: Name | None = Field(None, description="Or the key that `run` was given.")
    wait_s: int = Field(
        0, ge=0, le=600, description="How many seconds to wait for the end; 0 returns at once."
    )


class Spend(Arguments):
    """A question about what was spent."""

    by: list[Name] = Field(
        default=["project", "provider", "model"],
        max_length=6,
        description="What to group by: project, provider, model, label:NAME, day, month, wallet.",
    )
    since: Name | None = Field(
        None, description="Start of the period (inclusive), such as 2026-11 or 2026-11-21."
    )
    until: Name | None = Field(None, description="End of the period (exclusive).")
    where: list[Name] = Field(
        default=[],
        max_length=10,
        description="Filters, such as project=film/ or model=kling-3.0.",
    )
