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
}
