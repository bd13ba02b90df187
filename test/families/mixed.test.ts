import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  CLIPImageProcessor,
  CLIPVisionModelWithProjection,
  ControlNetModel,
  controlNet,
  EulerDiscreteScheduler,
  encodePrompt,
  Generator,
  IPAdapter,
  imagePrompt,
  LoraAdapter,
  type RawImage,
  StableDiffusionPipeline,
  Tensor,
} from '../../ts/index.ts'
import { render } from '../judge/scenes.ts'
import { parityPack } from '../parity/pack.ts'
import { adapters, distance, familyCases, imageEncoder, modelFolder, storedPicture } from './goldens.ts'

/** Two ways to the same numbers differ by the order of f32 sums only. */
const SAME = 1e-5
const trainedFile = (name: string): string => fileURLToPath(new URL(`../fixtures/adapters/${name}`, import.meta.url))

const [loraScale, controlScale, imageScale, guidanceScale, steps] = [0.8, 0.7, 0.6, 5, 4] as const

/** Everything that takes part, and the prompt's two texts. */
interface Setup {
  base: StableDiffusionPipeline
  lora: string
  net: ControlNetModel
  ip: IPAdapter
  encoder: CLIPVisionModelWithProjection
  control: RawImage
  picture: RawImage
  scheduled: string
  texts: readonly [string, string]
  side: number
}

/** Tiny networks of random weights. */
async function random(): Promise<Setup> {
  const { tensors } = await familyCases()
  return {
    base: await StableDiffusionPipeline.fromPretrained(join(parityPack(), 'pipelines', 'tiny-sd15')),
    lora: join(parityPack(), 'weights', 'lora', 'kohya_unet_te.safetensors'),
    net: await ControlNetModel.fromPretrained(modelFolder('controlnet')),
    ip: (await adapters('mixed', 1))[0] as IPAdapter,
    encoder: await imageEncoder(),
    control: storedPicture(tensors['mixed/image']),
    picture: storedPicture(tensors['ip_negative/positive']),
    scheduled: 'a [red cat:blue dog:0.5] on a chair',
    texts: ['a red cat on a chair', 'a blue dog on a chair'],
    side: 16,
  }
}

/** The built-in model and what was trained for it. */
async function trained(): Promise<Setup> {
  const object = { shape: 'star', color: 'white', size: '', x: 60, y: 70, r: 40 } as const
  return {
    base: await StableDiffusionPipeline.fromPretrained('shapes'),
    lora: trainedFile('night.safetensors'),
    net: await ControlNetModel.fromPretrained(trainedFile('silhouette')),
    ip: await IPAdapter.fromPretrained(trainedFile('image-prompt'), { weightName: 'ip-adapter.safetensors' }),
    encoder: await CLIPVisionModelWithProjection.fromPretrained(trainedFile('image-prompt'), { subfolder: 'image_encoder' }),
    control: render({ background: 'black', objects: [object], jitter: 1 }),
    picture: render({ background: 'white', objects: [{ ...object, color: 'green' }], jitter: 1 }),
    scheduled: 'a [red:blue:0.5] star on a white background',
    texts: ['a red star on a white background', 'a blue star on a white background'],
    side: 128,
  }
}

/** Which of the parts take part. */
type Parts = { lora?: boolean; control?: boolean; image?: boolean; prompt?: string }

