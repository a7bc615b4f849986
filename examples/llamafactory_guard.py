"""LLaMA-Factory with a guard, in place of `llamafactory-cli train`: python examples/llamafactory_guard.py CONFIG.yaml."""

import sys
from pathlib import Path

import yaml
from llamafactory.train.tuner import run_exp
from transformers import AutoModelForCausalLM, AutoTokenizer

from despur import GuardCallback
from despur.guard import OwnText, rehearse

config = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
base = config["model_name_or_path"]
text = OwnText.sample(AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base))
run_exp(config, callbacks=[GuardCallback(rehearse(text))])
