import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import test from 'ava'
import ts from 'typescript'
import { root, runPrograms } from '../programs.ts'
import { programsOf, type Snippet } from './snippets.ts'

const work = join(root, '.cache', 'snippets')
const pages = [
  ...['README.md', 'CONTRIBUTING.md', join('examples', 'README.md')],
  ...(await readdir(join(root, 'docs'), { recursive: true })).map((path) => join('docs', path)),
].filter((path) => path.endsWith('.md') && !path.startsWith(join('docs', 'api')))

const snippets: (Snippet & { file: string; title: string })[] = []
for (const page of pages) {
  for (const snippet of programsOf(await readFile(join(root, page), 'utf8'))) {
    const name = `${page.replace(/\W+/g, '-')}-${snippet.line}`
    snippets.push({ ...snippet, file: join(work, name, 'snippet.ts'), title: `${page}:${snippet.line}` })
  }
}

await rm(work, { recursive: true, force: true })
for (const { file, code } of snippets) {
  await mkdir(join(dirname(file), 'out'), { recursive: true })
  await cp(join(root, 'examples', 'pictures'), dirname(file), { recursive: true })
  await cp(join(root, 'test', 'fixtures', 'adapters'), join(dirname(file), 'test', 'fixtures', 'adapters'), { recursive: true })
  await writeFile(file, code)
}
const programs = snippets.filter(({ run }) => run)
const running = runPrograms(programs.map(({ file }) => ({ file, args: [], cwd: dirname(file) })))

test('the pages have snippets', (t) => {
  t.true(snippets.length > 0)
})

test('every snippet passes the type checker', (t) => {
  t.timeout(600_000)
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, root)
  const program = ts.createProgram(
    snippets.map(({ file }) => file),
    { ...options, noEmit: true, noUnusedLocals: false, noUnusedParameters: false },
  )
  const complaints = ts
    .getPreEmitDiagnostics(program)
    .filter(({ file }) => file?.fileName.includes('/.cache/snippets/'))
    .map(({ file, start = 0, messageText }) => {
      const folder = basename(dirname(file?.fileName ?? ''))
      const title = snippets.find((snippet) => basename(dirname(snippet.file)) === folder)?.title
      const { line = 0 } = file?.getLineAndCharacterOfPosition(start) ?? {}
      return `${title} (line ${line + 1} of the snippet): ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
    })
  t.deepEqual(complaints, [])
})

for (const [i, { title }] of programs.entries()) {
  test(`${title} runs`, async (t) => {
    t.timeout(1_800_000) // all programs run one after the other, and the last waits for all
    const finished = await running[i]
    t.is(finished?.error, undefined, finished?.output)
  })
}

for (const page of pages) {
  test(`the links of ${page} lead to files`, async (t) => {
    const text = (await readFile(join(root, page), 'utf8')).replace(/```[\s\S]*?```/g, '')
    const targets = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target = '']) => target)
    const paths = targets.filter((link) => !/^[a-z]+:/.test(link)).map((link) => join(root, dirname(page), link))
    const missing = paths.filter((path) => !ts.sys.fileExists(path) && !ts.sys.directoryExists(path))
    t.deepEqual(
      missing.map((path) => relative(root, path)),
      [],
    )
  })
}
