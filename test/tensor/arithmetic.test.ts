import test from 'ava'
import { type DType, Tensor } from '../../ts/index.ts'

const a = Tensor.from([
  [1, 2, 3],
  [4, 5, 6],
])

test('the four operations broadcast as in NumPy', (t) => {
  const row = Tensor.from([10, 20, 30])
  const column = Tensor.from([[2], [4]])
  t.deepEqual(a.add(row).tolist(), [
    [11, 22, 33],
    [14, 25, 36],
  ])
  t.deepEqual(a.sub(column).tolist(), [
    [-1, 0, 1],
    [0, 1, 2],
  ])
  t.deepEqual(row.mul(column).tolist(), [
    [20, 40, 60],
    [40, 80, 120],
  ])
  t.deepEqual(a.div(column).tolist(), [
    [0.5, 1, 1.5],
    [1, 1.25, 1.5],
  ])
})

test('numbers stand on the right', (t) => {
  t.deepEqual(Tensor.from([1, 2]).add(0.5).tolist(), [1.5, 2.5])
  t.deepEqual(Tensor.from([1, 2]).sub(3).tolist(), [-2, -1])
  t.deepEqual(Tensor.from([1, 2]).div(4).tolist(), [0.25, 0.5])
  t.deepEqual(Tensor.from([1, 3]).maximum(2).tolist(), [2, 3])
  t.deepEqual(Tensor.from([1, 3]).minimum(2).tolist(), [1, 2])
  t.deepEqual(Tensor.from([2, 3]).pow(2).tolist(), [4, 9])
})

test('dividing by a number rounds once, as torch does', (t) => {
  t.is(Tensor.from([1]).div(3).item(), Math.fround(1 / 3))
  t.is(Tensor.from([0.93803]).div(0.18215).item(), Math.fround(Math.fround(0.93803) / Math.fround(0.18215)))
})

test('functions of one tensor', (t) => {
  const x = Tensor.from([-2, 0.25, 4])
  t.deepEqual(x.neg().tolist(), [2, -0.25, -4])
  t.deepEqual(x.abs().tolist(), [2, 0.25, 4])
  t.deepEqual(x.abs().sqrt().tolist(), [Math.fround(Math.SQRT2), 0.5, 2])
  t.deepEqual(x.clamp(-1, 1).tolist(), [-1, 0.25, 1])
  t.deepEqual(x.clamp(-Infinity, 1).tolist(), [-2, 0.25, 1])
  t.deepEqual(Tensor.from([0]).exp().tolist(), [1])
  t.deepEqual(Tensor.from([1]).log().tolist(), [0])
  t.deepEqual(Tensor.from([0]).sin().tolist(), [0])
  t.deepEqual(Tensor.from([0]).cos().tolist(), [1])
  t.deepEqual(Tensor.from([0.5, 1.5, 2.5, -0.5, 1.4]).round().tolist(), [0, 2, 2, -0, 1])
})

test('mixed dtypes meet in the wider one', (t) => {
  const of = (dtype: DType): Tensor => Tensor.ones([2], dtype)
  const meets: [DType, DType, DType][] = [
    ['u8', 'i64', 'i64'],
    ['i64', 'f16', 'f16'],
    ['f16', 'bf16', 'f32'],
    ['f16', 'f32', 'f32'],
    ['f32', 'f64', 'f64'],
  ]
  for (const [left, right, meet] of meets) {
    t.is(of(left).add(of(right)).dtype, meet, `${left} + ${right}`)
    t.is(of(right).add(of(left)).dtype, meet, `${right} + ${left}`)
  }
})

test('integers stay whole where they can', (t) => {
  const x = Tensor.from([1, 2, 3], undefined, 'i64')
  t.is(x.add(1).dtype, 'i64')
  t.deepEqual(x.mul(2).tolist(), [2, 4, 6])
  t.is(x.mul(0.5).dtype, 'f32')
  t.deepEqual(x.div(Tensor.from([2], undefined, 'i64')).tolist(), [0.5, 1, 1.5])
  t.deepEqual(Tensor.from(Uint8Array.of(1, 2)).sub(3).tolist(), [254, 255], 'bytes wrap around as in torch')
  t.deepEqual(Tensor.from(Uint8Array.of(1, 2)).neg().tolist(), [-1, -2])
  t.deepEqual(x.neg().abs().tolist(), [1, 2, 3])
})

test('a linear combination accumulates in f64 and rounds once', (t) => {
  const big = Tensor.from([2 ** 24])
  const one = Tensor.from([1])
  const sum = Tensor.linearCombination([
    [1, big],
    [1, one],
    [1, one],
    [-1, big],
  ])
  t.is(sum.item(), 2)
  t.deepEqual(Tensor.linearCombination([[0.5, a]]).tolist(), a.mul(0.5).tolist())
  t.is(Tensor.linearCombination([[0.5, Tensor.ones([1], 'f16')]]).dtype, 'f16')
})

test('half precision comes out as f32 numbers', (t) => {
  const x = Tensor.from([0.1, 65504], undefined, 'f16')
  t.is(x.dtype, 'f16')
  t.is(x.byteLength, 4)
  t.deepEqual(x.tolist(), [0.0999755859375, 65504])
  t.deepEqual(Tensor.from([0.1], undefined, 'bf16').tolist(), [0.10009765625])
  t.deepEqual(x.mul(0.5).tolist(), [0.04998779296875, 32752])
})
