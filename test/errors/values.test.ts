import test from 'ava'
import { Generator, randnTensor, Tensor } from '../../ts/index.ts'
import { assertRefused, type Refusal, wrong } from './refusals.ts'

const invalid = 'ERR_INVALID_ARGUMENT'
const x = Tensor.ones([2, 3])

test('tensors refuse what they cannot be made from', async (t) => {
  const refusals: Refusal[] = [
    ['text as data', () => Tensor.from(wrong('abc')), invalid, /for data but received "abc"/],
    ['null as data', () => Tensor.from(wrong(null)), invalid, /for data but received null/],
    ['an object as data', () => Tensor.from(wrong({ a: 1 })), invalid, /for data/],
    ['ragged arrays', () => Tensor.from([[1, 2], [3]]), invalid, /^Expected .* but received/],
    ['text inside arrays', () => Tensor.from(wrong([[1, 'b']])), invalid, /^Expected .* but received/],
    ['a shape of other size', () => Tensor.from([1, 2, 3], [2, 2]), invalid, /for shape but received \[2, 2\]/],
    ['a negative size', () => Tensor.zeros([-1, 2]), invalid, /for shape\[0\] but received -1/],
    ['a fractional size', () => Tensor.zeros([1.5]), invalid, /for shape\[0\] but received 1.5/],
    ['NaN as a size', () => Tensor.zeros([Number.NaN]), invalid, /for shape\[0\] but received NaN/],
    ['a size beyond 32 bits', () => Tensor.zeros([2 ** 40]), invalid, /for shape\[0\] but received 1099511627776/],
    ['a shape whose size overflows', () => Tensor.zeros([2 ** 31, 2 ** 31, 2 ** 31]), 'ERR_OUT_OF_MEMORY', /./],
    ['more memory than any machine has', () => Tensor.zeros([2 ** 26, 2 ** 20]), 'ERR_OUT_OF_MEMORY', /./],
    ['a number as shape', () => Tensor.zeros(wrong(3)), invalid, /for shape but received 3/],
    ['an unknown dtype', () => Tensor.zeros([1], wrong('f8')), invalid, /for dtype but received "f8"/],
    ['text as value', () => Tensor.full([1], wrong('1')), invalid, /for value but received "1"/],
  ]
  await assertRefused(t, refusals)
})

test('tensor operations refuse operands and dimensions that do not fit', async (t) => {
  const refusals: Refusal[] = [
    ['add text', () => x.add(wrong('1')), invalid, /for other but received "1"/],
    ['add nothing', () => x.add(wrong(undefined)), invalid, /for other but received undefined/],
    ['add a look-alike', () => x.add(wrong({ shape: [1], dtype: 'f32' })), invalid, /for other/],
    ['add another shape', () => x.add(Tensor.ones([4, 3])), invalid, /\[2, 3\].*\[4, 3\]/],
    ['cat of nothing', () => Tensor.cat([]), invalid, /for tensors but received \[\]/],
    ['cat of other sizes', () => Tensor.cat([x, Tensor.ones([2, 4])]), invalid, /\[2, 3\].*\[2, 4\]/],
    ['cat on a dimension that is not there', () => Tensor.cat([x], 5), invalid, /dim/],
    ['stack of other shapes', () => Tensor.stack([x, Tensor.ones([2, 4])]), invalid, /./],
    ['linear combination of nothing', () => Tensor.linearCombination([]), invalid, /for terms/],
    ['NaN as a weight', () => Tensor.linearCombination([[Number.NaN, x]]), invalid, /for terms\[0\]\[0\] but received NaN/],
    ['chunk into none', () => x.chunk(0), invalid, /for count but received 0/],
    ['chunk into too many', () => x.chunk(3), invalid, /for count but received 3/],
    ['slice a dimension that is not there', () => x.slice(2, 0), invalid, /for dim but received 2/],
    ['slice at NaN', () => x.slice(0, Number.NaN), invalid, /for start but received NaN/],
    ['index out of range', () => x.index(2), invalid, /for i but received 2/],
    ['reshape to another size', () => x.reshape([4, 2]), invalid, /for shape but received \[4, 2\]/],
    ['reshape to what does not divide', () => x.reshape([-1, 4]), invalid, /for shape/],
    ['permute twice the same', () => x.permute([0, 0]), invalid, /for dims but received \[0, 0\]/],
    ['expand what is not 1', () => x.expand([4, 3]), invalid, /./],
    ['repeat zero times', () => x.repeat([0, 1]), invalid, /for repeats\[0\] but received 0/],
    ['item of six', () => x.item(), invalid, /received Tensor f32 \[2, 3\]/],
    ['a dimension as text', () => x.mean(wrong('0')), invalid, /for dims/],
    ['NaN as a bound', () => x.clamp(Number.NaN, 1), invalid, /for low but received NaN/],
    ['an infinite exponent', () => x.pow(Number.POSITIVE_INFINITY), invalid, /for exponent/],
    ['an unknown target', () => x.to(wrong('float32')), invalid, /received "float32"/],
    ['a device that this build lacks', () => x.to('cuda:7'), 'ERR_DEVICE', /cuda/],
  ]
  await assertRefused(t, refusals)
})

