/** Who calls, as their verified token says. */
export interface Principal {
  readonly issuer: string;
  readonly subject: string;
  /** Roles as Mission Control understands them; unknown ones are dropped. */
  readonly roles: readonly string[];
  /** The token's jti. */
  readonly tokenId: string;
  /** When the token expires, in ms since the epoch. */
  readonly expireTime: number;
  readonly authenticationMethod: "jwt";
  /** When the caller proved who they are, in ms since the epoch; undefined where the token does not say. */
  readonly authenticationTime?: number | undefined;
  /** True for a program that acts for itself, not for a person: an agent, a pipeline. */
  readonly machine?: boolean | undefined;
}
