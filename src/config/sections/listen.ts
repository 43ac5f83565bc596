import * as z from "zod";
import { section, text } from "../section.ts";

/** Where calls are taken. */
export const listen = section({
  /** The address to bind: a name or an IP address. */
  host: text("has to be a host name or an IP address").optional(),
  /** 0: any free one. */
  port: z.int("has to be a port from 0 to 65535").min(0).max(65_535).optional(),
});
