"""Writing a file whole or not at all, and never over what is not a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kling_ledger.errors import ConfigError
from kling_ledger.tabular.files import whole_file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_nothing_takes_the_place_of_what_is_not_a_file(tmp_path: Path):
    """Root may rename in /dev: a device there would become a file, for everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for name in ("pipe", "link"):
        with pytest.raises(ConfigError, match="is not a file"), whole_file(tmp_path / name) as made:
            made.write_text("x")
        assert pipe.is_fifo()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "pipe"]


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path):
    kept = tmp_path / "kept"
    kept.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(kept)
    with whole_file(link) as made:
        made.write_text("new")
    assert link.is_symlink()
    assert kept.read_text() == "new"
