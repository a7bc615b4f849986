"""Does what counts for linear modules count for stacked experts? A planted direction is sought, and grasp trained with, on tiny mixtures.

python benchmarks/experts.py
"""

from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from despur.core import Adapter, Edit, Subspace
from despur.core.run.callback import guarded
from despur.find import from_adapter
from despur.guard import grasp
from despur.measure import leakage

WIDTH = 32
SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "mixtral": {},
    "qwen3_moe": {"decoder_sparse_step": 1, "mlp_only_layers": []},
    "gpt_oss": {},
    "llama4_text": {},
}


def tuned(base: Any, kind: str, edits: list[Edit], steps: int = 30) -> tuple[Any, float]:
    """Train LoRA on every expert and the queries to repeat random rows; give the model and its last loss."""
    torch.manual_seed(0)
    block = "feed_forward" if kind == "llama4_text" else "mlp"
    parameters = [f"{block}.experts.{n}" for n in ("gate_up_proj", "down_proj")]
    model: Any = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], target_parameters=parameters))
    ids = torch.randint(3, 97, (8, 16))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    loss = torch.zeros(())
    with guarded(model, optimizer, *edits):
        for _ in range(steps):
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model, float(loss.detach())


def found(model: Any, base: Any, planted: torch.Tensor) -> float:
    """|cosine| between the leading shared direction of what is written and the planted one, at a level of .05; 0 where none passes."""
    with torch.no_grad():
        for name, update in Adapter.of(model).updates.items():
            if "down_proj" in name:  # views of the model's own tensors
                update.up[:, 0].add_(planted)
    factors = from_adapter(Adapter.of(model), base, rank=1)
    return float((factors[0].read[0] @ planted).abs()) if factors else 0.0


def main() -> None:
    draw = torch.Generator().manual_seed(1)
    planted = torch.nn.functional.normalize(torch.randn(WIDTH, generator=draw), dim=0)
    factor = Subspace.orthonormal(torch.randn(2, WIDTH, generator=draw))
    print(
        "| kind | updates | planted | nothing planted | loss | leak read, write | loss, grasp | leak read, write | random subspace |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, own in KINDS.items():
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **{**SIZES, **own})

        def fresh(config: Any = config) -> Any:
            torch.manual_seed(0)
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32)

        base = fresh()
        naive, loss = tuned(fresh(), kind, [])
        held, held_loss = tuned(fresh(), kind, [grasp(factor)])
        leaks = [leakage(Adapter.of(m), base, factor) for m in (naive, held)]
        plain, with_it = found(naive, base, 0 * planted), found(naive, base, planted)
        cells = [" ".join(f"{leak[s].value:.1e}" for s in ("read", "write")) for leak in leaks]
        control = " ".join(f"{leaks[1][s].control:.2f}" for s in ("read", "write"))
        print(
            f"| {kind} | {len(Adapter.of(held).updates)} | {with_it:.2f} | {plain:.2f} | {loss:.2f} | {cells[0]} | {held_loss:.2f} | "
            f"{cells[1]} | {control} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
