import { ConfigError, expected } from '../errors.ts'
import type { LoadOptions } from '../models/load.ts'
import type { Part, SingleFile } from '../weights/single-file.ts'

/** One component of a pipeline: where it lies, which classes fill it, how it is loaded. */
export interface Slot {
  /** Folder, which is also its key in `model_index.json`. */
  folder: string
  /** Class that a value must be an instance of, for error messages. */
  type: string
  is(value: unknown): boolean
  /** Class names in `model_index.json` that `load` reads; any if left out. */
  classNames?: readonly string[]
  /** May be absent, as one of SDXL's two text encoders. */
  optional?: boolean
  load(dir: string, options: LoadOptions): Promise<object>
  /** Component of a single file that must be there for `loadFile`; none for what needs no weights. */
  part?: Part
  /** Loads it from a single file, or from the configs that go with the file. */
  loadFile?(file: SingleFile, options: LoadOptions): Promise<object>
}

/** The components of a pipeline class, by their names. */
export type Slots = Readonly<Record<string, Slot>>

/** A class whose instances are loaded from a folder. */
interface ComponentClass {
  readonly name: string
  [Symbol.hasInstance](value: unknown): boolean
  fromPretrained(dir: string, options: LoadOptions): Promise<object>
}

/** The slot of a component that instances of a class fill. */
export function slotOf(folder: string, component: ComponentClass, more: Partial<Slot> = {}): Slot {
  return {
    folder,
    type: component.name,
    classNames: [component.name],
    is: (value) => value instanceof component,
    load: (dir, options) => component.fromPretrained(dir, options),
    ...more,
  }
}

/** Throws unless the values fit the slots and none that is required is missing. */
export function checkComponents(components: object, slots: Slots): void {
  const given = components as Readonly<Record<string, unknown>>
  for (const [name, slot] of Object.entries(slots)) {
    const value = given[name]
    if (!slot.is(value) && !(slot.optional && (value === undefined || value === null))) {
      throw expected(`a ${slot.type}`, name, value)
    }
  }
}

/** Throws for names that are no component of the class, and for values that do not fit. */
export function checkOverrides(overrides: Record<string, unknown>, slots: Slots, settings: readonly string[]): void {
  const known = [...Object.keys(slots), ...settings, 'safetyChecker']
  for (const [name, value] of Object.entries(overrides)) {
    const slot = slots[name]
    if (!known.includes(name)) {
      throw expected(`one of ${known.join(', ')}`, 'the name of a component', name)
    }
    if (slot !== undefined && value !== undefined && !slot.is(value) && !(slot.optional && value === null)) {
      throw expected(`a ${slot.type}`, name, value)
    }
  }
}

/** Whether a pipeline has a component; throws `ConfigError` for a class that the slot cannot load, or a required one that is missing. */
export function isPresent(index: Record<string, unknown>, slot: Slot, name: string): boolean {
  const entry = index[slot.folder]
  const className: unknown = Array.isArray(entry) ? entry[1] : undefined
  if (typeof className !== 'string') {
    if (slot.optional) {
      return false
    }
    throw new ConfigError(`Expected the component ${slot.folder} in model_index.json, or the option ${name}, but received neither`)
  }
  if (slot.classNames !== undefined && !slot.classNames.includes(className)) {
    throw new ConfigError(
      `Expected ${slot.classNames.join(' or ')} for ${slot.folder} in model_index.json but received ${JSON.stringify(className)}`,
    )
  }
  return true
}
