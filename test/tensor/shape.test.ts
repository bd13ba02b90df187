import test from 'ava'
import { Tensor } from '../../ts/index.ts'

const a = Tensor.from([
  [1, 2, 3],
  [4, 5, 6],
])

test('slices count from the end and never run over', (t) => {
  t.deepEqual(a.slice(1, 1).tolist(), [
    [2, 3],
    [5, 6],
  ])
  t.deepEqual(a.slice(-1, -1).tolist(), [[3], [6]])
  t.deepEqual(a.slice(0, 0, 1).tolist(), [[1, 2, 3]])
  t.deepEqual(a.slice(1, 2, 99).shape, [2, 1])
  t.deepEqual(a.slice(1, 2, 1).shape, [2, 0])
  t.deepEqual(a.index(-1).tolist(), [4, 5, 6])
})

test('chunks are equal, the last may be smaller', (t) => {
  t.deepEqual(
    a.chunk(2, 1).map((part) => part.shape),
    [
      [2, 2],
      [2, 1],
    ],
  )
  const [top, bottom] = a.chunk(2)
  t.deepEqual(top.tolist(), [[1, 2, 3]])
  t.deepEqual(bottom.tolist(), [[4, 5, 6]])
})

test('reshape, permute, transpose, squeeze, unsqueeze', (t) => {
  t.deepEqual(a.reshape([3, -1]).tolist(), [
    [1, 2],
    [3, 4],
    [5, 6],
  ])
  t.deepEqual(a.transpose(0, 1).tolist(), [
    [1, 4],
    [2, 5],
    [3, 6],
  ])
  t.deepEqual(a.permute([1, 0]).reshape([6]).tolist(), [1, 4, 2, 5, 3, 6])
  t.deepEqual(a.unsqueeze(-1).shape, [2, 3, 1])
  t.deepEqual(a.unsqueeze(0).squeeze().shape, [2, 3])
  t.deepEqual(a.unsqueeze(0).unsqueeze(0).squeeze(0).shape, [1, 2, 3])
  t.deepEqual(a.squeeze(0).shape, [2, 3])
})

test('expand, repeat and repeatInterleave', (t) => {
  t.deepEqual(
    Tensor.from([[1], [2]])
      .expand([-1, 3])
      .tolist(),
    [
      [1, 1, 1],
      [2, 2, 2],
    ],
  )
  t.deepEqual(Tensor.from([1, 2]).expand([2, 2]).tolist(), [
    [1, 2],
    [1, 2],
  ])
  t.deepEqual(Tensor.from([1, 2]).repeat([2, 2]).tolist(), [
    [1, 2, 1, 2],
    [1, 2, 1, 2],
  ])
  t.deepEqual(Tensor.from([1, 2]).repeatInterleave(2, 0).tolist(), [1, 1, 2, 2])
  t.deepEqual(a.repeatInterleave(2, 1).tolist(), [
    [1, 1, 2, 2, 3, 3],
    [4, 4, 5, 5, 6, 6],
  ])
})

test('cat and stack', (t) => {
  t.deepEqual(Tensor.cat([a, a.slice(0, 0, 1)]).shape, [3, 3])
  t.deepEqual(Tensor.cat([a, a], -1).tolist(), [
    [1, 2, 3, 1, 2, 3],
    [4, 5, 6, 4, 5, 6],
  ])
  t.deepEqual(Tensor.stack([Tensor.from([1, 2]), Tensor.from([3, 4])]).tolist(), [
    [1, 2],
    [3, 4],
  ])
  t.deepEqual(Tensor.stack([Tensor.from([1, 2]), Tensor.from([3, 4])], -1).tolist(), [
    [1, 3],
    [2, 4],
  ])
  t.is(Tensor.cat([Tensor.ones([1], 'f16'), Tensor.ones([1])]).dtype, 'f32')
})

test('reductions keep or drop dimensions', (t) => {
  t.is(a.sum().item(), 21)
  t.deepEqual(a.sum([0]).tolist(), [5, 7, 9])
  t.deepEqual(a.sum(1).tolist(), [6, 15])
  t.deepEqual(a.mean([1], true).tolist(), [[2], [5]])
  t.is(a.std().item(), Math.fround(Math.sqrt(3.5)))
  t.deepEqual(a.std([1]).tolist(), [1, 1])
  t.deepEqual(a.min([0]).tolist(), [1, 2, 3])
  t.is(a.max().item(), 6)
  t.deepEqual(a.argmax(1).tolist(), [2, 2])
  t.is(a.argmax(0).dtype, 'i64')
  t.deepEqual(Tensor.from([3, 7, 7]).argmax(0).tolist(), 1)
})

test('sums of floats do not lose small parts', (t) => {
  const ones = Tensor.ones([2 ** 20])
  t.is(
    Tensor.cat([Tensor.from([2 ** 24]), ones])
      .sum()
      .item(),
    2 ** 24 + 2 ** 20,
  )
  t.is(Tensor.from(Uint8Array.of(200, 200)).sum().item(), 400)
})

test('views give the values of their place', (t) => {
  const view = a.transpose(0, 1).slice(0, 1)
  t.deepEqual(view.tolist(), [
    [2, 5],
    [3, 6],
  ])
  t.deepEqual(view.add(view).tolist(), [
    [4, 10],
    [6, 12],
  ])
  t.deepEqual([...view.toArray()], [2, 5, 3, 6])
})
