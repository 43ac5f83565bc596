import type { Store } from "../../src/store/store.ts";

/** A store whose database can be broken: commits are then refused as SQLite refuses them. */
export interface FailingStore {
  readonly store: Store;
  /** SQLite's result code from now on: 13 the disk is full, 10 it fails; undefined: it works. */
  fails: number | undefined;
  /** It works for so many commits more, then fails with a full disk. */
  failAfter(commits: number): void;
}

export function failingStore(inner: Store): FailingStore {
  let left = Number.POSITIVE_INFINITY;
  const failing: FailingStore = {
    fails: undefined,
    failAfter(commits) {
      left = commits;
    },
    store: new Proxy(inner, {
      get(target, name) {
        if (name !== "commit") return Reflect.get(target, name, target);
        const commit: Store["commit"] = (change) => {
          if (left-- <= 0) failing.fails = 13;
          if (failing.fails === undefined) return target.commit(change);
          const why = failing.fails === 13 ? "database or disk is full" : "disk I/O error";
          return Promise.reject(Object.assign(new Error(why), { errcode: failing.fails }));
        };
        return commit;
      },
    }),
  };
  return failing;
}
