import { Http2SessionManager } from "@connectrpc/connect-node";

/**
 * The library's connection, with one listener more: it takes its own away from a connection that it gives up, and a
 * server that answers with no HTTP/2 makes that connection fail a moment later, which would then end this process.
 */
export class PolicySession extends Http2SessionManager {
  override async request(...call: Parameters<Http2SessionManager["request"]>) {
    const stream = await super.request(...call);
    const { session } = stream;
    if (session !== undefined && !session.listeners("error").includes(ignore)) session.on("error", ignore);
    return stream;
  }
}

/** The call on that connection fails as well, and is told; there is nothing to add here. */
function ignore(): void {}
