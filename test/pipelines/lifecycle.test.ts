import { cp, mkdtemp, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { type LoadProgress, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline, UNet2DConditionModel } from '../../ts/index.ts'
import { Ownership } from '../../ts/pipelines/ownership.ts'
import { Scope } from '../../ts/scope.ts'

const options = { prompt: 'a star', numInferenceSteps: 1, width: 64, height: 64, seed: 1 } as const
const shapes = fileURLToPath(new URL('../../models/shapes', import.meta.url))

test('a pipeline frees what it loaded, not what it was given', async (t) => {
  const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
  const pipe = await StableDiffusionPipeline.fromPretrained('shapes', { unet })
  t.is(pipe.unet, unet)
  pipe.dispose()
  t.true(pipe.vae.disposed && pipe.textEncoder.disposed && pipe.disposed)
  t.false(unet.disposed)
  unet.dispose()
})

test('pipelines of one model free it when the last of them is disposed', async (t) => {
  const first = await StableDiffusionPipeline.fromPretrained('shapes')
  const second = StableDiffusionImg2ImgPipeline.fromPipe(first)
  first.dispose()
  t.false(second.unet.disposed)
  await t.throwsAsync(async () => first.generate(options), { code: 'ERR_DISPOSED', message: /StableDiffusionPipeline/ })
  t.throws(() => StableDiffusionPipeline.fromPipe(first), { code: 'ERR_DISPOSED' })
  t.is(
    (
      await second.generate({
        ...options,
        image: { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3) },
        numInferenceSteps: 2,
        width: undefined,
        height: undefined,
      } as never)
    ).images?.length,
    1,
  )
  second.dispose()
  second.dispose()
  t.true(second.unet.disposed)
})

test('a pipeline of given components owns none of them', async (t) => {
  await using source = await StableDiffusionPipeline.fromPretrained('shapes')
  {
    await using built = new StableDiffusionPipeline({ ...source.components })
    t.is((await built.generate(options)).images.length, 1)
  }
  t.false(source.unet.disposed)
})

test('loading reports the progress of each component', async (t) => {
  const events: LoadProgress[] = []
  await using _pipe = await StableDiffusionPipeline.fromPretrained('shapes', { onProgress: (event) => events.push(event) })
  for (const component of ['unet', 'vae', 'text_encoder']) {
    const last = events.filter((event) => event.component === component).at(-1)
    t.true(last !== undefined && last.loaded === last.total, component)
  }
})

test('a component that cannot be loaded ends the loading of all', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-broken-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(shapes, folder, { recursive: true })
  await truncate(join(folder, 'unet', 'diffusion_pytorch_model.safetensors'), 1000)
  await t.throwsAsync(() => StableDiffusionPipeline.fromPretrained(folder), { code: 'ERR_WEIGHTS' })
  await t.throwsAsync(() => StableDiffusionPipeline.fromPretrained('shapes', { signal: AbortSignal.abort('no') }), { code: 'ABORT_ERR' })
  await t.throwsAsync(() => StableDiffusionPipeline.fromPretrained('shapes', { unett: undefined, controlnet: 1 } as never), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /name of a component/,
  })
})

test('the last owner disposes', (t) => {
  let disposed = 0
  const component = {
    dispose: () => {
      disposed += 1
    },
  }
  const [a, b] = [new Ownership([component]), new Ownership([component, component])]
  t.deepEqual(a.among([component, {}]), [component])
  a.release()
  a.release()
  t.is(disposed, 0)
  b.release()
  t.is(disposed, 1)
})

test('a scope disposes what it holds, newest first, once', (t) => {
  const order: string[] = []
  const make = (name: string): Disposable => ({ [Symbol.dispose]: () => void order.push(name) })
  const [a, b, c] = [make('a'), make('b'), make('c')]
  {
    using scope = new Scope()
    scope.keep(a)
    scope.keep(b)
    scope.keep(b)
    scope.keepNew(c, c)
    scope.keep(scope.release(scope.keep(c)))
    scope.release(a)
    scope.keep(undefined)
  }
  t.deepEqual(order, ['c', 'b'])
})
