import { eachRow } from '../image/slices.ts'
import type { Plane } from './gaussian.ts'

/** Source positions and weights of one output position. */
type Taps = { at: number[]; weights: number[] }

/** Cubic interpolation with a = -0.75, edges repeated, as OpenCV's INTER_CUBIC and torch's "bicubic" without aligned corners. */
export function cubicTaps(input: number, output: number): Taps[] {
  const a = -0.75
  return Array.from({ length: output }, (_, position) => {
    const center = ((position + 0.5) * input) / output - 0.5
    const floor = Math.floor(center)
    const x = center - floor
    const outer = (d: number): number => ((a * (d + 1) - 5 * a) * (d + 1) + 8 * a) * (d + 1) - 4 * a
    const inner = (d: number): number => ((a + 2) * d - (a + 3)) * d * d + 1
    const weights = [outer(x), inner(x), inner(1 - x), outer(1 - x)]
    return { at: weights.map((_, i) => Math.min(input - 1, Math.max(0, floor + i - 1))), weights }
  })
}

/** Applies taps to both axes of a plane. Yields to the event loop every 8 ms. */
export async function applyTaps(plane: Plane, columns: readonly Taps[], rows: readonly Taps[]): Promise<Float64Array> {
  const width = columns.length
  const wide = new Float64Array(width * plane.height)
  await eachRow(plane.height, (y) => {
    for (const [x, { at, weights }] of columns.entries()) {
      wide[y * width + x] = at.reduce((sum, place, i) => sum + (plane.data[y * plane.width + place] ?? 0) * (weights[i] ?? 0), 0)
    }
  })
  const out = new Float64Array(width * rows.length)
  await eachRow(rows.length, (y) => {
    const { at, weights } = rows[y] as Taps
    for (let x = 0; x < width; x += 1) {
      out[y * width + x] = at.reduce((sum, place, i) => sum + (wide[place * width + x] ?? 0) * (weights[i] ?? 0), 0)
    }
  })
  return out
}
