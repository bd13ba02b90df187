import type { Tensor } from '../../ts/index.ts'

/** What a run over one area of the pack found. */
export type ParityResult = {
  area: string
  cases: number
  passed: number
  failed: number
  notCovered: number
  worst: number
  lines: string[]
}

/** Thrown where a case turns out to need something that is not there; the message says what. */
export class Uncovered extends Error {}

/** Counts the cases of an area and remembers how near they came to their tolerance. */
export class Tally {
  readonly #area: string
  readonly #failed: string[] = []
  readonly #notCovered: string[] = []
  #passed = 0
  #worst = 0
  #compared = 0
  #absent: string[] = []

  constructor(area: string) {
    this.#area = area
  }

  /**
   * Runs one case; what it throws is its failure, and the text that it returns says why it is not covered. A case whose comparisons
   * all lacked their golden failed.
   */
  async run(name: string, work: () => Promise<string | undefined>): Promise<void> {
    this.#compared = 0
    this.#absent = []
    try {
      const reason = await work()
      if (reason === undefined && this.#compared === 0 && this.#absent.length > 0) {
        throw new Error(`compared nothing, as there is no golden for ${this.#absent.join(', ')}`)
      }
      if (reason === undefined) {
        this.#passed += 1
      } else {
        this.#notCovered.push(`${name} (${reason})`)
      }
    } catch (error) {
      if (error instanceof Uncovered) {
        this.#notCovered.push(`${name} (${error.message})`)
        return
      }
      this.#failed.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /** Throws unless two tensors agree: `|a - b| <= tolerance * max(1, max|b|)`; without a golden there is no comparison. */
  near(what: string, actual: Tensor | undefined, wanted: Tensor | undefined, tolerance: number): void {
    if (wanted === undefined) {
      this.#absent.push(what)
      return
    }
    this.#compared += 1
    if (actual === undefined || String(actual.shape) !== String(wanted.shape)) {
      throw new Error(`${what}: shape ${actual?.shape} instead of ${wanted.shape}`)
    }
    const a = Float64Array.from<number | bigint>(actual.toArray(), Number)
    const b = Float64Array.from<number | bigint>(wanted.toArray(), Number)
    const scale = b.reduce((most, value) => Math.max(most, Math.abs(value)), 1)
    const share = a.reduce((most, value, i) => Math.max(most, distance(value, b[i] ?? 0)), 0) / (tolerance * scale)
    if (!(share <= 1)) {
      throw new Error(`${what}: ${share.toPrecision(3)} of the tolerance`)
    }
    this.#worst = Math.max(this.#worst, share)
  }

  /** The counts, and the lines to print: failed and uncovered cases by name, then the summary. */
  result(): ParityResult {
    const [failed, notCovered, passed] = [this.#failed.length, this.#notCovered.length, this.#passed]
    const cases = passed + failed + notCovered
    const summary = `parity ${this.#area}: ${cases} cases, ${passed} passed, ${failed} failed, ${notCovered} not covered, worst ${this.#worst.toFixed(2)} of tolerance`
    const lines = [...this.#failed.map((line) => `failed ${line}`), ...this.#notCovered.map((line) => `not covered ${line}`), summary]
    return { area: this.#area, cases, passed, failed, notCovered, worst: this.#worst, lines }
  }
}

function distance(a: number, b: number): number {
  return Number.isNaN(a) && Number.isNaN(b) ? 0 : Math.abs(a - b)
}
