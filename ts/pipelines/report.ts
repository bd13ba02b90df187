import { type LatentRgbFactors, latentRgbFactors, latentsToRgb } from '../image/preview.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { Call } from './call.ts'
import type { StepReport } from './denoise.ts'
import type { PipelineEvent } from './events.ts'
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
  vae: AutoencoderKL
  emit: (event: PipelineEvent<GenerateResult>) => void
}): (report: StepReport) => void {
  const { preview } = call.options
  const every = preview === true ? 1 : preview === false ? 0 : preview.every
  const factors = previewFactors(vae)
  return ({ index, total, timestep, elapsedMs, predicted }) => {
    const step = index + 1
    const sigma = call.scheduler.sigmas[prepared.begin + index]
    emit({ type: 'step', step, total, timestep, sigma, elapsedMs, etaMs: (elapsedMs / step) * (total - step) })
    if (every > 0 && step % every === 0 && factors !== undefined) {
      using pictures = prepared.pictures?.(predicted) ?? predicted.clone()
      emit({ type: 'preview', step, total, images: latentsToRgb(pictures, factors) })
    }
  }
}

/** The fitted map of a VAE's latents, known by its scaling factor; none for latents of another kind. */
function previewFactors({ config }: AutoencoderKL): LatentRgbFactors | undefined {
  const known: Readonly<Record<string, LatentRgbFactors>> = latentRgbFactors
  const name =
    Math.abs(config.scaling_factor - 0.13025) < 1e-6 ? 'sdxl' : Math.abs(config.scaling_factor - 0.93803) < 1e-6 ? 'shapes' : 'sd1'
  const factors = known[name] ?? latentRgbFactors.sd1
  return config.latent_channels === factors.factors.length ? factors : undefined
}
