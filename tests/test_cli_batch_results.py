"""The file with a batch's results: written beside its place, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

from kling_ledger.cli.batch_results import write_results


def test_results_are_written_through_no_link_that_somebody_has_laid(tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    path = tmp_path / "results"
    # The name that such a file once had beside its place.
    Path(f"{path}.{os.getpid()}.new").symlink_to(precious)
    assert write_results(path, [], {})
    assert (precious.read_text(), path.read_text(), path.is_symlink()) == ("mine", "", False)


def test_a_folder_that_is_gone_is_said(tmp_path: Path, capsys):
    assert not write_results(tmp_path / "gone" / "results", [], {})
    said = capsys.readouterr().err
    assert "error: the results cannot be written" in said
    assert "gone/results: No such file or directory" in said
