"""Train a small ControlNet for the built-in model that follows silhouettes.

    python train_controlnet.py --model ../shapes --work WORK --out ../../test/fixtures/adapters/silhouette [--steps 1000]

It has no attention and reads white shapes on black. The prompts often say no shape, so that the picture decides it. WORK keeps the latents.
"""
import argparse
import os

import numpy as np
import torch
from diffusers import ControlNetModel

from fitting import anywhere, cached, denoising_loss, fit, noised, random_timesteps
from scenes import SIZE, background, caption, random_scene, shape_distance
from train_adapters import ids_of, latents_of, load

BATCH, SCENES = 16, 2048
CONFIG = dict(down_block_types=("DownBlock2D",) * 3, mid_block_type="UNetMidBlock2D", layers_per_block=1, block_out_channels=(32, 96, 160),
              cross_attention_dim=64, attention_head_dim=4, norm_num_groups=8, conditioning_embedding_out_channels=(4, 8, 24, 48))


def silhouette(scene):
    """The objects in white on black, with hard borders."""
    ys, xs = np.mgrid[:SIZE, :SIZE].astype(np.float32) + 0.5
    return np.any([shape_distance(o["shape"], xs - o["x"], ys - o["y"], o["r"]) < 0 for o in scene["objects"]], 0)


def said(scene, rng):
    """A caption; a third name no shape, a seventh are empty."""
    chance = rng.random()
    if chance < 0.15:
        return ""
    if chance < 0.5 and len(scene["objects"]) == 1:
        return f"a {scene['objects'][0]['color']} {'object' if rng.random() < 0.5 else 'shape'} on a {background(scene['bg'])}"
    return caption(scene, rng)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="../shapes")
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", default="../../test/fixtures/adapters/silhouette")
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    tokenizer, text, unet, vae = load(args.model)

    def make():
        scenes = [random_scene(rng, gradient_share=0.08) for _ in range(SCENES)]
        scenes = [anywhere(rng, scene) if rng.random() < 0.6 else scene for scene in scenes]
        return dict(scenes=scenes, latents=latents_of(vae, scenes), silhouettes=torch.from_numpy(np.stack([silhouette(scene) for scene in scenes])))

    data = cached(os.path.join(args.work, "scenes.pt"), make)
    scenes, latents, silhouettes = data["scenes"], data["latents"], data["silhouettes"]

    net = ControlNetModel(**CONFIG)
    state, taken = net.state_dict(), unet.state_dict()
    net.load_state_dict({name: taken[name] if name in taken and taken[name].shape == value.shape else value for name, value in state.items()})

    def batch_loss():
        index = rng.integers(SCENES, size=BATCH)
        t = random_timesteps(BATCH)
        noise, noisy = noised(latents[index], t)
        context = text(ids_of(tokenizer, [said(scenes[i], rng) for i in index])).last_hidden_state
        drawn = silhouettes[index].float()[:, None].expand(-1, 3, -1, -1)
        down, mid = net(noisy, t, context, drawn, return_dict=False)
        sample = unet(noisy, t, context, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample
        return denoising_loss(sample, noise, t)

    def save(average):
        saved = ControlNetModel(**CONFIG)
        saved.load_state_dict(average)
        saved.half().save_pretrained(args.out)

    fit(net, batch_loss, save, args.steps, 1e-3)


if __name__ == "__main__":
    main()
