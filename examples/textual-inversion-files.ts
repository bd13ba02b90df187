/**
 * Files of textual inversions: every layout, one file under several names, a weight, and vectors as tensors.
 * Follows the listings of chapter 9 (load_textual_inversion, two names for one file, torch.load of .pt and .bin). All vectors of a file count here, where
 * the book's own loader takes the first.
 * Run: npx tsx examples/textual-inversion-files.ts [--steps 20] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { imageStrip, readInversion, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/textual-inversion-files' } } as const
const { steps, out } = parseArgs({ options }).values
const fixture = (name: string): string => fileURLToPath(new URL(`../test/fixtures/${name}`, import.meta.url))

// The web UI's .pt, diffusers' .bin (a pickle is read by an interpreter that runs nothing), safetensors, and SDXL's two halves in one file.
for (const file of ['a1111_multi.pt', 'diffusers_bin.bin', 'diffusers_st_multi.safetensors', 'sdxl.safetensors']) {
  const { token, tokens, first, second } = await readInversion(fixture(`parity/weights/textual_inversion/${file}`), { token: 'style' })
  console.log(
    `${file}: ${tokens.length} vectors as ${token}, width ${[first, second].map((half) => half?.shape[1] ?? 'none').join(' and ')}`,
  )
}

await using pipe = await StableDiffusionPipeline.fromPretrained()
const source = fixture('adapters/easy-dull.pt')
await pipe.loadTextualInversion(source)
await pipe.loadTextualInversion(source, { token: 'colorful-magic-style' })
await pipe.loadTextualInversion(source, { token: 'half-style', weight: 0.5 })
const { first } = await readInversion(source)
if (first === undefined) throw new Error(`Expected vectors for the first encoder in ${source}`)
await pipe.loadTextualInversion(first.slice(0, 0, 1), { token: 'first-vector' })

const pictures = []
for (const name of ['', ', EasyDull', ', colorful-magic-style', ', half-style', ', first-vector']) {
  const prompt = `a circle on a white background${name}`
  const { images } = await pipe.generate({ prompt, numInferenceSteps: Number(steps), scheduler: 'DPM++ 2M', seed: 1234 })
  pictures.push({ title: name.slice(2) || 'without', image: images[0] })
}
await (await imageStrip(pictures)).save(`${out}/strip.png`)
const [, one, other] = pictures.map(({ image }) => Buffer.from(image.data))
console.log(`both names give the same picture: ${one !== undefined && other?.equals(one)}; ${out}/strip.png`)
