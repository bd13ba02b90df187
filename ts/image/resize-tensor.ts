import { Tensor } from '../tensor.ts'

/** Resizes a tensor (B, C, H, W) by the nearest pixel: source index `floor(i * in / out)`. Source: torch.nn.functional.interpolate, mode "nearest". */
export function resizeTensor(tensor: Tensor, width: number, height: number): Tensor {
  const [batch, channels, rows, columns] = tensor.shape as [number, number, number, number]
  if (rows === height && columns === width) {
    return tensor
  }
  const values = tensor.to('f32').toArray() as Float32Array
  const out = new Float32Array(batch * channels * height * width)
  const across = Math.fround(columns / width)
  const down = Math.fround(rows / height)
  let at = 0
  for (let plane = 0; plane < batch * channels; plane += 1) {
    for (let y = 0; y < height; y += 1) {
      const row = (plane * rows + Math.min(rows - 1, Math.floor(Math.fround(y * down)))) * columns
      for (let x = 0; x < width; x += 1) {
        out[at] = values[row + Math.min(columns - 1, Math.floor(Math.fround(x * across)))] ?? 0
        at += 1
      }
    }
  }
  return Tensor.from(out, [batch, channels, height, width])
}
