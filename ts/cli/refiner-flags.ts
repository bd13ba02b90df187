import type { Command } from 'commander'
import type { Job } from '../pipelines/job.ts'
import type { ImagesResult, LatentsResult } from '../pipelines/result.ts'
import { StableDiffusionXLImg2ImgPipeline } from '../pipelines/stable-diffusion-xl.ts'
import type { StableDiffusionXLComponents } from '../pipelines/stable-diffusion-xl-base.ts'
import { UsageError } from './exit.ts'
import { loadModel, type ModelFlags } from './load-model.ts'

/** Adds the flags of SDXL's refiner to `generate`. */
export function addRefinerFlags(command: Command): void {
  command
    .option('--refiner <model>', 'let this SDXL refiner run the last part of the steps, on the latents of the first model')
    .option('--refiner-start <share>', 'share of the steps after which the refiner takes over, above 0 and below 1 (default: 0.8)')
}

/** Where the refiner takes over, undefined without one; throws `UsageError`. */
export function readRefiner(flags: Record<string, unknown>, task: string): { model: string; start: number } | undefined {
  const { refiner, refinerStart } = flags as { refiner?: string; refinerStart?: string }
  if (refiner === undefined) {
    if (refinerStart !== undefined) {
      throw new UsageError('Expected --refiner <model> with --refiner-start, but it was not given')
    }
    return undefined
  }
  const start = Number(refinerStart ?? 0.8)
  if (!(start > 0 && start < 1)) {
    throw new UsageError(`Expected a number above 0 and below 1 for --refiner-start but received ${JSON.stringify(refinerStart)}`)
  }
  if (task !== 'textToImage') {
    throw new UsageError('--refiner can be used only without --image')
  }
  return { model: refiner, start }
}

/** The options that a refiner shares with the first model. */
const SHARED = [
  'prompt',
  'negativePrompt',
  'numInferenceSteps',
  'numImagesPerPrompt',
  'guidanceScale',
  'scheduler',
  'seed',
  'seeds',
  'rng',
] as const

type Base = {
  components: Readonly<Pick<StableDiffusionXLComponents, 'tokenizer2' | 'textEncoder2' | 'vae'>>
  generate(options: Record<string, unknown>, how: { signal: AbortSignal }): Job<LatentsResult>
}

/**
 * Runs the first model up to `start` and the refiner, with the same text encoder and autoencoder, from there.
 * Source: arXiv:2307.01952 section 2.5, "ensemble of expert denoisers".
 */
export function refine(
  base: Base,
  options: Record<string, unknown>,
  { model, start, flags, signal }: { model: string; start: number; flags: ModelFlags; signal: AbortSignal },
): { base: Job<LatentsResult>; refined: (latents: LatentsResult) => Promise<{ job: Job<ImagesResult>; dispose: () => void }> } {
  const first = base.generate({ ...options, denoisingEnd: start, outputType: 'latent' }, { signal })
  return {
    base: first,
    refined: async ({ latents }) => {
      const { tokenizer2, textEncoder2, vae } = base.components
      const { dtype, device, variant, cacheDir, offline } = flags
      const own = { dtype, device, variant, cacheDir, offline }
      const parts = { tokenizer2, textEncoder2, vae, signal }
      const refiner = await loadModel<StableDiffusionXLImg2ImgPipeline, typeof parts>(StableDiffusionXLImg2ImgPipeline, model, own, parts)
      const shared = Object.fromEntries(SHARED.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]))
      const job = refiner.generate({ ...shared, image: latents, denoisingStart: start } as never, {
        signal,
      }) as unknown as Job<ImagesResult>
      return {
        job,
        dispose: () => {
          latents.dispose()
          refiner.dispose()
        },
      }
    },
  }
}
