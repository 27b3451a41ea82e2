"""The skill for agents says what is true: its commands work, its front matter is in order."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from kling_ledger.sandbox import Sandbox
from tests.page_reader import Reader, commands
from tests.pages import Page

SKILL: Final = Page("skills/kling-ledger/SKILL.md")
PREPARED: Final = """
wallet team 5 USD
key runapi
"""
"""Who it is written for finds a wallet, and a provider's key."""


def test_every_command_of_the_skill_is_typed_and_prints_what_it_shows(
    tmp_path: Path, sandbox: Sandbox
):
    with ExitStack() as stack:
        reader = Reader(tmp_path, sandbox, stack)
        reader.prepares(PREPARED)
        for block in SKILL.blocks():
            reader.reads(block)


def front_matter() -> dict[str, str]:
    """The skill's front matter: plain and folded values, as its format has them."""
    text = SKILL.file.read_text(encoding="utf-8").split("---\n")[1]
    values: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith(" "):
            name, _, value = line.partition(":")
            values[name] = value.replace(">-", "").strip()
        else:
            values[name] = f"{values[name]} {line.strip()}".strip()
    return values


def test_the_front_matter_of_the_skill_is_what_its_format_allows():
    found = front_matter()
    assert set(found) == {"name", "description", "compatibility", "metadata", "allowed-tools"}
    assert re.fullmatch("[a-z0-9-]{1,64}", found["name"])
    assert found["name"] == SKILL.file.parent.name
    assert 0 < len(found["description"]) <= 1024
    assert 0 < len(found["compatibility"]) <= 500


def test_the_skill_allows_only_what_spends_nothing_and_changes_no_limit():
    allowed = re.findall(r"Bash\(kling-ledger ([a-z ]+):\*\)", front_matter()["allowed-tools"])
    harmless = {"quote", "compare", "afford", "check", "reservation show", "reservation list"}
    assert set(allowed) == harmless
    assert harmless <= set(commands())


def test_every_code_of_a_refusal_that_the_skill_explains_exists():
    from kling_ledger import errors
    from kling_pricing import errors as pricing_errors

    classes = [*vars(errors).values(), *vars(pricing_errors).values()]
    known = {getattr(one, "code", None) for one in classes if isinstance(one, type)}
    told = re.findall(r"^\| `(\w+)` \|", SKILL.text, re.MULTILINE)
    assert len(told) == 5
    assert set(told) <= known
