import { expected } from '../errors.ts'
import type { Guidance } from '../guidance/guidance.ts'
import { type GuidanceScale, scalesOf } from '../guidance/schedule.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'

/** The guidance scale of each UNet call, where the call asks for more than one number. */
export function guidanceScales({ options, scheduler }: Call, timesteps: readonly number[]): number[] | undefined {
  const { guidanceScale } = options
  return typeof guidanceScale === 'number' ? undefined : scalesOf(guidanceScale, { timesteps, callsPerStep: scheduler.order })
}

/** Whether any UNet call of a run needs the negative prompts. */
export function isGuided(guidance: Guidance, scales: readonly number[] | undefined): boolean {
  const values = scales === undefined ? [guidance] : [...new Set(scales)].map((scale) => guidance.withScale(scale))
  return values.some(({ rows }) => rows.some(({ prompt }) => prompt === 'negative'))
}

/** The scale as a plain number, for networks that are told it; throws `InvalidArgumentError` for a schedule. */
export function plainScale(scale: GuidanceScale): number {
  if (typeof scale !== 'number') {
    throw expected('a number for a UNet that is told the scale', 'guidanceScale', scale)
  }
  return scale
}

/**
 * Sinusoidal embedding of `guidanceScale - 1` for UNets that are conditioned on it: (B, dim).
 *
 * Rounds to f32 where the reference does: the arguments reach 1000 times the scale. Source: diffusers `get_guidance_scale_embedding`.
 */
export function guidanceScaleEmbedding(guidanceScale: number, dim: number, images: number): Tensor {
  const { fround } = Math
  const half = Math.floor(dim / 2)
  const decay = fround(fround(Math.log(10000)) / (half - 1))
  const scaled = fround(fround(guidanceScale - 1) * 1000)
  const angles = Array.from({ length: half }, (_, i) => fround(scaled * fround(Math.exp(fround(i * -decay)))))
  const row = [...angles.map(Math.sin), ...angles.map(Math.cos), ...(dim % 2 === 1 ? [0] : [])]
  return Tensor.from(Array.from({ length: images }, () => row))
}
