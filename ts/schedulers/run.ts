import { ConfigError, expected } from '../errors.ts'
import { Generator, randnTensor, randomSeed } from '../random.ts'
import { Tensor } from '../tensor.ts'
import { BrownianNoise } from './brownian.ts'
import type { Clip, Combination, LearnedVariance, NoiseDraw, Row, StepOutput } from './plan.ts'

/** What a step reads besides sample and answer: where its noise comes from, and the answer without the prompt. */
export type StepSource = {
  generator?: Generator | readonly Generator[]
  varianceNoise?: Tensor
  /** The model's answer without the prompt. */
  unconditional?: Tensor
  /** Seed of the Brownian path where the config gives one; else the generators' own seeds. */
  brownianSeed?: number
}

/** The registers of one sampling run; executes rows. */
export class Run implements Disposable {
  readonly #kept = new Map<string, Tensor>()
  #brownian: { key: string; noise: BrownianNoise } | undefined

  /** Executes a row on the model's answer. Neither `output` nor `sample` is changed or disposed. */
  step(row: Row, output: Tensor, sample: Tensor, source: StepSource): StepOutput & { estimate?: Tensor } {
    if (row.problem !== undefined) {
      throw new ConfigError(`Expected finite coefficients for step ${row.index} but received a schedule where ${row.problem}`)
    }
    const made: Tensor[] = []
    const own = (tensor: Tensor): Tensor => {
      made.push(tensor)
      return tensor
    }
    const channels = sample.shape[1] ?? 1
    const answer = (tensor: Tensor): Tensor => (row.variance === undefined ? tensor : own(tensor.slice(1, 0, channels)))
    const local = new Map<string, Tensor>([
      ['sample', sample],
      ['output', answer(output)],
    ])
    if (source.unconditional !== undefined) {
      local.set('uncond', answer(source.unconditional))
    }
    const evaluate = (combination: Combination): Tensor => combine(combination, (name) => local.get(name) ?? this.#kept.get(name))
    const kept = new Map<string, Tensor>()
    try {
      if (row.noise !== undefined) {
        const noise = own(this.#draw(row.noise, sample, source))
        local.set('noise', row.variance === undefined ? noise : own(scaleNoise(noise, output.slice(1, channels), row.variance)))
      }
      if (row.churn !== undefined) {
        local.set('sample', own(evaluate(row.churn)))
      }
      const keep = (name: string, combination: Combination): void => {
        const value = evaluate(combination)
        kept.set(name, value)
        local.set(name, value)
      }
      for (const [name, combination] of Object.entries(row.prepare ?? {})) {
        keep(name, combination)
      }
      const raw = evaluate(row.x0)
      const x0 = row.clip === undefined ? raw : limit(raw, row.clip)
      local.set('x0', x0)
      if (row.value !== undefined) {
        keep(`m${row.index}`, row.value)
      }
      if (row.correct !== undefined) {
        local.set('sample', own(evaluate(row.correct)))
      }
      for (const [name, combination] of Object.entries(row.save ?? {})) {
        keep(name, combination)
      }
      const prevSample = evaluate(row.next)
      const estimate = row.estimate === undefined ? undefined : evaluate(row.estimate)
      const predOriginalSample = row.denoised === undefined ? x0 : evaluate(row.denoised)
      if (predOriginalSample !== x0) {
        own(x0)
      }
      for (const [name, value] of kept) {
        this.#kept.get(name)?.dispose()
        this.#kept.set(name, value)
      }
      kept.clear()
      for (const name of row.drop ?? []) {
        this.#kept.get(name)?.dispose()
        this.#kept.delete(name)
      }
      return { prevSample, predOriginalSample, ...(estimate !== undefined && { estimate }) }
    } finally {
      for (const tensor of [...made, ...kept.values()]) {
        tensor.dispose()
      }
    }
  }

  /** Makes the noise of a row in turns of the event loop, if it comes from a Brownian path; `step` then finds it made. */
  async prepare({ noise }: Row, shape: readonly number[], source: StepSource): Promise<void> {
    if (noise?.kind === 'brownian') {
      await this.#path(noise, shape, source).prepare(noise.from, noise.to)
    }
  }

  #draw(noise: NoiseDraw, output: Tensor, source: StepSource): Tensor {
    if (source.varianceNoise !== undefined) {
      if (source.varianceNoise.shape.join() !== output.shape.join()) {
        throw expected(`a Tensor of shape [${output.shape.join(', ')}]`, 'varianceNoise', source.varianceNoise)
      }
      return source.varianceNoise.clone()
    }
    const drawn =
      noise.kind === 'normal'
        ? randnTensor(output.shape, source.generator)
        : this.#path(noise, output.shape, source).draw(noise.from, noise.to)
    if (drawn.device === output.device) {
      return drawn
    }
    const moved = drawn.to(output.device)
    drawn.dispose()
    return moved
  }

  #path(noise: NoiseDraw & { kind: 'brownian' }, shape: readonly number[], { generator, brownianSeed }: StepSource): BrownianNoise {
    const generators: readonly Generator[] = generator === undefined ? [] : generator instanceof Generator ? [generator] : generator
    const seeds = brownianSeed !== undefined ? [brownianSeed] : generators.map(({ seed }) => seed)
    const key = `${noise.low} ${noise.high} ${seeds.join()} ${shape.join()}`
    if (this.#brownian?.key !== key) {
      this.#brownian = { key, noise: new BrownianNoise(noise.low, noise.high, seeds.length === 0 ? [randomSeed()] : seeds, shape) }
    }
    return this.#brownian.noise
  }

