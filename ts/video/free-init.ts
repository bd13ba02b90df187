import { checkBoolean, checkInteger, checkNumber, checkOneOf, checkOptions } from '../checks.ts'
import { eachRow } from '../image/slices.ts'
import { Tensor } from '../tensor.ts'

/** Several rounds, each of which starts from the low frequencies of the last one's result. Source: diffusers `enable_free_init`; arXiv:2312.07537. */
export interface FreeInitOptions {
  /** Rounds. @default 3 */
  numIters?: number
  /** The first rounds take fewer steps. @default false */
  useFastSampling?: boolean
  /** Shape of the low-pass filter. @default 'butterworth' */
  method?: 'butterworth' | 'ideal' | 'gaussian'
  /** Steepness of the Butterworth filter. @default 4 */
  order?: number
  /** Share of the spatial frequencies that is kept, 0 to 1. @default 0.25 */
  spatialStopFrequency?: number
  /** Share of the temporal frequencies that is kept, 0 to 1. @default 0.25 */
  temporalStopFrequency?: number
}

/** Options with their defaults filled in. */
export type FreeInit = Required<FreeInitOptions>

/** Checks the options and fills in the defaults; throws `InvalidArgumentError` that names the bad one. */
export function checkFreeInit(options: FreeInitOptions): FreeInit {
  const { numIters = 3, useFastSampling = false, method = 'butterworth', order = 4 } = checkOptions('freeInit', options)
  const { spatialStopFrequency = 0.25, temporalStopFrequency = 0.25 } = options
  checkInteger('freeInit.numIters', numIters, { min: 1, max: 100 })
  checkBoolean('freeInit.useFastSampling', useFastSampling)
  checkOneOf('freeInit.method', method, ['butterworth', 'ideal', 'gaussian'])
  checkNumber('freeInit.order', order, { min: 1, max: 100 })
  checkNumber('freeInit.spatialStopFrequency', spatialStopFrequency, { min: 0, max: 1 })
  checkNumber('freeInit.temporalStopFrequency', temporalStopFrequency, { min: 0, max: 1 })
  return { numIters, useFastSampling, method, order, spatialStopFrequency, temporalStopFrequency }
}

/** How much of a frequency is kept, by its squared distance from zero. Source: diffusers free_init_utils.py `_get_free_init_freq_filter`. */
function gain({ method, order, spatialStopFrequency: stop, temporalStopFrequency }: FreeInit, square: number): number {
  if (stop === 0 || temporalStopFrequency === 0) {
    return 0
  }
  if (method === 'butterworth') {
    return 1 / (1 + (square / stop ** 2) ** order)
  }
  return method === 'gaussian' ? Math.exp((-1 / (2 * stop ** 2)) * square) : square <= stop * 2 ? 1 : 0
}

/**
 * The low frequencies of `signal` with the high ones of `noise`, both (B, C, F, H, W); the caller owns the result.
 *
 * The transform is linear, so that only their difference is filtered. Source: diffusers free_init_utils.py `_apply_freq_filter`.
 */
export async function mixFrequencies(signal: Tensor, noise: Tensor, options: FreeInit): Promise<Tensor> {
  const [batch = 0, channels = 0, frames = 0, height = 0, width = 0] = signal.shape
  const sizes = [frames, height, width] as const
  using difference = signal.sub(noise)
  const values = difference.toArray() as Float32Array
  const volume = frames * height * width
  const kept = new Float32Array(values.length)
  for (let i = 0; i < batch * channels; i += 1) {
    const real = Float64Array.from(values.subarray(i * volume, (i + 1) * volume))
    const imaginary = new Float64Array(volume)
    await transform(real, imaginary, sizes, -1)
    filter(real, imaginary, sizes, options)
    await transform(real, imaginary, sizes, 1)
    kept.set(
      real.map((value) => value / volume),
      i * volume,
    )
  }
  using low = Tensor.from(kept, [...signal.shape])
  return noise.add(low)
}

type Sizes = readonly [frames: number, height: number, width: number]

function filter(real: Float64Array, imaginary: Float64Array, [frames, height, width]: Sizes, options: FreeInit): void {
  const centred = (at: number, size: number): number => (2 * ((at + Math.floor(size / 2)) % size)) / size - 1
  const ratio = options.spatialStopFrequency / options.temporalStopFrequency
  for (let at = 0; at < real.length; at += 1) {
    const column = centred(at % width, width)
    const row = centred(Math.trunc(at / width) % height, height)
    const time = ratio * centred(Math.trunc(at / (width * height)), frames)
    const factor = Math.fround(gain(options, time ** 2 + row ** 2 + column ** 2))
    real[at] = (real[at] ?? 0) * factor
    imaginary[at] = (imaginary[at] ?? 0) * factor
  }
}

/** Discrete Fourier transform along all three axes, in place and without scaling; `sign` -1 forwards, 1 back. */
async function transform(real: Float64Array, imaginary: Float64Array, [frames, height, width]: Sizes, sign: -1 | 1): Promise<void> {
  const plane = height * width
  const lines = (count: number, start: (line: number) => number, size: number, step: number): Promise<void> => {
    const turns = Array.from({ length: size }, (_, i) => (sign * 2 * Math.PI * i) / size)
    const [cosines, sines] = [Float64Array.from(turns, Math.cos), Float64Array.from(turns, Math.sin)]
    const [a, b] = [new Float64Array(size), new Float64Array(size)]
    return eachRow(count, (line) => {
      const first = start(line)
      for (let k = 0; k < size; k += 1) {
        let [sumReal, sumImaginary] = [0, 0]
        for (let i = 0, turn = 0; i < size; i += 1, turn = (turn + k) % size) {
          const [c, s] = [cosines[turn] ?? 0, sines[turn] ?? 0]
          const [x, y] = [real[first + i * step] ?? 0, imaginary[first + i * step] ?? 0]
          sumReal += x * c - y * s
          sumImaginary += x * s + y * c
        }
        a[k] = sumReal
        b[k] = sumImaginary
      }
      for (let k = 0; k < size; k += 1) {
        real[first + k * step] = a[k] ?? 0
        imaginary[first + k * step] = b[k] ?? 0
      }
    })
  }
  await lines(frames * height, (line) => line * width, width, 1)
  await lines(frames * width, (line) => Math.trunc(line / width) * plane + (line % width), height, width)
  await lines(plane, (line) => line, frames, plane)
}
