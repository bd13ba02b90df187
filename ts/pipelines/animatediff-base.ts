import { join } from 'node:path'
import { ConfigError, expected } from '../errors.ts'
import { type LoadOptions, readConfig } from '../models/load.ts'
import { isMotionUnet } from '../models/motion-unet-config.ts'
import { encodePrompt } from '../prompt/encode-prompt.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { framesToBatch } from '../video/frames.ts'
import { checkFreeInit } from '../video/free-init.ts'
import { checkFreeNoise, frameWindows } from '../video/free-noise.ts'
import { MotionAdapter } from '../video/motion-adapter.ts'
import { blendStops, travelStops } from '../video/prompt-travel.ts'
import { conditionPerFrame, UNetMotionModel } from '../video/unet-motion-model.ts'
import { type FreeInitSteps, freeInitCounts, freeInitRounds } from './animatediff-free-init.ts'
import type { VideoOptions, VideoResults } from './animatediff-options.ts'
import type { Call } from './call.ts'
import { finishVideos } from './finish-videos.ts'
import type { Encoded, Prepared } from './prepared.ts'
import type { Slot, Slots } from './slot.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'

/** Components of AnimateDiff: a Stable Diffusion 1.x model and motion modules for it. */
export interface AnimateDiffComponents extends StableDiffusionComponents {
  motionAdapter: MotionAdapter
}

/** The motion modules of a pipeline's folder: those inside its UNet, where diffusers saved both together, or else its motion adapter. */
async function loadMotion(dir: string, options: LoadOptions): Promise<MotionAdapter> {
  const unet = await readConfig(join(dir, 'unet')).catch(() => ({}))
  return MotionAdapter.fromPretrained(dir, isMotionUnet(unet) ? { ...options, subfolder: 'unet' } : options)
}

/** What the pipelines of AnimateDiff share: the motion adapter, and how a run on videos differs from one on pictures. */
export abstract class AnimateDiffBase<O extends VideoOptions> extends StableDiffusionBase<AnimateDiffComponents, O, VideoResults> {
  static override readonly slots: Slots = {
    ...StableDiffusionBase.slots,
    unet: { ...(StableDiffusionBase.slots.unet as Slot), classNames: ['UNet2DConditionModel', 'UNetMotionModel'] },
    motionAdapter: {
      folder: 'motion_adapter',
      type: 'MotionAdapter',
      classNames: ['MotionAdapter'],
      is: (value) => value instanceof MotionAdapter,
      load: loadMotion,
    },
  }

  /** The motion modules. */
  get motionAdapter(): MotionAdapter {
    return this.components.motionAdapter
  }

  /** How a run on videos differs: the network, the rounds, the result. */
  protected videoRun(
    { options, noise, scheduler }: Call<VideoOptions>,
    frames: number,
    steps: FreeInitSteps,
  ): Pick<Prepared, 'denoiser' | 'frames' | 'pictures' | 'denoise' | 'finish' | 'parameters'> {
    const freeNoise = options.freeNoise && checkFreeNoise(options.freeNoise, frames)
    const freeInit = options.freeInit && checkFreeInit(options.freeInit)
    const most = this.motionAdapter.config.motion_max_seq_length
    const [name, length] = freeNoise === undefined ? ['numFrames', frames] : ['freeNoise.contextLength', freeNoise.contextLength]
    if (length > most) {
      const advice = freeNoise === undefined ? ', or freeNoise for more' : ''
      throw expected(`at most ${most}, as the motion adapter was trained with${advice},`, name, length)
    }
    if (freeInit !== undefined && (options.timesteps !== undefined || options.sigmas !== undefined)) {
      throw expected('numInferenceSteps without timesteps or sigmas, beside freeInit,', 'timesteps', options.timesteps ?? options.sigmas)
    }
    const counts = freeInit === undefined ? [] : freeInitCounts(freeInit, steps)
    const denoiser = new UNetMotionModel(this.unet, this.motionAdapter, { windows: freeNoise && frameWindows(freeNoise) })
    return {
      denoiser,
      frames: { count: frames, perFrame: (condition) => conditionPerFrame(condition, denoiser) },
      pictures: framesToBatch,
      denoise: freeInit && ((run) => freeInitRounds(run, { freeInit, generator: noise.generator, scheduler, steps, counts })),
      finish: (run) => finishVideos(run, { frames, fps: options.fps ?? 8 }),
      parameters: { numFrames: frames },
    }
  }

  /** As for pictures; prompts that change from frame to frame get one row for each frame. */
  protected override async encode(call: Call<VideoOptions>, prepared: Prepared, scope: Scope): Promise<Encoded> {
    const { promptTravel, negativePromptTravel, prompt, negativePrompt = '', numImagesPerPrompt, clipSkip } = call.options
    if (promptTravel === undefined && negativePromptTravel === undefined) {
      return super.encode(call, prepared, scope)
    }
    if (
      typeof prompt !== 'string' ||
      typeof negativePrompt !== 'string' ||
      call.options.promptEmbeds ||
      call.options.negativePromptEmbeds
    ) {
      throw expected('one text for prompt and negativePrompt, beside promptTravel,', 'prompt', prompt)
    }
    const frames = prepared.latents.shape[2] ?? 0
    const truncated: string[] = []
    const journey = async (text: string, travel: VideoOptions['promptTravel'], name: string, skip?: number): Promise<Tensor> => {
      const stops = travelStops(text, travel, frames, name)
      const texts = stops.map((stop) => stop.text)
      const encoded = scope.keep(await encodePrompt(this.components, texts, { clipSkip: skip, guided: false, signal: call.signal }))
      truncated.push(...encoded.truncated)
      const rows = encoded.prompts.flatMap((item) => item.parts[0]?.texts[0]?.encoding.embeds ?? [])
      const row = scope.keep(blendStops(scope.keep(Tensor.cat(rows)), stops, frames))
      return scope.keep(row.repeat([numImagesPerPrompt, 1, 1]))
    }
    if (this.unet.config.time_cond_proj_dim !== null) {
      throw new ConfigError('Expected time_cond_proj_dim null in the UNet’s config for promptTravel but received a number')
    }
    const guided = call.guidance.rows.some((row) => row.prompt === 'negative')
    const positive = { embeds: await journey(prompt, promptTravel, 'promptTravel', clipSkip) }
    const negative = guided ? { embeds: await journey(negativePrompt, negativePromptTravel, 'negativePromptTravel') } : undefined
    return { truncated, conditioning: { positive, negative } }
  }
}
