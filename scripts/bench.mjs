import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setup } from './setup.mjs'
import { attach, root } from './terminal.mjs'

/** `npm run bench -- [names] [options]`: sets up the checkout, then runs benches/main.ts, or the program of benches/programs that the first argument names. */
await setup()
const tsx = join(dirname(createRequire(join(root, 'package.json')).resolve('tsx/package.json')), 'dist', 'cli.mjs')
const env = { TSX_TSCONFIG_PATH: join(root, 'tsconfig.json') }
const [first = '', ...rest] = process.argv.slice(2)
const program = join(root, 'benches', 'programs', `${first}.ts`)
const args = existsSync(program) ? [program, ...rest] : [join(root, 'benches', 'main.ts'), ...process.argv.slice(2)]
process.exitCode = await attach(process.execPath, [tsx, ...args], env)
