"""`despur fetch` as a user meets it, and a base by name that is not here."""

import json

import pytest
import torch


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.setenv("DESPUR_BASES", str(tmp_path))


def test_without_a_name_it_lists_what_there_is(despur):
    done = despur("fetch")
    assert (done.returncode, done.stderr) == (0, "")
    assert "smollm2" in done.stdout
    assert "not yet" in done.stdout
    (known,) = json.loads(despur("fetch", "--json").stdout)
    assert (known["name"], known["licence"], known["folder"]) == ("smollm2", "Apache-2.0", None)


def test_a_base_that_is_not_here_says_how_to_get_it(despur):
    done = despur("sites", "smollm2")
    assert done.returncode == 2
    assert done.stderr.endswith("Fetch it: despur fetch smollm2\n")


def test_a_wrong_name_and_a_device_that_is_not_here_are_one_line(despur, monkeypatch):
    done = despur("fetch", "smollm")
    assert done.returncode == 2
    assert "nearest: 'smollm2'" in done.stderr
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = despur("audit", "base", "adapter", "--device", "cuda")
    assert done.returncode == 2
    assert "device='cuda', and torch" in done.stderr
    assert done.stderr.count("\n") == 1
