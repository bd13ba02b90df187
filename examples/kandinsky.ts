/**
 * Kandinsky 2.2: a prior makes image embeddings of texts, a decoder makes pictures of them. In one pipeline, in two, and mixed from a text and a picture.
 * Runs on tiny models of random weights, whose pictures are noise; for the published ones say --decoder kandinsky-community/kandinsky-2-2-decoder
 * --prior kandinsky-community/kandinsky-2-2-prior --size 768
 * Run: npx tsx examples/kandinsky.ts [--prompt TEXT] [--image FILE] [--size 64] [--steps 25] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import {
  AutoPipelineForText2Image,
  type Image,
  type ImageEmbeds,
  imageStrip,
  KandinskyV22Pipeline,
  KandinskyV22PriorPipeline,
  loadImage,
} from 'node-diffusion'

const text = (value: string): { type: 'string'; default: string } => ({ type: 'string', default: value })
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const flags = {
  ...{ decoder: text(path('../test/fixtures/kandinsky/decoder')), prior: text(path('../test/fixtures/kandinsky/prior')) },
  ...{ prompt: text('red cat, 4k photo'), image: text(path('pictures/circle.png')), size: text('64'), out: text('out/kandinsky') },
} as const
const options = { ...flags, steps: { type: 'string', default: '25' } } as const
const { decoder, prior: source, prompt, image, out, ...values } = parseArgs({ options }).values
const size = { height: Number(values.size), width: Number(values.size) }
const call = { ...size, numInferenceSteps: Number(values.steps), seed: 1 }

await using prior = await KandinskyV22PriorPipeline.fromPretrained(source)
await using whole = await AutoPipelineForText2Image.fromPretrained(decoder, { prior })
const { images } = await whole.generate({ prompt, ...call })

await using pipe = await KandinskyV22Pipeline.fromPretrained(decoder)
const drawn = await prior.generate({ prompt, negativePrompt: 'low quality', seed: 1 })
const mixed = await prior.interpolate([prompt, await loadImage(image)], [0.5, 0.5], { seed: 1 })
const decode = async ({ imageEmbeds, negativeImageEmbeds }: ImageEmbeds): Promise<Image> =>
  (await pipe.generate({ imageEmbeds, negativeImageEmbeds, ...call })).images[0]
const pictures = [
  { title: 'one pipeline', image: images[0] },
  { title: 'two, with a negative prompt', image: await decode(drawn) },
  { title: 'text and picture', image: await decode(mixed) },
]
await (await imageStrip(pictures)).save(`${out}/strip.png`)
console.log(`${out}/strip.png`)
