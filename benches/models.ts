import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTokenizer,
  Generator,
  StableDiffusionPipeline,
  Tensor,
  UNet2DConditionModel,
} from 'node-diffusion'
import { type Measurement, measure } from './measure.ts'

/** What the command line asks for. `size` is in pixels; by default what the model was trained on. */
export type BenchOptions = {
  model: string
  steps: number
  runs: number
  size: number | undefined
  batch: number
  scheduler: string
  dtype: 'f32' | 'f16' | 'bf16'
}

const prompt = 'a red circle on a blue background'

function pixels(options: BenchOptions, trained: number): number {
  return options.size ?? trained
}

async function e2e(options: BenchOptions): Promise<Measurement[]> {
  await using pipe = await StableDiffusionPipeline.fromPretrained(options.model, { dtype: options.dtype })
  const size = options.size === undefined ? {} : { width: options.size, height: options.size }
  const call = {
    prompt,
    numInferenceSteps: options.steps,
    scheduler: options.scheduler,
    numImagesPerPrompt: options.batch,
    seed: 7,
    ...size,
  }
  const parts: Record<'encode' | 'denoise' | 'decode', number[]> = { encode: [], denoise: [], decode: [] }
  const whole = await measure('e2e', `${options.batch} image(s), ${options.steps} steps, ${options.scheduler}`, options.runs, async () => {
    const { timings } = await pipe.generate(call)
    for (const part of ['encode', 'denoise', 'decode'] as const) parts[part].push(timings[part])
  })
  const stages = Object.entries(parts).map(([part, times]) => {
    const runs = times.slice(1).sort((a, b) => a - b)
    return { name: `e2e ${part}`, what: `of the above`, medianMs: runs[Math.floor(runs.length / 2)] ?? 0, minMs: runs[0] ?? 0, runs }
  })
  return [whole, ...stages]
}

async function unet(options: BenchOptions): Promise<Measurement[]> {
  await using model = await UNet2DConditionModel.fromPretrained(options.model, { subfolder: 'unet', dtype: options.dtype })
  const { in_channels: channels, cross_attention_dim: width, sample_size: trained } = model.config as Record<string, number>
  const latent = options.size === undefined ? (trained ?? 64) : options.size / 8
  const rows = 2 * options.batch
  const sample = new Generator(1).randn([rows, channels ?? 4, latent, latent])
  const encoderHiddenStates = new Generator(2).randn([rows, 77, width ?? 768])
  return [
    await measure('unet', `one step with guidance, ${rows}x${channels}x${latent}x${latent}`, options.runs, () =>
      model.forward(sample, 500, { encoderHiddenStates }),
    ),
  ]
}

async function vae(options: BenchOptions): Promise<Measurement[]> {
  await using model = await AutoencoderKL.fromPretrained(options.model, { subfolder: 'vae', dtype: options.dtype })
  const {
    latent_channels: channels,
    sample_size: trained,
    block_out_channels: blocks,
  } = model.config as unknown as { latent_channels: number; sample_size: number; block_out_channels: number[] }
  const size = pixels(options, trained)
  const latent = size / 2 ** (blocks.length - 1)
  const latents = new Generator(1).randn([options.batch, channels, latent, latent])
  const image = Tensor.zeros([options.batch, 3, size, size])
  return [
    await measure('vae decode', `${options.batch}x3x${size}x${size}`, options.runs, () => model.decode(latents)),
    await measure('vae encode', `${options.batch}x3x${size}x${size}`, options.runs, () => model.encode(image)),
  ]
}

async function clip(options: BenchOptions): Promise<Measurement[]> {
  const tokenizer = await CLIPTokenizer.fromPretrained(options.model, { subfolder: 'tokenizer' })
  await using model = await CLIPTextModel.fromPretrained(options.model, { subfolder: 'text_encoder', dtype: options.dtype })
  const tokens = tokenizer.encode(
    Array.from({ length: 2 * options.batch }, () => prompt),
    { padding: 'max_length', truncation: true },
  )
  return [await measure('clip', `${2 * options.batch} prompts of 77 tokens`, options.runs, () => model.forward(tokens))]
}

async function load(options: BenchOptions): Promise<Measurement[]> {
  const work = async (): Promise<void> => {
    const pipe = await StableDiffusionPipeline.fromPretrained(options.model, { dtype: options.dtype })
    pipe.dispose()
  }
  return [await measure('load', 'all components, files in the page cache', options.runs, work)]
}

/** What can be measured, by name. */
export const benches: Readonly<Record<string, (options: BenchOptions) => Promise<Measurement[]>>> = { e2e, unet, vae, clip, load }
