"""A base whose configuration asks for what its files cannot have is refused before anything is built."""

import json
import shutil

import pytest

from despur.core.errors import BadInput
from despur.flows.load import load_base
from despur.worlds import PERSONA_BASE


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("num_hidden_layers", 10**30, "files have"),
        ("num_hidden_layers", 5000, "files have"),
        ("hidden_size", 10**30, "at most"),
    ],
)
def test_numbers_that_no_file_has(key, value, said, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(PERSONA_BASE, folder)
    config = json.loads((folder / "config.json").read_text())
    assert load_base(str(folder)), "the control"
    for changed in ({**config, key: value}, {**config, "text_config": {key: value}}):
        (folder / "config.json").write_text(json.dumps(changed))
        with pytest.raises(BadInput, match=f"{key}=.*{said}"):
            load_base(str(folder))
