/** Runs one area of the parity pack that is written in TypeScript; `scripts/parity.mjs` reads what it prints. */
const areas: Record<string, [file: string, run: string]> = {
  schedulers: ['../test/parity/schedulers.ts', 'paritySchedulers'],
  pipelines: ['../test/parity/pipelines.ts', 'parityPipelines'],
  prompts: ['../test/parity/prompts.ts', 'parityPrompts'],
}

const [file, name] = areas[process.argv[2] ?? ''] ?? []
if (file === undefined || name === undefined) {
  throw new Error(`Expected ${Object.keys(areas).join(' or ')} for area but received ${String(process.argv[2])}`)
}
const loaded = (await import(file)) as Record<string, (folder?: string) => Promise<unknown>>
const run = loaded[name]
if (run === undefined) {
  throw new Error(`Expected ${file} to export ${name}`)
}
const result = await run(process.env.PARITY_DIR)
if (typeof result === 'string') {
  process.stdout.write(`${result}\n`)
}
