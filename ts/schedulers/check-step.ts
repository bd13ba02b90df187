import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { Generator } from '../random.ts'
import { Tensor } from '../tensor.ts'
import type { StepOptions } from './options.ts'

/** Checks what `step` gets; returns the options. A model that predicts variances answers with `halves` 2: twice the sample's channels. */
export function checkStep(modelOutput: Tensor, sample: Tensor, given: StepOptions, halves = 1): StepOptions {
  checkTensor('modelOutput', modelOutput)
  checkTensor('sample', sample)
  const options = checkOptions('options', given)
  checkSource(options.generator, options.varianceNoise)
  const alike = { modelOutput, unconditional: options.unconditional }
  const answer = sample.shape.map((size, i) => (i === 1 ? halves * size : size))
  for (const [name, tensor] of Object.entries(alike)) {
    if (tensor !== undefined) {
      checkTensor(name, tensor)
    }
    if (tensor !== undefined && tensor.shape.join() !== answer.join()) {
      throw expected(`a Tensor of shape [${answer.join(', ')}]`, name, tensor)
    }
  }
  return options
}

function checkSource(generator: unknown, varianceNoise: unknown): void {
  const list: unknown[] = Array.isArray(generator) ? generator : generator === undefined ? [] : [generator]
  if (!list.every((item) => item instanceof Generator)) {
    throw expected('a Generator or an array of Generators', 'generator', generator)
  }
  if (varianceNoise !== undefined) {
    checkTensor('varianceNoise', varianceNoise)
  }
}

/** Throws `InvalidArgumentError` for anything but a Tensor. */
export function checkTensor(name: string, value: unknown): void {
  if (!(value instanceof Tensor)) {
    throw expected('a Tensor', name, value)
  }
}
