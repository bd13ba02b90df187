#!/bin/sh
# Retrain everything: sh retrain.sh [WORK] [MODEL]. A bit over an hour on two CPU cores.
set -e
cd "$(dirname "$0")"
work=${1:-work}
model=${2:-../shapes}
python tokenizer.py "$model/tokenizer"
python train_vae.py --out "$work" --minutes 12
python train_unet.py --work "$work" --tokenizer "$model/tokenizer" --minutes 50
python export.py --work "$work" --out "$model"
python evaluate.py --model "$model" --sheet samples.png
