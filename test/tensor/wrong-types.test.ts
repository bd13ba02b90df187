import test from 'ava'
import { Tensor } from '../../ts/index.ts'

const code = 'ERR_INVALID_ARGUMENT'
const a = Tensor.from([
  [1, 2, 3],
  [4, 5, 6],
])

test('data and shapes', (t) => {
  // @ts-expect-error text is no data
  t.throws(() => Tensor.from('1, 2'), { code, message: /for data but received "1, 2"/ })
  // @ts-expect-error null is no data
  t.throws(() => Tensor.from(null), { code, message: /for data but received null/ })
  // @ts-expect-error text inside
  t.throws(() => Tensor.from([1, '2']), { code, message: 'Expected numbers only for data but received "2"' })
  t.throws(() => Tensor.from([[1, 2], [3]]), { code, message: /arrays of equal length/ })
  t.throws(() => Tensor.from([1, 2, 3], [2, 2]), {
    code,
    message: 'Expected 3 elements (the length of data) for shape but received [2, 2]',
  })
  t.throws(() => Tensor.from([1], [-1]), { code, message: 'Expected a whole number from 0 to 4294967295 for shape[0] but received -1' })
  // @ts-expect-error no such dtype
  t.throws(() => Tensor.from([1], [1], 'float32'), { code, message: /for dtype but received "float32"/ })
  t.throws(() => Tensor.zeros([2 ** 40]), { code, message: /for shape\[0\] but received 1099511627776/ })
  t.throws(() => Tensor.zeros([2 ** 30, 2 ** 30]), { code: 'ERR_OUT_OF_MEMORY' })
  // @ts-expect-error a value is a number
  t.throws(() => Tensor.full([1], '1'), { code, message: /for value but received "1"/ })
})

test('operands', (t) => {
  // @ts-expect-error text is no operand
  t.throws(() => a.add('1'), { code, message: 'Expected a Tensor or a number for other but received "1"' })
  // @ts-expect-error an array is no operand
  t.throws(() => a.mul([1, 2, 3]), { code, message: 'Expected a Tensor for other but received [1, 2, 3]' })
  t.throws(() => a.add(Tensor.zeros([2])), {
    code,
    message: 'Expected a shape that broadcasts with [2, 3] for other but received [2]',
  })
  t.throws(() => a.clamp(Number.NaN, 1), { code, message: /for low but received NaN/ })
  // @ts-expect-error an exponent is a number
  t.throws(() => a.pow('2'), { code, message: /for exponent/ })
})

test('dimensions and sizes', (t) => {
  t.throws(() => a.sum([2]), { code, message: 'Expected a whole number from -2 to 1 for dim but received 2' })
  t.throws(() => a.transpose(0, 5), { code, message: /for dim but received 5/ })
  t.throws(() => a.permute([0, 0]), { code, message: 'Expected each of 2 dimensions once for dims but received [0, 0]' })
  t.throws(() => a.reshape([4, -1]), { code, message: 'Expected a shape of 6 elements for shape but received [4, -1]' })
  t.throws(() => a.expand([4, 3]), { code, message: /for shape but received \[4, 3\]/ })
  t.throws(() => a.expand([3]), { code, message: 'Expected at least 2 sizes for shape but received [3]' })
  t.throws(() => a.chunk(0), { code, message: /for count but received 0/ })
  t.throws(() => a.index(2), { code, message: /for i but received 2/ })
  t.throws(() => a.slice(0, 0.5), { code, message: /for start but received 0.5/ })
  t.throws(() => a.repeat([2]), { code, message: /for repeats/ })
  t.throws(() => a.item(), { code, message: 'Expected a Tensor of exactly one element for this but received Tensor f32 [2, 3]' })
  t.throws(() => Tensor.zeros([0]).max(), { code, message: /at least one element/ })
  // @ts-expect-error text is no target
  t.throws(() => a.to('gpu'), { code, message: /for device but received "gpu"/ })
  t.throws(() => a.to('cuda'), { code: 'ERR_DEVICE', message: /not compiled with CUDA/ })
})

test('lists of tensors', (t) => {
  t.throws(() => Tensor.cat([]), { code, message: 'Expected a non-empty array of Tensors for tensors but received []' })
  // @ts-expect-error numbers are no tensors
  t.throws(() => Tensor.stack([1]), { code, message: 'Expected a Tensor for tensors[0] but received 1' })
  t.throws(() => Tensor.cat([a, Tensor.zeros([2, 2])]), { code, message: /tensors\[1\] but received \[2, 2\]/ })
  t.throws(() => Tensor.stack([a, Tensor.zeros([2, 2])]), { code, message: /tensors\[1\] but received \[2, 2\]/ })
  t.throws(() => Tensor.cat([a], 2), { code, message: /for dim but received 2/ })
  t.throws(() => Tensor.linearCombination([]), { code, message: /for terms/ })
  t.throws(() => Tensor.linearCombination([[Number.NaN, a]]), { code, message: /for terms\[0\]\[0\] but received NaN/ })
  t.throws(
    () =>
      Tensor.linearCombination([
        [1, a],
        [1, Tensor.zeros([2])],
      ]),
    { code, message: /tensors of one shape/ },
  )
})
