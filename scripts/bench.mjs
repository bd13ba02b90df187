import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setup } from './setup.mjs'
import { attach, root } from './terminal.mjs'

/** `npm run bench -- [names] [options]`: sets up the checkout, then runs benches/main.ts. */
await setup()
const tsx = join(dirname(createRequire(join(root, 'package.json')).resolve('tsx/package.json')), 'dist', 'cli.mjs')
const env = { TSX_TSCONFIG_PATH: join(root, 'tsconfig.json') }
process.exitCode = await attach(process.execPath, [tsx, join(root, 'benches', 'main.ts'), ...process.argv.slice(2)], env)
