import { checkInteger, checkOneOf } from '../checks.ts'
import { expected } from '../errors.ts'
import { eachRow } from '../image/slices.ts'
import { Tensor } from '../tensor.ts'

/** How latents are resized: the modes of torch's `interpolate`; `-antialiased` widens the filter where they shrink. */
export type LatentFilter = 'nearest' | 'nearest-exact' | 'bilinear' | 'bicubic' | 'bilinear-antialiased' | 'bicubic-antialiased'

/** The names of the filters. */
export const latentFilters: readonly LatentFilter[] = [
  'nearest',
  'nearest-exact',
  'bilinear',
  'bicubic',
  'bilinear-antialiased',
  'bicubic-antialiased',
]

type Taps = { at: number[]; weights: number[] }

const cubic =
  (a: number) =>
  (x: number): number => {
    const d = Math.abs(x)
    return d < 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0
  }

const kernels: Readonly<Record<string, { support: number; weight: (x: number) => number }>> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic(-0.75) },
  'bilinear-antialiased': { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  'bicubic-antialiased': { support: 2, weight: cubic(-0.5) },
}

/** Source: torch UpSample.h `area_pixel_compute_source_index`, UpSampleKernel.cpp `_compute_indices_weights_aa`. */
function tapsOf(filter: LatentFilter, input: number, output: number): Taps[] {
  const scale = input / output
  const kernel = kernels[filter]
  const antialiased = filter.endsWith('antialiased')
  return Array.from({ length: output }, (_, position) => {
    if (kernel === undefined) {
      const at = filter === 'nearest' ? Math.floor(position * scale) : Math.floor((position + 0.5) * scale)
      return { at: [Math.min(input - 1, at)], weights: [1] }
    }
    return antialiased ? wide(kernel, position, scale, input) : narrow(kernel, position, scale, input)
  })
}

type Kernel = { support: number; weight: (x: number) => number }

function narrow({ support, weight }: Kernel, position: number, scale: number, input: number): Taps {
  const raw = (position + 0.5) * scale - 0.5
  const center = support === 1 ? Math.max(0, raw) : raw
  const first = Math.floor(center) - support + 1
  const at = Array.from({ length: 2 * support }, (_, i) => first + i)
  return { at: at.map((place) => Math.min(input - 1, Math.max(0, place))), weights: at.map((place) => weight(place - center)) }
}

function wide({ support, weight }: Kernel, position: number, scale: number, input: number): Taps {
  const stretch = Math.max(1, scale)
  const center = scale * (position + 0.5)
  const start = Math.max(0, Math.trunc(center - support * stretch + 0.5))
  const end = Math.min(input, Math.trunc(center + support * stretch + 0.5))
  const at = Array.from({ length: end - start }, (_, i) => start + i)
  const weights = at.map((place) => weight((place - center + 0.5) / stretch))
  const sum = weights.reduce((total, value) => total + value, 0)
  return { at, weights: weights.map((value) => value / (sum === 0 ? 1 : sum)) }
}

/** Resizes latents (B, C, H, W) to (B, C, height, width). Source: torch.nn.functional.interpolate. */
export async function resizeLatents(
  latents: Tensor,
  { height, width }: { height: number; width: number },
  filter: LatentFilter = 'bilinear',
): Promise<Tensor> {
  if (!(latents instanceof Tensor) || latents.shape.length !== 4) {
    throw expected('a Tensor of shape (B, C, H, W)', 'latents', latents)
  }
  checkInteger('height', height, { min: 1, max: 65536 })
  checkInteger('width', width, { min: 1, max: 65536 })
  checkOneOf('filter', filter, latentFilters)
  const [batch = 0, channels = 0, rows = 0, columns = 0] = latents.shape
  const planes = batch * channels
  using plain = latents.to('f32')
  const source = plain.toArray() as Float32Array
  const across = tapsOf(filter, columns, width)
  const down = tapsOf(filter, rows, height)
  const wideRows = new Float32Array(planes * rows * width)
  await eachRow(planes * rows, (row) => {
    for (const [x, { at, weights }] of across.entries()) {
      wideRows[row * width + x] = at.reduce((sum, place, i) => sum + (source[row * columns + place] ?? 0) * (weights[i] ?? 0), 0)
    }
  })
  const out = new Float32Array(planes * height * width)
  await eachRow(planes * height, (row) => {
    const { at, weights } = down[row % height] as Taps
    const base = Math.trunc(row / height) * rows
    for (let x = 0; x < width; x += 1) {
      out[row * width + x] = at.reduce((sum, place, i) => sum + (wideRows[(base + place) * width + x] ?? 0) * (weights[i] ?? 0), 0)
    }
  })
  return Tensor.from(out, [batch, channels, height, width])
}
