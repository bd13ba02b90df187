/**
 * AutoPipeline: the folder's model_index.json chooses the pipeline class, and fromPipe makes another task of it without loading again.
 * Follows the AutoPipeline parts of diffusers' guide to conditional image generation.
 * Run: npx tsx examples/auto-pipeline.ts [--steps 25] [--out DIR]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image } from 'node-diffusion'
import sharp from 'sharp'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/auto-pipeline' } } as const
const { steps, out } = parseArgs({ options }).values
const numInferenceSteps = Number(steps)

await using textToImage = await AutoPipelineForText2Image.fromPretrained('shapes')
const imageToImage = AutoPipelineForImage2Image.fromPipe(textToImage)
const inpainting = AutoPipelineForInpainting.fromPipe(textToImage)
console.log([textToImage, imageToImage, inpainting].map((pipe) => pipe.constructor.name).join(', '))
assert.equal(imageToImage.unet, textToImage.unet, 'fromPipe shares the weights')

const drawn = await textToImage.generate({ prompt: 'a red circle on a blue background', seed: 31, numInferenceSteps })
await drawn.images[0].save(`${out}/text-to-image.png`)

const image = drawn.images[0]
const redrawn = await imageToImage.generate({
  prompt: 'a green ring on a blue background',
  image,
  strength: 0.8,
  seed: 31,
  numInferenceSteps,
})
await redrawn.images[0].save(`${out}/image-to-image.png`)

const white = { create: { width: 96, height: 96, channels: 3, background: 'white' } } as const
const maskImage = await sharp(white).extend({ top: 16, bottom: 16, left: 16, right: 16, background: 'black' }).png().toBuffer()
const repainted = await inpainting.generate({ prompt: 'a yellow star on a blue background', image, maskImage, seed: 31, numInferenceSteps })
await repainted.images[0].save(`${out}/inpainting.png`)
console.log(`text-to-image.png, image-to-image.png and inpainting.png are in ${out}`)
