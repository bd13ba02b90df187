"""Train a small image encoder and an IP-Adapter for the built-in model.

    python train_image_prompt.py --model ../shapes --work WORK --out ../../test/fixtures/adapters/image-prompt [--encoder-steps 1500] [--steps 750]

The encoder (CLIP's vision transformer, 64 pixels, 4 layers of 64) first learns to name background, colour and shape; then it stays as it is.
The adapter (4 tokens, keys and values of each cross-attention) learns to draw a scene like that of the reference, at another place and of another
size; half of the prompts are empty. WORK keeps the latents.
"""
import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import ImageProjection
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from fitting import cached, denoising_loss, fit, noised, random_timesteps
from scenes import COLORS, GRADIENTS, SHAPES, SIZES, caption, random_scene, render
from train_adapters import ids_of, latents_of, load

BATCH, SCENES, VIEWS, TOKENS, SIDE = 16, 2048, 4, 4, 64
VISION = dict(hidden_size=64, intermediate_size=256, projection_dim=64, num_hidden_layers=4, num_attention_heads=4, image_size=SIDE, patch_size=8)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BACKGROUNDS = [*COLORS, *GRADIENTS]


def moved(rng, scene):
    """The scene of one object with another size and place."""
    o = scene["objects"][0]
    r = rng.uniform(*SIZES[o["size"]])
    slack = min(16.0, 60 - r)
    return {**scene, "jitter": int(rng.integers(2 ** 31)), "objects": [{**o, "r": r, "x": 64 + rng.uniform(-slack, slack), "y": 64 + rng.uniform(-slack, slack)}]}


