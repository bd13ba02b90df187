export type { ClassInfo, NamedScheduler, NamedSpacing } from './catalog.ts'
export { DDIMInverseScheduler, DDIMScheduler } from './ddim.ts'
export { DDPMScheduler } from './ddpm.ts'
export { DEISMultistepScheduler } from './deis.ts'
export { DPMAdaptiveScheduler } from './dpm-adaptive.ts'
export { DPMSolverSDEScheduler } from './dpm-sde.ts'
export { DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler } from './dpm-solver.ts'
export { EDMDPMSolverMultistepScheduler, EDMEulerScheduler } from './edm.ts'
export { EulerAncestralDiscreteScheduler, EulerDiscreteScheduler } from './euler.ts'
export { HeunDiscreteScheduler } from './heun.ts'
export { IPNDMScheduler } from './ipndm.ts'
export {
  DPMFastScheduler,
  DPMPlusPlus2MCFGPlusPlusScheduler,
  DPMPlusPlus2SAncestralCFGPlusPlusScheduler,
  DPMPlusPlus2SAncestralScheduler,
  DPMPlusPlus3MSDEScheduler,
  ERSDEScheduler,
  EulerAncestralCFGPlusPlusScheduler,
  EulerCFGPlusPlusScheduler,
  GradientEstimationEulerCFGPlusPlusScheduler,
  GradientEstimationEulerScheduler,
  RESMultistepAncestralCFGPlusPlusScheduler,
  RESMultistepAncestralScheduler,
  RESMultistepCFGPlusPlusScheduler,
  RESMultistepScheduler,
  SigmaIPNDMScheduler,
} from './k-diffusion.ts'
export { KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler } from './kdpm2.ts'
export { LCMScheduler, TCDScheduler } from './lcm.ts'
export { LMSDiscreteScheduler } from './lms.ts'
export type { PlanOptions, SetTimestepsOptions, SigmaSpacing, StepNumbers, StepOptions } from './options.ts'
export type { Clip, Combination, LearnedVariance, NoiseDraw, Plan, Row, StepOutput } from './plan.ts'
export { PNDMScheduler } from './pndm.ts'
export { type ModelFamily, resolveScheduler, type SchedulerInfo, schedulerFromConfig, schedulers } from './resolve.ts'
export { SASolverScheduler } from './sa-solver.ts'
export { Scheduler, type SchedulerConfig } from './scheduler.ts'
export { UnCLIPScheduler } from './unclip.ts'
export { UniPCMultistepScheduler } from './uni-pc.ts'
