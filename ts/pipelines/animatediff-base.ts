import { join } from 'node:path'
import { ConfigError, expected } from '../errors.ts'
import { type LoadOptions, readConfig } from '../models/load.ts'
import { isMotionUnet } from '../models/motion-unet-config.ts'
import { encodePrompt } from '../prompt/encode-prompt.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { MotionAdapter } from '../video/motion-adapter.ts'
import { blendStops, travelStops } from '../video/prompt-travel.ts'
import type { VideoOptions, VideoResults } from './animatediff-options.ts'
import type { Call } from './call.ts'
import type { Encoded, Prepared } from './prepared.ts'
import { type Slot, type Slots, slotOf } from './slot.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'
import { type Task, type TaskClass, type TaskHost, taskClass } from './task.ts'

/** Components of AnimateDiff: a Stable Diffusion 1.x model and motion modules for it. */
export interface AnimateDiffComponents extends StableDiffusionComponents {
  motionAdapter: MotionAdapter
}

/** The motion modules of a pipeline's folder: those inside its UNet, where diffusers saved both together, or else its motion adapter. */
async function loadMotion(dir: string, options: LoadOptions): Promise<MotionAdapter> {
  const unet = await readConfig(join(dir, 'unet')).catch(() => ({}))
  return MotionAdapter.fromPretrained(dir, isMotionUnet(unet) ? { ...options, subfolder: 'unet' } : options)
}

/** What the pipelines of AnimateDiff share: the motion adapter, and prompts that change from frame to frame. */
export abstract class AnimateDiffBase<O extends VideoOptions> extends StableDiffusionBase<AnimateDiffComponents, O, VideoResults> {
  static override readonly slots: Slots = {
    ...StableDiffusionBase.slots,
    unet: { ...(StableDiffusionBase.slots.unet as Slot), classNames: ['UNet2DConditionModel', 'UNetMotionModel'] },
    motionAdapter: slotOf('motion_adapter', MotionAdapter, { load: loadMotion }),
  }

  /** The motion modules. */
  get motionAdapter(): MotionAdapter {
    return this.components.motionAdapter
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

/** The class of AnimateDiff for a task. */
export function animateDiff<O extends VideoOptions>(
  task: Task<{ video: O }, TaskHost<AnimateDiffComponents>>,
): TaskClass<AnimateDiffComponents, AnimateDiffBase<O>> {
  return taskClass(AnimateDiffBase, { ...task, schema: task.options.video })
}
