/** Problem is what a server, or the way to it, answered instead of a result. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly status: number,
    readonly correlation: string,
  ) {
    super(message);
    this.name = 'Problem';
  }
}

export function asProblem(err: unknown): Problem {
  if (err instanceof Problem) return err;
  const message = err instanceof Error ? err.message : String(err);
  return new Problem('internal', message, 'reload the page', 0, '');
}

/** problemOf reads an answer that is no result. */
export function problemOf(status: number, text: string, correlation: string): Problem {
  let said: Record<string, unknown> = {};
  try {
    said = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // Something between here and the node answered in its own words.
  }
  const str = (...keys: string[]) => {
    for (const k of keys) if (typeof said[k] === 'string' && said[k] !== '') return said[k];
    return '';
  };
  return new Problem(
    str('code') || 'unavailable',
    str('message', 'detail', 'title') || `The node answered with status ${status}.`,
    str('hint'), status, correlation,
  );
}