  /** Frees the history. */
  [Symbol.dispose](): void {
    for (const tensor of this.#kept.values()) {
      tensor.dispose()
    }
    this.#kept.clear()
  }
}

/** The noise times the square root of the variance that the model asks for; disposes `predicted`. Source: diffusers `_get_variance`. */
function scaleNoise(noise: Tensor, predicted: Tensor, variance: LearnedVariance): Tensor {
  using learned = predicted
  if (variance.kind === 'direct') {
    using deviation = learned.sqrt()
    return noise.mul(deviation)
  }
  const { minLog, maxLog } = variance
  // Half of the logarithm (1 - f) min + f max with f = (v + 1) / 2.
  using sloped = learned.mul((maxLog - minLog) / 4)
  using logarithm = sloped.add((maxLog + minLog) / 4)
  using deviation = logarithm.exp()
  return noise.mul(deviation)
}

function combine(combination: Combination, find: (name: string) => Tensor | undefined): Tensor {
  const terms = Object.entries(combination).map(([name, weight]): [number, Tensor] => {
    const tensor = find(name)
    if (tensor === undefined) {
      throw expected('the steps of a run in order, from its first timestep', 'timestep', `a step that needs ${name}`)
    }
    return [weight, tensor]
  })
  const first = terms[0]
  if (first !== undefined) {
    return Tensor.linearCombination(terms)
  }
  const shape = find('sample')
  return Tensor.zeros(shape?.shape ?? [])
}

/** Clamps or thresholds `x0`, which it disposes. */
function limit(x0: Tensor, clip: Clip): Tensor {
  try {
    return clip.kind === 'range' ? x0.clamp(-clip.range, clip.range) : threshold(x0, clip.ratio, clip.max)
  } finally {
    x0.dispose()
  }
}

/** Dynamic thresholding: arXiv:2205.11487 section 2.3, with torch's interpolated quantile. */
function threshold(x0: Tensor, ratio: number, max: number): Tensor {
  const batch = x0.shape[0] ?? 1
  const values = x0.toArray()
  const size = values.length / batch
  const limits = Array.from({ length: batch }, (_, b) => {
    const sorted = Float32Array.from(values.subarray(b * size, (b + 1) * size) as Float32Array, Math.abs).sort()
    const rank = ratio * (size - 1)
    const low = sorted[Math.floor(rank)] ?? 0
    const high = sorted[Math.ceil(rank)] ?? low
    return Math.min(Math.max(Math.fround(low + (high - low) * (rank - Math.floor(rank))), 1), max)
  })
  const shape = [batch, ...x0.shape.slice(1).map(() => 1)]
  using high = Tensor.from(limits, shape).to(x0.device)
  using low = high.neg()
  using capped = x0.minimum(high)
  using clamped = capped.maximum(low)
  return clamped.div(high)
}
