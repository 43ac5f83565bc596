import * as z from "zod";
import { section } from "../section.ts";

const message =
  "has to be an origin as browsers send it: scheme, host and perhaps port, like https://ops.example.com; there is no *";

/** Browsers: whose pages may call. */
export const cors = section({
  /** Exact origins. */
  origins: z
    .array(z.string().refine((origin) => URL.canParse(origin) && new URL(origin).origin === origin, message))
    .max(100),
});
