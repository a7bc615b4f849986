"""Which maps of each architecture read the residual stream, which write it, and the norm that stands between.

One row a map, taken from the model's own code, never guessed. A family that is missing is a row to add here, or to state in
the call: `roles={"*.attn.in_proj": "read:*.norm1"}`. Maps that a model does not have (a gate, a map without bias) are skipped.
"""

from collections.abc import Mapping

# {L} is a layer, {M} what holds the layers; "read:NORM" reads through that norm, "write:NORM" passes one on its way out,
# "A|B" is whichever of the two norms the model has
_QKV = ("{L}.self_attn.q_proj", "{L}.self_attn.k_proj", "{L}.self_attn.v_proj")
_GATE_UP = ("{L}.mlp.gate_proj", "{L}.mlp.up_proj")
_FUSED = ("{L}.mlp.gate_up_proj",)
_OUT = ("{L}.self_attn.o_proj", "{L}.mlp.down_proj")
_EMBED = ("{M}embed_tokens",)
_END = {"write": _EMBED, "read:{M}norm": ("lm_head",)}  # where every writer passes a norm
_LLAMA = {
    "read:{L}.input_layernorm": _QKV,
    "read:{L}.post_attention_layernorm": _GATE_UP,
    "write": (*_OUT, *_EMBED),
    "read:{M}norm": ("lm_head",),
}
_GLM = {**_LLAMA, "read:{L}.post_attention_layernorm": _FUSED}
_PHI3 = {**_GLM, "read:{L}.input_layernorm": ("{L}.self_attn.qkv_proj",)}
_COHERE = {  # attention and MLP in parallel, behind one norm
    "read:{L}.input_layernorm": (*_QKV, *_GATE_UP),
    "write": (*_OUT, *_EMBED),
    "read:{M}norm": ("lm_head",),
}
_GEMMA2 = {
    "read:{L}.input_layernorm": _QKV,
    "write:{L}.post_attention_layernorm": _OUT[:1],
    "read:{L}.pre_feedforward_layernorm": _GATE_UP,
    "write:{L}.post_feedforward_layernorm": _OUT[1:],
    **_END,
}
_OLMO2 = {  # the stream itself is read, and every writer is normed
    "read": (*_QKV, *_GATE_UP),
    "write:{L}.post_attention_layernorm": _OUT[:1],
    "write:{L}.post_feedforward_layernorm": _OUT[1:],
    **_END,
}
_GPT2 = {
    "read:{L}.ln_1": ("{L}.attn.c_attn",),
    "read:{L}.ln_2": ("{L}.mlp.c_fc",),
    "write": ("{L}.attn.c_proj", "{L}.mlp.c_proj", "{M}wte", "{M}wpe"),
    "read:{M}ln_f": ("lm_head",),
}
_GPTJ = {  # attention and MLP in parallel, behind one norm
    "read:{L}.ln_1": ("{L}.attn.q_proj", "{L}.attn.k_proj", "{L}.attn.v_proj", "{L}.attn.qkv_proj", "{L}.mlp.fc_in"),
    "write": ("{L}.attn.out_proj", "{L}.mlp.fc_out", "{M}wte"),
    "read:{M}ln_f": ("lm_head",),
}
FAMILIES: dict[str, Mapping[str, tuple[str, ...]]] = {
    # norms of queries and keys (Qwen3, Gemma 3, OLMo 2 and others) stand behind the maps: they do not touch what those read
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "ministral",
            "ministral3",
            "qwen2",
            "qwen3",
            "gemma",
            "smollm3",
            "seed_oss",
            "olmo",
            "granite",
        ),
        _LLAMA,
    ),
    **dict.fromkeys(("ernie4_5", "hunyuan_v1_dense", "helium", "arcee", "nemotron", "jais2", "cwm"), _LLAMA),
    **dict.fromkeys(("gemma2", "gemma3_text"), _GEMMA2),
    **dict.fromkeys(("olmo2", "olmo3", "exaone4"), _OLMO2),
    **dict.fromkeys(("phi3", "phi4_multimodal"), _PHI3),
    **dict.fromkeys(("cohere", "cohere2"), _COHERE),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), _GPT2),
    **dict.fromkeys(("gptj", "codegen"), _GPTJ),
    "glm": _GLM,
    "glm4": {
        "read:{L}.input_layernorm": _QKV,
        "write:{L}.post_self_attn_layernorm": _OUT[:1],
        "read:{L}.post_attention_layernorm": _FUSED,
        "write:{L}.post_mlp_layernorm": _OUT[1:],
        **_END,
    },
    "vaultgemma": {
        "read:{L}.input_layernorm": _QKV,
        "read:{L}.pre_feedforward_layernorm": _GATE_UP,
        "write": (*_OUT, *_EMBED),
        "read:{M}norm": ("lm_head",),
    },
    "apertus": {
        "read:{L}.attention_layernorm": _QKV,
        "read:{L}.feedforward_layernorm": _GATE_UP,
        "write": (*_OUT, *_EMBED),
        "read:{M}norm": ("lm_head",),
    },
    "stablelm": {  # in parallel, there is no second norm and the MLP reads behind the first
        "read:{L}.input_layernorm": _QKV,
        "read:{L}.post_attention_layernorm|{L}.input_layernorm": _GATE_UP,
        "write": (*_OUT, *_EMBED),
        "read:{M}norm": ("lm_head",),
    },
    "starcoder2": {
        "read:{L}.input_layernorm": _QKV,
        "read:{L}.post_attention_layernorm": ("{L}.mlp.c_fc",),
        "write": ("{L}.self_attn.o_proj", "{L}.mlp.c_proj", *_EMBED),
        "read:{M}norm": ("lm_head",),
    },
    "phi": {  # attention and MLP in parallel, behind one norm
        "read:{L}.input_layernorm": (*_QKV, "{L}.mlp.fc1"),
        "write": ("{L}.self_attn.dense", "{L}.mlp.fc2", *_EMBED),
        "read:{M}final_layernorm": ("lm_head",),
    },
    "persimmon": {
        "read:{L}.input_layernorm": ("{L}.self_attn.query_key_value",),
        "read:{L}.post_attention_layernorm": ("{L}.mlp.dense_h_to_4h",),
        "write": ("{L}.self_attn.dense", "{L}.mlp.dense_4h_to_h", *_EMBED),
        "read:{M}final_layernorm": ("lm_head",),
    },
    "gpt_neo": {
        "read:{L}.ln_1": ("{L}.attn.attention.q_proj", "{L}.attn.attention.k_proj", "{L}.attn.attention.v_proj"),
        "read:{L}.ln_2": ("{L}.mlp.c_fc",),
        "write": ("{L}.attn.attention.out_proj", "{L}.mlp.c_proj", "{M}wte", "{M}wpe"),
        "read:{M}ln_f": ("lm_head",),
    },
    "gpt_neox": {  # in parallel or not, the MLP's norm takes the stream
        "read:{L}.input_layernorm": ("{L}.attention.query_key_value",),
        "read:{L}.post_attention_layernorm": ("{L}.mlp.dense_h_to_4h",),
        "write": ("{L}.attention.dense", "{L}.mlp.dense_4h_to_h", "{M}embed_in"),
        "read:{M}final_layer_norm": ("lm_head", "embed_out"),
    },
    "bloom": {
        "read:{L}.input_layernorm": ("{L}.self_attention.query_key_value",),
        "read:{L}.post_attention_layernorm": ("{L}.mlp.dense_h_to_4h",),
        "write": ("{L}.self_attention.dense", "{L}.mlp.dense_4h_to_h"),
        "write:{M}word_embeddings_layernorm": ("{M}word_embeddings",),
        "read:{M}ln_f": ("lm_head",),
    },
    "falcon": {  # one norm, one for each of two in turn, or one for each of two in parallel
        "read:{L}.ln_attn|{L}.input_layernorm": ("{L}.self_attention.query_key_value",),
        "read:{L}.ln_mlp|{L}.post_attention_layernorm|{L}.input_layernorm": ("{L}.mlp.dense_h_to_4h",),
        "write": ("{L}.self_attention.dense", "{L}.mlp.dense_4h_to_h", "{M}word_embeddings"),
        "read:{M}ln_f": ("lm_head",),
    },
    "mpt": {
        "read:{L}.norm_1": ("{L}.attn.Wqkv",),
        "read:{L}.norm_2": ("{L}.ffn.up_proj",),
        "write": ("{L}.attn.out_proj", "{L}.ffn.down_proj", "{M}wte"),
        "read:{M}norm_f": ("lm_head",),
    },
    "opt": {  # where the embeddings are narrower than the stream, project_in and project_out stand between
        "read:{L}.self_attn_layer_norm": _QKV,
        "read:{L}.final_layer_norm": ("{L}.fc1",),
        "write": ("{L}.self_attn.out_proj", "{L}.fc2", "{M}embed_tokens", "{M}embed_positions", "{M}project_in"),
        "read:{M}final_layer_norm": ("lm_head", "{M}project_out"),
    },
}
# settings with which a model keeps what a norm gives as its stream, so that no norm stands between stream and map
NORMED_STREAM = {"do_layer_norm_before": False, "apply_residual_connection_post_layernorm": True}
