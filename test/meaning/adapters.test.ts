import { fileURLToPath } from 'node:url'
import test from 'ava'
import { type Image, StableDiffusionPipeline, type TextToImageOptions } from '../../ts/index.ts'
import { judge } from '../judge/judge.ts'
import { allowed, amount, inBatches, needed } from './measure.ts'

const folder = fileURLToPath(new URL('../fixtures/adapters', import.meta.url))
const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())
const count = amount(10, 50)

async function pictures(prompt: string, more: Partial<TextToImageOptions> = {}): Promise<Image[]> {
  const prompts = Array.from({ length: count }, () => prompt)
  const options = { scheduler: 'DPM++ 2M', numInferenceSteps: 20, ...more, outputType: 'image' as const }
  return inBatches(prompts, async (part, seed) => (await pipe.generate({ ...options, prompt: part, seed })).images)
}

const black = (images: readonly Image[]): number => images.filter((image) => judge(image).background === 'black').length
const gray = (images: readonly Image[]): number => images.filter((image) => judge(image).color === 'gray').length

test.serial('a trained LoRA does what it was trained for, by its weight, and nothing once it is off', async (t) => {
  t.timeout(600_000)
  const prompt = 'a red star on a white background'
  await pipe.loadLoraWeights(folder, { weightName: 'night.safetensors', adapterName: 'night', strict: true })
  const [full, off] = [black(await pictures(prompt)), black(await pictures(prompt, { loraWeights: { night: 0 } }))]
  pipe.unloadLoraWeights()
  t.log(`black backgrounds of ${count}: ${full} with the LoRA, ${off} at weight 0`)
  t.true(full >= needed(count, 0.9), `${full} of ${count}`)
  t.true(off <= allowed(count, 0.01), `${off} of ${count}`)
})

test.serial('a trained embedding spoils pictures as a positive prompt and not as a negative one', async (t) => {
  t.timeout(600_000)
  const prompt = 'a circle on a white background'
  await pipe.loadTextualInversion(`${folder}/easy-dull.pt`)
  const [without, positive, negative] = [
    gray(await pictures(prompt)),
    gray(await pictures(`${prompt}, EasyDull`)),
    gray(await pictures(prompt, { negativePrompt: 'EasyDull' })),
  ]
  pipe.unloadTextualInversion()
  t.log(
    `gray circles of ${count}: ${without} without the embedding, ${positive} with it as a positive prompt, ${negative} as a negative one`,
  )
  t.true(positive >= needed(count, 0.9), `${positive} of ${count}`)
  t.true(negative <= allowed(count, 0.01), `${negative} of ${count}`)
})
