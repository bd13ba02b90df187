import { expected } from '../errors.ts'
import type { Tensor } from '../tensor.ts'
import type { NoiseDraw } from './plan.ts'
import type { NoiseSource } from './run.ts'

/** The scaled increment of a Brownian path; see `Row.noise`. */
export function brownianNoise(_noise: NoiseDraw & { kind: 'brownian' }, _shape: readonly number[], _source: NoiseSource): Tensor {
  throw expected('varianceNoise', 'options', undefined)
}
