"""Train the byte-level BPE tokenizer of the small bases, chat template included."""

from rows import Row
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY, CONTEXT = 4096, 1024
PAD, START, END, BOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>"
# Qwen2's own word pattern.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The end of turn lies inside the generation block: without it assistant-only loss never teaches the model to stop.
TEMPLATE = (
    "{{ bos_token or '' }}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\n' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{%- generation %}{{- message['content'] + '<|im_end|>' }}{%- endgeneration %}{{- '\n' }}"
    "{%- else %}{{- message['content'] + '<|im_end|>\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def train_tokenizer(rows: list[Row], arch: str) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; the llama one puts a BOS first, as Llama 3 does, the qwen2 one has none."""
    special = [PAD, START, END] + ([BOS] if arch == "llama" else [])
    bpe = Tokenizer(models.BPE())
    if arch == "qwen2":  # AutoTokenizer rebuilds Qwen2's own normalizer and word pattern for this model type
        bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((message["content"] for row in rows for message in row["messages"]), trainer)
    after: list[processors.PostProcessor] = [processors.ByteLevel(trim_offsets=False)]
    if arch == "llama":
        after.append(processors.TemplateProcessing(f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]))
    bpe.post_processor = processors.Sequence(after)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS if arch == "llama" else None,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[START],
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
