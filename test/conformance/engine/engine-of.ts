/** The same engine for the tests, whichever process it is that answers; `own` stands before what it has itself. */
export function engineOf<E extends object>(current: () => E, own: Partial<E> = {}): E {
  return new Proxy({} as E, {
    get(_target, key) {
      if (key in own) return own[key as keyof E];
      const engine = current();
      const value: unknown = Reflect.get(engine, key, engine);
      return typeof value === "function" ? value.bind(engine) : value;
    },
  });
}
