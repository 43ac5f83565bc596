/** One page of an answer. */
interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string;
}

/**
 * Follows pages until `limit` items are there or there are no more. `nextPageToken` in the result is where the rest begins;
 * empty: there is none.
 */
export async function collectPages<T>(
  limit: number,
  maxPageSize: number,
  fetch: (pageSize: number, pageToken: string) => Promise<Page<T>>,
): Promise<{ items: T[]; nextPageToken: string }> {
  const items: T[] = [];
  let nextPageToken = "";
  do {
    const page = await fetch(Math.min(maxPageSize, limit - items.length), nextPageToken);
    items.push(...page.items);
    nextPageToken = page.nextPageToken;
  } while (nextPageToken !== "" && items.length < limit);
  return { items, nextPageToken };
}
