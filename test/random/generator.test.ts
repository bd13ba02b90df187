import test from 'ava'
import { Generator, randnTensor } from '../../ts/index.ts'

const near = (actual: unknown, expected: readonly number[], tolerance: number): boolean =>
  Array.isArray(actual) &&
  actual.length === expected.length &&
  expected.every((value, i) => Math.abs(Number(actual[i]) - value) <= tolerance)

test('a seed gives the numbers of torch.manual_seed', (t) => {
  // torch.randn(4, generator=torch.Generator().manual_seed(0)), torch.rand, torch.randint(0, 10), torch.randperm(5)
  t.true(
    near(new Generator(0).randn([4]).tolist(), [1.5409960746765137, -0.293428897857666, -2.1787893772125244, 0.5684312582015991], 1e-7),
  )
  t.true(near(new Generator(0).rand([3]).tolist(), [0.49625658988952637, 0.7682217955589294, 0.08847743272781372], 0))
  t.deepEqual(new Generator(0).randint(0, 10, [5]).tolist(), [4, 9, 3, 0, 3])
  t.deepEqual([...new Set(new Generator(0).randperm(5).tolist() as number[])].sort(), [0, 1, 2, 3, 4])
})

test('numbers follow one another, and clones go their own way', (t) => {
  const generator = new Generator(5)
  const whole = new Generator(5).rand([6]).tolist() as number[]
  t.deepEqual(generator.rand([2]).tolist(), whole.slice(0, 2))
  const copy = generator.clone()
  t.deepEqual(generator.rand([4]).tolist(), whole.slice(2))
  t.deepEqual(copy.rand([4]).tolist(), whole.slice(2))
  t.deepEqual(generator.manualSeed(5).rand([6]).tolist(), whole)
})

test('seeds are 64 bits wide', (t) => {
  t.is(new Generator(2n ** 63n).seed, 2n ** 63n)
  t.is(new Generator(7).seed, 7)
  t.is(new Generator(-1).seed, 2n ** 64n - 1n)
  t.not(new Generator().seed, new Generator().seed)
})

test('shapes and dtypes', (t) => {
  const noise = new Generator(1).randn([2, 3, 4], { dtype: 'f64' })
  t.deepEqual(noise.shape, [2, 3, 4])
  t.is(noise.dtype, 'f64')
  t.is(new Generator(1).randn([20], { dtype: 'bf16' }).dtype, 'bf16')
  t.is(new Generator(1).randint(0, 5, [2]).dtype, 'i64')
  t.deepEqual(new Generator(1).randn([0]).tolist(), [])
})

test('a large draw has the moments of a normal distribution', (t) => {
  for (const rng of ['torch-cpu', 'torch-cuda'] as const) {
    const noise = new Generator(3, { rng }).randn([100_000])
    t.true(Math.abs(noise.mean().item()) < 0.01, rng) // three standard errors of the mean
    t.true(Math.abs(noise.std().item() - 1) < 0.01, rng)
  }
})

test('with a list of generators each picture has its own noise', (t) => {
  const alone = new Generator(2).randn([1, 4, 8, 8])
  const batch = randnTensor([2, 4, 8, 8], [new Generator(1), new Generator(2)])
  t.true(batch.slice(0, 1).equal(alone))
  t.true(randnTensor([2, 3], new Generator(9)).equal(new Generator(9).randn([2, 3])))
  t.true(randnTensor([2, 3], [new Generator(9)]).equal(new Generator(9).randn([2, 3])))
})

test('bad arguments', (t) => {
  const code = 'ERR_INVALID_ARGUMENT'
  const generator = new Generator(0)
  // @ts-expect-error text is no seed
  t.throws(() => new Generator('1'), { code, message: /for seed but received "1"/ })
  t.throws(() => new Generator(0.5), { code, message: /for seed but received 0.5/ })
  t.throws(() => new Generator(Number.NaN), { code, message: /for seed but received NaN/ })
  t.throws(() => new Generator(2n ** 64n), { code, message: /for seed/ })
  // @ts-expect-error no such generator
  t.throws(() => new Generator(0, { rng: 'numpy' }), { code, message: /for rng but received "numpy"/ })
  t.throws(() => generator.randn([-1]), { code, message: /for shape\[0\] but received -1/ })
  // @ts-expect-error integers have their own functions
  t.throws(() => generator.randn([1], { dtype: 'i64' }), { code, message: /for dtype but received "i64"/ })
  t.throws(() => generator.randint(3, 3, [1]), { code, message: /for high but received 3/ })
  t.throws(() => randnTensor([3, 1], [generator, generator]), { code, message: /3 Generators \(the batch size\)/ })
  // @ts-expect-error a number is no generator
  t.throws(() => randnTensor([1], [1]), { code, message: /for generators/ })
  t.throws(() => new Generator(0, { rng: 'torch-cuda' }).randn([4], { dtype: 'f64' }), { code, message: /torch-cuda/ })
})
