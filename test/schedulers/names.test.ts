import test from 'ava'
import { DPMSolverMultistepScheduler, EulerDiscreteScheduler, resolveScheduler, type SchedulerConfig, schedulers } from '../../ts/index.ts'

const sd = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' } as const

test('every name and alias in any case gives its class, and classes may leave out Scheduler', (t) => {
  const { beta_schedule: _, ...unscheduled } = sd
  for (const { className, names } of schedulers.list()) {
    // It knows the cosine schedule only.
    const base = className === 'UnCLIPScheduler' ? unscheduled : sd
    for (const { name, aliases } of names) {
      for (const alias of [name, ...aliases, name.toUpperCase(), name.replaceAll(' ', '_')]) {
        t.is(resolveScheduler(alias, sd).config._class_name, className, alias)
      }
    }
    t.is(resolveScheduler(className, base).config._class_name, className)
    if (!names.some(({ name }) => `${name}Scheduler`.toLowerCase() === className.toLowerCase())) {
      const short = resolveScheduler(className.replace('Scheduler', ''), base)
      t.true(short.config._class_name === className || className === 'IPNDMScheduler', className)
    }
  }
})

test('no two names are the same', (t) => {
  const plain = (name: string): string => name.toLowerCase().replace(/[\s_-]+/g, '')
  const all = schedulers.list().flatMap(({ names }) => names.map(({ name, aliases }) => new Set([name, ...aliases].map(plain))))
  const flat = all.flatMap((set) => [...set])
  t.is(new Set(flat).size, flat.length)
})

test('a name of noise levels may follow', (t) => {
  const cases: [string, SchedulerConfig][] = [
    ['DPM++ 2M SDE Heun Karras', { algorithm_type: 'sde-dpmsolver++', solver_type: 'heun', use_karras_sigmas: true }],
    ['k_dpmpp_2m_ka', { use_karras_sigmas: true }],
    ['DPM++ 2M Lu', { use_lu_lambdas: true }],
    ['euler exponential', { use_exponential_sigmas: true }],
    ['Euler a Karras', { sigma_spacing: 'karras' }],
    ['dpmpp_2m_sde sgm_uniform', { algorithm_type: 'sde-dpmsolver++', sigma_spacing: 'sgm_uniform' }],
    ['UniPC KL Optimal', { sigma_spacing: 'kl_optimal' }],
    ['Heun AYS SDXL', { sigma_spacing: 'ays_sdxl' }],
    ['LMS DDIM Uniform', { sigma_spacing: 'ddim_uniform' }],
  ]
  for (const [name, wanted] of cases) {
    const { config } = resolveScheduler(name, sd)
    t.deepEqual(Object.fromEntries(Object.keys(wanted).map((key) => [key, config[key]])), wanted as Record<string, unknown>, name)
  }
})

test('chosen noise levels take the place of those of the model', (t) => {
  const karras = { _class_name: 'DPMSolverMultistepScheduler', ...sd, use_karras_sigmas: true }
  const beta = resolveScheduler('Euler Beta', karras)
  t.deepEqual([beta.config.use_karras_sigmas, beta.config.use_beta_sigmas], [false, true])
  const simple = resolveScheduler('Euler Simple', karras)
  t.deepEqual(simple.plan(6), resolveScheduler('Euler Simple', sd).plan(6))
  const back = resolveScheduler('Euler Karras', simple.config)
  t.deepEqual(back.plan(6), resolveScheduler('Euler Karras', sd).plan(6))
})

test('the option of a run equals the config key', (t) => {
  const scheduler = new DPMSolverMultistepScheduler(sd)
  scheduler.setTimesteps(9, { sigmaSpacing: 'smoothstep' })
  t.deepEqual(scheduler.sigmas, new DPMSolverMultistepScheduler({ ...sd, sigma_spacing: 'smoothstep' }).plan(9).sigmas)
  t.true(EulerDiscreteScheduler.fromConfig(scheduler).config.sigma_spacing === undefined)
})

test('levels of a family that has none, unknown levels and fixed ones are refused by name', (t) => {
  const refused = (work: () => unknown, code: string, message: RegExp): void => {
    const error = t.throws(work, { code })
    t.regex(error?.message ?? '', message)
  }
  refused(
    () => resolveScheduler('Euler Align Your Steps', sd),
    'ERR_CONFIG',
    /ays_sd15, ays_sdxl, ays_svd.* for sigma_spacing but received "ays"/,
  )
  refused(() => new EulerDiscreteScheduler({ ...sd, sigma_spacing: 'ays_sd3' as 'ays' }), 'ERR_CONFIG', /sigma_spacing.*"ays_sd3"/)
  refused(() => new EulerDiscreteScheduler({ ...sd, sigma_spacing: 'even' as 'ays' }), 'ERR_CONFIG', /one of karras.*sigma_spacing.*"even"/)
  refused(() => resolveScheduler('DDIM Karras', sd), 'ERR_CONFIG', /"DDIM Karras"; nearest: /)
  const ddim = resolveScheduler('DDIM', sd)
  refused(() => ddim.setTimesteps(5, { sigmaSpacing: 'karras' }), 'ERR_INVALID_ARGUMENT', /sigmaSpacing.*"karras"/)
  const euler = new EulerDiscreteScheduler(sd)
  refused(() => euler.setTimesteps(5, { sigmaSpacing: 'x' as 'karras' }), 'ERR_INVALID_ARGUMENT', /one of karras.*sigmaSpacing.*"x"/)
  refused(
    () => euler.setTimesteps(undefined, { sigmas: [2, 1, 0], sigmaSpacing: 'karras' }),
    'ERR_INVALID_ARGUMENT',
    /only one of sigmas and sigmaSpacing/,
  )
  t.is(resolveScheduler('Euler Align Your Steps', sd, { family: 'sdxl' }).config.sigma_spacing, 'ays_sdxl')
})
