import { setImmediate } from 'node:timers/promises'
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
    const present = step.rows.map(takes)
    const given = output.downBlockResSamples.map((tensor) => step.scope.keep(tensor))
    const middle = step.scope.keep(output.midBlockResSample)
    const down: Tensor[] = []
    for (const tensor of given) {
      down.push(await spread(tensor, present, step.scope))
    }
    return {
      downBlockAdditionalResiduals: down,
      midBlockAdditionalResidual: await spread(middle, present, step.scope),
    } satisfies UNetInputs
  }
}

/** Puts the blocks of a batch where they belong, zeros where there are none, in a turn of the event loop of its own. */
async function spread(tensor: Tensor, present: readonly boolean[], scope: Scope): Promise<Tensor> {
  if (present.every(Boolean)) {
    return tensor
  }
  await setImmediate()
  const blocks = tensor.chunk(present.filter(Boolean).length).map((block) => scope.keep(block))
  const zeros = scope.keep((blocks[0] ?? tensor).mul(0))
  return scope.keep(Tensor.cat(present.map((is) => (is ? (blocks.shift() ?? zeros) : zeros))))
}

/** The residuals, each with a scale of its own; throws `InvalidArgumentError` for another number of scales. */
export async function scaled(
  { downBlockResSamples, midBlockResSample }: ControlNetOutput,
  scales: readonly number[],
  scope: Scope,
): Promise<ControlNetOutput> {
  const all = [...downBlockResSamples, midBlockResSample].map((tensor) => scope.keep(tensor))
  if (scales.length !== all.length) {
    throw expected(`one number, or one for each of ${all.length} residuals,`, 'scale', scales)
  }
  const made: Tensor[] = []
  for (const [i, tensor] of all.entries()) {
    made.push(tensor.mul(scales[i] ?? 1))
    await setImmediate()
  }
  return { downBlockResSamples: made.slice(0, -1), midBlockResSample: made.at(-1) as Tensor }
}
