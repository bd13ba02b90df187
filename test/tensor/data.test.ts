import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import test from 'ava'
import { type DType, Tensor } from '../../ts/index.ts'

test('typed arrays keep their type', (t) => {
  const kinds: [Parameters<typeof Tensor.from>[0], DType][] = [
    [Float32Array.of(1), 'f32'],
    [Float64Array.of(1), 'f64'],
    [BigInt64Array.of(1n), 'i64'],
    [Uint32Array.of(1), 'u32'],
    [Uint8Array.of(1), 'u8'],
    [Uint8ClampedArray.of(1), 'u8'],
    [Int16Array.of(1), 'f32'],
    [[1], 'f32'],
    [1, 'f32'],
  ]
  for (const [data, dtype] of kinds) {
    const tensor = Tensor.from(data)
    t.is(tensor.dtype, dtype)
    t.is(tensor.item(), 1)
  }
})

test('a part of a buffer at an odd place is read right', (t) => {
  const bytes = new Uint8Array(9)
  new DataView(bytes.buffer).setFloat32(1, 1.5, true)
  t.deepEqual(Tensor.from(bytes.subarray(3, 5)).shape, [2])
  const floats = new Float32Array([0, 1, 2, 3]).subarray(1, 3)
  t.deepEqual(Tensor.from(floats).tolist(), [1, 2])
})

test('data out has the type of the dtype', (t) => {
  t.true(Tensor.from([1]).toArray() instanceof Float32Array)
  t.true(Tensor.from([1], undefined, 'f64').toArray<Float64Array>() instanceof Float64Array)
  t.deepEqual(Tensor.from([2], undefined, 'i64').toArray<BigInt64Array>(), BigInt64Array.of(2n))
  t.true(Tensor.from([1], undefined, 'u8').toArray<Uint8Array>() instanceof Uint8Array)
})

test('what comes out is a copy', (t) => {
  const tensor = Tensor.from([1, 2])
  tensor.toArray()[0] = 9
  t.deepEqual(tensor.tolist(), [1, 2])
})

test('casts round and saturate as Rust does', (t) => {
  t.deepEqual(Tensor.from([-1, 3.7, 300]).to('u8').tolist(), [0, 3, 255])
  t.is(Tensor.from([1]).to({ dtype: 'f16', device: 'cpu' }).dtype, 'f16')
  t.is(Tensor.from([1]).to('cpu').device, 'cpu')
})

test('equal compares shape, dtype and values', (t) => {
  const x = Tensor.from([1, 2])
  t.true(x.equal(Tensor.from([1, 2])))
  t.false(x.equal(Tensor.from([1, 3])))
  t.false(x.equal(Tensor.from([[1, 2]])))
  t.false(x.equal(Tensor.from([1, 2], undefined, 'f64')))
  t.false(Tensor.from([Number.NaN]).equal(Tensor.from([Number.NaN])))
  t.true(Tensor.zeros([0]).equal(Tensor.zeros([0])))
})

test('a tensor shows dtype and shape', (t) => {
  t.is(String(Tensor.zeros([1, 4])), 'Tensor f32 [1, 4]')
  t.is(inspect(Tensor.zeros([])), 'Tensor f32 []')
})

test('after dispose the shape remains and the rest is refused', (t) => {
  const x = Tensor.from([[1, 2]])
  const view = x.slice(1, 0, 1)
  x.dispose()
  x.dispose()
  t.true(x.disposed)
  t.deepEqual(x.shape, [1, 2])
  t.deepEqual(view.tolist(), [[1]], 'a view keeps the data')
  t.throws(() => x.add(1), { code: 'ERR_DISPOSED', message: 'Expected a Tensor in use but received a disposed one' })
  t.throws(() => view.add(x), { code: 'ERR_DISPOSED', message: /for other/ })
  t.throws(() => Tensor.cat([view, x]), { code: 'ERR_DISPOSED', message: /tensors\[1\]/ })
})

test('using disposes', (t) => {
  const made: Tensor[] = []
  {
    using x = Tensor.ones([1])
    made.push(x)
  }
  t.true(made[0]?.disposed)
})

test('tensors go to a file and come back', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-tensor-'))
  const path = join(folder, 'x.safetensors')
  const given = {
    a: Tensor.from([[1, 2, 3]]).transpose(0, 1),
    double: Tensor.from([Math.PI], undefined, 'f64'),
    half: Tensor.from([1.5], undefined, 'bf16'),
    ids: Tensor.from([7], undefined, 'i64'),
    bytes: Tensor.from(Uint8Array.of(255)),
    none: Tensor.zeros([0, 3]),
  }
  await Tensor.saveSafetensors(path, given)
  const back = await Tensor.loadSafetensors(path)
  t.deepEqual(Object.keys(back).sort(), Object.keys(given).sort())
  for (const [name, tensor] of Object.entries(given)) {
    t.true(back[name]?.equal(tensor), name)
  }
  t.deepEqual(await readdir(folder), ['x.safetensors'], 'no temporary file stays')
  await rm(folder, { recursive: true })
})

test('a damaged file and an unwritable place are errors', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-tensor-'))
  const path = join(folder, 'x.safetensors')
  await Tensor.saveSafetensors(path, { a: Tensor.ones([64]) })
  await writeFile(path, (await readFile(path)).subarray(0, 200))
  await t.throwsAsync(Tensor.loadSafetensors(path), { code: 'ERR_WEIGHTS', message: /truncated/ })
  await t.throwsAsync(Tensor.loadSafetensors(join(folder, 'nothing')), { code: 'ERR_WEIGHTS', message: /nothing/ })
  await t.throwsAsync(Tensor.saveSafetensors(join(folder, 'no', 'x'), { a: Tensor.ones([1]) }), {
    code: 'ERR_WEIGHTS',
    message: /writable/,
  })
  t.deepEqual(await readdir(folder), ['x.safetensors'])
  await rm(folder, { recursive: true })
})
