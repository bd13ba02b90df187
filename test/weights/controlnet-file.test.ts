import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { ControlNetModel, convertCheckpoint, Tensor } from '../../ts/index.ts'

const folder = fileURLToPath(new URL('../fixtures/weights/controlnet_ldm', import.meta.url))
const file = join(folder, 'control.safetensors')
const golden = await Tensor.loadSafetensors(join(folder, 'golden.safetensors'))
const scratch = await mkdtemp(join(tmpdir(), 'nd-controlnet-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

/** Largest difference to what diffusers answers, relative to the largest value of each residual. */
async function distance(net: ControlNetModel): Promise<number> {
  const [sample, text, image] = ['sample', 'text', 'image'].map((name) => (golden[`in/${name}`] as Tensor).to('f32')) as [
    Tensor,
    Tensor,
    Tensor,
  ]
  const { downBlockResSamples, midBlockResSample } = await net.forward(sample, 300, { encoderHiddenStates: text, controlnetCond: image })
  const pairs = [...downBlockResSamples.map((tensor, i) => [tensor, golden[`down/${i}`]]), [midBlockResSample, golden.mid]] as [
    Tensor,
    Tensor,
  ][]
  return Math.max(...pairs.map(([own, theirs]) => Number(own.sub(theirs).abs().max().item()) / Number(theirs.abs().max().item())))
}

/** f32 sums of a deep network in another order than torch's. */
const CLOSE = 1e-4

test('a file in lllyasviel’s names answers as in diffusers', async (t) => {
  await using net = await ControlNetModel.fromSingleFile(file, { config: folder, dtype: 'f32' })
  const far = await distance(net)
  t.true(far < CLOSE, String(far))
})

test('the same without the prefix, as lone nets are published', async (t) => {
  const bare = join(scratch, 'bare.safetensors')
  const tensors = Object.entries(await Tensor.loadSafetensors(file)).map(([key, tensor]) => [key.replace('control_model.', ''), tensor])
  await Tensor.saveSafetensors(bare, Object.fromEntries(tensors))
  await using net = await ControlNetModel.fromSingleFile(bare, { config: folder, dtype: 'f32' })
  const far = await distance(net)
  t.true(far < CLOSE, String(far))
})

test('converted to a folder and back to a file, it is the same net', async (t) => {
  const [there, back] = [join(scratch, 'folder'), join(scratch, 'back.safetensors')]
  await convertCheckpoint(file, there, { config: folder })
  await using net = await ControlNetModel.fromPretrained(there, { dtype: 'f32' })
  const far = await distance(net)
  t.true(far < CLOSE, String(far))
  await convertCheckpoint(there, back)
  const [first, second] = [await Tensor.loadSafetensors(file), await Tensor.loadSafetensors(back)]
  const bare = (key: string): string => key.replace('control_model.', '')
  t.deepEqual(Object.keys(second).map(bare).sort(), Object.keys(first).map(bare).sort())
})
