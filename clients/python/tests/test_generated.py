"""The generated stubs are what proto/ says; where the repository is not there, nobody can tell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

here = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(not (here.parents[1] / "node_modules/.bin/buf").exists(), reason="needs the repository, after npm ci")
def test_the_stubs_are_what_the_proto_says(tmp_path: Path) -> None:
    sys.path.insert(0, str(here))
    from generate import generate

    generate(tmp_path)
    made = {file.relative_to(tmp_path): file.read_text() for file in tmp_path.rglob("*.py*")}
    assert len(made) == 3
    kept = here / "src"
    assert [str(file) for file, text in made.items() if (kept / file).read_text() != text] == []
