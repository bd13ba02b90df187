"""Train a LoRA and a textual inversion for the built-in model, small enough to be test files.

    python train_adapters.py --model ../shapes --out ../../test/fixtures/adapters [--lora-steps 500] [--inversion-steps 400]

night.safetensors      a LoRA of rank 4 (kohya's names, UNet attention and text encoder) that puts everything on a black background,
                       whatever the prompt says of the background
easy-dull.pt           a textual inversion of 4 vectors in the web UI's layout, called EasyDull: gray shapes on gray and white, to steer away from
easy-dull.safetensors  the same as `emb_params`
"""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from scenes import COLORS, caption, random_scene, render
from train_unet import NOISE, loss_weights

RANK, ALPHA, VECTORS, BATCH = 4, 4.0, 4, 16
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class Low(nn.Module):
    """A linear layer with a low-rank change."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.in_features, RANK, bias=False), nn.Linear(RANK, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=1)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x)) * (ALPHA / RANK)


def inject(model, endings, prefix):
    """Replace the layers whose names end like this; returns them by kohya's names."""
    layers = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.endswith(endings):
            parent, _, child = name.rpartition(".")
            low = Low(module)
            setattr(model.get_submodule(parent), child, low)
            layers[prefix + name.replace(".", "_")] = low
    return layers


def draw(scenes):
    return torch.from_numpy(np.stack([render(s) for s in scenes])).permute(0, 3, 1, 2) * 2 - 1


@torch.no_grad()
def latents_of(vae, scenes):
    means = [vae.encode(draw(scenes[i:i + 32])).latent_dist.mean for i in range(0, len(scenes), 32)]
    return torch.cat(means) * vae.config.scaling_factor


def train(params, predict, latents, rng, steps, lr):
    """Denoising loss on random latents; `predict(noisy, t, index)` gives the noise."""
    alphas, weights = loss_weights()
    optimizer = torch.optim.AdamW(params, lr=lr, weight_decay=0.0)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 20) * (1 - step / steps)
        index = rng.integers(len(latents), size=BATCH)
        x0 = latents[index]
        noise = torch.randn_like(x0)
        t = torch.from_numpy(rng.integers(0, DDPMScheduler(**NOISE).config.num_train_timesteps, BATCH))
        a = alphas[t].view(-1, 1, 1, 1)
        error = F.mse_loss(predict(a.sqrt() * x0 + (1 - a).sqrt() * noise, t, index), noise, reduction="none").mean((1, 2, 3))
        loss = (weights[t] * error).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1} loss {np.mean(losses[-50:]):.4f}", flush=True)


def load(folder):
    parts = (CLIPTokenizer.from_pretrained(f"{folder}/tokenizer"), CLIPTextModel.from_pretrained(f"{folder}/text_encoder", dtype=torch.float32),
             UNet2DConditionModel.from_pretrained(f"{folder}/unet", torch_dtype=torch.float32), AutoencoderKL.from_pretrained(f"{folder}/vae", torch_dtype=torch.float32))
    for part in parts[1:]:
        part.requires_grad_(False)
    return parts


def ids_of(tokenizer, texts):
    return torch.tensor(tokenizer(texts, truncation=True, padding="max_length", max_length=77)["input_ids"])


def night(args):
    """Scenes on black; the captions name another background or none, so that black goes with the adapter and not with a word."""
    tokenizer, text, unet, vae = load(args.model)
    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    names = [name for name in COLORS if name != "black"]
    scenes = []
    while len(scenes) < 512:
        scene = random_scene(rng, gradient_share=0)
        if all(o["color"] != "black" for o in scene["objects"]):
            scenes.append({**scene, "bg": "black"})
    latents = latents_of(vae, scenes)
    layers = inject(unet, ATTENTION, "lora_unet_")
    layers |= {name if "text_model" in name else name.replace("lora_te_", "lora_te_text_model_") : layer for name, layer in inject(text, TEXT, "lora_te_").items()}

    def predict(noisy, t, index):
        said = [{**scenes[i], "bg": names[rng.integers(len(names))]} for i in index]
        texts = ["" if rng.random() < 0.1 else caption(scene, rng) for scene in said]
        return unet(noisy, t, text(ids_of(tokenizer, texts)).last_hidden_state).sample

    params = [p for layer in layers.values() for p in (*layer.down.parameters(), *layer.up.parameters())]
    print(f"night: {len(layers)} layers, {sum(p.numel() for p in params)} parameters", flush=True)
    train(params, predict, latents, rng, args.lora_steps, 2e-3)
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = layer.down.weight.half(), layer.up.weight.half()
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA).half()
    metadata = {"ss_network_module": "networks.lora", "ss_network_dim": str(RANK), "ss_network_alpha": str(ALPHA), "ss_output_name": "night",
                "modelspec.title": "Night shapes", "modelspec.trigger_phrase": "night", "ss_tag_frequency": json.dumps({"1_night": {"night": 512}})}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{args.out}/night.safetensors", metadata=metadata)


def dull(args):
    """Gray shapes on gray under prompts of the new tokens alone."""
    tokenizer, text, unet, vae = load(args.model)
    rng = np.random.default_rng(2)
    torch.manual_seed(2)
    scenes = []
    while len(scenes) < 256:
        scene = random_scene(rng, pair_share=0.1, gradient_share=0)
        objects = [{**o, "color": "gray"} for o in scene["objects"]]
        scenes.append({**scene, "bg": "gray" if rng.random() < 0.5 else "white", "objects": objects})
    latents = latents_of(vae, scenes)
    names = ["<dull>"] + [f"<dull>_{i}" for i in range(1, VECTORS)]
    tokenizer.add_tokens(names)
    text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = text.get_input_embeddings()
    first = len(tokenizer) - VECTORS
    gray = ids_of(tokenizer, ["gray"])[0, 1].item()
    rows = nn.Parameter(table.weight[gray].detach().repeat(VECTORS, 1) + 0.02 * torch.randn(VECTORS, table.weight.shape[1]))
    frozen = table.weight.detach().clone()

    class Rows(nn.Module):
        def forward(self, ids):
            return F.embedding(ids, torch.cat([frozen[:first], rows]))

    text.set_input_embeddings(Rows())
    said = " ".join(names)
    phrases = (said, f"a picture of {said}", f"{said}, flat design", f"a drawing of {said}", f"{said}, simple", f"a shape, {said}", f"an object, {said}")

    def predict(noisy, t, index):
        texts = [phrases[rng.integers(len(phrases))] for _ in index]
        return unet(noisy, t, text(ids_of(tokenizer, texts)).last_hidden_state).sample

    print(f"dull: {rows.shape[0]} vectors of {rows.shape[1]}", flush=True)
    train([rows], predict, latents, rng, args.inversion_steps, 5e-3)
    vectors = rows.detach().clone()
    save_file({"emb_params": vectors}, f"{args.out}/easy-dull.safetensors")
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "EasyDull", "step": args.inversion_steps,
                "sd_checkpoint": None, "sd_checkpoint_name": "shapes"}, f"{args.out}/easy-dull.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="../shapes")
    parser.add_argument("--out", default="../../test/fixtures/adapters")
    parser.add_argument("--lora-steps", type=int, default=400)
    parser.add_argument("--inversion-steps", type=int, default=400)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(1)
    dull(args)
    night(args)


if __name__ == "__main__":
    main()
