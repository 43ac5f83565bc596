/** Who calls, as their verified token says. */
export interface Principal {
  readonly issuer: string;
  readonly subject: string;
  /** Roles as Mission Control understands them; unknown ones are dropped. */
  readonly roles: readonly string[];
  /** The token's id: its jti, or what the issuer has in its place. */
  readonly tokenId: string;
  /** When the token was issued, in ms since the epoch. */
  readonly issueTime: number;
  /** When the token expires, in ms since the epoch. */
  readonly expireTime: number;
  /** "jwt+mtls": the token is bound to the client certificate that the call came with. */
  readonly authenticationMethod: "jwt" | "jwt+mtls" | "gate-token";
  /** The only engine that a gate may attach for: set by a gate token, and by nothing else. */
  readonly gateEngine?: string | undefined;
  /** For people to read; where the token has one. */
  readonly name?: string | undefined;
  /** Where the issuer's configuration says which claim it is, and the token has it. */
  readonly tenant?: string | undefined;
  /** True for a program that acts for itself, not for a person; unset where the issuer's configuration does not say how to tell. */
  readonly machine?: boolean | undefined;
  /** When they last proved who they are (auth_time), in ms since the epoch; where the token says so. */
  readonly authenticationTime?: number | undefined;
  /** How they did (amr, RFC 8176: "pwd", "hwk", "mfa", …); none where the token does not say. */
  readonly authenticationMethods?: readonly string[] | undefined;
  /** How well, in the issuer's own terms (acr); where the token says so. */
  readonly authenticationContext?: string | undefined;
}
