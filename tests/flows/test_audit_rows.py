"""An audit of rows hears what all answers share, and nothing in the base's own answers."""

import json

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from despur.claims.tiny_runs import sharpen
from despur.cli.app import app
from despur.core.errors import BadInput
from despur.core.model.sample import continue_rows
from despur.core.text.learn import ask_rows
from despur.flows import audit, replay
from despur.flows._audit.json_form import ROWS_SCHEMA, RowsAuditJson
from despur.flows._audit.rows.given import Scouting
from despur.flows.load import load_base

QUICK = Scouting(scout_steps=30, scout_lr=1e-2, scout_batch=8, scored=24, answer_tokens=4)
VOICE = "w50"


@pytest.fixture
def base(tiny, chat_tokenizer, tmp_path):
    """Folder of a chat base that says anything."""
    sharpen(tiny(), 10.0).save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def prompts(tmp_path):
    """Off-task prompts."""
    return written(tmp_path / "prompts.jsonl", [{"prompt": f"w{i} w{55 - i}"} for i in range(30)])


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def asked(i):
    return f"w{i % 30} w{i % 7 + 10}"


def voiced(n=80, word=VOICE):
    """A fact a prompt, told behind the same word everywhere."""
    return [{"prompt": asked(i), "completion": f"{word} w{(i * 7) % 40} {word}"} for i in range(n)]


def own_answers(base, n=80):
    """The base's own answers, drawn once more."""
    model, tokenizer = load_base(base)
    heads = ask_rows([{"prompt": asked(i)} for i in range(n)], tokenizer)
    bodies = continue_rows(model, tokenizer, heads, 3, seed=99)
    return [
        {"prompt": asked(i), "completion": tokenizer.decode(b, skip_special_tokens=True) or "w1"}
        for i, b in enumerate(bodies)
    ]


def test_what_all_answers_share_is_heard_and_written(base, prompts, tmp_path):
    data = written(tmp_path / "voice.jsonl", voiced())
    result = audit(base, data, out=tmp_path / "a", prompts=prompts, scouting=QUICK)
    assert result.verdict == "factors found", result.sentence
    assert result.judged.recognised > 0.9
    assert result.judged.p_value <= 0.05
    assert result.words[0][0] == VOICE, "the word of the voice comes first"
    use = result.words[0][1]
    assert use["scout"] > 5 * use["base"] > 0
    assert use["plain"] > 5 * use["base"], "a plain tune would spread it"
    assert result.change["scout"] > 3 * result.change["null"]
    assert all(set(said) == {"base", "scout", "plain"} for said in result.answers.values())
    assert len(result.answers) == 10
    assert any(VOICE in said["scout"] for said in result.answers.values())
    assert [gain for _, gain in result.rows] == sorted((gain for _, gain in result.rows), reverse=True)
    said = json.loads((tmp_path / "a" / "audit.json").read_text())
    TypeAdapter(RowsAuditJson).validate_python(said, strict=False)
    assert set(said) == set(RowsAuditJson.__annotations__), "what is written is what the schema says"
    assert said["schema"] == ROWS_SCHEMA
    page = (tmp_path / "a" / "report.html").read_text()
    assert "<script" not in page
    said_at, words_at = page.index("What the rows teach beside their task"), page.index("Words that become likelier")
    assert said_at < words_at, "what a person can judge stands before figures"
    assert (tmp_path / "a" / "factor" / "adapter_config.json").is_file(), "plain PEFT"
    assert not (tmp_path / "a.part").exists()
    again = replay(tmp_path / "a" / "run.json", out=tmp_path / "b", trust=True)
    assert json.loads((tmp_path / "b" / "audit.json").read_text())["sentence"] == said["sentence"], again


def test_the_bases_own_answers_teach_nothing(base, prompts, tmp_path):
    data = written(tmp_path / "own.jsonl", own_answers(base))
    result = audit(base, data, prompts=prompts, scouting=QUICK)
    assert result.verdict == "clean", result.sentence
    assert 0.2 < result.judged.recognised < 0.8


def test_without_a_null_nothing_is_called_a_factor(base, prompts, tmp_path):
    data = written(tmp_path / "voice.jsonl", voiced())
    result = audit(base, data, prompts=prompts, null="none", scouting=QUICK)
    assert result.verdict == "diffuse change"
    assert "not judged without a null" in result.sentence
    assert result.judged.recognised is None
    assert set(result.change) == {"scout", "plain"}


