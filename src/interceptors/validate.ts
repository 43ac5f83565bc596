import { create, type DescMessage, type DescService, type Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";
import { callOf } from "./context.ts";

const maxViolations = 16;

/**
 * Is the request what its proto demands? After authorize, so that a stranger learns nothing of what a request should be. It
 * reads the request of a server stream ahead, so that the links behind this one know what is asked.
 *
 * @throws Error where a rule of one of the services' requests cannot be evaluated: better at start than at a call.
 */
export function validateLink(services: readonly DescService[]): Interceptor {
  const validator = createValidator();
  for (const { input } of services.flatMap((service) => service.methods)) {
    const result = validator.validate(input, create(input));
    if (result.kind === "error") throw result.error;
  }
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const { input, methodKind } = req.method;
    if (!req.stream) {
      check(validator, input, req.message);
      call.request = req.message;
      return next(req);
    }
    if (methodKind !== "server_streaming") return next({ ...req, message: checked(validator, input, req.message) });
    const request = await only(req.message);
    check(validator, input, request);
    call.request = request;
    return next({ ...req, message: once(request) });
  };
}

function check(validator: Validator, schema: DescMessage, message: Message): void {
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return;
  if (result.kind === "error") throw result.error;
  const violations = result.violations
    .slice(0, maxViolations)
    .map(({ field, message }) => ({ field: pathToString(field), description: message }));
  const told = violations.map(({ field, description }) => (field === "" ? description : `${field}: ${description}`));
  throw new MissionControlError("INVALID_ARGUMENT", told.join("; "), { violations });
}

async function* checked<T extends Message>(
  validator: Validator,
  schema: DescMessage,
  messages: AsyncIterable<T>,
): AsyncIterable<T> {
  for await (const message of messages) {
    check(validator, schema, message);
    yield message;
  }
}

async function only<T>(messages: AsyncIterable<T>): Promise<T> {
  const found: T[] = [];
  for await (const message of messages) {
    if (found.push(message) > 1) break;
  }
  const [message] = found;
  if (message !== undefined && found.length === 1) return message;
  throw new MissionControlError("INVALID_ARGUMENT", "this RPC takes one request message, neither none nor more");
}

async function* once<T>(message: T): AsyncIterable<T> {
  yield message;
}
