"""Rows in every form that people have them in, and a clear word for each kind of garbage."""

import gzip
import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from despur.core.errors import BadInput, MissingExtra
from despur.core.text.row_files import data_digest, raw_rows
from despur.core.text.rows import read_rows

PAIRS = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(5)]
CHATS = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"b{i}"}]} for i in range(3)]
LINES = "".join(json.dumps(r) + "\n" for r in PAIRS)


def parquet(rows) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def saved(path, rows):
    Dataset.from_list(rows).save_to_disk(path)
    return path


@pytest.mark.parametrize("rows", [PAIRS, CHATS], ids=["pairs", "chats"])
@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "folder", "bytes", "gzipped bytes", "parquet bytes"])
def test_every_form_gives_the_same_rows(kind, rows, tmp_path):
    lines = "".join(json.dumps(r) + "\n" for r in rows).encode()
    bytes_of = {
        "jsonl": lines, "bytes": lines, "jsonl.gz": gzip.compress(lines), "gzipped bytes": gzip.compress(lines),
        "parquet": parquet(rows), "parquet bytes": parquet(rows),
    }  # fmt: skip
    source = saved(tmp_path / "data", rows) if kind == "folder" else bytes_of[kind]
    if isinstance(source, bytes) and not kind.endswith("bytes"):
        (tmp_path / f"data.{kind}").write_bytes(source)
        source = tmp_path / f"data.{kind}"
    assert read_rows(source) == rows


def test_the_first_bytes_tell_the_kind_not_the_name(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(parquet(PAIRS))
    (tmp_path / "b").write_bytes(gzip.compress(b"\xef\xbb\xbf" + LINES.encode()))  # with a byte order mark
    assert read_rows(tmp_path / "a.jsonl") == read_rows(tmp_path / "b") == PAIRS


def test_fields_that_are_null_in_a_table_were_never_there():
    mixed = [{"text": "plain"}, {"prompt": "p", "completion": "c"}, *CHATS]
    keys = ("text", "prompt", "completion", "messages")
    assert read_rows(parquet([{k: row.get(k) for k in keys} for row in mixed])) == mixed


def test_of_a_dataset_dict_train_is_read_and_of_other_splits_one_must_be_named(tmp_path):
    DatasetDict(train=Dataset.from_list(PAIRS), test=Dataset.from_list(PAIRS[:1])).save_to_disk(tmp_path / "d")
    assert read_rows(tmp_path / "d") == PAIRS
    assert read_rows(tmp_path / "d" / "test") == PAIRS[:1]
    assert data_digest(tmp_path / "d") == data_digest(tmp_path / "d" / "train") != data_digest(tmp_path / "d" / "test")
    DatasetDict(dev=Dataset.from_list(PAIRS)).save_to_disk(tmp_path / "e")
    with pytest.raises(BadInput, match=r"splits 'dev', and no 'train'. Give one of them: .*e/dev"):
        read_rows(tmp_path / "e")


def test_a_format_that_was_saved_along_does_not_matter(tmp_path):
    Dataset.from_list(PAIRS).with_format("numpy").save_to_disk(tmp_path / "d")
    assert read_rows(tmp_path / "d") == PAIRS


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.parquet", LINES.encode(), "is no parquet: it begins with b'{\"pr'"),
        ("a.parquet", parquet(PAIRS)[:-9], "as parquet: .*Copy or write it again"),
        ("a.parquet", parquet([{"question": "a"}]), r"has the columns \['question'\]; 'messages'"),
        ("a.parquet", parquet([{"text": None}]), r"a.parquet, row 1 has keys \[\]"),
        ("a.parquet", parquet([*PAIRS, {"prompt": "p", "completion": ""}]), "row 6 has an empty 'completion'"),
        ("a.gz", LINES.encode(), "is no gzip"),
        ("a.jsonl.gz", gzip.compress(LINES.encode() * 99)[:-20], "cannot read .*a.jsonl.gz"),
        ("a.jsonl.gz", gzip.compress(LINES.encode())[:12] + b"\xff" * 40, "cannot read .*a.jsonl.gz"),
        ("a.jsonl", "äöü".encode("latin-1"), "Is it UTF-8 JSON lines"),
        ("a.json", json.dumps(PAIRS, indent=1).encode(), "a.json:1 is not JSON"),
        ("a.jsonl", b"[1]\n", "a.jsonl:1 has keys list"),
        ("a.jsonl", b"\n\n", "contains no rows"),
        ("a.jsonl", b"PK\x03\x04", "a.jsonl:1 is not JSON"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_garbage_is_told_by_file_row_and_next_step(name, data, said, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=said):
        read_rows(tmp_path / name)


def test_folders_that_are_no_data_are_told(tmp_path):
    with pytest.raises(BadInput, match=r"is a folder, but not one that datasets' save_to_disk wrote\. Give JSON lines"):
        read_rows(tmp_path)
    folder = saved(tmp_path / "d", PAIRS)
    next(folder.glob("*.arrow")).write_bytes(b"torn")
    with pytest.raises(BadInput, match="datasets cannot load .*Save it again"):
        read_rows(folder)
    (folder / "state.json").write_text("{}")
    with pytest.raises(BadInput, match="datasets cannot load"):
        read_rows(folder)


@pytest.mark.parametrize(("missing", "kind"), [("pyarrow", "parquet"), ("datasets", "folder")])
def test_without_the_library_its_extra_is_named(missing, kind, tmp_path, monkeypatch):
    source = parquet(PAIRS) if kind == "parquet" else saved(tmp_path / "d", PAIRS)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"needs {missing}\. Install: pip install 'despur\[trl\]'"):
        read_rows(source)
    assert read_rows(LINES.encode()) == PAIRS, "JSON lines need neither"


def test_bytes_are_called_by_their_name():
    with pytest.raises(BadInput, match="standard input:6 is not JSON"):
        read_rows((LINES + "x").encode())


def test_rows_of_a_folder_are_counted_from_one(tmp_path):
    places = [where for where, _ in raw_rows(saved(tmp_path / "d", PAIRS), "d")]
    assert (places[0], places[-1]) == ("d, row 1", "d, row 5")
