import type { Tensor } from '../tensor.ts'

/** What the UNet is told about one kind of prompt; one row per image. */
export interface PromptInputs {
  /** (B, S, D). */
  embeds: Tensor
  /** SDXL's pooled text embedding (B, P). */
  textEmbeds?: Tensor
  /** SDXL's sizes (B, 6 or 5). */
  timeIds?: Tensor
}

/** Inputs that hold up to and including a UNet call (0-based); those of a track's last entry hold to the end. */
export interface TrackEntry {
  until: number
  inputs: PromptInputs
}

/** What one prompt tells the UNet in the course of a run, entries in order. */
export type PromptTrack = readonly TrackEntry[]

/** Text conditioning of a run; embeddings of one call have one number of tokens. */
export interface RunConditioning {
  /** Several tracks: prompts joined by `AND`, for a guidance with as many parts. */
  positive: PromptInputs | readonly PromptTrack[]
  /** Absent without guidance. */
  negative?: PromptInputs | PromptTrack
  /** Guidance scale embedding of LCM-like UNets (B, time_cond_proj_dim). */
  timestepCond?: Tensor
}

/** What holds for the whole run, as a track. */
export function trackOf(given: PromptInputs | PromptTrack): PromptTrack {
  return Array.isArray(given) ? given : [{ until: Number.POSITIVE_INFINITY, inputs: given as PromptInputs }]
}

/** The inputs at a UNet call. */
export function entryAt(track: PromptTrack | undefined, index: number): PromptInputs | undefined {
  return (track?.find(({ until }) => index <= until) ?? track?.at(-1))?.inputs
}
