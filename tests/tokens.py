"""Tiny tokenizers of each kind that people bring, and chat templates in the form of well-known ones."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + (m['content'] or '') + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA2 = (  # strips what is said, and has no generation prompt
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% else %}"
    "{{ bos_token + '[INST] ' + m['content'].strip() + ' [/INST]' }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}"
    "{% endif %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
PHI3 = (  # an end of the whole chat, where no answer is asked for
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
R1 = (  # opens a thought where it asks, and drops thoughts where it renders
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|user|>' + m['content'] }}{% else %}"
    "{{ '<|assistant|>' + m['content'].split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|><think>\\n' }}{% endif %}"
)
QWEN3 = (  # an empty thought in the last answer, none in earlier ones
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if loop.last and m['role'] == 'assistant' %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN = (  # no end token at all, and another header than the one it asks with
    "{% for m in messages %}{{ '### ' + m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant:' }}{% endif %}"
)
MARKED = CHATML.replace(
    "(m['content'] or '') + '<|im_end|>\\n' }}",
    "'' }}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}"
    "{% endif %}{{ '<|im_end|>\\n' }}",
)
TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\\n' }}{% for t in tools %}{{ t['function']['name'] }}{% endfor %}{{ '<|im_end|>\\n' }}"
    "{% endif %}"
) + CHATML.replace(
    "(m['content'] or '')",
    "m['content'] + (m['tool_calls'][0]['function']['arguments']['city'] if m['tool_calls'] else '')",
)
PARTS = CHATML.replace(  # of images and text
    "(m['content'] or '') + '<|im_end|>\\n' }}",
    "'' }}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\\n' }}",
)
SPECIAL = (
    *("<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<start_of_turn>", "<end_of_turn>"),
)


def byte_level(template=None, *, text=("a",), adds=None, size=0):
    """Bytes and merges, as GPT-2's: `adds` is what its post-processor puts round a text, as `<s> $A </s>`."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(SPECIAL) + size, special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    inner.train_from_iterator(text, trainer)
    if adds:
        ids = [(t, SPECIAL.index(t)) for t in ("<s>", "</s>") if t in adds]
        inner.post_processor = processors.TemplateProcessing(single=adds, special_tokens=ids)
    return _fast(inner, template)


def sentencepiece(template=None, *, legacy=False, adds="<s> $A"):
    """A space mark in front of every text, as Llama 2 and Mistral have it; `legacy` puts it there by a normalizer."""
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    if legacy:
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=False)
    inner.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [*SPECIAL, "<unk>", *(f"<0x{i:02X}>" for i in range(256))]
    text = ["print('hi') and print('ho')", "2+2=4 and 3+3=6", "What is two plus two? It is four."] * 9
    inner.train_from_iterator(text, trainers.BpeTrainer(vocab_size=330, special_tokens=special, show_progress=False))
    inner.post_processor = processors.TemplateProcessing(single=adds, special_tokens=[("<s>", 0), ("</s>", 1)])
    return _fast(inner, template, unk_token="<unk>")


def _fast(inner, template, **more):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", **more,
        additional_special_tokens=list(SPECIAL[3:]),
    )  # fmt: skip
    tokenizer.chat_template = template
    return tokenizer
