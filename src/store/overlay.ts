import type { Store } from "./store.ts";

/** The store, with some of what it does done otherwise. */
export function overlaid(store: Store, own: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => (name in own ? own[name as keyof Store] : Reflect.get(target, name, target)),
  });
}