async function inOneCall({ base, lora, net, ip, encoder, control, picture, scheduled, side }: Setup, parts: Parts): Promise<Tensor> {
  await using pipe = StableDiffusionPipeline.fromPipe(base)
  if (parts.lora !== false) {
    await pipe.loadLoraWeights(lora, { adapterName: 'style', strict: true })
    pipe.setAdapters('style', loraScale)
  }
  const { latents } = await pipe.generate({
    prompt: parts.prompt ?? scheduled,
    promptSyntax: { name: 'a1111', firstStep: 1 }, // steps counted from 1: the first text holds for half of them
    conditions: [
      ...(parts.control === false ? [] : [controlNet(net, { image: control, scale: controlScale })]),
      ...(parts.image === false ? [] : [imagePrompt(ip, { imageEncoder: encoder, image: picture, scale: imageScale })]),
    ],
    guidanceScale,
    numInferenceSteps: steps,
    height: side,
    width: side,
    scheduler: EulerDiscreteScheduler.fromConfig(base.scheduler),
    generator: new Generator(3),
    outputType: 'latent',
  })
  return latents
}

/** The same with nothing but components: adapted models, encoded texts, features, residuals, and a loop over the sampler. */
async function byHand({ base, lora, net, ip, encoder, control, picture, texts, side }: Setup): Promise<Tensor> {
  const adapter = await LoraAdapter.load(lora)
  const weighted = [{ adapter, weight: loraScale }]
  const unet = base.unet.withAdapters(weighted)
  const textEncoder = base.textEncoder.withAdapters(weighted, 'textEncoder')

  const contexts = await Promise.all(
    texts.map(async (text) => {
      const { prompts } = await encodePrompt({ tokenizer: base.tokenizer, textEncoder }, text, { syntax: 'a1111' })
      const [prompt] = prompts
      return Tensor.cat([prompt?.negative?.[0]?.encoding.embeds as Tensor, prompt?.parts[0]?.texts[0]?.encoding.embeds as Tensor])
    }),
  )

  const pixels = await new CLIPImageProcessor({ size: encoder.config.image_size }).preprocess(picture)
  const features = (await encoder.forward(pixels)).imageEmbeds.unsqueeze(0)
  const tokens = Tensor.cat([await ip.project(features.mul(0)), await ip.project(features)])

  const bytes = Tensor.from(Array.from(control.data), [1, control.height, control.width, 3])
  const controlnetCond = bytes.permute([0, 3, 1, 2]).div(255).repeat([2, 1, 1, 1])

  const sampler = EulerDiscreteScheduler.fromConfig(base.scheduler)
  sampler.setTimesteps(steps)
  let latents = new Generator(3).randn([1, 4, side / base.vaeScaleFactor, side / base.vaeScaleFactor]).mul(sampler.initNoiseSigma)
  for (const [i, t] of sampler.timesteps.entries()) {
    const encoderHiddenStates = contexts[i < steps / 2 ? 0 : 1] as Tensor
    const input = sampler.scaleModelInput(Tensor.cat([latents, latents]), t)
    const residuals = await net.forward(input, t, { encoderHiddenStates, controlnetCond, conditioningScale: controlScale })
    const { sample } = await unet.forward(input, t, {
      encoderHiddenStates,
      downBlockAdditionalResiduals: residuals.downBlockResSamples,
      midBlockAdditionalResidual: residuals.midBlockResSample,
      imagePrompts: [{ adapter: ip, tokens, scale: unet.imageLayers.map(() => imageScale) }],
    })
    const [negative, positive] = sample.chunk(2) as [Tensor, Tensor]
    latents = sampler.step(negative.add(positive.sub(negative).mul(guidanceScale)), t, latents).prevSample
  }
  return latents
}

for (const [kind, setup] of Object.entries({ random, trained })) {
  test(`a LoRA, a ControlNet, an image prompt and a scheduled prompt in one call equal the same loop over the components: ${kind} weights`, async (t) => {
    const all = await setup()
    const mixed = await inOneCall(all, {})
    const far = distance(mixed, await byHand(all))
    t.true(far < SAME, String(far))
    const without: Parts[] = [{ lora: false }, { control: false }, { image: false }, { prompt: all.texts[0] }]
    for (const parts of without) {
      t.true(distance(mixed, await inOneCall(all, parts)) > 1e-3, `${JSON.stringify(parts)} changes nothing`)
    }
    all.base.dispose()
  })
}
