/** One program out of a page: a `ts` fence with the `ts continued` fences that follow it. */
export type Snippet = { line: number; code: string; run: boolean }

const fence = /^```(\w*)([^\n]*)\n([\s\S]*?)^```/gm

/**
 * The programs of a Markdown page. The words after `ts` decide: `no-run` is only type-checked, `continued` goes on with the program before.
 */
export function programsOf(markdown: string): Snippet[] {
  const programs: Snippet[] = []
  for (const { index, 1: language, 2: info = '', 3: code = '' } of markdown.matchAll(fence)) {
    if (language !== 'ts') continue
    const words = info.trim().split(/\s+/)
    const previous = programs.at(-1)
    if (words.includes('continued') && previous !== undefined) {
      previous.code += code
      previous.run &&= !words.includes('no-run')
    } else {
      const line = markdown.slice(0, index).split('\n').length
      programs.push({ line, code: `export {}\n${code}`, run: !words.includes('no-run') })
    }
  }
  return programs
}
