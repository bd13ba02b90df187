import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DiffusionError, type StepState, Tensor } from '../../ts/index.ts'
import { batchToFrames } from '../../ts/video/frames.ts'
import { parityImageProcessor } from './image-processor.ts'
import { type AnyPipeline, buildPipeline, callOptions, missingSupport, type PipelineCase } from './pipeline-cases.ts'
import { type ParityResult, Tally, Uncovered } from './tally.ts'

/** Tolerances of pipelines/README.md. */
const tolerance = { embeds: 2e-5, unet: 1e-4, latents: 1e-3, image: 2e-3 }

type Tensors = Record<string, Tensor>

/** What the first UNet call got and gave, and the timesteps of all. */
type Recording = { sample?: Tensor; context?: Tensor; output?: Tensor; timesteps: number[] }

/** Runs every stored pipeline call of a parity pack, as its JSON lists them. */
export async function parityPipelines(packDir: string): Promise<ParityResult> {
  const folder = join(packDir, 'pipelines')
  const tally = new Tally('pipelines')
  const names = (await readdir(join(folder, 'cases'))).filter((file) => file.endsWith('.json')).sort()
  const cases = new Map<string, { item: PipelineCase; tensors: Tensors }>()
  for (const file of names) {
    const item = JSON.parse(await readFile(join(folder, 'cases', file), 'utf8')) as PipelineCase
    const tensors = await Tensor.loadSafetensors(join(folder, 'cases', file.replace(/\.json$/, '.safetensors')))
    cases.set(item.name, { item, tensors })
  }
  const others = (name: string): Tensors => cases.get(name)?.tensors ?? {}
  for (const { item, tensors } of cases.values()) {
    await tally.run(item.name, async () => missingSupport(item) ?? (await compareKnown(folder, item, tensors, others, tally)))
  }
  await parityImageProcessor(folder, tally)
  return tally.result()
}

/** As `compare`; an argument that this build has no option for makes the case an uncovered one. */
async function compareKnown(...call: Parameters<typeof compare>): Promise<undefined> {
  try {
    return await compare(...call)
  } catch (error) {
    if (error instanceof DiffusionError && error.message.includes('for the name of an option')) {
      throw new Uncovered(`no option ${error.message.split(' ').at(-1)}`)
    }
    throw error
  }
}

async function compare(
  folder: string,
  item: PipelineCase,
  tensors: Tensors,
  others: (name: string) => Tensors,
  tally: Tally,
): Promise<undefined> {
  const options = (): Record<string, unknown> => callOptions(item, tensors, others)
  if (item.error !== undefined) {
    return expectRefusal(async () => {
      const refusing = await buildPipeline(folder, item)
      await refusing.generate({ ...options(), outputType: 'latent' })
    })
  }
  const pipe = await buildPipeline(folder, item, tensors)
  const recording = record(pipe)
  const steps: Tensor[] = []
  const callbackOnStepEnd = (_pipe: unknown, _index: number, _timestep: number, { latents }: StepState): void => void steps.push(latents)
  const { latents } = await pipe.generate({ ...options(), outputType: 'latent', callbackOnStepEnd })
  tally.near('context of the first UNet call', recording.context, expectedContext(item, tensors), tolerance.embeds)
  tally.near(
    'input of the first UNet call',
    asVideos(recording.sample, tensors['mid/unet_in.sample']),
    tensors['mid/unet_in.sample'],
    tolerance.unet,
  )
  tally.near('output of the first UNet call', asVideos(recording.output, tensors['mid/unet_out']), tensors['mid/unet_out'], tolerance.unet)
  if (item.unet_timesteps !== undefined) {
    tally.near('timesteps of the UNet calls', Tensor.from(recording.timesteps), Tensor.from(item.unet_timesteps), 1e-6)
  }
  tally.near('latents per step', reported(steps, item, tensors), tensors['out/latents_per_step'], tolerance.latents)
  tally.near('latents', latents, tensors['out/latents'], tolerance.latents)
  const { tensor } = await pipe.generate({ ...options(), outputType: 'tensor' })
  tally.near('image', tensor, channelsFirst(tensors['out/image']), tolerance.image)
  const { images } = await pipe.generate(options())
  const flat = images && Tensor.stack(images.map((image) => image.toTensor()))
  const bytes = channelsFirst(tensors['out/image_u8'])
  const levels = flat?.reshape(bytes?.shape ?? flat.shape)
  const loud = Number(item.call.guidance_scale ?? 7.5) >= 5
  tally.near('image bytes', levels, bytes?.to('f32').div(255), (loud ? 2.001 : 1.001) / 255)
  pipe.dispose()
}

/** The steps that were stored: the adapters' pipeline has diffusers' old callback, which leaves out the warm-up calls of the sampler. */
function reported(steps: readonly Tensor[], { pipe }: PipelineCase, tensors: Tensors): Tensor | undefined {
  const count = pipe === 'StableDiffusionAdapterPipeline' ? (tensors['out/latents_per_step']?.shape[0] ?? 0) : 0
  const kept = steps.slice(-count)
  return kept.length === 0 ? undefined : Tensor.stack(kept)
}

/** Pictures (B, 3, H, W): the adapters' pipeline gives (B, H, W, 3) for `output_type="pt"` too. */
function channelsFirst(images: Tensor | undefined): Tensor | undefined {
  const [, channels, , last] = images?.shape ?? []
  return images?.shape.length === 4 && channels !== 3 && last === 3 ? images.permute([0, 3, 1, 2]) : images
}

/** What our UNet gets for videos, frame by frame (B F, C, H, W), as the reference's sees it: (B, C, F, H, W). */
function asVideos(recorded: Tensor | undefined, stored: Tensor | undefined): Tensor | undefined {
  const frames = stored?.shape.length === 5 ? stored.shape[2] : undefined
  return recorded && frames !== undefined ? batchToFrames(recorded, frames) : recorded
}

/** Keeps what the UNet gets and gives; the tensors are cloned, as the loop disposes its own. */
function record(pipe: AnyPipeline): Recording {
  const recording: Recording = { timesteps: [] }
  const { unet } = pipe
  const forward = unet.forward.bind(unet)
  unet.forward = async (sample, timestep, options) => {
    const output = await forward(sample, timestep, options)
    recording.timesteps.push(Number(timestep))
    recording.sample ??= sample.clone()
    recording.context ??= options.encoderHiddenStates?.clone()
    recording.output ??= output.sample.clone()
    return output
  }
  return recording
}

/** The embeddings that the first UNet call should get: stored, or put together from the prompts' rows. */
function expectedContext(item: PipelineCase, tensors: Tensors): Tensor | undefined {
  const stored = tensors['mid/unet_in.encoder_hidden_states']
  const rows = item.unet_in_encoder_hidden_states
  if (stored !== undefined || rows === undefined) {
    return stored
  }
  return Tensor.stack(
    rows.map((row) => {
      const [, name, index] = /^(\w+)\[(\d+)\]$/.exec(row ?? '') ?? []
      const found = tensors[`mid/${name}`]
      if (found === undefined) {
        throw new Error(`no stored tensor for ${row}`)
      }
      return found.index(Number(index))
    }),
  )
}

async function expectRefusal(work: () => Promise<unknown>): Promise<undefined> {
  try {
    await work()
  } catch (error) {
    if (error instanceof DiffusionError) {
      return undefined
    }
    throw error
  }
  throw new Error('the reference refuses this call, but it ran')
}
