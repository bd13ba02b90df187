import { eachRow } from '../image/slices.ts'

/** One plane of numbers, rows from top to bottom. */
export type Plane = { readonly width: number; readonly height: number; readonly data: Float32Array }

/** The least and the greatest number of a plane. */
export function extremes(data: Float32Array | Float64Array): [least: number, greatest: number] {
  let [least = 0] = data
  let greatest = least
  for (const value of data) {
    least = Math.min(least, value)
    greatest = Math.max(greatest, value)
  }
  return [least, greatest]
}

/** Weights of a Gaussian over `round(8 sigma + 1) | 1` pixels, as OpenCV chooses the size for floats. Source: OpenCV smooth.dispatch.cpp. */
function kernelOf(sigma: number): Float64Array {
  const size = Math.round(sigma * 8 + 1) | 1
  const center = (size - 1) / 2
  const weights = Float64Array.from({ length: size }, (_, i) => Math.exp(-((i - center) ** 2) / (2 * sigma * sigma)))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return weights.map((weight) => weight / sum)
}

/** Position behind the edge, mirrored without repeating the edge itself (OpenCV's BORDER_REFLECT_101). */
function mirror(at: number, size: number): number {
  if (size === 1) {
    return 0
  }
  const period = 2 * size - 2
  const inside = ((at % period) + period) % period
  return inside < size ? inside : period - inside
}

/** Gaussian blur of a plane of floats, as OpenCV's `GaussianBlur(x, (0, 0), sigma)`. */
export async function gaussianPlane({ width, height, data }: Plane, sigma: number): Promise<Plane> {
  const kernel = kernelOf(sigma)
  const reach = (kernel.length - 1) / 2
  const pass = async (source: Float32Array, size: number, step: number, along: 'x' | 'y'): Promise<Float32Array> => {
    const out = new Float32Array(source.length)
    const places = Int32Array.from({ length: size + 2 * reach }, (_, i) => mirror(i - reach, size) * step)
    await eachRow(height, (y) => {
      for (let x = 0; x < width; x += 1) {
        const [position, base] = along === 'x' ? [x, y * width] : [y, x]
        let sum = 0
        for (let i = 0; i < kernel.length; i += 1) {
          sum += (source[base + (places[position + i] ?? 0)] ?? 0) * (kernel[i] ?? 0)
        }
        out[y * width + x] = sum
      }
    })
    return out
  }
  return { width, height, data: await pass(await pass(data, width, 1, 'x'), height, width, 'y') }
}
