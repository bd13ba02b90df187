import type { SigmaSpacing } from './options.ts'

/**
 * A scheduler's configuration: the keys of diffusers' `scheduler_config.json`. Every class has its own subset with Python's defaults;
 * unknown keys are kept.
 */
export type SchedulerConfig = {
  _class_name?: string
  num_train_timesteps?: number
  beta_start?: number
  beta_end?: number
  beta_schedule?: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2' | 'sigmoid' | 'laplace' | 'exp'
  trained_betas?: readonly number[] | null
  prediction_type?: 'epsilon' | 'v_prediction' | 'sample' | 'flow_prediction'
  timestep_spacing?: 'linspace' | 'leading' | 'trailing'
  steps_offset?: number
  rescale_betas_zero_snr?: boolean
  clip_sample?: boolean
  clip_sample_range?: number
  set_alpha_to_one?: boolean
  thresholding?: boolean
  dynamic_thresholding_ratio?: number
  sample_max_value?: number
  variance_type?: string | null
  skip_prk_steps?: boolean
  interpolation_type?: 'linear' | 'log_linear'
  timestep_type?: 'discrete' | 'continuous'
  use_karras_sigmas?: boolean | null
  use_exponential_sigmas?: boolean | null
  use_beta_sigmas?: boolean | null
  use_lu_lambdas?: boolean
  use_flow_sigmas?: boolean
  flow_shift?: number
  sigma_min?: number | null
  sigma_max?: number | null
  /** Named noise levels; not in diffusers. Outranks the flags above. */
  sigma_spacing?: SigmaSpacing | 'ays' | null
  final_sigmas_type?: 'zero' | 'sigma_min'
  algorithm_type?: string
  solver_order?: number
  solver_type?: string
  lower_order_final?: boolean
  euler_at_final?: boolean
  predict_x0?: boolean
  disable_corrector?: readonly number[]
  lambda_min_clipped?: number | string
  original_inference_steps?: number
  timestep_scaling?: number
  [key: string]: unknown
}
