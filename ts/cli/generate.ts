import { relative } from 'node:path'
import { Image } from '../image/image.ts'
import { imageGrid } from '../image/image-grid.ts'
import { resize } from '../image/resample.ts'
import { native } from '../native.ts'
import { AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image } from '../pipelines/auto.ts'
import type { Job } from '../pipelines/job.ts'
import type { PipelineLoadOptions } from '../pipelines/load.ts'
import type { DiffusionPipeline } from '../pipelines/pipeline.ts'
import type { GenerateResult, ImagesResult } from '../pipelines/result.ts'
import { type HiresOptions, hiresFix } from '../upscale/hires-fix.ts'
import { type AdapterCall, readAdapters } from './adapter-flags.ts'
import { type ConditionCall, readConditions } from './condition-flags.ts'
import { note, printJson } from './exit.ts'
import { checkModel } from './file-place.ts'
import { type GenerateCall, readGenerateCall } from './generate-arguments.ts'
import { readHires } from './hires-flags.ts'
import { type Interrupt, interruptible } from './interrupt.ts'
import { loadModel, type ModelFlags } from './load-model.ts'
import { type OutputPaths, outputPaths } from './output-paths.ts'
import type { Progress } from './progress.ts'
import { readRefiner, refine } from './refiner-flags.ts'
import { enlargePicture, readUpscale } from './upscale-flags.ts'
import { readVideo, videoExtensions, videoLoader, writeVideos } from './video-flags.ts'
import { wholeNumber } from './whole-number.ts'

/** The part of every pipeline that the command uses; the options were checked against the pipeline's own schema. */
type Generating = { generate(options: Record<string, unknown>, how: { signal: AbortSignal }): Job<ImagesResult>; dispose(): void }

const loaders = {
  textToImage: AutoPipelineForText2Image,
  imageToImage: AutoPipelineForImage2Image,
  inpainting: AutoPipelineForInpainting,
} as const

/** A checked call, and its second pass. */
type Generation = GenerateCall & {
  hires?: HiresOptions
  refiner?: { model: string; start: number }
  conditions: ConditionCall
  adapters: AdapterCall
  enlarge?: { factor: number; tile?: number }
}

type Written = { path: string; seed: number | bigint | undefined; width: number; height: number; parameters: unknown }

type Loading = Pick<PipelineLoadOptions, 'signal' | 'onProgress'>

async function load(
  { task, model }: GenerateCall,
  flags: Record<string, unknown>,
  signal: AbortSignal,
  progress: Progress,
): Promise<Generating> {
  const parts = new Map<string, { loaded: number; total: number }>()
  const { motionAdapter } = flags
  const loader = typeof motionAdapter === 'string' ? videoLoader(motionAdapter, flags) : loaders[task]
  const options: Loading = {
    signal,
    onProgress: ({ phase, component, loaded, total }) => {
      if (phase === 'download') {
        progress.download(loaded, total)
        return
      }
      parts.set(component, { loaded, total })
      const sum = (key: 'loaded' | 'total'): number => [...parts.values()].reduce((all, part) => all + part[key], 0)
      progress.load(sum('loaded'), sum('total'))
    },
  }
  return (await loadModel<unknown, Loading>(loader, model, flags, options)) as Generating
}

/** Saves previews eight times as large, each latent position a square, without holding up the run. */
async function writePreviews(images: readonly Image[], step: number, paths: OutputPaths): Promise<void> {
  for (const [index, image] of images.entries()) {
    const large = new Image(await resize(image.pixels(), image.width * 8, image.height * 8, 'nearest'))
    await large.save(paths.preview(index, step))
  }
}

/** Runs the call, in two stages where a refiner takes over. */
async function denoise(
  pipe: Generating,
  call: Generation,
  flags: ModelFlags,
  ...rest: [Interrupt, OutputPaths, Progress]
): Promise<ImagesResult> {
  const [{ signal }, , progress] = rest
  const { options, hires, refiner, enlarge } = call
  if (enlarge !== undefined) {
    return enlargePicture(pipe as never, options, { ...enlarge, signal, progress })
  }
  if (refiner === undefined) {
    const job = hires === undefined ? pipe.generate(options, { signal }) : hiresFix(pipe as never, { ...options, hires }, { signal })
    return watch(job, ...rest)
  }
  const { base, refined } = refine(pipe as never, options, { ...refiner, flags, signal })
  const second = await refined(await watch(base, ...rest))
  try {
    return await watch(second.job, ...rest)
  } finally {
    second.dispose()
  }
}

