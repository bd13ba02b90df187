import { catalog, classInfo, type NamedSpacing } from './catalog.ts'
import type { SchedulerConfig } from './config.ts'

/** What a name means: a class, and the config values that make it from `base`. */
export type Meaning = { className: string; overrides: SchedulerConfig }

const FLAGS = ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas', 'use_lu_lambdas', 'use_flow_sigmas'] as const

/** A name without case, spaces, underscores and hyphens. */
export function plain(name: string): string {
  return name.toLowerCase().replace(/[\s_-]+/g, '')
}

/**
 * Reads a sampler's name: a menu name, an alias or a class (its 'Scheduler' may be left out), and after it a name of noise levels if its
 * class has levels to choose: 'DPM++ 2M Karras', 'euler_ancestral sgm_uniform'. `undefined` for what is no name.
 */
export function meaning(name: string, base: SchedulerConfig): Meaning | undefined {
  const whole = sampler(name)
  if (whole !== undefined) {
    return whole
  }
  for (const { spacing, word } of words()) {
    const end = plain(word)
    const given = plain(name)
    const found = given.endsWith(end) ? sampler(given.slice(0, -end.length)) : undefined
    const chosen = found && choose(found, spacing, base)
    if (chosen !== undefined) {
      return chosen
    }
  }
  return undefined
}

/** The names nearest to one that is unknown. */
export function nearest(name: string): string[] {
  const { names, classes } = catalog()
  const wanted = plain(name).slice(0, 100)
  const joined = names.flatMap((entry) => {
    const spacings = words().filter(({ spacing }) => choose(entry, spacing, {}) !== undefined)
    return [entry.name, ...spacings.map(({ word }) => `${entry.name} ${word}`)]
  })
  const ranked = [...joined, ...classes.keys()].map((candidate) => ({ candidate, distance: editDistance(wanted, plain(candidate)) }))
  return ranked
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ candidate }) => candidate)
}

function sampler(name: string): Meaning | undefined {
  const wanted = plain(name)
  const { names, classes } = catalog()
  const named = names.find((entry) => [entry.name, ...entry.aliases].some((alias) => plain(alias) === wanted))
  if (named !== undefined) {
    return { className: named.className, overrides: named.overrides }
  }
  const className = [...classes.keys()].find((known) => [known, known.replace(/Scheduler$/, '')].map(plain).includes(wanted))
  return className === undefined ? undefined : { className, overrides: {} }
}

/** Every way to write noise levels, the longest first. */
function words(): { spacing: NamedSpacing; word: string }[] {
  const all = catalog().spacings.flatMap((spacing) => [spacing.name, ...spacing.aliases].map((word) => ({ spacing, word })))
  return all.sort((a, b) => b.word.length - a.word.length)
}

/** A sampler with chosen noise levels in place of those that `base` chooses; `undefined` where its class has none to choose. */
function choose({ className, overrides }: Meaning, { flag, spacing }: NamedSpacing, base: SchedulerConfig): Meaning | undefined {
  const { defaults, spaced } = classInfo(className)
  if (!spaced) {
    return undefined
  }
  const off = Object.fromEntries(FLAGS.filter((key) => base[key]).map((key) => [key, false]))
  const none = base.sigma_spacing === undefined ? {} : { sigma_spacing: null }
  if (flag !== null && flag in defaults) {
    return { className, overrides: { ...overrides, ...off, ...none, [flag]: true } }
  }
  return spacing === null ? undefined : { className, overrides: { ...overrides, ...off, sigma_spacing: spacing } as SchedulerConfig }
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
