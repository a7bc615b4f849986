#!/bin/sh
# Merge an adapter into its base only after its audit: pre-merge.sh BASE ADAPTER OUT NULL (NULL is what `despur calibrate` wrote)
set -eu
base=$1 adapter=$2 out=$3 null=$4

status=0
despur audit "$base" "$adapter" -o "$out.audit" --null "$null" --fail-on "factors found" || status=$?
case $status in
  0) ;;
  3) echo "a hidden factor was found: read $out.audit/report.html; not merged" >&2; exit 3 ;;
  *) echo "no audit, no merge" >&2; exit "$status" ;;
esac

python - "$base" "$adapter" "$out" <<'PY'
import sys
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, out = sys.argv[1:]
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
model.merge_and_unload().save_pretrained(out)
AutoTokenizer.from_pretrained(base).save_pretrained(out)
PY
