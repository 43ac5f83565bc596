import { create } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { GateTokenSchema, type GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import type { Gates } from "../brakes/gates.ts";
import { subjectOf, type GateTokens as Tokens } from "../identity/gate-tokens.ts";
import type { GateToken } from "../store/gate-tokens.ts";
import { callerOf } from "./caller.ts";

/** The GateTokens service: translate, call, translate. */
export function gateTokensService(tokens: Tokens, gates: Gates): ServiceImpl<typeof GateTokens> {
  const view = (token: GateToken, attached: readonly { readonly subject: string }[]) => {
    const { gateTokenId, name, engine, createTime, createdBy, expireTime, revokeTime, revokedBy } = token;
    return create(GateTokenSchema, {
      gateTokenId,
      name,
      engine,
      createTime: timestampFromMs(createTime),
      createdBy,
      ...(expireTime !== undefined && { expireTime: timestampFromMs(expireTime) }),
      ...(revokeTime !== undefined && { revokeTime: timestampFromMs(revokeTime) }),
      revokedBy,
      attachedGates:
        revokeTime === undefined ? attached.filter(({ subject }) => subject === subjectOf(name)).length : 0,
    });
  };
  return {
    async createGateToken({ name, engine, expiresIn, reason }, context) {
      const { principal, entryId } = callerOf(context);
      const expiresInMs = expiresIn && durationMs(expiresIn);
      const change = { subject: principal.subject, reason, entryId };
      const { token, secret } = await tokens.create({ name, engine, expiresInMs }, change);
      return { gateToken: view(token, []), secret };
    },
    async listGateTokens({ includeRevoked }) {
      const attached = gates.attached();
      return { gateTokens: (await tokens.list(includeRevoked)).map((token) => view(token, attached)) };
    },
    async revokeGateToken({ gateTokenId, reason }, context) {
      const { principal, entryId } = callerOf(context);
      const token = await tokens.revoke(gateTokenId, { subject: principal.subject, reason, entryId });
      return { gateToken: view(token, []) };
    },
  };
}
