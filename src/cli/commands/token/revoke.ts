import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { RevokeTokensResponseSchema } from "../../../../gen/missioncontrol/v1/revocations_pb.ts";
import { usageFailure } from "../../failure.ts";
import { examples, moment, nonEmpty } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { writeJson } from "../../view/json.ts";
import { requiredReason } from "../control.ts";

interface RevokeFlags extends Flags {
  readonly jwt?: string;
  readonly id?: string;
  readonly subject?: string;
  readonly issuer?: string;
  readonly issuedBefore?: Timestamp;
  readonly reason?: string;
}

export function revokeTokens(token: Command, host: Host): void {
  token
    .command("revoke")
    .description("Refuse a token that was issued already, or all of somebody's, at once and until they have expired.")
    .option("--jwt <path>", "the token itself, from a file: only its issuer and its id are sent")
    .option("--id <jti>", "one token, by its id, as the ledger shows it", nonEmpty)
    .option("--subject <name>", "all of this caller's that were issued until now", nonEmpty)
    .option("--issuer <iss>", "whose tokens they are, exactly", nonEmpty)
    .option("--issued-before <when>", "with --subject: an age like 1h, or an RFC 3339 time (default: now)", moment)
    .option("--reason <text>", "why (required); it is kept in the ledger")
    .addHelpText(
      "after",
      examples(
        'mctl token revoke --jwt leaked.jwt --reason "found in a public repository"',
        'mctl token revoke --issuer https://login.example.com --subject alice --reason "laptop stolen"',
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<RevokeFlags>();
      const reason = requiredReason(
        flags.reason,
        'mctl token revoke --jwt leaked.jwt --reason "found in a public repository"',
      );
      const which = flags.jwt === undefined ? named(flags) : readToken(resolve(host.cwd, flags.jwt), flags);
      await withSession(host, flags, async ({ revocations, settings, terminal, call }) => {
        const answer = await revocations.revokeTokens({ ...which, reason }, call());
        if (settings.output === "json") writeJson(terminal, RevokeTokensResponseSchema, answer);
        else {
          const { tokenId = "", subject = "", issuer = "", issuedBefore } = answer.revocation ?? {};
          const moment = issuedBefore ? timestampDate(issuedBefore).toISOString() : "";
          const what = tokenId === "" ? `tokens of ${subject} that were issued before ${moment}` : `token ${tokenId}`;
          terminal.write(`REVOKED  ${what}  (${issuer})\n`);
        }
        return undefined;
      });
    });
}

function named({ id, subject, issuer, issuedBefore }: RevokeFlags) {
  if ((id === undefined) === (subject === undefined)) {
    throw usageFailure("say which tokens: --jwt, or --issuer with --id or with --subject");
  }
  if (issuer === undefined) throw usageFailure("say whose tokens they are: --issuer, as the ledger shows it");
  if (issuedBefore && subject === undefined) throw usageFailure("--issued-before goes with --subject");
  return { issuer, tokenId: id ?? "", subject: subject ?? "", ...(issuedBefore && { issuedBefore }) };
}

/** Nothing of it is checked: a token that is good is exactly what should not be sent around. */
function readToken(path: string, { id, subject, issuer, issuedBefore }: RevokeFlags) {
  if (id ?? subject ?? issuer ?? issuedBefore) throw usageFailure("--jwt says which token it is: leave the rest out");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw usageFailure(`cannot read the token's file: ${(error as Error).message}`);
  }
  try {
    const { iss, jti } = JSON.parse(Buffer.from(text.trim().split(".")[1] ?? "", "base64url").toString());
    if (typeof iss === "string" && typeof jti === "string") return { issuer: iss, tokenId: jti, subject: "" };
  } catch {
    // Told below, without the parser's message: it would repeat the token.
  }
  throw usageFailure(`${path} is not a JWT with an issuer (iss) and an id (jti)`);
}
