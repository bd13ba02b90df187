"""What the trainings of parts for the frozen built-in model share: scenes, latents kept on disk, the loop with averaged weights."""
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from train_unet import loss_weights

ALPHAS, WEIGHTS = loss_weights()


def anywhere(rng, scene):
    """The scene with its one object moved to any place inside the picture."""
    if len(scene["objects"]) > 1:
        return scene
    o = scene["objects"][0]
    slack = 60 - o["r"]
    return {**scene, "objects": [{**o, "x": 64 + rng.uniform(-slack, slack), "y": 64 + rng.uniform(-slack, slack)}]}


def random_timesteps(count):
    """Mostly the noisier middle, where the layout is decided."""
    t = torch.sigmoid(0.8 + torch.randn(count))
    return (1000 * torch.where(torch.rand(count) < 0.3, torch.rand(count), t)).long()


def noised(x0, t):
    """Noise, and the latents with it."""
    noise = torch.randn_like(x0)
    a = ALPHAS[t].view(-1, *[1] * (x0.dim() - 1))
    return noise, a.sqrt() * x0 + (1 - a).sqrt() * noise


def denoising_loss(predicted, noise, t):
    return (WEIGHTS[t] * F.mse_loss(predicted, noise, reduction="none").flatten(1).mean(1)).mean()


def cached(path, make):
    """What `make` returns, kept in a file."""
    if not os.path.exists(path):
        torch.save(make(), path + ".tmp")
        os.replace(path + ".tmp", path)
    return torch.load(path, weights_only=False)


def fit(module, batch_loss, save, steps, lr, every=120):
    """AdamW at a constant rate after 50 steps of warm-up; `save` gets averaged weights, now and then and at the end, so that any stop is a result."""
    params = [p for p in module.parameters() if p.requires_grad]
    print(f"{sum(p.numel() for p in params)} parameters, {steps} steps", flush=True)
    optimizer = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.99), weight_decay=0.0)
    average = {name: value.detach().clone() for name, value in module.state_dict().items()}
    losses, begin, saved = [], time.time(), time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 50)
        loss = batch_loss()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        decay = min(0.995, step / (step + 20))
        with torch.no_grad():
            for name, value in module.state_dict().items():
                average[name].lerp_(value, 1 - decay) if value.is_floating_point() else average[name].copy_(value)
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1} loss {np.mean(losses[-50:]):.4f} minutes {(time.time() - begin) / 60:.1f}", flush=True)
        if time.time() - saved > every or step == steps - 1:
            save(average)
            saved = time.time()
