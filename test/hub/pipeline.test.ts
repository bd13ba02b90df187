import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AutoPipelineForText2Image, CLIPTokenizer, DDIMScheduler, type LoadProgress, StableDiffusionPipeline } from '../../ts/index.ts'
import { localFolder } from '../../ts/models/source.ts'
import { filesOf, HubServer } from './hub-server.ts'

const extras = {
  'README.md': '# tiny',
  'unet/diffusion_pytorch_model.bin': 'a pickle that nobody needs',
  'unet/diffusion_pytorch_model.fp16.safetensors': 'a variant that nobody asked for',
  'safety_checker/model.safetensors': 'a component that the pipeline does not have',
}

/** A hub with the built-in model, some files that nobody needs, and copies of files under other names. */
async function hubAndCache(t: ExecutionContext, copies: Record<string, string> = {}): Promise<{ hub: HubServer; cacheDir: string }> {
  const files = filesOf((await localFolder('shapes')) ?? '')
  const copied = Object.fromEntries(Object.entries(copies).map(([to, from]) => [to, files[from] ?? '']))
  const hub = await HubServer.start({ ...files, ...extras, ...copied })
  const cacheDir = await mkdtemp(join(tmpdir(), 'hub-'))
  t.teardown(async () => {
    await hub[Symbol.asyncDispose]()
    await rm(cacheDir, { recursive: true, force: true })
  })
  return { hub, cacheDir }
}

test('a pipeline of the hub loads only its own files, and draws what the same folder draws', async (t) => {
  const { hub, cacheDir } = await hubAndCache(t)
  const events: LoadProgress[] = []
  const options = { endpoint: hub.endpoint, cacheDir, onProgress: (event: LoadProgress) => events.push(event) }
  await using remote = await StableDiffusionPipeline.fromPretrained('org/tiny', options)
  await using local = await StableDiffusionPipeline.fromPretrained('shapes')
  const call = { prompt: 'a red circle on a blue background', seed: 1, numInferenceSteps: 2 }
  const [first, second] = [await remote.generate(call), await local.generate(call)]
  t.deepEqual(first.images[0]?.data, second.images[0]?.data)
  t.deepEqual(
    hub.downloads.filter((path) => path in extras),
    [],
  )
  const downloads = events.filter((event) => event.phase === 'download' && event.component !== 'model_index.json')
  t.is(downloads.at(-1)?.loaded, downloads.at(-1)?.total)
  t.true(events.some((event) => event.phase === 'load' && event.component === 'unet'))
})

test('automatic pipelines, single components and schedulers take an id of the hub, offline too', async (t) => {
  const { hub, cacheDir } = await hubAndCache(t)
  const options = { endpoint: hub.endpoint, cacheDir }
  await using pipe = await AutoPipelineForText2Image.fromPretrained('org/tiny', options)
  t.true(pipe instanceof StableDiffusionPipeline)
  const asked = hub.requests.length
  const offline = { ...options, localFilesOnly: true }
  const tokenizer = await CLIPTokenizer.fromPretrained('org/tiny', { ...offline, subfolder: 'tokenizer' })
  t.true(tokenizer.vocabSize > 0)
  t.is((await DDIMScheduler.fromPretrained('org/tiny', { ...offline, subfolder: 'scheduler' })).constructor.name, 'DDIMScheduler')
  t.is(hub.requests.length, asked)
})

test('an automatic pipeline asks for the revision, the listing and each file once', async (t) => {
  for (const bring of ['download', 'fromPretrained'] as const) {
    const { hub, cacheDir } = await hubAndCache(t)
    const result = await AutoPipelineForText2Image[bring]('org/tiny', { endpoint: hub.endpoint, cacheDir })
    if (typeof result !== 'string') {
      result.dispose()
    }
    const api = hub.requests.filter((line) => line.includes('/api/'))
    t.is(api.filter((line) => line.includes('/revision/')).length, 1, bring)
    t.is(api.filter((line) => line.includes('/tree/')).length, 2, `${bring}: the listing has two pages`)
    t.is(new Set(hub.downloads).size, hub.downloads.length, bring)
    t.is(hub.downloads.filter((path) => path === 'model_index.json').length, 1, bring)
  }
})

test('components without the wanted variant give their plain weights; a variant that none has is refused', async (t) => {
  const { hub, cacheDir } = await hubAndCache(t, {
    'unet/diffusion_pytorch_model.fp16.safetensors': 'unet/diffusion_pytorch_model.safetensors',
  })
  const options = { endpoint: hub.endpoint, cacheDir, variant: 'fp16' }
  await using pipe = await StableDiffusionPipeline.fromPretrained('org/tiny', options)
  t.deepEqual(hub.downloads.filter((path) => path.endsWith('.safetensors')).sort(), [
    'text_encoder/model.safetensors',
    'unet/diffusion_pytorch_model.fp16.safetensors',
    'vae/diffusion_pytorch_model.safetensors',
  ])
  t.false(pipe.disposed)
  await t.throwsAsync(StableDiffusionPipeline.fromPretrained('org/tiny', { ...options, variant: 'ema' }), {
    code: 'ERR_WEIGHTS',
    message: /variant "ema"/,
  })
})

test('names that are neither a folder nor an id are refused', async (t) => {
  for (const name of ['no-such-folder', './no/such/folder', 'a/b/c', '']) {
    await t.throwsAsync(StableDiffusionPipeline.fromPretrained(name), {
      code: 'ERR_INVALID_ARGUMENT',
      message: /existing folder.* for dir/,
    })
  }
})