/** Shows how far a job is, and writes its previews. */
async function watch<T extends GenerateResult>(job: Job<T>, _interrupt: Interrupt, paths: OutputPaths, progress: Progress): Promise<T> {
  const previews: Promise<unknown>[] = []
  for await (const event of job) {
    if (event.type === 'step') {
      progress.step(event.step, event.total, event.etaMs)
    } else if (event.type === 'preview') {
      previews.push(writePreviews(event.images, event.step, paths))
    } else if (event.type === 'encode' && event.truncated.length > 0) {
      progress.line(`The prompt is too long; left out: ${event.truncated.map((text) => JSON.stringify(text)).join(', ')}`)
    }
  }
  await Promise.all(previews)
  return job
}

async function write({ images }: ImagesResult, paths: OutputPaths, flags: Record<string, unknown>): Promise<Written[]> {
  const metadata = flags.metadata !== false
  const written: Written[] = []
  for (const [index, image] of images.entries()) {
    const path = await image.save(paths.picture(index, image.seed), { metadata })
    written.push({ path, seed: image.seed, width: image.width, height: image.height, parameters: image.parameters })
  }
  return written
}

const shown = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)

/** A path relative to where the command runs, unless that leads out of it. */
function near(path: string): string {
  const short = relative('', path)
  return short.startsWith('..') ? path : short
}

function describe(written: readonly Written[], grid: string | undefined, stages: Record<string, number>): void {
  for (const { path, seed, width, height } of written) {
    note(`Wrote ${near(path)} (${width} x ${height}${seed === undefined ? '' : `, seed ${seed}`})`)
  }
  if (grid !== undefined) {
    note(`Wrote ${near(grid)} (grid)`)
  }
  note(
    Object.entries(stages)
      .map(([stage, ms]) => `${stage} ${shown(ms)}`)
      .join(', '),
  )
}

async function run(call: Generation, flags: Record<string, unknown>, interrupt: Interrupt, progress: Progress): Promise<void> {
  const started = performance.now()
  const count = Number(call.options.numImagesPerPrompt ?? 1)
  const video = typeof flags.motionAdapter === 'string'
  const extensions = video ? videoExtensions : undefined
  const paths = await outputPaths((flags.out ?? flags.output) as string | undefined, String(call.options.prompt), count, extensions)
  const pipe = await load(call, flags, interrupt.signal, progress)
  await call.adapters.apply(pipe as unknown as DiffusionPipeline, interrupt.signal)
  const conditions = await call.conditions.apply(pipe as unknown as DiffusionPipeline, interrupt.signal)
  Object.assign(call.options, conditions.options)
  const loaded = performance.now()
  try {
    const result = await denoise(pipe, call, flags, interrupt, paths, progress)
    progress.stop()
    const made = performance.now()
    const written = video ? await writeVideos(result, paths.picture) : await write(result, paths, flags)
    const grid = flags.grid === undefined ? undefined : await (await imageGrid(result.images)).save(paths.grid())
    const { encode, denoise: denoising, decode } = result.timings
    const ended = performance.now()
    const stages = { load: loaded - started, encode, denoise: denoising, decode, write: ended - made, total: ended - started }
    if (flags.json) {
      printJson({
        model: call.model,
        task: call.task,
        images: written,
        ...(grid === undefined ? {} : { grid }),
        truncated: result.truncated,
        timings: stages,
      })
    } else {
      describe(written, grid, stages)
    }
  } finally {
    conditions.dispose()
    pipe.dispose()
  }
}

/** `generate`: makes pictures and writes them; on Ctrl-C it stops with nothing half-written. */
export async function generateCommand(prompt: string | undefined, flags: Record<string, unknown>): Promise<void> {
  const read = await readGenerateCall(prompt, flags)
  const refiner = readRefiner(flags, read.task)
  const { motionAdapter } = flags
  if (refiner !== undefined) {
    await checkModel(refiner.model, '--refiner')
  }
  if (typeof motionAdapter === 'string') {
    await checkModel(motionAdapter, '--motion-adapter')
  }
  const call: Generation = {
    ...read,
    hires: readHires(flags, read.task),
    refiner,
    conditions: await readConditions(flags),
    adapters: await readAdapters(flags),
    enlarge: readUpscale(flags, read.task),
  }
  Object.assign(call.options, readVideo(flags, read.task))
  if (flags.threads !== undefined) {
    native.setThreads(wholeNumber('--threads', flags.threads, 1))
  }
  if (flags.preview !== undefined) {
    call.options.preview = { every: wholeNumber('--preview', flags.preview, 1) }
  }
  await interruptible(flags.quiet === true, (interrupt, progress) => run(call, flags, interrupt, progress))
}
