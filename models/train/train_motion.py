"""Train a motion adapter (AnimateDiff) for the built-in model on clips of a shape that crosses the picture.

    python train_motion.py --model ../shapes --work WORK --out ../../test/fixtures/adapters/motion [--steps 800]

A clip has 8 frames. Everything but the motion modules stays as it is. WORK keeps the latents.
"""
import argparse
import os

import numpy as np
import torch
from diffusers import MotionAdapter, UNetMotionModel

from fitting import cached, denoising_loss, fit, noised, random_timesteps
from scenes import caption, random_scene
from train_adapters import ids_of, latents_of, load

BATCH, CLIPS, FRAMES = 2, 640, 8
CONFIG = dict(block_out_channels=(32, 96, 160), motion_layers_per_block=1, motion_num_attention_heads=4, motion_norm_num_groups=8,
              motion_max_seq_length=16, use_motion_mid_block=False)


def clip(rng):
    """Frames of one scene in which the object goes a straight way of 20 to 50 pixels, wholly inside the picture."""
    scene = random_scene(rng, pair_share=0, gradient_share=0)
    o = scene["objects"][0]
    r = min(o["r"], 34.0)
    slack = 60 - r
    while True:
        start, end = 64 + rng.uniform(-slack, slack, 2), 64 + rng.uniform(-slack, slack, 2)
        if 20 < np.hypot(*(end - start)) < 50:
            break
    places = [start + (end - start) * i / (FRAMES - 1) for i in range(FRAMES)]
    return [{**scene, "objects": [{**o, "size": "small" if r < 25 and o["size"] else "", "r": r, "x": x, "y": y}]} for x, y in places]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="../shapes")
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", default="../../test/fixtures/adapters/motion")
    parser.add_argument("--steps", type=int, default=800)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(5)
    rng = np.random.default_rng(5)
    tokenizer, text, unet, vae = load(args.model)

    def make():
        clips = [clip(rng) for _ in range(CLIPS)]
        latents = latents_of(vae, [scene for frames in clips for scene in frames])
        return dict(scenes=[frames[0] for frames in clips], latents=latents.unflatten(0, (CLIPS, FRAMES)))

    data = cached(os.path.join(args.work, "clips.pt"), make)
    scenes, latents = data["scenes"], data["latents"]
    moving = UNetMotionModel.from_unet2d(unet, MotionAdapter(**CONFIG))
    moving.freeze_unet2d_params()
    modules = torch.nn.ModuleDict({name.replace(".", "/"): module for name, module in moving.named_modules() if name.endswith("motion_modules")})

    def batch_loss():
        index = rng.integers(CLIPS, size=BATCH)
        t = random_timesteps(BATCH)
        noise, noisy = noised(latents[index], t)
        texts = ["" if rng.random() < 0.1 else caption(scenes[i], rng) for i in index]
        context = text(ids_of(tokenizer, texts)).last_hidden_state.repeat_interleave(FRAMES, 0)
        sample = moving(noisy.transpose(1, 2), t, context).sample
        return denoising_loss(sample.transpose(1, 2), noise, t)

    def save(average):
        adapter = MotionAdapter(**CONFIG)
        adapter.load_state_dict({name.replace("/", "."): value for name, value in average.items()})
        adapter.half().save_pretrained(args.out)

    fit(modules, batch_loss, save, args.steps, 6e-4)


if __name__ == "__main__":
    main()
