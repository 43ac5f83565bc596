import { createHash, randomBytes, randomUUID } from "node:crypto";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { StoredGateToken } from "../store/gate-tokens.ts";
import type { Store } from "../store/store.ts";
import type { Principal } from "./principal.ts";

/** The issuer of the principals that gates are. */
export const gateTokenIssuer = "mission-control/gate-tokens";
/** What every token begins with: whoever finds one in a log or a repository knows what it is. */
const prefix = "mcgt_";
const secretBytes = 32;
/** 256 bits in base64url. */
export const gateTokenPattern = /^mcgt_[A-Za-z0-9_-]{43}$/;

/** Tokens that are not revoked. */
const maxTokens = 1000;
/** The year 9999, for tokens that do not end by themselves. */
const never = 253_402_300_799_000;

/** Who changes a token, why, and by which durable intent. */
export interface TokenChange {
  readonly subject: string;
  readonly reason: string;
  /** "" where Mission Control itself does. */
  readonly entryId: string;
}

/** The tokens that gates attach with. Their secrets are 256 random bits, of which the SHA-256 is stored. */
export class GateTokens {
  readonly #store: Store;
  readonly #ledger: Ledger;
  readonly #engines: readonly string[];
  readonly #doubters = new Set<() => void>();
  /** One change at a time: a name is free when it is taken. */
  #changing: Promise<unknown> = Promise.resolve();

  /** @param engines by configured name. */
  constructor(store: Store, ledger: Ledger, engines: readonly string[]) {
    this.#store = store;
    this.#ledger = ledger;
    this.#engines = engines;
  }

  /**
   * Makes a token; it is durable, with a SYSTEM entry, when this resolves. Rejects with UNKNOWN_ENGINE, GATE_TOKEN_EXISTS or
   * TOO_MANY_GATE_TOKENS.
   */
  create(
    { name, engine, expiresInMs }: { name: string; engine: string; expiresInMs?: number | undefined },
    by: TokenChange,
  ): Promise<{ token: StoredGateToken; secret: string }> {
    return this.#oneAtATime(async () => {
      if (!this.#engines.includes(engine)) {
        throw new MissionControlError(
          "UNKNOWN_ENGINE",
          `there is no engine "${engine}": use one of ${this.#engines.join(", ")}`,
          { metadata: { engine } },
        );
      }
      const others = await this.#store.gateTokens(false);
      const same = others.find((other) => other.name === name);
      if (same !== undefined) {
        throw new MissionControlError(
          "GATE_TOKEN_EXISTS",
          `there is a token "${name}" (${same.gateTokenId}) whose secret cannot be shown again: revoke it, or choose another name`,
          { metadata: { gate_token_id: same.gateTokenId } },
        );
      }
      if (others.length >= maxTokens) {
        const message = `there are ${maxTokens} gate tokens that are not revoked: revoke those that nobody uses`;
        throw new MissionControlError("TOO_MANY_GATE_TOKENS", message);
      }
      const secret = prefix + randomBytes(secretBytes).toString("base64url");
      const now = Date.now();
      const token: StoredGateToken = {
        gateTokenId: `gt_${randomUUID()}`,
        hash: hashOf(secret),
        name,
        engine,
        createTime: now,
        createdBy: by.subject,
        expireTime: expiresInMs === undefined ? undefined : now + expiresInMs,
        revokeTime: undefined,
        revokedBy: "",
        createEntryId: by.entryId,
        revokeEntryId: "",
      };
      await this.#write("gate_token.created", token, by);
      return { token, secret };
    });
  }

  /** Revokes a token; whoever uses it is looked at again at once. Rejects with GATE_TOKEN_NOT_FOUND. */
  revoke(gateTokenId: string, by: TokenChange): Promise<StoredGateToken> {
    return this.#oneAtATime(async () => {
      const token = await this.#store.gateToken(gateTokenId);
      if (token === undefined) {
        const message = `there is no gate token ${gateTokenId}: mctl gate token list shows those that there are`;
        throw new MissionControlError("GATE_TOKEN_NOT_FOUND", message);
      }
      if (token.revokeTime !== undefined) return token;
      const revoked = { ...token, revokeTime: Date.now(), revokedBy: by.subject, revokeEntryId: by.entryId };
      await this.#write("gate_token.revoked", revoked, by);
      for (const doubt of this.#doubters) doubt();
      return revoked;
    });
  }

  /** The newest first, at most 1000. */
  list(includeRevoked: boolean): Promise<StoredGateToken[]> {
    return this.#store.gateTokens(includeRevoked);
  }

  /**
   * The gate that a token is of, as of now. Asks the store each time, so that a revocation reaches every replica. Rejects with
   * TOKEN_MALFORMED, TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_REVOKED.
   */
  async verify(secret: string): Promise<Principal> {
    if (!gateTokenPattern.test(secret)) {
      throw new MissionControlError(
        "TOKEN_MALFORMED",
        "gates attach with a gate token (mctl gate token create), and with nothing else",
      );
    }
    const token = await this.#store.gateTokenByHash(hashOf(secret));
    if (token === undefined) throw new MissionControlError("TOKEN_INVALID", "there is no such gate token");
    if (token.revokeTime !== undefined) {
      throw new MissionControlError("TOKEN_REVOKED", `the gate token "${token.name}" was revoked: get a new one`);
    }
    const { expireTime = never } = token;
    if (expireTime <= Date.now()) {
      throw new MissionControlError("TOKEN_EXPIRED", `the gate token "${token.name}" has expired: get a new one`);
    }
    return {
      issuer: gateTokenIssuer,
      subject: subjectOf(token.name),
      roles: ["gate"],
      tokenId: token.gateTokenId,
      issueTime: token.createTime,
      expireTime,
      authenticationMethod: "gate-token",
      machine: true,
      gateEngine: token.engine,
    };
  }

  /** Calls back whenever a token that was good may not be any more; returns what calls that off. */
  onDoubt(listener: () => void): () => void {
    this.#doubters.add(listener);
    return () => this.#doubters.delete(listener);
  }

  #oneAtATime<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(change);
    this.#changing = done.catch(() => undefined);
    return done;
  }

  async #write(action: string, token: StoredGateToken, by: TokenChange): Promise<void> {
    await this.#ledger.append(
      {
        phase: AuditEntry_Phase.SYSTEM,
        action,
        target: token.gateTokenId,
        engine: token.engine,
        reason: by.reason,
        ...(by.entryId !== "" && { intentEntryId: by.entryId }),
        message: `gate token "${token.name}" for engine ${token.engine}, by ${by.subject}`,
      },
      { gateTokens: [token] },
    );
  }
}

/** The subject of the gates that attach with the token of this name. */
export function subjectOf(name: string): string {
  return `gate:${name}`;
}

function hashOf(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}
