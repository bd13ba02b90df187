const [INIT_A, MULT_A, INIT_B, MULT_B] = [0x43b0d7e5, 0x931e8875, 0x8b51f9dd, 0x58f38ded]
const [MIX_LEFT, MIX_RIGHT] = [0xca01f9dd, 0x4973f715]

/** The 32-bit words of a whole number, lowest first; 0 is one word. */
function words(value: bigint): number[] {
  const list: number[] = []
  for (let rest = value; rest > 0n || list.length === 0; rest >>= 32n) {
    list.push(Number(rest & 0xffffffffn))
  }
  return list
}

/**
 * 32-bit seeds from entropy and a spawn key, as numpy's `SeedSequence(entropy, spawn_key=..., pool_size=...).generate_state(count)`.
 * Source: numpy/random/bit_generator.pyx.
 */
export function seedSequence(entropy: bigint, spawnKey: readonly number[], poolSize: number, count: number): number[] {
  const run = words(entropy)
  const spawn = spawnKey.flatMap((key) => words(BigInt(key)))
  while (spawn.length > 0 && run.length < poolSize) {
    run.push(0)
  }
  const source = [...run, ...spawn]
  let constant = INIT_A
  const hash = (value: number): number => {
    const mixed = (value ^ constant) >>> 0
    constant = Math.imul(constant, MULT_A) >>> 0
    const product = Math.imul(mixed, constant) >>> 0
    return (product ^ (product >>> 16)) >>> 0
  }
  const mix = (x: number, y: number): number => {
    const result = (Math.imul(MIX_LEFT, x) - Math.imul(MIX_RIGHT, y)) >>> 0
    return (result ^ (result >>> 16)) >>> 0
  }
  const pool = Array.from({ length: poolSize }, (_, i) => hash(source[i] ?? 0))
  const stir = (value: (i: number) => number, skip: number): void => {
    for (let i = 0; i < poolSize; i++) {
      if (i !== skip) {
        pool[i] = mix(pool[i] ?? 0, hash(value(i)))
      }
    }
  }
  for (let from = 0; from < poolSize; from++) {
    stir(() => pool[from] ?? 0, from)
  }
  for (const word of source.slice(poolSize)) {
    stir(() => word, -1)
  }
  let output = INIT_B
  return Array.from({ length: count }, (_, i) => {
    const value = ((pool[i % poolSize] ?? 0) ^ output) >>> 0
    output = Math.imul(output, MULT_B) >>> 0
    const product = Math.imul(value, output) >>> 0
    return (product ^ (product >>> 16)) >>> 0
  })
}
