import { join } from 'node:path'
import test from 'ava'
import {
  CLIPImageProcessor,
  ControlNetModel,
  controlNet,
  EulerDiscreteScheduler,
  encodePrompt,
  Generator,
  type IPAdapter,
  imagePrompt,
  LoraAdapter,
  StableDiffusionPipeline,
  Tensor,
} from '../../ts/index.ts'
import { parityPack } from '../parity/pack.ts'
import { adapters, distance, familyCases, imageEncoder, modelFolder, storedPicture } from './goldens.ts'

/** Two ways to the same numbers differ by the order of f32 sums only. */
const SAME = 1e-5

const lora = join(parityPack(), 'weights', 'lora', 'kohya_unet_te.safetensors')
const base = await StableDiffusionPipeline.fromPretrained(join(parityPack(), 'pipelines', 'tiny-sd15'))
const net = await ControlNetModel.fromPretrained(modelFolder('controlnet'))
const encoder = await imageEncoder()
const ip = (await adapters('mixed', 1))[0] as IPAdapter
const { tensors } = await familyCases()
const control = storedPicture(tensors['mixed/image'])
const picture = storedPicture(tensors['ip_negative/positive'])
const [loraScale, controlScale, imageScale, guidanceScale, steps] = [0.8, 0.7, 0.6, 5, 4] as const
const scheduler = EulerDiscreteScheduler.fromConfig(base.scheduler)

/** Which of the parts take part. */
type Parts = { lora?: boolean; control?: boolean; image?: boolean; prompt?: string }

async function inOneCall(parts: Parts): Promise<Tensor> {
  await using pipe = StableDiffusionPipeline.fromPipe(base)
  if (parts.lora !== false) {
    await pipe.loadLoraWeights(lora, { adapterName: 'style', strict: true })
    pipe.setAdapters('style', loraScale)
  }
  const { latents } = await pipe.generate({
    prompt: parts.prompt ?? 'a [red cat:blue dog:0.5] on a chair',
    promptSyntax: { name: 'a1111', firstStep: 1 }, // steps counted from 1: the first text holds for half of them
    conditions: [
      ...(parts.control === false ? [] : [controlNet(net, { image: control, scale: controlScale })]),
      ...(parts.image === false ? [] : [imagePrompt(ip, { imageEncoder: encoder, image: picture, scale: imageScale })]),
    ],
    guidanceScale,
    numInferenceSteps: steps,
    height: 16,
    width: 16,
    scheduler,
    generator: new Generator(3),
    outputType: 'latent',
  })
  return latents
}

/** The same with nothing but components: adapted models, encoded texts, features, residuals, and a loop over the sampler. */
async function byHand(): Promise<Tensor> {
  const adapter = await LoraAdapter.load(lora)
  const weighted = [{ adapter, weight: loraScale }]
  const unet = base.unet.withAdapters(weighted)
  const textEncoder = base.textEncoder.withAdapters(weighted, 'textEncoder')

  const contexts = await Promise.all(
    ['a red cat on a chair', 'a blue dog on a chair'].map(async (text) => {
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

  const sampler = scheduler.clone()
  sampler.setTimesteps(steps)
  let latents = new Generator(3).randn([1, 4, 8, 8]).mul(sampler.initNoiseSigma)
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

test('a LoRA, a ControlNet, an image prompt and a scheduled prompt in one call equal the same loop over the components', async (t) => {
  const mixed = await inOneCall({})
  t.true(distance(mixed, await byHand()) < SAME)
  const without: Parts[] = [{ lora: false }, { control: false }, { image: false }, { prompt: 'a red cat on a chair' }]
  for (const parts of without) {
    t.true(distance(mixed, await inOneCall(parts)) > 1e-3, `${JSON.stringify(parts)} changes nothing`)
  }
})
