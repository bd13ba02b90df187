/** Every error of this package: `code` is stable, `message` is a sentence, `cause` is what went wrong below. */
export class DiffusionError extends Error {
  /** Stable identifier such as `ERR_INVALID_ARGUMENT`. */
  readonly code: string

  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** A value given by the caller has the wrong type, shape or range; thrown before work starts. */
export class InvalidArgumentError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ERR_INVALID_ARGUMENT', options)
  }
}

/** A config file is missing, malformed, or asks for something that is not supported; the message names key and value. */
export class ConfigError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ERR_CONFIG', options)
  }
}

/** A weights file is missing, damaged, or does not fit its config; the message names the first keys. */
export class WeightsError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ERR_WEIGHTS', options)
  }
}

/** The device does not exist, this build does not support it, or a model on `meta` is asked to compute. */
export class DeviceError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ERR_DEVICE', options)
  }
}

/** A picture cannot fit into the memory that there is, or an allocation failed. */
export class OutOfMemoryError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ERR_OUT_OF_MEMORY', options)
  }
}

/** A tensor, model or pipeline was used after `dispose()`. */
export class DisposedError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ERR_DISPOSED', options)
  }
}

/** The native addon could not be loaded; the message lists what was tried and what to do. */
export class NativeLoadError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 'ERR_NATIVE_LOAD', options)
  }
}

/** A model could not be found or downloaded. */
export class HubError extends DiffusionError {
  /** HTTP status of the hub's answer, if it gave one. */
  readonly status: number | undefined

  constructor(message: string, options: ErrorOptions & { status?: number } = {}) {
    super(message, 'ERR_HUB', options)
    this.status = options.status
  }
}

/** Work was stopped through its `AbortSignal`; `cause` is the signal's reason. */
export class AbortError extends DiffusionError {
  constructor(reason?: unknown) {
    super('This operation was aborted', 'ABORT_ERR', { cause: reason })
  }
}

const CLASSES: Record<string, new (message: string, options?: ErrorOptions) => DiffusionError> = {
  ERR_INVALID_ARGUMENT: InvalidArgumentError,
  ERR_CONFIG: ConfigError,
  ERR_WEIGHTS: WeightsError,
  ERR_DEVICE: DeviceError,
  ERR_OUT_OF_MEMORY: OutOfMemoryError,
  ERR_DISPOSED: DisposedError,
}

/**
 * Maps an error of the native addon (recognised by its `code`, or by Node-API's own names for values that do not convert) to its class;
 * anything else comes back unchanged.
 */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof DiffusionError) {
    return error
  }
  const code = (error as { code?: unknown }).code
  if (code === 'ABORT_ERR') {
    return new AbortError()
  }
  if (typeof code !== 'string') {
    return error
  }
  const isConversion = code === 'InvalidArg' || code.endsWith('Expected')
  const known = isConversion ? InvalidArgumentError : CLASSES[code]
  if (known !== undefined) {
    return new known(error.message, { cause: error })
  }
  return new DiffusionError(error.message, code.startsWith('ERR_') ? code : 'ERR_INTERNAL', { cause: error })
}

/** Runs a synchronous native call and throws its error as one of this package's classes. */
export function guard<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw fromNative(error)
  }
}

/** Describes a value for an error message: short, one line, strings quoted, tensors by dtype and shape. */
export function describe(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  }
  if (typeof value === 'bigint') {
    return `${value}n`
  }
  if (typeof value === 'function') {
    return value.name === '' ? 'a function' : `function ${value.name}`
  }
  if (Array.isArray(value)) {
    const head = value.slice(0, 8).map((item) => (Array.isArray(item) ? `Array(${item.length})` : describe(item)))
    return `[${head.join(', ')}${value.length > 8 ? `, … ${value.length - 8} more` : ''}]`
  }
  if (typeof value !== 'object' || value === null) {
    return String(value)
  }
  if (ArrayBuffer.isView(value)) {
    return `${value.constructor.name}(${'length' in value ? value.length : value.byteLength})`
  }
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
  if ('shape' in value && 'dtype' in value && Array.isArray(value.shape)) {
    return `${String(name)} ${String(value.dtype)} [${value.shape.join(', ')}]`
  }
  return name === 'Object' || typeof name !== 'string' ? `{${Object.keys(value).slice(0, 5).join(', ')}}` : name
}

/** The one sentence for a bad argument: `Expected <what> for <name> but received <value>`. */
export function expected(what: string, name: string, value: unknown): InvalidArgumentError {
  return new InvalidArgumentError(`Expected ${what} for ${name} but received ${describe(value)}`)
}
