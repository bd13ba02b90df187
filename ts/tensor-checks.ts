import { checkOneOf } from './checks.ts'
import { expected } from './errors.ts'
import { type Device, DTYPES, type DType } from './tensor-data.ts'

/** Returns `dtype` if it names an element type, else throws. */
export function checkDtype(dtype: unknown): DType {
  return checkOneOf('dtype', dtype, DTYPES)
}

/** Counts a negative index from the end and keeps it inside `0..size`. */
export function wrapIndex(index: number, size: number): number {
  return Math.min(size, Math.max(0, index < 0 ? index + size : index))
}

/** Reads what `Tensor.to` takes: a dtype, a device, or both. */
export function readTarget(target: unknown): { dtype?: DType; device?: string } {
  if (typeof target === 'string') {
    const dtype = DTYPES.find((item) => item === target)
    return dtype === undefined ? { device: checkDevice(target) } : { dtype }
  }
  if (typeof target !== 'object' || target === null) {
    throw expected('a dtype, a device or { dtype, device }', 'target', target)
  }
  const { dtype, device } = target as { dtype?: unknown; device?: unknown }
  return { dtype: dtype === undefined ? undefined : checkDtype(dtype), device: device === undefined ? undefined : checkDevice(device) }
}

/** Returns `device` if it reads as a device name, else throws; whether this build has it, the native side says. */
export function checkDevice(device: unknown): Device {
  if (typeof device !== 'string' || !/^(cpu|cuda(:\d+)?)$/.test(device)) {
    throw expected("a dtype, 'cpu', 'cuda' or 'cuda:<number>'", 'device', device)
  }
  return device as Device
}
