/**
 * One file instead of a folder: writes the built-in model as a single checkpoint, draws from it, and turns it back into a folder in half precision;
 * then a .ckpt into a folder.
 * Follows the listings of chapter 6 (from_single_file, converting a checkpoint, save_pretrained).
 * Run: npx tsx examples/single-file.ts [--steps 15] [--out DIR]
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { convertCheckpoint, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '15' }, out: { type: 'string', default: 'out/single-file' } } as const
const { steps, out } = parseArgs({ options }).values
await mkdir(out, { recursive: true })

const file = join(out, 'shapes.safetensors')
await convertCheckpoint('shapes', file)

// A published checkpoint needs no `config`: its keys tell the family. The built-in model is of no published size.
const config = fileURLToPath(new URL('../models/shapes', import.meta.url))
await using pipe = await StableDiffusionPipeline.fromSingleFile(file, { config })
const { images } = await pipe.generate({ prompt: 'a red circle on a blue background', seed: 7, numInferenceSteps: Number(steps) })
await images[0]?.save(join(out, 'circle.png'))

// The same function reads .ckpt and .pt, pickles, by an interpreter that runs nothing of them.
const fixtures = fileURLToPath(new URL('../test/fixtures/parity', import.meta.url))
const pickle = join(fixtures, 'weights/single_file/tiny-sd15-f16.ckpt')
await using old = await StableDiffusionPipeline.fromSingleFile(pickle, { config: join(fixtures, 'pipelines/tiny-sd15') })
await old.savePretrained(join(out, 'from-ckpt'))

const folder = join(out, 'shapes-f16')
await pipe.savePretrained(folder, { dtype: 'f16' })
await using again = await StableDiffusionPipeline.fromPretrained(folder)
console.log(`${join(out, 'circle.png')}, ${folder} (${again.constructor.name})`)