test('tensors that would not fit into memory are refused before anything is allocated', async (t) => {
  const one = Tensor.ones([1, 1])
  const many = 2 ** 31
  const refusals: Refusal[] = [
    ['a view', () => one.expand([2 ** 25, 2 ** 22]), 'ERR_OUT_OF_MEMORY', /33554432, 4194304/],
    ['tiles', () => Tensor.ones([1024]).repeat([many]), 'ERR_OUT_OF_MEMORY', /2199023255552/],
    ['tiles whose number overflows', () => Tensor.ones([4, 4, 4]).repeat([many, many, many]), 'ERR_OUT_OF_MEMORY', /./],
    ['repeated entries', () => Tensor.ones([1024]).repeatInterleave(many, 0), 'ERR_OUT_OF_MEMORY', /2199023255552/],
    ['an outer sum', () => Tensor.ones([2 ** 24, 1]).add(Tensor.ones([1, 2 ** 23])), 'ERR_OUT_OF_MEMORY', /16777216, 8388608/],
    ['noise', () => new Generator(0).randn([many, many]), invalid, /for shape/],
  ]
  await assertRefused(t, refusals)
})

test('tensor files refuse bad paths and bad contents', async (t) => {
  const refusals: Refusal[] = [
    ['a number as path', () => Tensor.loadSafetensors(wrong(3)), invalid, /for path but received 3/],
    ['a missing file', () => Tensor.loadSafetensors('/nowhere/x.safetensors'), 'ERR_WEIGHTS', /nowhere/],
    ['a folder', () => Tensor.loadSafetensors('/'), 'ERR_WEIGHTS', /./],
    [
      'what is not a tensor',
      () => Tensor.saveSafetensors('/tmp/x.safetensors', wrong({ a: 1 })),
      invalid,
      /for tensors\["a"\] but received 1/,
    ],
    ['a folder that is not there', () => Tensor.saveSafetensors('/nowhere/x.safetensors', { x }), 'ERR_WEIGHTS', /nowhere/],
  ]
  await assertRefused(t, refusals)
})

test('a disposed tensor is refused everywhere', async (t) => {
  const gone = Tensor.ones([2, 3])
  gone.dispose()
  gone.dispose()
  const refusals: Refusal[] = [
    ['as this', () => gone.add(1), 'ERR_DISPOSED', /disposed/],
    ['as other', () => x.add(gone), 'ERR_DISPOSED', /for other/],
    ['in a list', () => Tensor.cat([x, gone]), 'ERR_DISPOSED', /for tensors\[1\]/],
    ['read', () => gone.toArray(), 'ERR_DISPOSED', /disposed/],
    ['saved', () => Tensor.saveSafetensors('/tmp/x.safetensors', { gone }), 'ERR_DISPOSED', /gone/],
  ]
  await assertRefused(t, refusals)
  t.true(gone.disposed)
})

test('generators refuse seeds and shapes that are not numbers', async (t) => {
  const generator = new Generator(0)
  const refusals: Refusal[] = [
    ['text as a seed', () => new Generator(wrong('7')), invalid, /for seed but received "7"/],
    ['NaN as a seed', () => new Generator(Number.NaN), invalid, /for seed but received NaN/],
    ['half a seed', () => new Generator(0.5), invalid, /for seed but received 0.5/],
    ['an unsafe seed', () => new Generator(2 ** 60), invalid, /for seed/],
    ['a seed of 65 bits', () => new Generator(2n ** 65n), invalid, /for seed/],
    ['an unknown kind', () => new Generator(0, { rng: wrong('numpy') }), invalid, /for rng but received "numpy"/],
    ['a negative size', () => generator.randn([-1]), invalid, /for shape\[0\] but received -1/],
    ['integers as floats', () => generator.randn([1], { dtype: wrong('i64') }), invalid, /for dtype but received "i64"/],
    ['an empty range', () => generator.randint(3, 3, [1]), invalid, /for high but received 3/],
    ['a negative count', () => generator.randperm(-1), invalid, /for n but received -1/],
    ['too few generators', () => randnTensor([3, 2], [generator, generator]), invalid, /for generators/],
    ['no generator', () => randnTensor([3, 2], wrong('x')), invalid, /generator/],
  ]
  await assertRefused(t, refusals)
})
