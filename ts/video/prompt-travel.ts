import { expected } from '../errors.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'

/** Prompts from certain frames on; between them the embeddings blend. */
export type PromptTravel = Readonly<Record<number, string>>

/** A prompt and the 0-based frame at which it holds. */
export type TravelStop = { frame: number; text: string }

/**
 * The stops of a journey that starts with `prompt`, in order; the last one holds to the last frame.
 *
 * Throws `InvalidArgumentError` for a frame outside of the video. Source: diffusers free_noise_utils.py `_encode_prompt_free_noise`.
 */
export function travelStops(prompt: string, travel: PromptTravel | undefined, frames: number, name: string): TravelStop[] {
  const stops = Object.entries(travel ?? {}).map(([frame, text]) => ({ frame: Number(frame), text }))
  const bad = stops.find(({ frame, text }) => !Number.isInteger(frame) || frame < 1 || frame >= frames || typeof text !== 'string')
  if (bad !== undefined) {
    throw expected(`texts for whole numbers from 1 to ${frames - 1}, as the video has ${frames} frames,`, name, bad)
  }
  const ordered = [{ frame: 0, text: prompt }, ...stops.sort((a, b) => a.frame - b.frame)]
  const last = ordered.at(-1)
  return last === undefined || last.frame === frames - 1 ? ordered : [...ordered, { frame: frames - 1, text: last.text }]
}

/** Embeddings of each frame (F, S, D) from those of the stops (stops, S, D), blended linearly; the caller owns the result. */
export function blendStops(embeds: Tensor, stops: readonly TravelStop[], frames: number): Tensor {
  using scope = new Scope()
  const rows = stops.map((_, i) => scope.keep(embeds.slice(0, i, i + 1)))
  const parts = Array.from({ length: frames }, (_, frame) => {
    const next = Math.max(
      1,
      stops.findIndex((stop) => stop.frame >= frame),
    )
    const [from, to] = [stops[next - 1], stops[next]]
    const [first, second] = [rows[next - 1], rows[next]]
    if (first === undefined || from === undefined) {
      throw expected('at least one stop', 'stops', stops)
    }
    if (second === undefined || to === undefined) {
      return first
    }
    const share = (frame - from.frame) / (to.frame - from.frame)
    return scope.keep(
      Tensor.linearCombination([
        [1 - share, first],
        [share, second],
      ]),
    )
  })
  return Tensor.cat(parts)
}
