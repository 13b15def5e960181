#!/bin/sh
# Trains the weights, puts the model package together and has its canary answer once.
set -eu

model="$PREFIX/share/sluice/models/digits"
mkdir -p "$model"
"$PREFIX/bin/python" -B "$SRC_DIR/train.py" "$model"
for file in canary.json digits_model.py model.toml; do
    cp "$SRC_DIR/model/$file" "$model/"
done
"$PREFIX/bin/python" -B -m sluice_scheduler.canary "$model" --write
