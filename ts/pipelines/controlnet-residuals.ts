import { expected } from '../errors.ts'
import type { GuidanceRow } from '../guidance/guidance.ts'
import type { ControlNetOutput, ControlOptions } from '../models/controlnet.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { ConditionCall } from './condition.ts'
import type { UNetCondition, UNetStep } from './denoise-options.ts'
import type { UNetInputs } from './unet-inputs.ts'

/** One evaluation of a ControlNet; the caller owns what it gives. */
export type Evaluate = (sample: Tensor, step: UNetStep, options: ControlOptions) => Promise<ControlNetOutput>

/** When and how a ControlNet acts. */
export interface How {
  acts: (step: UNetStep) => boolean
  guessMode: boolean
}

/** The images of a call, repeated for as many samples as an evaluation has; made once for each number. */
export function repeated(image: Tensor, { images }: ConditionCall, scope: Scope): (samples: number) => Tensor {
  const known = new Map([[images, image]])
  return (samples) => {
    const found = known.get(samples) ?? scope.keep(image.repeat([samples / images, 1, 1, 1]))
    known.set(samples, found)
    return found
  }
}

/** A ControlNet as the loop sees it: residuals for the rows that it acts on, zeros for the others, nothing where it does not act. */
export function residuals(evaluate: Evaluate, { guessMode, acts }: How, { images }: ConditionCall): UNetCondition {
  return async (step) => {
    const takes = (row: GuidanceRow): boolean => !guessMode || row.prompt === 'positive'
    const rows = step.rows.filter(takes)
    if (!acts(step) || rows.length === 0) {
      return {}
    }
    const { encoderHiddenStates, addedCondKwargs } = step.text(rows)
    const sample = rows.length === step.rows.length ? step.sample : step.scope.keep(step.sample.slice(0, 0, rows.length * images))
    const output = await evaluate(sample, step, { encoderHiddenStates, addedCondKwargs, guessMode })
    const keep = (tensor: Tensor): Tensor => spread(step.scope.keep(tensor), step.rows.map(takes), step.scope)
    return {
      downBlockAdditionalResiduals: output.downBlockResSamples.map(keep),
      midBlockAdditionalResidual: keep(output.midBlockResSample),
    } satisfies UNetInputs
  }
}

/** Puts the blocks of a batch where they belong, zeros where there are none. */
function spread(tensor: Tensor, present: readonly boolean[], scope: Scope): Tensor {
  if (present.every(Boolean)) {
    return tensor
  }
  const blocks = tensor.chunk(present.filter(Boolean).length).map((block) => scope.keep(block))
  const zeros = scope.keep((blocks[0] ?? tensor).mul(0))
  return scope.keep(Tensor.cat(present.map((is) => (is ? (blocks.shift() ?? zeros) : zeros))))
}

/** The residuals, each with a scale of its own; throws `InvalidArgumentError` for another number of scales. */
export function scaled(
  { downBlockResSamples, midBlockResSample }: ControlNetOutput,
  scales: readonly number[],
  scope: Scope,
): ControlNetOutput {
  const wanted = downBlockResSamples.length + 1
  if (scales.length !== wanted) {
    throw expected(`one number, or one for each of ${wanted} residuals,`, 'scale', scales)
  }
  const scale = (tensor: Tensor, i: number): Tensor => scope.keep(tensor).mul(scales[i] ?? 1)
  return { downBlockResSamples: downBlockResSamples.map(scale), midBlockResSample: scale(midBlockResSample, wanted - 1) }
}
