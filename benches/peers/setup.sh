#!/usr/bin/env bash
# Installs the peers into a scratch environment outside of the project: $PEERS, by default ~/.cache/node-diffusion-peers. Needs python3, cmake and a C++ compiler.
set -euo pipefail
PEERS=${PEERS:-$HOME/.cache/node-diffusion-peers}
mkdir -p "$PEERS"
if [ ! -x "$PEERS/venv/bin/python" ]; then
  python3 -m venv "$PEERS/venv"
fi
"$PEERS/venv/bin/pip" install -q torch diffusers transformers safetensors openvino onnxruntime onnx onnxscript
# stable-diffusion.cpp from the sources that its Rust binding carries.
if [ ! -e "$PEERS/sdcpp/bench" ]; then
  mkdir -p "$PEERS/sdcpp/src"
  cp "$(dirname "$0")/sdcpp.Cargo.toml" "$PEERS/sdcpp/Cargo.toml"
  echo 'fn main() {}' > "$PEERS/sdcpp/src/main.rs"
  cargo vendor --manifest-path "$PEERS/sdcpp/Cargo.toml" "$PEERS/sdcpp/vendor" > /dev/null
  cmake -S "$PEERS/sdcpp/vendor/diffusion-rs-sys/stable-diffusion.cpp" -B "$PEERS/sdcpp/build" -DCMAKE_BUILD_TYPE=Release -DSD_BUILD_EXAMPLES=OFF -DGGML_NATIVE=ON
  cmake --build "$PEERS/sdcpp/build" -j
  g++ -O2 -I "$PEERS/sdcpp/vendor/diffusion-rs-sys/stable-diffusion.cpp/include" "$(dirname "$0")/sdcpp.cpp" \
    -L "$PEERS/sdcpp/build" -L "$PEERS/sdcpp/build/bin" -lstable-diffusion $(find "$PEERS/sdcpp/build" -name 'libggml*.a' | sort -r) -fopenmp -lpthread -ldl -o "$PEERS/sdcpp/bench"
fi
