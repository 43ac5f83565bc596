/**
 * What a promise comes to, if it does so before a timer of this process that was set for so many ms. Timers fire in the order of
 * their times however busy the machine is, so that only a deadline which is not kept fails here.
 */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
