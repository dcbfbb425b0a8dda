#!/usr/bin/env bash
# The main job in small, with the Python given: train one pass on 10,000 images of MNIST, read a digit, compare.
#   tests/smoke.sh .venv/bin/python
set -euo pipefail
python=$1
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" train.py --passes 1 --validation-size 50000 --run-dir "$work/run" --save-dir "$work/model"
"$python" - "$work/7.png" <<'PYTHON'
import sys
from PIL import Image
from data.dataset import load_mnist
Image.fromarray(load_mnist().test_images[0]).save(sys.argv[1])
PYTHON
"$python" infer.py --model-dir "$work/model" "$work/7.png"
"$python" infer.py --format json docs/samples/seven_on_squared_paper.png | tee "$work/answer.json"
grep -q '"digit": "7"' "$work/answer.json"      # the released model, on this Paddle
"$python" compare.py "$work/run" --plot "$work/curves.png"
test -s "$work/curves.png"
echo "smoke: 1 passed, 0 failed"
