import { CLIPTokenizer, DPMSolverMultistepScheduler, Generator, StableDiffusionPipeline, Tensor } from 'node-diffusion'
import { lora } from './lora.ts'
import { type Measurement, measure } from './measure.ts'
import { type Origin, openTextEncoder, openUnet, openVae, randomCheckpoint } from './open.ts'

/** What the command line asks for. `size` is in pixels; by default what the model was trained on. */
export type BenchOptions = Origin & {
  steps: number
  runs: number
  size: number | undefined
  batch: number
  scheduler: string
  /** Whether to tell where the time went. */
  profile: boolean
}

const prompt = 'a red circle on a blue background'

/** The pipeline of a folder, or of an architecture with the built-in tokenizer, whose ids every vocabulary of CLIP has. */
async function pipeline(options: BenchOptions): Promise<StableDiffusionPipeline> {
  if (options.architecture === undefined) {
    return StableDiffusionPipeline.fromPretrained(options.model, { dtype: options.dtype })
  }
  return new StableDiffusionPipeline({
    unet: await openUnet(options),
    vae: await openVae(options),
    textEncoder: await openTextEncoder(options),
    tokenizer: await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' }),
    scheduler: new DPMSolverMultistepScheduler({ beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' }),
  })
}

async function e2e(options: BenchOptions): Promise<Measurement[]> {
  await using pipe = await pipeline(options)
  const size = options.size === undefined ? {} : { width: options.size, height: options.size }
  const call = {
    prompt,
    numInferenceSteps: options.steps,
    scheduler: options.scheduler,
    numImagesPerPrompt: options.batch,
    seed: 7,
    ...size,
  }
  const { peak } = await pipe.estimate({ ...size, numImagesPerPrompt: options.batch })
  const parts: Record<'encode' | 'denoise' | 'decode', number[]> = { encode: [], denoise: [], decode: [] }
  const whole = await measure('e2e', `${options.batch} image(s), ${options.steps} steps, ${options.scheduler}`, options, async () => {
    const { timings } = await pipe.generate(call)
    for (const part of ['encode', 'denoise', 'decode'] as const) parts[part].push(timings[part])
  })
  const stages = Object.entries(parts).map(([part, times]) => {
    const runs = times.slice(1).sort((a, b) => a - b)
    const [minMs = 0, medianMs = 0] = [runs[0], runs[Math.floor(runs.length / 2)]]
    return { ...whole, name: `e2e ${part}`, what: 'of the above', medianMs, minMs, runs, cpuMs: 0, gflop: 0, faults: 0, profile: undefined }
  })
  const off = (100 * (peak / whole.peakBytes - 1)).toFixed(0)
  const what = `${whole.what}; estimate() said ${(peak / 2 ** 20).toFixed(0)} MiB, off by ${off} %`
  return [{ ...whole, what }, ...stages]
}

/** What SDXL's UNet wants beside the prompt. */
function additions(config: Readonly<Record<string, unknown>>, rows: number): { addedCondKwargs?: { textEmbeds: Tensor; timeIds: Tensor } } {
  if (config.addition_embed_type !== 'text_time') {
    return {}
  }
  const width = Number(config.projection_class_embeddings_input_dim) - 6 * Number(config.addition_time_embed_dim)
  return { addedCondKwargs: { textEmbeds: new Generator(3).randn([rows, width]), timeIds: Tensor.zeros([rows, 6]) } }
}

async function unet(options: BenchOptions): Promise<Measurement[]> {
  await using model = await openUnet(options)
  const { in_channels: channels, cross_attention_dim: width, sample_size: trained } = model.config as Record<string, number>
  const latent = options.size === undefined ? (trained ?? 64) : options.size / 8
  const rows = 2 * options.batch
  const sample = new Generator(1).randn([rows, channels ?? 4, latent, latent])
  const encoderHiddenStates = new Generator(2).randn([rows, 77, width ?? 768])
  const forward = { encoderHiddenStates, ...additions(model.config, rows) }
  return [
    await measure('unet', `one step with guidance, ${rows}x${channels}x${latent}x${latent}`, options, async () => {
      const { sample: noise } = await model.forward(sample, 500, forward)
      noise.dispose()
    }),
  ]
}

async function vae(options: BenchOptions): Promise<Measurement[]> {
  await using model = await openVae(options)
  const { sample_size: trained, latent_channels: channels } = model.config
  const size = options.size ?? trained
  const latent = size / model.scaleFactor
  const latents = new Generator(1).randn([options.batch, channels, latent, latent])
  const image = Tensor.zeros([options.batch, 3, size, size])
  return [
    await measure('vae decode', `${options.batch}x3x${size}x${size}`, options, async () => {
      const { sample } = await model.decode(latents)
      sample.dispose()
    }),
    await measure('vae encode', `${options.batch}x3x${size}x${size}`, options, () => model.encode(image)),
  ]
}

async function clip(options: BenchOptions): Promise<Measurement[]> {
  const tokenizer = await CLIPTokenizer.fromPretrained(options.architecture === undefined ? options.model : 'shapes', {
    subfolder: 'tokenizer',
  })
  await using model = await openTextEncoder(options)
  const tokens = tokenizer.encode(
    Array.from({ length: 2 * options.batch }, () => prompt),
    { padding: 'max_length', truncation: true },
  )
  return [await measure('clip', `${2 * options.batch} prompts of 77 tokens`, options, () => model.forward(tokens))]
}

async function load(options: BenchOptions): Promise<Measurement[]> {
  const { architecture, dtype } = options
  if (architecture === undefined) {
    const work = async (): Promise<void> => (await StableDiffusionPipeline.fromPretrained(options.model, { dtype })).dispose()
    return [await measure('load', 'all components, files in the page cache', options, work)]
  }
  const folder = await randomCheckpoint(architecture)
  const work = async (): Promise<void> => {
    const from = { model: folder, architecture: undefined, dtype }
    for (const model of await Promise.all([openUnet(from), openVae(from), openTextEncoder(from)])) model.dispose()
  }
  return [await measure('load', `f16 files of ${architecture} as ${dtype}, in the page cache`, options, work)]
}

/** What can be measured, by name. */
export const benches: Readonly<Record<string, (options: BenchOptions) => Promise<Measurement[]>>> = { e2e, unet, vae, clip, load, lora }
