import { expected } from '../errors.ts'
import type { Image } from '../image/image.ts'
import { type LatentRgbFactors, latentRgbFactors, latentsToRgb } from '../image/preview.ts'
import { toImages } from '../image/to-images.ts'
import type { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import type { StepReport } from './denoise-options.ts'
import type { PipelineEvent } from './events.ts'
import type { CommonOptions } from './generate-options.ts'
import type { Autoencoder } from './pipeline-class.ts'
import type { Prepared } from './prepared.ts'
import type { GenerateResult } from './result.ts'

/** Turns the loop's reports into `step` events, and `preview` events where the call wants them. */
export function reporter({
  call,
  prepared,
  vae,
  emit,
}: {
  call: Call
  prepared: Prepared
  vae: Autoencoder
  emit: (event: PipelineEvent<GenerateResult>) => void
}): (report: StepReport) => Promise<void> {
  const { preview } = call.options
  const every = preview === true ? 1 : preview === false ? 0 : (preview.every ?? 1)
  const picture = previewer(call, vae)
  return async ({ index, total, timestep, elapsedMs, predicted }) => {
    const step = index + 1
    const sigma = call.scheduler.sigmas[prepared.begin + index]
    emit({ type: 'step', step, total, timestep, sigma, elapsedMs, etaMs: (elapsedMs / step) * (total - step) })
    if (every > 0 && step % every === 0 && picture !== undefined) {
      using pictures = prepared.pictures?.(predicted) ?? predicted.clone()
      emit({ type: 'preview', step, total, images: await picture(pictures) })
    }
  }
}

/** Throws `InvalidArgumentError` for a preview's decoder that reads latents of another kind. */
export function checkPreview(preview: CommonOptions['preview'], { config }: Autoencoder): void {
  const decoder = typeof preview === 'object' ? preview.decoder : undefined
  if (decoder !== undefined && decoder.config.latent_channels !== config.latent_channels) {
    const received = `one for ${decoder.config.latent_channels}`
    throw expected(`an AutoencoderTiny for latents of ${config.latent_channels} channels`, 'preview.decoder', received)
  }
}

/** What makes pictures (B, 3, H, W) of predicted latents; nothing where no map for them is known. */
function previewer({ options, signal }: Call, vae: Autoencoder): ((latents: Tensor) => Image[] | Promise<Image[]>) | undefined {
  const decoder = typeof options.preview === 'object' ? options.preview.decoder : undefined
  if (decoder !== undefined) {
    return async (latents) => {
      using sample = (await decoder.decode(latents, { signal })).sample
      return toImages(sample)
    }
  }
  const factors = previewFactors(vae)
  return factors && ((latents) => latentsToRgb(latents, factors))
}

/** The fitted map of a VAE's latents, known by its scaling factor; none for latents of another kind. */
function previewFactors({ config }: Autoencoder): LatentRgbFactors | undefined {
  const known: Readonly<Record<string, LatentRgbFactors>> = latentRgbFactors
  const name =
    Math.abs(config.scaling_factor - 0.13025) < 1e-6 ? 'sdxl' : Math.abs(config.scaling_factor - 0.93803) < 1e-6 ? 'shapes' : 'sd1'
  const factors = known[name] ?? latentRgbFactors.sd1
  return config.latent_channels === factors.factors.length ? factors : undefined
}
