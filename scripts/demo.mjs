import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setup } from './setup.mjs'
import { attach, root } from './terminal.mjs'

const prompt = 'a red circle on a blue background'

await setup()
mkdirSync(join(root, 'out'), { recursive: true })
const args = process.argv.slice(2)
process.exitCode = await attach(process.execPath, [join(root, 'dist', 'cli.js'), 'generate', ...(args.length === 0 ? [prompt] : args)])
