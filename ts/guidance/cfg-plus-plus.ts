import { ClassifierFreeGuidance, type ClassifierFreeGuidanceOptions, type GuidanceRow, type PartWeight } from './guidance.ts'

/**
 * Guidance for CFG++ samplers: that of `ClassifierFreeGuidance`, but with the unconditional prediction at every scale, since the sampler
 * reads it too. Scales of 0 to 1 lie between both predictions; web UIs use 0.5 to 2.
 *
 * Source: arXiv:2406.08070; ComfyUI `sample_euler_cfg_pp`.
 */
export class CFGPlusPlusGuidance extends ClassifierFreeGuidance {
  override readonly rows: readonly GuidanceRow[]

  constructor(options: ClassifierFreeGuidanceOptions = {}) {
    super(options)
    this.rows = [{ prompt: 'negative' }, ...this.parts.map((_, part): GuidanceRow => ({ prompt: 'positive', part }))]
  }

  override withScale(scale: number): CFGPlusPlusGuidance {
    return new CFGPlusPlusGuidance({ scale, rescale: this.rescale, parts: this.parts })
  }

  override withParts(parts: readonly PartWeight[]): CFGPlusPlusGuidance {
    return new CFGPlusPlusGuidance({ scale: this.scale, rescale: this.rescale, parts })
  }
}
