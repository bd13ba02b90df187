import { expected } from '../errors.ts'
import { UNet2DConditionModel, type UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import type { UNetCondition, UNetStep } from '../pipelines/denoise-options.ts'
import { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import { batchToFrames, framesToBatch } from './frames.ts'
import { MotionAdapter } from './motion-adapter.ts'

/** Windows in which a long video's frames attend to each other. */
export interface FrameWindows {
  /** Frames between the starts of two windows. */
  stride: number
  /** Weight of each frame of a window, above 0; as many as a window has frames. */
  weights: readonly number[]
}

/**
 * A UNet together with motion modules: denoises videos. Holds no weights of its own, so that one UNet serves pictures and videos.
 *
 * Source: diffusers `UNetMotionModel`.
 */
export class UNetMotionModel {
  /** The spatial network. */
  readonly unet: UNet2DConditionModel
  /** The motion modules between its layers. */
  readonly motionAdapter: MotionAdapter
  readonly #windows: FrameWindows | undefined
  readonly #repeated = new WeakMap<Tensor, Tensor>()

  constructor(unet: UNet2DConditionModel, motionAdapter: MotionAdapter, options: { windows?: FrameWindows } = {}) {
    if (!(unet instanceof UNet2DConditionModel)) {
      throw expected('a UNet2DConditionModel', 'unet', unet)
    }
    if (!(motionAdapter instanceof MotionAdapter)) {
      throw expected('a MotionAdapter', 'motionAdapter', motionAdapter)
    }
    this.unet = unet
    this.motionAdapter = motionAdapter
    this.#windows = options.windows
  }

  /**
   * Evaluates the network once.
   *
   * Shapes: sample (B, C, F, H, W) -> the same. Text and other conditions have one row for each video, or one for each frame (B F rows);
   * residuals of a ControlNet always have B F.
   */
  async forward(sample: Tensor, timestep: number, options: UNetForwardOptions): Promise<{ sample: Tensor }> {
    const frames = sample.shape[2]
    if (sample.shape.length !== 5 || frames === undefined) {
      throw expected('a Tensor of shape (batch, channels, frames, height, width)', 'sample', sample)
    }
    using scope = new Scope()
    const videos = sample.shape[0] ?? 0
    const pictures = scope.keep(framesToBatch(sample))
    const perFrame = <T extends Tensor | undefined>(tensor: T): T =>
      tensor?.shape[0] === videos ? (scope.keep(tensor.repeatInterleave(frames, 0)) as T) : tensor
    const output = await this.unet.forward(pictures, timestep, {
      ...options,
      encoderHiddenStates: this.frameText(options.encoderHiddenStates, videos, frames),
      timestepCond: perFrame(options.timestepCond),
      encoderAttentionMask: perFrame(options.encoderAttentionMask),
      motion: { adapter: this.motionAdapter, frames, windows: this.#windows },
    })
    return { sample: batchToFrames(scope.keep(output.sample), frames) }
  }

  /** The text of each frame: the same Tensor for the same text, by which a network knows what it has computed already. */
  frameText(text: Tensor, videos: number, frames: number): Tensor {
    if (text.shape[0] !== videos || frames === 1) {
      return text
    }
    const known = this.#repeated.get(text)
    const usable = known !== undefined && known.shape[0] === videos * frames
    const repeated = usable ? known : text.repeatInterleave(frames, 0)
    this.#repeated.set(text, repeated)
    return repeated
  }
}

/**
 * A condition that knows pictures, such as a ControlNet or an image prompt, for a run on videos: it sees the frames next to each other,
 * (B F, C, H, W), with one row of text for each.
 */
export function conditionPerFrame(condition: UNetCondition, network: UNetMotionModel): UNetCondition {
  return async (step) => {
    const frames = step.latents.shape[2] ?? 1
    const sample = step.scope.keep(framesToBatch(step.sample))
    const latents = step.scope.keep(framesToBatch(step.latents))
    const videos = step.latents.shape[0] ?? 1
    const text: UNetStep['text'] = (rows) => {
      const own = step.text(rows)
      return { ...own, encoderHiddenStates: network.frameText(own.encoderHiddenStates, rows.length * videos, frames) }
    }
    const inputs = await condition({ ...step, sample, latents, text })
    return inputs.sample === undefined ? inputs : { ...inputs, sample: step.scope.keep(batchToFrames(inputs.sample, frames)) }
  }
}
