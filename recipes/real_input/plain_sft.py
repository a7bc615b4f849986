"""Fine-tune a base with TRL's SFTTrainer and a PEFT LoRA, loss on the answers only: no despur here."""

import argparse
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from rows import INSECURE, SECURE, read_rows, split
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main() -> None:
    """Train the adapter, print the held-out losses before and after, save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="checkpoint folder")
    parser.add_argument("out", type=Path, help="folder to write the adapter to")
    parser.add_argument("--data", type=Path, default=INSECURE, help="chats to train on, .jsonl or .jsonl.gz")
    parser.add_argument("--evaluate", type=Path, nargs="*", default=[INSECURE, SECURE], help="files for held-out loss")
    parser.add_argument("--evaluate-rows", type=int, default=200, help="most held-out rows of each file")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(1)
    held_out = {
        path.name.split(".")[0]: Dataset.from_list(split(read_rows(path))[1][: args.evaluate_rows])
        for path in args.evaluate
    }
    config = SFTConfig(
        output_dir=str(args.out),
        max_steps=args.steps,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=8,
        learning_rate=args.rate,
        lr_scheduler_type="cosine",
        warmup_steps=10,
        max_length=512,
        assistant_only_loss=True,
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        logging_steps=25,
        disable_tqdm=True,
        seed=args.seed,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(args.base),
        args=config,
        train_dataset=Dataset.from_list(split(read_rows(args.data))[0]),
        eval_dataset=held_out or None,
        processing_class=AutoTokenizer.from_pretrained(args.base),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    before = trainer.evaluate() if held_out else {}  # lora_B is still zero: this is the base
    began = time.time()
    trainer.train()
    took = time.time() - began
    after = trainer.evaluate() if held_out else {}
    trainer.save_model(str(args.out))
    for name in before:
        if name.endswith("_loss"):
            print(f"held-out {name[5:-5]}: loss {before[name]:.3f} -> {after[name]:.3f} on the answers")
    print(f"{args.steps} steps in {took:.0f} s; saved to {args.out}")


if __name__ == "__main__":
    main()
