import type { Component } from "./health.ts";

/** Before its end, a certificate is told as degraded for so long, ms. */
const warnMs = 14 * 24 * 60 * 60_000;

/** Whether the port's certificate is good for a while, and its files as they are now can be used. */
export function tlsComponent(state: () => { expireTime: Date; fault: string | undefined } | undefined): Component {
  return {
    name: "tls",
    check: () => {
      const { expireTime, fault } = state() ?? {};
      if (expireTime === undefined) return { status: "degraded", message: "starting" };
      const left = expireTime.getTime() - Date.now();
      const expires = `the certificate ${left > 0 ? "expires" : "expired"} ${expireTime.toISOString()}`;
      if (left <= 0) return { status: "unhealthy", message: `${expires}: replace its files` };
      if (fault !== undefined)
        return { status: "degraded", message: `${expires}; its files as they are now: ${fault}` };
      if (left < warnMs) return { status: "degraded", message: `${expires}: replace its files` };
      return { status: "healthy", message: expires };
    },
  };
}
