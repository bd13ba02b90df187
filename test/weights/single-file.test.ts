import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  AutoencoderKL,
  AutoPipelineForText2Image,
  CLIPTokenizer,
  ConfigError,
  convertCheckpoint,
  DDIMScheduler,
  InvalidArgumentError,
  StableDiffusionPipeline,
  StableDiffusionXLPipeline,
  Tensor,
  UNet2DConditionModel,
  WeightsError,
} from '../../ts/index.ts'
import { componentConfig, openSingleFile, schedulerConfig } from '../../ts/weights/single-file.ts'

const shapes = fileURLToPath(new URL('../../models/shapes', import.meta.url))
const fixtures = fileURLToPath(new URL('../fixtures/weights', import.meta.url))

let folder: string
let file: string

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nd-single-file-'))
  file = join(folder, 'shapes.safetensors')
  await convertCheckpoint('shapes', file)
})

test.after.always(() => rm(folder, { recursive: true, force: true }))

const prompt = { prompt: 'a red circle on a blue background', seed: 7, numInferenceSteps: 2 }

test('a checkpoint of one file draws exactly what its folder draws', async (t) => {
  await using one = await StableDiffusionPipeline.fromSingleFile(file, { config: shapes })
  await using whole = await StableDiffusionPipeline.fromPretrained('shapes')
  const [a, b] = [await one.generate(prompt), await whole.generate(prompt)]
  t.deepEqual((await a.images[0]?.rgba())?.data, (await b.images[0]?.rgba())?.data)
  t.is(one.source, file)
})

test('components that are given are not loaded, and stay alive', async (t) => {
  await using vae = await AutoencoderKL.fromSingleFile(file, { config: shapes })
  const scheduler = new DDIMScheduler()
  const heard = new Set<string>()
  const pipe = await StableDiffusionPipeline.fromSingleFile(file, {
    config: shapes,
    vae,
    scheduler,
    dtype: { default: 'f16', unet: 'bf16' },
    onProgress: ({ component }) => heard.add(component),
  })
  t.is(pipe.vae, vae)
  t.is(pipe.scheduler, scheduler)
  t.is(pipe.unet.dtype, 'bf16')
  t.deepEqual([...heard].sort(), ['text_encoder', 'unet'])
  pipe.dispose()
  t.true(pipe.unet.disposed)
  t.false(vae.disposed)
})

test('what goes to a folder and back to a file keeps every bit, also in shards', async (t) => {
  const [there, back] = [join(folder, 'there'), join(folder, 'back.safetensors')]
  await convertCheckpoint(file, there, { config: shapes, maxShardSize: 3_000_000 })
  t.true((await readdir(join(there, 'unet'))).includes('diffusion_pytorch_model.safetensors.index.json'))
  await convertCheckpoint(there, back)
  t.true((await readFile(back)).equals(await readFile(file)))
})

test('a pipeline saved in half precision is read again, by variant too', async (t) => {
  const target = join(folder, 'saved')
  await using pipe = await StableDiffusionPipeline.fromSingleFile(file, { config: shapes })
  await pipe.savePretrained(target, { dtype: 'bf16', variant: 'bf16' })
  t.deepEqual(
    (await readdir(folder)).filter((name) => name.includes('saved') && name.includes('.tmp')),
    [],
  )
  await using again = await StableDiffusionPipeline.fromPretrained(target, { variant: 'bf16' })
  const { images } = await again.generate(prompt)
  t.is(images.length, 1)
  t.is(again.tokenizer.vocabSize, pipe.tokenizer.vocabSize)
  t.deepEqual({ ...again.scheduler.config }, { ...pipe.scheduler.config })
  t.deepEqual(again.unet.config, pipe.unet.config)
})

test('an aborted save leaves nothing behind, and the old folder as it was', async (t) => {
  const target = join(folder, 'aborted')
  await using unet = await UNet2DConditionModel.fromPretrained(shapes, { subfolder: 'unet' })
  const controller = new AbortController()
  const saved = unet.savePretrained(target, { signal: controller.signal })
  // At once: a small model may be written before its first report of progress arrives.
  controller.abort(new Error('enough'))
  await t.throwsAsync(saved, { code: 'ABORT_ERR' })
  t.deepEqual(
    (await readdir(folder)).filter((name) => name.includes('aborted')),
    [],
  )
})

test('an aborted load rejects before it is done', async (t) => {
  const load = async (): Promise<unknown> => {
    const controller = new AbortController()
    const options = { config: shapes, signal: controller.signal, onProgress: () => controller.abort() }
    return StableDiffusionPipeline.fromSingleFile(file, options).then(
      (pipe) => pipe.dispose(),
      (error: unknown) => error,
    )
  }
  // A starved event loop may hear of the first weights when all are read: that load was done.
  let error: unknown
  for (let i = 0; i < 10 && error === undefined; i += 1) {
    error = await load()
  }
  t.is((error as { code?: unknown } | undefined)?.code, 'ABORT_ERR', String(error))
})

