import type { Image } from '../image/image.ts'
import type { GenerationParameters } from '../image/metadata/parameters.ts'
import { toImages } from '../image/to-images.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { Tensor } from '../tensor.ts'
import { Scope } from './scope.ts'

/** Judges finished pictures; a pipeline blackens those for which it says true. */
export interface SafetyChecker {
  /** @param images pixels (B, 3, H, W) from 0 to 1 */
  check(images: Tensor): Promise<boolean[]>
}

/** Decodes scaled latents (B, C, h, w) to pixels (B, 3, H, W) from 0 to 1, one image at a time; the caller owns the result. */
export async function decodeLatents(vae: AutoencoderKL, latents: Tensor, signal?: AbortSignal): Promise<Tensor> {
  using scope = new Scope()
  const plain = unscale(vae, latents, scope)
  const parts: Tensor[] = []
  for (let i = 0; i < (latents.shape[0] ?? 0); i++) {
    const one = scope.keep(plain.slice(0, i, i + 1))
    const pixels = scope.keep((await vae.decode(one, { signal })).sample)
    const halved = scope.keep(pixels.mul(0.5))
    parts.push(scope.keep(scope.keep(halved.add(0.5)).clamp(0, 1)))
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

/** Pixels (B, 3, H, W) from 0 to 1 as pictures that know what they were made with. */
export function picturesOf(pixels: Tensor, parameters: readonly GenerationParameters[]): Promise<Image[]> {
  return toImages(pixels, { denormalize: false, parameters })
}
