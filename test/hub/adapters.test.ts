import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import {
  ControlNetModel,
  HubError,
  type HubOptions,
  InvalidArgumentError,
  IPAdapter,
  MotionAdapter,
  StableDiffusionPipeline,
  T2IAdapter,
} from '../../ts/index.ts'
import { COMMIT, filesOf, HubServer, refuse } from './hub-server.ts'

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url))
const parity = join(fixtures, 'parity')
const night = await readFile(join(fixtures, 'adapters', 'night.safetensors'))
const dull = await readFile(join(fixtures, 'adapters', 'easy-dull.safetensors'))
const junk = 'weights of something else'

/** A hub with these files, and the options that ask it. */
async function hubWith(t: ExecutionContext, files: Record<string, Buffer | string>): Promise<{ hub: HubServer; options: HubOptions }> {
  const hub = await HubServer.start(files)
  const cacheDir = await mkdtemp(join(tmpdir(), 'hub-'))
  t.teardown(async () => {
    await hub[Symbol.asyncDispose]()
    await rm(cacheDir, { recursive: true, force: true })
  })
  return { hub, options: { endpoint: hub.endpoint, cacheDir } }
}

/** The files of a folder under another folder. */
function under(folder: string, files: Record<string, Buffer | string>): Record<string, Buffer | string> {
  return Object.fromEntries(Object.entries(files).map(([path, content]) => [`${folder}/${path}`, content]))
}

test('loadLoraWeights takes a file by name, folder and revision, brings nothing else, and works offline afterwards', async (t) => {
  const { hub, options } = await hubWith(t, { 'styles/night.safetensors': night, 'styles/day.safetensors': junk, 'model.ckpt': junk })
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const place = { weightName: 'night.safetensors', subfolder: 'styles', revision: 'refs/pr/1' }
  const report = await pipe.loadLoraWeights('org/tiny', { ...options, ...place, adapterName: 'night' })
  t.deepEqual(report.unmatched, [])
  t.deepEqual(hub.downloads, ['styles/night.safetensors'])
  const asked = hub.requests.length
  const again = await pipe.loadLoraWeights('org/tiny', { ...options, ...place, localFilesOnly: true })
  t.is(again.matched, report.matched)
  t.is(hub.requests.length, asked)
  await t.throwsAsync(pipe.loadLoraWeights('org/tiny', { ...options, weightName: 'dusk.safetensors' }), {
    instanceOf: HubError,
    message: /Expected dusk\.safetensors in 'org\/tiny'/,
  })
})

test('without a name it is the usual one, else the only file; several are listed', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const usual = await hubWith(t, { 'pytorch_lora_weights.safetensors': night, 'other.safetensors': junk, 'README.md': '#' })
  t.true((await pipe.loadLoraWeights('org/tiny', usual.options)).matched > 0)
  t.deepEqual(usual.hub.downloads, ['pytorch_lora_weights.safetensors'])

  const only = await hubWith(t, { 'night.safetensors': night, 'optimizer.bin': junk, 'README.md': '#' })
  t.true((await pipe.loadLoraWeights('org/tiny', only.options)).matched > 0)
  t.deepEqual(only.hub.downloads, ['night.safetensors'])

  const several = await hubWith(t, { 'night.safetensors': night, 'day.safetensors': junk })
  await t.throwsAsync(pipe.loadLoraWeights('org/tiny', several.options), {
    instanceOf: InvalidArgumentError,
    message: 'Expected one of night.safetensors, day.safetensors for weightName but received undefined',
  })
  t.deepEqual(several.hub.downloads, [])
  const none = await hubWith(t, { 'README.md': '#' })
  await t.throwsAsync(pipe.loadLoraWeights('org/tiny', none.options), {
    instanceOf: InvalidArgumentError,
    message: /weights of an adapter/,
  })
})

