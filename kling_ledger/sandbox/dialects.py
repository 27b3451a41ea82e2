"""The dialects: how each gateway of the registry speaks HTTP, and how it forms its task ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kling_ledger.sandbox.crun import dialect as crun
from kling_ledger.sandbox.desk import Desk, Dialect
from kling_ledger.sandbox.evolink import dialect as evolink
from kling_ledger.sandbox.runapi import dialect as runapi
from kling_ledger.sandbox.settings import SandboxSettings
from kling_ledger.sandbox.uniall import dialect as uniall


@dataclass(frozen=True, slots=True)
class Speech:
    """One gateway's API for an account, and its way to make a new task id."""

    dialect: Callable[[Desk], Dialect]
    new_task_id: Callable[[SandboxSettings, datetime], str]


DIALECTS: Final[Mapping[str, Speech]] = {
    "runapi": Speech(runapi.RunApi, runapi.new_task_id),
    "crun": Speech(crun.Crun, crun.new_task_id),
    "evolink": Speech(evolink.EvoLink, evolink.new_task_id),
    "uniall": Speech(uniall.UniAll, uniall.new_task_id),
}
