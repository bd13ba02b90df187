import { Scheduler } from './scheduler.ts'

/** DPM++ 2S ancestral ('DPM++ 2S a'): two evaluations a step, fresh noise. Source: k-diffusion `sample_dpmpp_2s_ancestral`. */
export class DPMPlusPlus2SAncestralScheduler extends Scheduler {
  static override readonly className: string = 'DPMPlusPlus2SAncestralScheduler'
}

/** DPM++ 3M SDE: third-order multistep with noise from a Brownian path. Source: k-diffusion `sample_dpmpp_3m_sde`. */
export class DPMPlusPlus3MSDEScheduler extends Scheduler {
  static override readonly className: string = 'DPMPlusPlus3MSDEScheduler'
}

/** DPM fast: DPM-Solver-3 with a fixed number of evaluations; ends at the lowest noise level, not at zero. Source: k-diffusion `sample_dpm_fast`. */
export class DPMFastScheduler extends Scheduler {
  static override readonly className: string = 'DPMFastScheduler'
}

/** RES multistep, arXiv:2308.02157. Source: ComfyUI `sample_res_multistep`. */
export class RESMultistepScheduler extends Scheduler {
  static override readonly className: string = 'RESMultistepScheduler'
}

/** RES multistep with fresh noise. Source: ComfyUI `sample_res_multistep_ancestral`. */
export class RESMultistepAncestralScheduler extends Scheduler {
  static override readonly className: string = 'RESMultistepAncestralScheduler'
}

/** Euler CFG++, arXiv:2406.08070: `step` needs `unconditional`; guidance scales of 0 to 2. Source: ComfyUI `sample_euler_cfg_pp`. */
export class EulerCFGPlusPlusScheduler extends Scheduler {
  static override readonly className: string = 'EulerCFGPlusPlusScheduler'
}

/** Euler CFG++ with fresh noise ('Euler a CFG++'). Source: ComfyUI `sample_euler_ancestral_cfg_pp`. */
export class EulerAncestralCFGPlusPlusScheduler extends Scheduler {
  static override readonly className: string = 'EulerAncestralCFGPlusPlusScheduler'
}

/** DPM++ 2M CFG++; see `EulerCFGPlusPlusScheduler`. Source: ComfyUI `sample_dpmpp_2m_cfg_pp`. */
export class DPMPlusPlus2MCFGPlusPlusScheduler extends Scheduler {
  static override readonly className: string = 'DPMPlusPlus2MCFGPlusPlusScheduler'
}

/** DPM++ 2S a CFG++: two evaluations a step, fresh noise. Source: ComfyUI `sample_dpmpp_2s_ancestral_cfg_pp`. */
export class DPMPlusPlus2SAncestralCFGPlusPlusScheduler extends Scheduler {
  static override readonly className: string = 'DPMPlusPlus2SAncestralCFGPlusPlusScheduler'
}

/** RES multistep CFG++. Source: ComfyUI `sample_res_multistep_cfg_pp`. */
export class RESMultistepCFGPlusPlusScheduler extends Scheduler {
  static override readonly className: string = 'RESMultistepCFGPlusPlusScheduler'
}

/** RES multistep CFG++ with fresh noise. Source: ComfyUI `sample_res_multistep_ancestral_cfg_pp`. */
export class RESMultistepAncestralCFGPlusPlusScheduler extends Scheduler {
  static override readonly className: string = 'RESMultistepAncestralCFGPlusPlusScheduler'
}

/** Gradient estimation CFG++. Source: ComfyUI `sample_gradient_estimation_cfg_pp`. */
export class GradientEstimationEulerCFGPlusPlusScheduler extends Scheduler {
  static override readonly className: string = 'GradientEstimationEulerCFGPlusPlusScheduler'
}

/** iPNDM over noise levels, for models that diffusers' IPNDMScheduler does not fit. Source: ComfyUI `sample_ipndm`. */
export class SigmaIPNDMScheduler extends Scheduler {
  static override readonly className: string = 'SigmaIPNDMScheduler'
}

/** Extended reverse-time SDE solver of order 3, arXiv:2309.06169. Source: ComfyUI `sample_er_sde`. */
export class ERSDEScheduler extends Scheduler {
  static override readonly className: string = 'ERSDEScheduler'
}

/** Euler along an estimated gradient, arXiv:2306.04848. Source: ComfyUI `sample_gradient_estimation`. */
export class GradientEstimationEulerScheduler extends Scheduler {
  static override readonly className: string = 'GradientEstimationEulerScheduler'
}
