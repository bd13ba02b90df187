import {
  type KandinskyCombinedOptions,
  type KandinskyHintImageOptions,
  type KandinskyHintOptions,
  type KandinskyImageCombinedOptions,
  type KandinskyImageOptions,
  type KandinskyInpaintCombinedOptions,
  type KandinskyInpaintOptions,
  type KandinskyTextOptions,
  kandinskySchemas,
} from './kandinsky-v22-options.ts'
import { type KandinskyNetworks, startFromImage, startFromMask, startFromNoise, withHint } from './kandinsky-v22-starts.ts'
import type { Task } from './task.ts'

/** Pictures from pure noise. */
export const kandinskyText: Task<{ decoder: KandinskyTextOptions; combined: KandinskyCombinedOptions }, KandinskyNetworks> = {
  options: { decoder: kandinskySchemas.text, combined: kandinskySchemas.combined },
  begin: startFromNoise,
}

/** Pictures from other pictures and noise. */
export const kandinskyImage: Task<{ decoder: KandinskyImageOptions; combined: KandinskyImageCombinedOptions }, KandinskyNetworks> = {
  options: { decoder: kandinskySchemas.image, combined: kandinskySchemas.combinedImage },
  begin: startFromImage,
}

/** Pictures of which a part is repainted. */
export const kandinskyInpainting: Task<{ decoder: KandinskyInpaintOptions; combined: KandinskyInpaintCombinedOptions }, KandinskyNetworks> =
  {
    options: { decoder: kandinskySchemas.inpaint, combined: kandinskySchemas.combinedInpaint },
    begin: startFromMask,
  }

/** Pictures from pure noise that follow a picture. */
export const kandinskyHint: Task<{ decoder: KandinskyHintOptions }, KandinskyNetworks> = {
  options: { decoder: kandinskySchemas.hint },
  begin: withHint(startFromNoise),
}

/** Pictures from other pictures and noise that follow a picture. */
export const kandinskyHintImage: Task<{ decoder: KandinskyHintImageOptions }, KandinskyNetworks> = {
  options: { decoder: kandinskySchemas.hintImage },
  begin: withHint(startFromImage),
}
