import { ConfigError, expected } from '../errors.ts'
import type { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import { blur, invert, tile } from './blur.ts'
import { canny } from './canny.ts'
import type { PreprocessorOptions } from './input.ts'
import { shuffle } from './shuffle.ts'
import { scribble, softEdge } from './xdog.ts'

/** Turns a picture into what a ControlNet is conditioned on: computed, or by a network. */
export interface Detector<O extends PreprocessorOptions = PreprocessorOptions> {
  /** What kind of condition it makes, such as 'canny' or 'depth'. */
  readonly kind: string
  /** Makes the condition picture. */
  detect(image: ImageInput, options?: O): Promise<Image>
}

/** The preprocessors that need no network, by name. */
export const preprocessors = { canny, scribble, softedge: softEdge, tile, blur, shuffle, invert } as const

/** Name of a preprocessor that needs no network. */
export type PreprocessorName = keyof typeof preprocessors

/** What a learned preprocessor needs that is not part of this package. */
const MISSING: Readonly<Record<string, string>> = {
  normalbae: 'the network NormalBAE (an EfficientNet-B5 encoder with a refining decoder), lllyasviel/Annotators scannet.pt',
  openpose: 'the body, hand and face networks of OpenPose, lllyasviel/Annotators body_pose_model.pth and others',
  lineart: 'the line generator network, lllyasviel/Annotators sk_model.pth',
  hed: 'the edge network HED, lllyasviel/Annotators ControlNetHED.pth',
  mlsd: 'the straight line network M-LSD, lllyasviel/Annotators mlsd_large_512_fp32.pth',
}

/**
 * The preprocessor of this name behind the `Detector` interface.
 *
 * Throws `ConfigError` that says what is missing for 'depth' (a folder: use `DepthDetector.fromPretrained`) and for 'normalbae', 'openpose',
 * 'lineart', 'hed' and 'mlsd' (networks that this package has not), and `InvalidArgumentError` for any other name.
 */
export function detectorFor(name: string): Detector {
  if (name === 'depth') {
    throw new ConfigError(
      "Expected a folder with a DPT model for the detector 'depth' but received only its name: use DepthDetector.fromPretrained",
    )
  }
  const missing = MISSING[name]
  if (missing !== undefined) {
    throw new ConfigError(
      `Expected a detector that this package computes but received '${name}', which needs ${missing}: bring its picture ready-made`,
    )
  }
  if (!isPreprocessor(name)) {
    throw expected(`one of ${[...Object.keys(preprocessors), 'depth', ...Object.keys(MISSING)].join(', ')}`, 'the name of a detector', name)
  }
  return { kind: name, detect: (image, options) => preprocessors[name](image, options) }
}

function isPreprocessor(name: unknown): name is PreprocessorName {
  return typeof name === 'string' && Object.hasOwn(preprocessors, name)
}
