/**
 * A model by its id on the hub: downloaded once into a cache, with progress, kept in half precision, and used offline afterwards.
 * Follows the loading listings of chapter 6 (from_pretrained, cache_dir, torch_dtype, safety_checker=None). Without an id it takes the built-in model,
 * which downloads nothing; try --model stable-diffusion-v1-5/stable-diffusion-v1-5 --variant fp16
 * Run: npx tsx examples/hub.ts [--model ORG/NAME] [--variant fp16] [--cache DIR] [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { AutoPipelineForText2Image } from 'node-diffusion'

const options = {
  model: { type: 'string', default: 'shapes' },
  variant: { type: 'string' },
  cache: { type: 'string' },
  prompt: { type: 'string', default: 'a red circle on a blue background' },
  steps: { type: 'string', default: '20' },
  out: { type: 'string', default: 'out/hub' },
} as const
const { model, variant, cache: cacheDir, prompt, steps, out } = parseArgs({ options }).values

const parts = new Map<string, number>()
await using pipe = await AutoPipelineForText2Image.fromPretrained(model, {
  variant,
  cacheDir, // by default where Python keeps its models, too
  dtype: 'f16',
  safetyChecker: null, // none is wanted; loadSafetyChecker: true would load it
  onProgress: ({ phase, component, loaded, total }) => parts.set(`${phase} ${component}`, loaded / total),
})
console.log([...parts].map(([part, share]) => `${part} ${Math.round(share * 100)} %`).join('\n'))
const { images } = await pipe.generate({ prompt, numInferenceSteps: Number(steps), seed: 1 })
await images[0].save(`${out}/picture.png`)

await using offline = await AutoPipelineForText2Image.fromPretrained(model, { variant, cacheDir, localFilesOnly: true })
console.log(`${offline.constructor.name} again without a network; ${out}/picture.png`)
