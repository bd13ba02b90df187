import { Tensor } from '../tensor.ts'

/**
 * Masks of pixels (N, 1, H, W), 1 = repaint, as masks of latents (N, 1, h, w), 1 = keep; what is kept shrinks by the latents around each repainted one,
 * but for two corners. Source: diffusers pipeline_kandinsky2_2_inpainting.py `prepare_mask`.
 */
export function keptLatents(masks: Tensor, [rows, columns]: readonly [number, number]): Tensor {
  const [count = 0, , height = 0, width = 0] = masks.shape
  const values = masks.toArray()
  const kept = new Float32Array(count * rows * columns).fill(1)
  for (let n = 0; n < count; n += 1) {
    for (let i = 0; i < rows; i += 1) {
      for (let j = 0; j < columns; j += 1) {
        const [y, x] = [Math.floor((i * height) / rows), Math.floor((j * width) / columns)]
        if (Number(values[(n * height + y) * width + x]) === 1) {
          for (const [di, dj] of AROUND) {
            const [ii, jj] = [i + di, j + dj]
            if (ii >= 0 && ii < rows && jj >= 0 && jj < columns) {
              kept[(n * rows + ii) * columns + jj] = 0
            }
          }
        }
      }
    }
  }
  return Tensor.from(kept, [count, 1, rows, columns])
}

/** A latent and its neighbours, without those above right and below left. */
const AROUND = [
  [0, 0],
  [-1, 0],
  [0, -1],
  [-1, -1],
  [1, 0],
  [0, 1],
  [1, 1],
] as const
