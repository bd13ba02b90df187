import { z } from 'zod'
import { Tensor } from '../tensor.ts'

/** What the schema knows about an option beside its type: the phrase for errors, and one sentence for help and docs. */
export interface OptionInfo {
  expected: string
  description: string
}

const infos = z.registry<OptionInfo>()

/** Attaches the error phrase and the description to an option's schema. */
export function option<T extends z.ZodType>(schema: T, what: string, description: string): T {
  infos.add(schema, { expected: what, description })
  return schema
}

/** Error phrase and description of every option of a schema, in order: what the CLI, the server and the docs are made from. */
export function describeOptions(schema: z.ZodObject): Record<string, OptionInfo> {
  return Object.fromEntries(
    Object.entries(schema.shape).map(([name, field]) => [name, infos.get(field) ?? { expected: 'a valid value', description: '' }]),
  )
}

/** One text, or one for each prompt. */
export const text = z.union([z.string(), z.array(z.string()).min(1)])

/** A tensor. */
export const tensor = z.custom<Tensor>((value) => value instanceof Tensor)

/** A part of the whole, 0 to 1. */
export const share = z.number().min(0).max(1)
