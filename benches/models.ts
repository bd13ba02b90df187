import {
  type AutoencoderKL,
  CLIPTokenizer,
  DPMSolverMultistepScheduler,
  Generator,
  StableDiffusionPipeline,
  StableDiffusionXLPipeline,
  Tensor,
} from 'node-diffusion'
import { lora } from './lora.ts'
import { type Measurement, measure, peakBytes, resetPeak, watchAnonymous } from './measure.ts'
import { type Origin, openTextEncoder, openTextEncoder2, openUnet, openVae, randomCheckpoint } from './open.ts'

/** What the command line asks for. `size` is in pixels; by default what the model was trained on. */
export type BenchOptions = Origin & {
  steps: number
  runs: number
  size: number | undefined
  batch: number
  scheduler: string
  /** Limit of a run's memory in bytes, for `e2e`; weights are then read when they are needed. */
  memory: number | undefined
  /** Of the adapter, for `lora`; 32 is what trainers propose. */
  rank: number
  /** Whether to tell where the time went. */
  profile: boolean
}

const prompt = 'a red circle on a blue background'

/**
 * The pipeline of a folder: the one asked for, or one of random weights, whose files are mapped and packed as any others. SDXL's weights, 7 GB, are made in
 * memory.
 */
async function pipeline(options: BenchOptions): Promise<StableDiffusionPipeline | StableDiffusionXLPipeline> {
  const { architecture, model, dtype, memory } = options
  if (architecture !== 'sdxl') {
    const folder = architecture === undefined ? model : await randomCheckpoint(architecture)
    return StableDiffusionPipeline.fromPretrained(folder, { dtype, loading: memory === undefined ? 'eager' : 'lazy' })
  }
  const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
  return new StableDiffusionXLPipeline({
    unet: await openUnet(options),
    vae: await openVae(options),
    textEncoder: await openTextEncoder(options),
    textEncoder2: await openTextEncoder2(options),
    tokenizer,
    tokenizer2: tokenizer,
    scheduler: new DPMSolverMultistepScheduler({ beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' }),
  })
}

/** A picture's time without a warm run: encoding, each step, decoding. */
type Stages = { encode: number; steps: number[]; decode: number }

/** What `steps` of such steps would take; the first one also makes forms of weights that the others find. */
function projected({ encode, steps: [first = 0, ...rest], decode }: Stages, steps: number): number {
  return encode + first + (steps - 1) * (rest.length === 0 ? first : median(rest)) + decode
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0
}

async function e2e(options: BenchOptions): Promise<Measurement[]> {
  const begun = performance.now()
  resetPeak()
  const anonymous = watchAnonymous()
  await using pipe = await pipeline(options)
  const loaded = { ms: performance.now() - begun, peakBytes: peakBytes(), anonBytes: anonymous() }
  const size = options.size === undefined ? {} : { width: options.size, height: options.size }
  const call = {
    numInferenceSteps: options.steps,
    scheduler: options.scheduler,
    numImagesPerPrompt: options.batch,
    memory: options.memory,
    seed: 7,
    ...size,
  }
  const { peak } = await pipe.estimate({ ...size, numImagesPerPrompt: options.batch })
  const pictures: Stages[] = []
  const work = async (): Promise<void> => {
    const ends: number[] = []
    // Each with a prompt of its own, since a pipeline remembers how the last ones were encoded.
    const job = pipe.generate({ ...call, prompt: `${prompt}, number ${pictures.length}` })
    job.on((event) => {
      if (event.type === 'step') ends.push(event.elapsedMs)
    })
    const { timings } = await job
    pictures.push({ encode: timings.encode, steps: ends.map((end, i) => end - (ends[i - 1] ?? 0)), decode: timings.decode })
  }
  const whole = await measure('e2e', `${options.batch} image(s), ${options.steps} steps, ${options.scheduler}`, options, work)
  const measured = options.runs === 0 ? pictures : pictures.slice(1)
  const stage = (name: string, what: string, times: readonly number[]): Measurement => {
    const runs = times.toSorted((a, b) => a - b)
    return { ...whole, name, what, medianMs: median(runs), minMs: runs[0] ?? 0, runs, cpuMs: 0, gflop: 0, faults: 0, profile: undefined }
  }
  const allowed = options.memory === undefined ? '' : `, within ${(options.memory / 1e6).toFixed(0)} MB`
  const off = options.memory === undefined ? `; estimate() said ${(peak / 2 ** 20).toFixed(0)} MiB, off by ${percent(peak, whole)} %` : ''
  return [
    { ...whole, what: `${whole.what}${allowed}${off}` },
    { ...stage('e2e load', 'before the above', [loaded.ms]), peakBytes: loaded.peakBytes, anonBytes: loaded.anonBytes },
    stage(
      'e2e encode',
      'of the above',
      measured.map(({ encode }) => encode),
    ),
    stage(
      'e2e first step',
      'of the above',
      measured.map(({ steps }) => steps[0] ?? 0),
    ),
    stage(
      'e2e other steps',
      'each, of the above',
      measured.flatMap(({ steps }) => steps.slice(1)),
    ),
    stage(
      'e2e decode',
      'of the above',
      measured.map(({ decode }) => decode),
    ),
    stage(
      'e2e, 20 steps',
      'projected from the above, not run',
      measured.map((stages) => projected(stages, 20)),
    ),
  ]
}

function percent(estimate: number, { peakBytes }: Measurement): string {
  return (100 * (estimate / peakBytes - 1)).toFixed(0)
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
  // The same latents for either prompt, as guidance has them.
  const sample = new Generator(1).randn([options.batch, channels ?? 4, latent, latent]).repeat([2, 1, 1, 1])
  const encoderHiddenStates = new Generator(2).randn([rows, 77, width ?? 768])
  const forward = { encoderHiddenStates, ...additions(model.config, rows) }
  return [
    await measure('unet', `one step with guidance, ${rows}x${channels}x${latent}x${latent}`, options, async () => {
      const { sample: noise } = await model.forward(sample, 500, forward)
      noise.dispose()
    }),
  ]
}

/** An autoencoder at a size, and what it decodes and encodes. */
async function autoencoder(options: BenchOptions): Promise<{ model: AutoencoderKL; shape: readonly [number, number] }> {
  const model = await openVae(options)
  const size = options.size ?? model.config.sample_size
  return { model, shape: [size, size / model.scaleFactor] }
}

async function decode(options: BenchOptions): Promise<Measurement[]> {
  const opened = await autoencoder(options)
  await using model = opened.model
  const [size, latent] = opened.shape
  const latents = new Generator(1).randn([options.batch, model.config.latent_channels, latent, latent])
  const work = async (): Promise<void> => (await model.decode(latents)).sample.dispose()
  return [await measure('vae decode', `${options.batch}x3x${size}x${size}`, options, work)]
}

async function encode(options: BenchOptions): Promise<Measurement[]> {
  const opened = await autoencoder(options)
  await using model = opened.model
  const [size] = opened.shape
  const image = Tensor.zeros([options.batch, 3, size, size])
  return [await measure('vae encode', `${options.batch}x3x${size}x${size}`, options, () => model.encode(image))]
}

async function vae(options: BenchOptions): Promise<Measurement[]> {
  return [...(await decode(options)), ...(await encode(options))]
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
export const benches: Readonly<Record<string, (options: BenchOptions) => Promise<Measurement[]>>> = {
  e2e,
  unet,
  vae,
  clip,
  load,
  lora,
  decode,
  encode,
}
