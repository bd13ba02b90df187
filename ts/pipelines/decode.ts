import { setImmediate } from 'node:timers/promises'
import { expected } from '../errors.ts'
import { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { VQModel } from '../models/vq-model.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Savings } from './memory.ts'
import type { Autoencoder } from './pipeline-class.ts'

/** Judges finished pictures; a pipeline blackens those for which it says true. */
export interface SafetyChecker {
  /** @param images pixels (B, 3, H, W) from 0 to 1 */
  check(images: Tensor): Promise<boolean[]>
}

/**
 * Decodes scaled latents (B, C, h, w) to what the VAE gives (B, 3, H, W), about -1 to 1, one image at a time; the caller owns the result. Those of a
 * `VQModel` have no scale, and are decoded as they are, not quantized.
 */
export async function decodeLatents(vae: Autoencoder, latents: Tensor, signal?: AbortSignal, savings?: Savings): Promise<Tensor> {
  if (!(vae instanceof AutoencoderKL || vae instanceof VQModel)) {
    throw expected('an AutoencoderKL or a VQModel', 'vae', vae)
  }
  if (!(latents instanceof Tensor) || latents.shape.length !== 4 || latents.shape[1] !== vae.config.latent_channels) {
    throw expected(`a Tensor of shape (B, ${vae.config.latent_channels}, h, w)`, 'latents', latents)
  }
  using scope = new Scope()
  const plain = vae instanceof AutoencoderKL ? unscale(vae, latents, scope) : latents
  const parts: Tensor[] = []
  for (let i = 0; i < (latents.shape[0] ?? 0); i++) {
    const one = scope.keep(plain.slice(0, i, i + 1))
    const decoded = await (vae instanceof AutoencoderKL
      ? vae.decode(one, { ...savings, signal })
      : vae.decode(one, { saveMemory: savings?.saveMemory, forceNotQuantize: true, signal }))
    parts.push(scope.keep(decoded.sample))
  }
  return Tensor.cat(parts)
}

/** Maps what a VAE decoded to pixels from 0 to 1, a picture in each turn of the event loop; the caller owns the result. */
export async function unitPixels(decoded: Tensor): Promise<Tensor> {
  using scope = new Scope()
  const parts: Tensor[] = []
  for (let i = 0; i < (decoded.shape[0] ?? 0); i += 1) {
    await setImmediate()
    using one = decoded.slice(0, i, i + 1)
    using halved = one.mul(0.5)
    using moved = halved.add(0.5)
    parts.push(scope.keep(moved.clamp(0, 1)))
  }
  return Tensor.cat(parts)
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
