import { StartupError } from "../process/startup-error.ts";
import { unixRequest } from "./unix-http.ts";

/**
 * Tells the engine where the agents listen. Safe to repeat; an endpoint that is known already is discovered anew (`force`),
 * so that what changed in its services since the last start counts.
 * @throws StartupError where the engine refuses; any other error where it may do so later.
 */
export async function registerDeployment(adminSocket: string, uri: string, signal: AbortSignal): Promise<void> {
  const answer = await unixRequest(adminSocket, "POST", "/deployments", { body: { uri, force: true }, signal });
  if (answer.status === 200 || answer.status === 201) return;
  if (answer.status >= 500)
    throw new Error(`POST /deployments was answered ${answer.status}: ${answer.body.slice(0, 500)}`);
  throw new StartupError(
    `The engine did not accept the agents at ${uri} (${answer.status}): ${answer.body.slice(0, 500)}. ` +
      "If a service's type or a handler was removed, delete its old state with the data directory, or rename the service.",
  );
}
