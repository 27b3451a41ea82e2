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
    with pytest.raises(ConfigError, match="is not a file"), whole_file(pipe) as made:
        made.write_text("x")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_is_replaced_and_never_what_it_leads_to(tmp_path: Path):
    kept = tmp_path / "kept"
    kept.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(kept)
    with whole_file(link) as made:
        made.write_text("new")
    assert not link.is_symlink()
    assert (link.read_text(), kept.read_text()) == ("new", "old")