/** A file of headers and a few zeros that has the keys and shapes which tell the family. */
async function marked(name: string, tensors: Record<string, number[]>): Promise<string> {
  const path = join(folder, `${name}.safetensors`)
  const entries = Object.entries(tensors).map(([key, shape]) => [key, Tensor.zeros(shape, 'f16')] as const)
  await Tensor.saveSafetensors(path, Object.fromEntries(entries))
  return path
}

const unet = (inputs: number, width: number): Record<string, number[]> => ({
  'model.diffusion_model.input_blocks.0.0.weight': [320, inputs, 3, 3],
  'model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight': [640, width],
  'model.diffusion_model.out.2.weight': [4, 320, 3, 3],
})

test('family, task and prediction choose the configs that ship with the package', async (t) => {
  const inpaint = await openSingleFile(await marked('inpaint', unet(9, 768)))
  t.is((await componentConfig(inpaint, 'unet')).in_channels, 9)
  t.is((await schedulerConfig(inpaint)).prediction_type, 'epsilon')
  const v = await openSingleFile(await marked('v', { ...unet(4, 2048), v_pred: [0], ztsnr: [0] }))
  const scheduler = await schedulerConfig(v)
  t.like(scheduler, { prediction_type: 'v_prediction', rescale_betas_zero_snr: true, timestep_spacing: 'trailing' })
  t.is((await componentConfig(v, 'unet')).addition_embed_type, 'text_time')
  const two = await openSingleFile(await marked('two', unet(4, 1024)), { predictionType: 'v_prediction' })
  t.is((await schedulerConfig(two)).prediction_type, 'v_prediction')
  const playground = await openSingleFile(await marked('playground', { ...unet(4, 2048), edm_mean: [4], edm_std: [4] }))
  t.is((await schedulerConfig(playground))._class_name, 'EDMEulerScheduler')
  t.is((await componentConfig(playground, 'vae')).scaling_factor, 0.5)
  t.is((await openSingleFile(await marked('refiner', unet(4, 1280)))).facts.family, 'sdxl-refiner')
})

test('the tokenizers that ship with the package are the published ones', async (t) => {
  const ids = [49406, 320, 1125, 2368, 537, 1929, 4161, 550, 7706, 49407]
  const configs = fileURLToPath(new URL('../../models/configs', import.meta.url))
  for (const [family, name, pad] of [
    ['sd1', 'tokenizer', 49407],
    ['sd2', 'tokenizer', 0],
    ['sdxl', 'tokenizer_2', 0],
  ] as const) {
    const tokenizer = await CLIPTokenizer.ofSingleFile({ configs: join(configs, family), isOwnConfig: false }, name, {})
    t.deepEqual(Array.from(tokenizer.encode('a photo cat and dog driving an aircraft').inputIds.toArray(), Number), ids)
    t.is(tokenizer.padTokenId, pad)
  }
})

test('a file of the wrong family is refused before anything is loaded', async (t) => {
  const xl = await marked('xl', unet(4, 2048))
  await t.throwsAsync(StableDiffusionPipeline.fromSingleFile(xl), { instanceOf: ConfigError, message: /family is sdxl/ })
  await t.throwsAsync(StableDiffusionXLPipeline.fromSingleFile(await marked('one', unet(4, 768))), {
    instanceOf: ConfigError,
    message: /family is sd1/,
  })
  await t.throwsAsync(AutoPipelineForText2Image.fromSingleFile(xl), { message: /Expected the component vae in .*xl.safetensors/ })
})

test('files that are none say what they are', async (t) => {
  await t.throwsAsync(StableDiffusionPipeline.fromSingleFile(join(folder, 'no-such-file')), { instanceOf: InvalidArgumentError })
  await t.throwsAsync(UNet2DConditionModel.fromSingleFile(join(fixtures, 'hostile.ckpt')), {
    instanceOf: WeightsError,
    message: /posix\.system.*nothing was run/,
  })
  await t.throwsAsync(UNet2DConditionModel.fromSingleFile(join(fixtures, 'embedding.pt')), {
    instanceOf: ConfigError,
    message: /received textual-inversion/,
  })
  const cut = join(folder, 'cut.safetensors')
  await copyFile(file, cut)
  await writeFile(cut, (await readFile(file)).subarray(0, 5_000_000))
  await t.throwsAsync(UNet2DConditionModel.fromSingleFile(cut), { instanceOf: WeightsError, message: /tensor .* truncated or damaged/ })
  await t.throwsAsync(UNet2DConditionModel.fromSingleFile(file), {
    instanceOf: ConfigError,
    message: /block_out_channels of 320, 640, 1280 .* received 32, 96, 160: give the folder of its configs as config/,
  })
})
