"""A certificate names the tokenizer and the chat template, and `verify` notices others in their place."""

import json
import shutil

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from despur import certify, verify
from despur.core.errors import BadInput
from despur.flows._verify.text_digests import text_digests
from despur.worlds import PERSONA_BASE, persona_base

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The base's folder with a chat template."""
    folder = shutil.copytree(PERSONA_BASE, tmp_path_factory.mktemp("base") / "base")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def original(train_plain, base, tmp_path_factory):
    folder = train_plain(tmp_path_factory.mktemp("certified") / "adapter", steps=2)
    certify(folder, base, guard="rehearse")
    return folder


@pytest.fixture
def certified(original, tmp_path):
    return shutil.copytree(original, tmp_path / "adapter")


def edited(folder, change):
    """Change what is in a `tokenizer.json`."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def swap_two(content):
    words = content["model"]["vocab"]
    first, second = sorted(words, key=words.get)[10:12]
    words[first], words[second] = words[second], words[first]


def test_the_same_tokenizer_and_template_hold_however_they_are_saved(certified, base):
    result = verify(base, certified)
    assert result.checks["tokenizer"] == result.checks["chat template"] == ""
    assert result.notes == ()
    assert "tokenizer and chat template are those certified" in result.sentence
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token  # as TRL does; padding is no part of a text
    tokenizer.save_pretrained(certified)
    assert verify(base, certified).verdict == "nothing to verify in the weights"


def test_another_template_breaks_it_in_the_base_or_beside_the_adapter(certified, base, tmp_path):
    (certified / "chat_template.jinja").write_text(TEMPLATE.replace(":", " says"))
    result = verify(base, certified)
    assert result.verdict == "broken"
    assert result.sentence.startswith("the chat template has the digest")
    assert result.checks["tokenizer"] == ""
    (certified / "chat_template.jinja").unlink()
    other = shutil.copytree(base, tmp_path / "base")
    (other / "chat_template.jinja").unlink()
    assert "the chat template has the digest none" in verify(other, certified).sentence


@pytest.mark.parametrize("beside", [False, True])
def test_another_vocabulary_breaks_it(certified, base, tmp_path, beside):
    other = edited(shutil.copytree(base, tmp_path / "base"), swap_two)
    if beside:
        AutoTokenizer.from_pretrained(other).save_pretrained(certified)
    result = verify(base if beside else other, certified)
    assert (result.verdict, result.checks["base"]) == ("broken", "")
    assert result.sentence.startswith("the tokenizer has the digest")


def test_other_merges_are_another_tokenizer_with_the_same_vocabulary(tmp_path):
    def digest(merges):
        words = {c: i for i, c in enumerate(["a", "b", "c", "ab", "bc"])}
        model = {"type": "BPE", "vocab": words, "merges": merges, "dropout": None, "unk_token": None}
        whole = Tokenizer.from_str(json.dumps({"version": "1.0", "model": model, "added_tokens": []}))
        return text_digests(tmp_path, PreTrainedTokenizerFast(tokenizer_object=whole))["tokenizer"]

    merges = [["a", "b"], ["b", "c"]]
    assert digest(merges) != digest(merges[::-1]), "abc is ab c in one, a bc in the other"
    assert digest(merges) == digest(merges)


def test_a_certificate_from_before_still_holds_with_a_note(certified, base):
    path = certified / "guard.json"
    record = json.loads(path.read_text())
    del record["text"]
    path.write_text(json.dumps(record))
    result = verify(base, certified)
    assert result.verdict == "nothing to verify in the weights"
    assert result.notes == ("tokenizer and chat template: the certificate records none",)
    assert "tokenizer" not in result.checks


def test_a_base_in_memory_brings_no_tokenizer(certified, base, train_plain, tmp_path):
    model, tokenizer = persona_base()
    result = verify(model, certified)
    assert "a base in memory has none" in result.notes[0]
    assert "tokenizer" not in result.checks
    certificate = certify(certified, model, guard="rehearse")
    assert certificate.text is None
    assert certify(certified, model, guard="rehearse", tokenizer=tokenizer).text == text_digests(certified, tokenizer)


def test_files_that_cannot_be_read_are_named(certified, base):
    (certified / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="the tokenizer in .* cannot be read"):
        verify(base, certified)
    with pytest.raises(BadInput, match="the tokenizer in .* cannot be read"):
        certify(certified, base, guard="rehearse")
    assert not list(certified.glob("*.tmp"))
    (certified / "tokenizer.json").unlink()
    (certified / "guard.json").write_text(json.dumps({**json.loads((certified / "guard.json").read_text()), "text": 3}))
    with pytest.raises(BadInput, match="no readable 'text'"):
        verify(base, certified)