def pixels(scenes):
    """What a CLIPImageProcessor of 64 pixels makes of the scenes' pictures."""
    drawn = torch.from_numpy(np.stack([render(s) for s in scenes])).permute(0, 3, 1, 2)
    small = F.interpolate(drawn, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
    return (small - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def make_views(args, rng):
    """Scenes with their latents, and each in several places and sizes as the encoder sees it; the first is the one of the latents."""
    scenes = [moved(rng, random_scene(rng, pair_share=0, gradient_share=0.08)) for _ in range(SCENES)]
    seen = torch.stack([pixels([scene, *(moved(rng, scene) for _ in range(VIEWS - 1))]).half() for scene in scenes])
    return dict(scenes=scenes, latents=latents_of(load(args.model)[3], scenes), pixels=seen)


class Namer(nn.Module):
    """The image encoder and linear readings of its embedding."""

    def __init__(self):
        super().__init__()
        self.encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
        self.read = nn.Linear(64, len(BACKGROUNDS) + len(COLORS) + len(SHAPES))

    def loss(self, scenes, seen):
        out = self.read(self.encoder(seen).image_embeds)
        bg, color, shape = out.split([len(BACKGROUNDS), len(COLORS), len(SHAPES)], 1)
        objects = [s["objects"][0] for s in scenes]

        def named(logits, names, truth):
            index = torch.tensor([names.index(name) for name in truth])
            return F.cross_entropy(logits, index), (logits.argmax(1) == index).float().mean().item()

        parts = [named(bg, BACKGROUNDS, [s["bg"] for s in scenes]), named(color, list(COLORS), [o["color"] for o in objects]),
                 named(shape, list(SHAPES), [o["shape"] for o in objects])]
        self.right = [share for _, share in parts]
        return sum(loss for loss, _ in parts)


def train_encoder(args, data, rng):
    scenes, seen = data["scenes"], data["pixels"].flatten(0, 1)
    namer = Namer()

    def batch_loss():
        index = rng.integers(len(seen), size=32)
        return namer.loss([scenes[i // VIEWS] for i in index], seen[index].float())

    def save(average):
        saved = Namer()
        saved.load_state_dict(average)
        unseen = np.random.default_rng(9)
        unknown = [random_scene(unseen, pair_share=0) for _ in range(200)]
        with torch.no_grad():
            saved.loss(unknown, pixels(unknown))
        print("named right: background {:.2f}, colour {:.2f}, shape {:.2f}".format(*saved.right), flush=True)
        saved.encoder.half().save_pretrained(f"{args.out}/image_encoder")

    fit(namer, batch_loss, save, args.encoder_steps, 1e-3)


class ImageAttention(nn.Module):
    """A cross-attention with keys and values of the image beside those of the text."""

    def __init__(self, width):
        super().__init__()
        self.to_k_ip, self.to_v_ip = nn.Linear(64, width, bias=False), nn.Linear(64, width, bias=False)
        self.tokens = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        heads = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        query = heads(attn.to_q(hidden_states))
        text = F.scaled_dot_product_attention(query, heads(attn.to_k(encoder_hidden_states)), heads(attn.to_v(encoder_hidden_states)))
        image = F.scaled_dot_product_attention(query, heads(self.to_k_ip(self.tokens)), heads(self.to_v_ip(self.tokens)))
        return attn.to_out[1](attn.to_out[0]((text + image).transpose(1, 2).flatten(2)))


class Adapter(nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.proj = ImageProjection(image_embed_dim=64, cross_attention_dim=64, num_image_text_embeds=TOKENS)
        names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
        self.layers = nn.ModuleList()
        for name in names:
            attn = unet.get_submodule(name.removesuffix(".processor"))
            layer = ImageAttention(attn.inner_dim)
            layer.to_k_ip.weight.data.copy_(attn.to_k.weight)
            nn.init.zeros_(layer.to_v_ip.weight)
            self.layers.append(layer)
        self.use(unet)

    def use(self, unet):
        processors = iter(self.layers)
        unet.set_attn_processor({name: next(processors) if name.endswith("attn2.processor") else old for name, old in unet.attn_processors.items()})

    def set(self, embeds):
        tokens = self.proj(embeds)
        for layer in self.layers:
            layer.tokens = tokens


def train_adapter(args, data, rng):
    tokenizer, text, unet, _ = load(args.model)
    encoder = CLIPVisionModelWithProjection.from_pretrained(f"{args.out}/image_encoder", dtype=torch.float32).requires_grad_(False)
    scenes, latents = data["scenes"], data["latents"]
    embeds = torch.cat([encoder(part.float()).image_embeds for part in data["pixels"].flatten(0, 1).split(256)]).unflatten(0, (SCENES, VIEWS))
    adapter = Adapter(unet)

    def batch_loss():
        index = rng.integers(SCENES, size=BATCH)
        t = random_timesteps(BATCH)
        noise, noisy = noised(latents[index], t)
        context = text(ids_of(tokenizer, ["" if rng.random() < 0.5 else caption(scenes[i], rng) for i in index])).last_hidden_state
        adapter.set(embeds[index, rng.integers(1, VIEWS, size=BATCH)] * (torch.rand(BATCH, 1) > 0.1))
        return denoising_loss(unet(noisy, t, context).sample, noise, t)

    def save(average):
        tensors = {f"image_proj.{name}": average[f"proj.{old}"] for name, old in
                   (("proj.weight", "image_embeds.weight"), ("proj.bias", "image_embeds.bias"), ("norm.weight", "norm.weight"), ("norm.bias", "norm.bias"))}
        for i in range(len(adapter.layers)):
            for kind in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{2 * i + 1}.{kind}.weight"] = average[f"layers.{i}.{kind}.weight"]
        save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, f"{args.out}/ip-adapter.safetensors")

    fit(adapter, batch_loss, save, args.steps, 1e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="../shapes")
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", default="../../test/fixtures/adapters/image-prompt")
    parser.add_argument("--encoder-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=750)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(4)
    rng = np.random.default_rng(4)
    os.makedirs(args.out, exist_ok=True)
    data = cached(os.path.join(args.work, "views.pt"), lambda: make_views(args, rng))
    if args.encoder_steps:
        train_encoder(args, data, rng)
    train_adapter(args, data, rng)


if __name__ == "__main__":
    main()
