import test from 'ava'
import { AbortError, DiffusionError, expected, fromNative, InvalidArgumentError } from '../../ts/errors.ts'
import { Tensor } from '../../ts/index.ts'

const coded = (code: string): Error => Object.assign(new Error('sentence'), { code })

test('each code of the native side has its class', (t) => {
  const classes: [string, string, string][] = [
    ['ERR_INVALID_ARGUMENT', 'InvalidArgumentError', 'ERR_INVALID_ARGUMENT'],
    ['InvalidArg', 'InvalidArgumentError', 'ERR_INVALID_ARGUMENT'],
    ['NumberExpected', 'InvalidArgumentError', 'ERR_INVALID_ARGUMENT'],
    ['ERR_CONFIG', 'ConfigError', 'ERR_CONFIG'],
    ['ERR_WEIGHTS', 'WeightsError', 'ERR_WEIGHTS'],
    ['ERR_DEVICE', 'DeviceError', 'ERR_DEVICE'],
    ['ERR_OUT_OF_MEMORY', 'OutOfMemoryError', 'ERR_OUT_OF_MEMORY'],
    ['ERR_DISPOSED', 'DisposedError', 'ERR_DISPOSED'],
    ['ERR_PANIC', 'DiffusionError', 'ERR_PANIC'],
    ['GenericFailure', 'DiffusionError', 'ERR_INTERNAL'],
  ]
  for (const [code, name, shown] of classes) {
    const native = coded(code)
    const error = fromNative(native)
    t.true(error instanceof DiffusionError)
    t.like(error, { name, code: shown, message: 'sentence', cause: native })
  }
  t.true(fromNative(coded('ABORT_ERR')) instanceof AbortError)
})

test('other errors pass unchanged', (t) => {
  const own = new InvalidArgumentError('x')
  for (const value of [own, new TypeError('x'), 'text', undefined]) {
    t.is(fromNative(value), value)
  }
})

test('a sentence shows any value in one short line', (t) => {
  const shown: [unknown, string][] = [
    ['a "b"', '"a \\"b\\""'],
    ['x'.repeat(100), `"${'x'.repeat(60)}…"`],
    [undefined, 'undefined'],
    [null, 'null'],
    [Number.NaN, 'NaN'],
    [7n, '7n'],
    [[1, 'a', [2, 3]], '[1, "a", Array(2)]'],
    [Array.from({ length: 10 }, (_, i) => i), '[0, 1, 2, 3, 4, 5, 6, 7, … 2 more]'],
    [new Float32Array(3), 'Float32Array(3)'],
    [{ width: 1, height: 2 }, '{width, height}'],
    [Object.create(null), '{}'],
    [new Map(), 'Map'],
    [Tensor.zeros([1, 4]), 'Tensor f32 [1, 4]'],
    [() => 1, 'a function'],
    [Symbol('x'), 'Symbol(x)'],
  ]
  for (const [value, text] of shown) {
    t.is(expected('a cat', 'pet', value).message, `Expected a cat for pet but received ${text}`)
  }
})