test('loadTextualInversion finds learned_embeds in either format', async (t) => {
  const pickle = await readFile(join(parity, 'weights', 'textual_inversion', 'diffusers_bin.bin'))
  const st = await hubWith(t, { 'learned_embeds.safetensors': dull, 'learned_embeds.bin': pickle })
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const [inversion] = await pipe.loadTextualInversion('org/tiny', { ...st.options, token: 'EasyDull' })
  t.is(inversion?.tokens.length, 4)
  t.deepEqual(st.hub.downloads, ['learned_embeds.safetensors'])
  await using tiny = await StableDiffusionPipeline.fromPretrained(join(parity, 'pipelines', 'tiny-sd15'))
  const bin = await hubWith(t, { 'learned_embeds.bin': pickle })
  const [named] = await tiny.loadTextualInversion('org/tiny', bin.options)
  t.truthy(named?.token)
  t.deepEqual(bin.hub.downloads, ['learned_embeds.bin'])
})

test('loadIpAdapter brings one adapter of many and the image encoder beside it', async (t) => {
  const adapter = await readFile(join(fixtures, 'families', 'mixed.ip_adapter_0.safetensors'))
  const encoder = filesOf(join(parity, 'models', 'clip_vision_projection'))
  const { hub, options } = await hubWith(t, {
    'models/ip-adapter_sd15.safetensors': adapter,
    'models/ip-adapter-plus_sd15.safetensors': junk,
    ...under('models/image_encoder', encoder),
    ...under('sdxl_models/image_encoder', encoder),
  })
  await using pipe = await StableDiffusionPipeline.fromPretrained(join(parity, 'pipelines', 'tiny-sd15'))
  await pipe.loadIpAdapter('org/tiny', { ...options, subfolder: 'models', weightName: 'ip-adapter_sd15.safetensors' })
  const wanted = ['config.json', 'io.json', 'model.safetensors'].map((name) => `models/image_encoder/${name}`)
  t.deepEqual([...hub.downloads].sort(), [...wanted, 'models/ip-adapter_sd15.safetensors'].sort())
  const image = { width: 16, height: 16, data: new Uint8Array(16 * 16 * 3).fill(200) }
  const { images } = await pipe.generate({ prompt: 'a cat', ipAdapterImage: image, numInferenceSteps: 1, height: 16, width: 16, seed: 1 })
  t.is(images.length, 1)
  await t.throwsAsync(IPAdapter.fromPretrained('org/tiny', { ...options, subfolder: 'models' }), {
    instanceOf: InvalidArgumentError,
    message: /one of ip-adapter_sd15\.safetensors, ip-adapter-plus_sd15\.safetensors for weightName/,
  })
})

test('ControlNets, T2I-Adapters and motion adapters load from the root or a folder of a repository', async (t) => {
  const net = filesOf(join(parity, 'models', 'controlnet'))
  const { hub, options } = await hubWith(t, { ...net, ...under('canny', net), 'flax_model.msgpack': junk })
  await using root = await ControlNetModel.fromPretrained('org/tiny', options)
  await using inside = await ControlNetModel.fromPretrained('org/tiny', { ...options, subfolder: 'canny', revision: COMMIT })
  t.deepEqual(root.config, inside.config)
  t.false(hub.downloads.includes('flax_model.msgpack'))
  t.is(hub.downloads.filter((path) => path.endsWith('diffusion_pytorch_model.safetensors')).length, 1, 'the same content comes once')

  const motion = await hubWith(t, filesOf(join(parity, 'models', 'animatediff', 'motion_adapter')))
  await using adapter = await MotionAdapter.fromPretrained('org/tiny', motion.options)
  t.false(adapter.disposed)
  const t2i = await hubWith(t, filesOf(join(parity, 'models', 't2i_adapter_half')))
  await using colour = await T2IAdapter.fromPretrained('org/tiny', t2i.options)
  t.false(colour.disposed)
})

test('a private adapter needs a token, which is sent', async (t) => {
  const { hub, options } = await hubWith(t, { 'night.safetensors': night })
  hub.meddle = (request, response) => {
    const allowed = request.headers.authorization === 'Bearer hf_right' || request.url?.startsWith('/cdn') === true
    if (!allowed) {
      refuse(response, 401, 'GatedRepo')
    }
    return !allowed
  }
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  await t.throwsAsync(pipe.loadLoraWeights('org/tiny', { ...options, token: 'hf_wrong' }), { instanceOf: HubError, message: /status 401/ })
  t.true((await pipe.loadLoraWeights('org/tiny', { ...options, token: 'hf_right' })).matched > 0)
})
