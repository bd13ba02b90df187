import { expected } from '../errors.ts'
import { type Generator, randnTensor } from '../random.ts'
import { Tensor } from '../tensor.ts'

/** The posterior that a VAE's encoder gives: one Gaussian for each latent. Source: diffusers vae.py `DiagonalGaussianDistribution`. */
export class DiagonalGaussianDistribution {
  /** (B, C, H, W). */
  readonly mean: Tensor
  /** Natural logarithm of the variance, limited to -30 .. 20: (B, C, H, W). */
  readonly logvar: Tensor

  /** @param moments mean and log variance one after the other: (B, 2C, H, W) */
  constructor(moments: Tensor) {
    if (!(moments instanceof Tensor) || moments.shape.length !== 4 || (moments.shape[1] ?? 1) % 2 !== 0) {
      throw expected('a Tensor of shape [batch, 2 * channels, height, width]', 'moments', moments)
    }
    const half = (moments.shape[1] ?? 0) / 2
    this.mean = moments.slice(1, 0, half)
    this.logvar = moments.slice(1, half).clamp(-30, 20)
  }

  /** Standard deviation: (B, C, H, W). */
  get std(): Tensor {
    return this.logvar.mul(0.5).exp()
  }

  /** Variance: (B, C, H, W). */
  get var(): Tensor {
    return this.logvar.exp()
  }

  /** Draws latents; a list of generators draws each item of the batch from its own. */
  sample(generator?: Generator | readonly Generator[]): Tensor {
    const noise = randnTensor(this.mean.shape, generator)
    return this.std.mul(noise).add(this.mean)
  }

  /** The most likely latents, which is the mean. */
  mode(): Tensor {
    return this.mean
  }

  /** Divergence from the standard normal distribution, for each item: (B). */
  kl(): Tensor {
    return this.mean.mul(this.mean).add(this.var).sub(1).sub(this.logvar).sum([1, 2, 3]).mul(0.5)
  }
}
