import { expected } from '../errors.ts'
import { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Savings } from './memory.ts'

/** Judges finished pictures; a pipeline blackens those for which it says true. */
export interface SafetyChecker {
  /** @param images pixels (B, 3, H, W) from 0 to 1 */
  check(images: Tensor): Promise<boolean[]>
}

/** Decodes scaled latents (B, C, h, w) to what the VAE gives (B, 3, H, W), about -1 to 1, one image at a time; the caller owns the result. */
export async function decodeLatents(vae: AutoencoderKL, latents: Tensor, signal?: AbortSignal, savings?: Savings): Promise<Tensor> {
  if (!(vae instanceof AutoencoderKL)) {
    throw expected('an AutoencoderKL', 'vae', vae)
  }
  if (!(latents instanceof Tensor) || latents.shape.length !== 4 || latents.shape[1] !== vae.config.latent_channels) {
    throw expected(`a Tensor of shape (B, ${vae.config.latent_channels}, h, w)`, 'latents', latents)
  }
  using scope = new Scope()
  const plain = unscale(vae, latents, scope)
  const parts: Tensor[] = []
  for (let i = 0; i < (latents.shape[0] ?? 0); i++) {
    const one = scope.keep(plain.slice(0, i, i + 1))
    parts.push(scope.keep((await vae.decode(one, { ...savings, signal })).sample))
  }
  return Tensor.cat(parts)
}

/** Maps what a VAE decoded to pixels from 0 to 1; the caller owns the result. */
export function unitPixels(decoded: Tensor): Tensor {
  using halved = decoded.mul(0.5)
  using moved = halved.add(0.5)
  return moved.clamp(0, 1)
}

/** Undoes the scaling of latents. Source: diffusers `StableDiffusionXLPipeline.__call__` for means and deviations. */
function unscale(vae: AutoencoderKL, latents: Tensor, scope: Scope): Tensor {
  const { scaling_factor, latents_mean, latents_std } = vae.config
  const plain = scope.keep(latents.div(scaling_factor))
  if (latents_mean === null || latents_std === null) {
    return plain
  }
  const std = scope.keep(Tensor.from([...latents_std], [1, latents_std.length, 1, 1]))
  const mean = scope.keep(Tensor.from([...latents_mean], [1, latents_mean.length, 1, 1]))
  return scope.keep(scope.keep(plain.mul(std)).add(mean))
}

/** Asks the checker, and blackens what it objects to; the caller owns the result. */
export async function applySafetyChecker(checker: SafetyChecker, pixels: Tensor): Promise<{ pixels: Tensor; flagged: boolean[] }> {
  const flagged = await checker.check(pixels)
  using keep = Tensor.from(
    flagged.map((bad) => (bad ? 0 : 1)),
    [flagged.length, 1, 1, 1],
  )
  return { pixels: pixels.mul(keep), flagged }
}
