import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  ListRevocationsResponseSchema,
  type Revocation as RevocationMessage,
  RevocationSchema,
  type Revocations as RevocationsService,
  RevokeTokensResponseSchema,
  Revocation_Source as Source,
} from "../../gen/missioncontrol/v1/revocations_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Place, Revocations } from "../identity/revocations.ts";
import type { Revocation } from "../store/revocations.ts";
import { callerOf } from "./caller.ts";
import type { Component } from "./health.ts";

const defaultPage = 100;

/** The Revocations service: translate, call, translate. */
export function revocationsService(revocations: Revocations): ServiceImpl<typeof RevocationsService> {
  return {
    async revokeTokens({ issuer, tokenId, subject, issuedBefore, reason }, context) {
      const { principal, entryId } = callerOf(context);
      const revocation = await revocations.revoke({
        issuer,
        tokenId,
        subject,
        issuedBefore: issuedBefore && timestampMs(issuedBefore),
        reason,
        by: principal,
        intentEntryId: entryId,
      });
      return create(RevokeTokensResponseSchema, { revocation: messageOf(revocation, "call"), auditEntryId: entryId });
    },

    async listRevocations({ issuer, pageSize, pageToken }) {
      const limit = pageSize || defaultPage;
      const behind = pageToken === "" ? undefined : placeIn(pageToken);
      const all = revocations.list(behind).filter(({ revocation }) => issuer === "" || revocation.issuer === issuer);
      const page = all.slice(0, limit);
      const last = page.at(-1);
      return create(ListRevocationsResponseSchema, {
        revocations: page.map(({ revocation, source }) => messageOf(revocation, source)),
        nextPageToken: all.length > limit && last ? tokenOf(last.place) : "",
      });
    },
  };
}

/** Whether the revocation file could be read the last time that it changed; none where there is no such file. */
export function revocationFileComponents(revocations: Revocations): Component[] {
  if (revocations.file === undefined) return [];
  return [
    {
      name: "revocation file",
      check: () => {
        const { fault, count } = revocations.file ?? { fault: undefined, count: 0 };
        if (fault === undefined) return { status: "healthy", message: `${count} revocations` };
        return { status: "degraded", message: `the ${count} revocations of before stay in force: ${fault}` };
      },
    },
  ];
}

/** A page goes on behind the place where the last one ended, whatever came or went meanwhile. */
function tokenOf({ time, key }: Place): string {
  return Buffer.from(JSON.stringify([time, key])).toString("base64url");
}

function placeIn(token: string): Place {
  try {
    const [time, key] = JSON.parse(Buffer.from(token, "base64url").toString());
    if (typeof time === "number" && typeof key === "string") return { time, key };
  } catch {
    // Told below.
  }
  throw new MissionControlError("INVALID_PAGE_TOKEN", "this page_token is not of this list: begin without one", {
    violations: [{ field: "page_token", description: "not given out for revocations" }],
  });
}

function messageOf(revocation: Revocation, source: "call" | "file"): RevocationMessage {
  const { issuer, tokenId, subject, issuedBefore, reason, revokedBy, revokeTime, expireTime } = revocation;
  return create(RevocationSchema, {
    issuer,
    tokenId,
    subject,
    ...(subject !== "" && { issuedBefore: timestampFromMs(issuedBefore) }),
    reason,
    revokedBy,
    revokeTime: timestampFromMs(revokeTime),
    ...(source === "call" && { expireTime: timestampFromMs(expireTime) }),
    source: source === "call" ? Source.CALL : Source.FILE,
  });
}