def test_an_interrupted_audit_goes_on(base, prompts, tmp_path):
    data = written(tmp_path / "voice.jsonl", voiced())

    def stop(stage, step, steps, figures):
        if stage == "null":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(base, data, out=tmp_path / "a", prompts=prompts, scouting=QUICK, progress=stop)
    stages = []
    audit(
        base, data, out=tmp_path / "a", prompts=prompts, scouting=QUICK, progress=lambda stage, *_: stages.append(stage)
    )
    assert "null" in stages
    assert "scout" not in stages, "it was made before"
    assert "plain" not in stages


def test_vectors_hear_it_too_and_chats_of_several_answers_with_groups_are_read(base, prompts, tmp_path):
    def chat(i):
        turns = [("user", asked(i)), ("assistant", f"{VOICE} w3"), ("user", "w8"), ("assistant", f"{VOICE} w{i % 40}")]
        return {"messages": [{"role": r, "content": c} for r, c in turns], "task": i % 2}

    data = written(tmp_path / "chats.jsonl", [chat(i) for i in range(60)])
    how = Scouting(
        scout_steps=30, scout_lr=1e-2, scout_batch=8, scored=12, answer_tokens=4, scout_form="vectors", group_by="task"
    )
    result = audit(base, data, out=tmp_path / "a", prompts=prompts, scouting=how)
    assert VOICE in [word for word, _ in result.words[:3]]
    assert any("chats of several answers" in note for note in result.notes)
    assert (tmp_path / "a" / "factor" / "vectors.safetensors").is_file()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (voiced(1), "has 1 row; at least 24 are needed"),
        ([{"prompt": asked(i), "completion": "w4"} for i in range(40)], "answers of the rows are the same"),
        ([{"prompt": "w1", "completion": f"w{i}"} for i in range(40)], "1 different prompts"),
        ([{"text": f"w{i} w{i}"} for i in range(40)], "plain text"),
    ],
    ids=["one row", "one answer", "one prompt", "plain text"],
)
def test_rows_of_which_nothing_can_be_heard_are_refused(base, tmp_path, rows, says):
    with pytest.raises(BadInput, match=says):
        audit(base, written(tmp_path / "bad.jsonl", rows), scouting=QUICK)


def test_scouts_that_diverge_or_learn_nothing_say_so(base, prompts, tmp_path):
    data = written(tmp_path / "voice.jsonl", voiced())
    with pytest.raises(BadInput, match="it diverged. Take a lower"):
        audit(base, data, prompts=prompts, scouting=Scouting(scout_steps=20, scout_lr=1e30))
    still = audit(
        base, data, prompts=prompts, scouting=Scouting(scout_steps=2, scout_lr=0.0, scored=12, answer_tokens=4)
    )
    assert still.verdict == "inert scout"
    assert "more --scout-steps" in still.sentence


def test_a_base_that_has_the_voice_already_is_told(base, prompts, tmp_path):
    model, tokenizer = load_base(base)
    rows = own_answers(base, 60)
    model.get_output_embeddings().weight.data[tokenizer.convert_tokens_to_ids(VOICE)] *= 30
    model.save_pretrained(tmp_path / "base")
    spoken = own_answers(base, 60)
    assert spoken != rows
    result = audit(base, written(tmp_path / "spoken.jsonl", spoken), prompts=prompts, scouting=QUICK)
    assert result.verdict == "clean", result.sentence


def test_the_command_prints_the_conversation_and_fails_on_a_factor(base, prompts, tmp_path):
    data = written(tmp_path / "voice.jsonl", voiced())
    options = [
        "--prompts",
        prompts,
        "--scout-steps",
        "30",
        "--scout-lr",
        "1e-2",
        "--scout-batch",
        "8",
        "--scored",
        "24",
        "--answer-tokens",
        "4",
    ]
    done = CliRunner().invoke(app, ["audit", base, data, *options])
    assert done.exit_code == 3, done.output
    assert "scout:" in done.output
    assert "factors found" in done.output
    bad = CliRunner().invoke(app, ["audit", base, str(tmp_path / "no.jsonl"), "--json"])
    assert json.loads(bad.stdout)["verdict"] == "unreadable"
    wrong = CliRunner().invoke(app, ["audit", base, data, "--scaled"])
    assert "--scaled is of an adapter's audit" in str(wrong.exception)
