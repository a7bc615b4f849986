"""What an object was made by: digests of materials by their content."""

from despur.core.spec import content_digest


def test_a_text_that_is_no_path_has_a_digest():
    texts = ["a prompt " * 200, "with a zero \0 byte", "prompt"]
    assert len({content_digest(text) for text in texts}) == 3


def test_a_folder_counts_by_its_weights(tmp_path):
    plain = content_digest(tmp_path)
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_bytes(bytes([number]))
    one, same, other = (content_digest(tmp_path / name) for name in "abc")
    assert one == same
    assert len({one, other, plain}) == 3
