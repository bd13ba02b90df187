/**
 * What a LoRA is made of: how many numbers a low rank saves, what the intrinsic rank of a matrix is, and the layers of a real file.
 * Follows "How does LoRA work" and "Exploring the internal structure" of chapter 8; the second strength, alpha / rank, is the one that the book leaves out.
 * Run: npx tsx examples/low-rank.ts [--lora FILE] [--out DIR]
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Tensor } from 'node-diffusion'

const night = fileURLToPath(new URL('../test/fixtures/adapters/night.safetensors', import.meta.url))
const options = { lora: { type: 'string', default: night }, out: { type: 'string', default: 'out/low-rank' } } as const
const { lora, out } = parseArgs({ options }).values

const [rows, columns, rank] = [6, 8, 2]
console.log(
  `${rows} x ${columns} is ${rows * columns} numbers, at rank ${rank} ${rows * rank} + ${rank * columns} = ${(rows + columns) * rank}`,
)

// 1 to 15 in rows of three: each row is the first plus a multiple of (3, 3, 3), so that two vectors span all of them.
const matrix = Tensor.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [5, 3])
const up = Tensor.from([1, 0, 1, 1, 1, 2, 1, 3, 1, 4], [5, 2])
const down = Tensor.from([1, 2, 3, 3, 3, 3], [2, 3])
const product = up.unsqueeze(2).mul(down.unsqueeze(0)).sum(1)
console.log(`up times down is the matrix, of rank 2: ${product.sub(matrix).abs().max().item() === 0}`)

const tensors = await Tensor.loadSafetensors(lora)
const lines = Object.entries(tensors).flatMap(([key, tensor]) => {
  const name = key.replace(/\.lora_down\.weight$/, '')
  const above = tensors[`${name}.lora_up.weight`]
  if (name === key || above === undefined) return []
  const r = tensor.shape[0] ?? 1
  const alpha = tensors[`${name}.alpha`]?.to('f32').item() ?? r
  return [`${name}: ${above.shape.join(' x ')} times ${tensor.shape.join(' x ')}, alpha ${alpha} / rank ${r} = ${alpha / r}`]
})
await mkdir(out, { recursive: true })
await writeFile(`${out}/layers.txt`, `${lines.join('\n')}\n`)
console.log(`${lines.length} layers, such as ${lines[0]}; all of them in ${out}/layers.txt`)
